"""How many 720p calls one core relays, ours and coturn side by side, on the loopback interface.

Both run as one process with one relay thread; the calls come from this process (:mod:`.relay_load`).
Measured is the processor time that the relay takes for calls in real time, so that what else the machine does
matters little.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from netsim.bench import relay_load
from netsim.bench.figure import Figure, Report
from netsim.bench.relay_process import HOST
from netsim.bench.runner import Options

GOAL = 40.0
CALLS = 40
SECONDS, QUICK_SECONDS = 4.0, 1.0
SECRET = "bench"  # noqa: S105 - of relays that live for a minute
START_WAIT = 30.0
LOSS_MAX = 1.0
"""Percent."""


async def measure(options: Options) -> Report:
    """Ours and coturn in turns, so that both see the same machine."""
    ours: list[relay_load.Load] = []
    theirs: list[relay_load.Load] = []
    seconds = QUICK_SECONDS if options.quick else SECONDS
    async with contextlib.AsyncExitStack() as stack:
        relays = [(ours, *await stack.enter_async_context(our_relay()))]
        if shutil.which("turnserver"):
            relays.append((theirs, *await stack.enter_async_context(coturn())))
        for number in range(options.repeat):
            options.log(f"{number + 1} of {options.repeat}")
            for loads, pid, port in relays:
                load = await asyncio.to_thread(
                    relay_load.run, (HOST, port), SECRET.encode(), pid, calls=CALLS, seconds=seconds
                )
                loads.append(load)
    figures = [
        Figure(
            "720p calls relayed on one core",
            "calls",
            tuple(load.calls_per_core for load in ours),
            GOAL,
            at_least=True,
        ),
        Figure(f"packets lost at {CALLS} calls", "%", tuple(load.lost for load in ours), LOSS_MAX),
        Figure(
            "processor time for a packet",
            "us",
            tuple(1e6 * load.cpu / max(1, load.received) for load in ours),
        ),
    ]
    if theirs:
        figures += [
            Figure("coturn: calls on one core", "calls", tuple(load.calls_per_core for load in theirs)),
            Figure(f"coturn: packets lost at {CALLS} calls", "%", tuple(load.lost for load in theirs)),
            Figure(
                "ours, for each of coturn's",
                "calls",
                tuple(a.calls_per_core / b.calls_per_core for a, b in zip(ours, theirs, strict=True)),
            ),
        ]
    notes = (
        f"A call: 2 Mbit/s and 250 packets/s each way, by ChannelData; {CALLS} at a time, {seconds:.0f} s.",
        "Calls on one core: calls times seconds times the share that arrived, over the processor time.",
        *(() if theirs else ("coturn is not installed: apt-get install coturn",)),
    )
    return Report("Relay", tuple(figures), (), notes)


@contextlib.asynccontextmanager
async def our_relay() -> AsyncIterator[tuple[int, int]]:
    """Its process and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "netsim.bench.relay_process", SECRET, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None, "it was asked for"
        line = await asyncio.wait_for(process.stdout.readline(), START_WAIT)
        yield process.pid, int(line)
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def coturn() -> AsyncIterator[tuple[int, int]]:
    """The same of coturn with one relay thread."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind((HOST, 0))
        port = int(free.getsockname()[1])
        free.close()
        command = (
            f"turnserver -n --no-cli --no-tls --no-dtls --no-tcp --relay-threads=1 --realm=bench "
            f"--use-auth-secret --static-auth-secret={SECRET} --listening-ip={HOST} --relay-ip={HOST} "
            f"--listening-port={port} --allow-loopback-peers --log-file=stdout --simple-log "
            f"--pidfile={folder}/pid --userdb={folder}/db"
        )
        process = await asyncio.create_subprocess_exec(
            *command.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(folder),
        )  # fmt: skip
        try:
            await asyncio.sleep(1.0)
            yield process.pid, port
        finally:
            process.terminate()
            await process.wait()
