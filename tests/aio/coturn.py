"""coturn's programs, for tests: its server, and how to find them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshcall.aio.clock import SystemClock, system_random
from meshcall.identity.certificate import make_certificate

SECRET = b"north"
LOOPBACK = "127.0.0.1"

needs_coturn = pytest.mark.skipif(
    shutil.which("turnserver") is None or shutil.which("turnutils_uclient") is None,
    reason="needs coturn: sudo apt-get install coturn",
)


def free_port() -> int:
    """A port that was free a moment ago, for UDP and TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            udp.bind((LOOPBACK, 0))
            with contextlib.suppress(OSError):
                tcp.bind((LOOPBACK, udp.getsockname()[1]))
                return int(udp.getsockname()[1])


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    """A coturn on the loopback interface; its port, for UDP, TCP and TLS."""
    port = free_port()
    pem = folder / "coturn.pem"
    pem.write_bytes(make_certificate(system_random, SystemClock().now_ms()))
    command = (
        f"turnserver -n --no-cli --use-auth-secret --static-auth-secret={SECRET.decode()} --realm=north "
        f"--listening-ip={LOOPBACK} --relay-ip={LOOPBACK} --allow-loopback-peers --listening-port={port} "
        f"--tls-listening-port={free_port()} --cert={pem} --pkey={pem} --log-file=stdout --simple-log "
        f"--pidfile={folder}/coturn.pid --userdb={folder}/coturn.db"
    )
    async with _running(command, port):
        yield port


@contextlib.asynccontextmanager
async def configured_coturn(folder: Path, config: str, port: int) -> AsyncIterator[None]:
    """A coturn with this configuration, which has ``port``, on the loopback interface."""
    file = folder / "turnserver.conf"
    own = (
        f"\nlistening-ip={LOOPBACK}\nrelay-ip={LOOPBACK}\nallow-loopback-peers\nallowed-peer-ip={LOOPBACK}\n"
    )
    file.write_text(f"{config}{own}pidfile={folder}/coturn.pid\nuserdb={folder}/coturn.db\nlog-file=stdout\n")
    async with _running(f"turnserver -c {file}", port):
        yield


@contextlib.asynccontextmanager
async def _running(command: str, port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=os.environ
    )
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.close()
        await writer.wait_closed()
        return True
    return False


async def run(*command: str) -> tuple[int, str]:
    """Run a program; its exit code and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 50)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")
