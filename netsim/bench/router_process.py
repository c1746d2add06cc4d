"""What the process of a bootstrap node weighs: as a member of a network, and with records to keep.

All on the loopback interface: ``meshcall bootstrap-node`` as a process, the other nodes in this one, and
writers that each have a loopback address of their own, so that no cap per source stands in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.udp import UdpPort
from meshcall.dht import messages as m
from meshcall.identity.keys import SigningKey
from netsim.bench.installed import environment
from netsim.universe.frames import frame
from netsim.universe.scenario import record_of

START_WAIT = 30.0
ANSWER_WAIT = 3.0
STORES_PER_WRITER = 8
"""Below the cap per source."""
PAD = 400


@dataclass(frozen=True)
class Weights:
    """VmRSS in octets."""

    started: int
    joined: int
    """As one of the nodes of a network, after ``settle`` seconds."""
    loaded: int
    """With the records."""
    contacts: int
    """Nodes of the network that know it."""
    stored: int
    """Records that it said it keeps."""


def resident(pid: int) -> int:
    """VmRSS of a process in octets."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def command(home: Path, *flags: str) -> list[str]:
    """A bootstrap node's command line."""
    return [sys.executable, "-m", "meshcall", "bootstrap-node", "--home", str(home), *flags]


async def weigh(home: Path, *, nodes: int = 20, settle: float = 60.0, stores: int = 1000) -> Weights:
    """Start a bootstrap node, have ``nodes`` join through it, wait, then have it keep ``stores`` records."""
    flags = ("--port", "0", "--quiet")
    # once before, through all that it does, so that the bytecode of what it loads is there
    for measured in (False, True):
        process = await asyncio.create_subprocess_exec(
            *command(home, *flags), stdout=asyncio.subprocess.PIPE, env=environment()
        )
        try:
            assert process.stdout is not None, "it was asked for"
            line = (await asyncio.wait_for(process.stdout.readline(), START_WAIT)).decode()
            port = int(line.partition("UDP port ")[2].partition(",")[0])
            if measured:
                return await _weigh(process.pid, port, nodes, settle, stores)
            await _weigh(process.pid, port, 2, 0.5, STORES_PER_WRITER)
        finally:
            process.terminate()
            await process.wait()
    raise AssertionError("never reached")


async def _weigh(pid: int, port: int, nodes: int, settle: float, stores: int) -> Weights:
    await asyncio.sleep(1.0)
    started = resident(pid)
    async with _network(port, nodes) as members:
        await asyncio.sleep(settle)
        joined = resident(pid)
        contacts = sum(("127.0.0.1", port) in [a for _, a in node.engine.contacts()] for node in members)
        stored = await _store(port, stores)
        loaded = resident(pid)
    return Weights(started, joined, loaded, contacts, stored)


@contextlib.asynccontextmanager
async def _network(port: int, count: int) -> AsyncIterator[list[DhtNode]]:
    """``count`` routers that have joined through ``port``."""
    async with contextlib.AsyncExitStack() as stack:
        members: list[DhtNode] = []
        for _ in range(count):
            udp = await UdpPort.open(0, hosts=("127.0.0.1",))
            stack.push_async_callback(udp.close)
            key = SigningKey.generate(system_random)
            node = DhtNode(udp, node_key=key, clock=SystemClock(), random=system_random, router=True)
            await node.start()
            stack.push_async_callback(node.close)
            members.append(node)
            await node.bootstrap([("127.0.0.1", port)])
        yield members


async def _store(port: int, count: int) -> int:
    """Have ``count`` signed records kept, by writers at loopback addresses of their own."""
    stored = 0
    for writer in range(-(-count // STORES_PER_WRITER)):
        host = f"127.7.{writer >> 8}.{writer & 255}"
        wanted = range(writer * STORES_PER_WRITER, min(count, (writer + 1) * STORES_PER_WRITER))
        stored += await asyncio.to_thread(_write, host, port, wanted)
    return stored


def _write(host: str, port: int, wanted: range) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.settimeout(ANSWER_WAIT)
        sock.connect(("127.0.0.1", port))
        own = os.urandom(20)

        def ask(data: bytes) -> object:
            sock.send(data)
            return m.decode_frame_untrusted(sock.recv(2048))

        found = ask(m.encode_frame(m.FindNode(os.urandom(8), own, m.EPHEMERAL, os.urandom(20), bytes(PAD))))
        assert isinstance(found, m.Nodes), "find_node was not answered"
        kept = 0
        for number in wanted:
            record = record_of(1, f"router process {number}").encode()
            store = frame(m.Store, os.urandom(8), own, m.EPHEMERAL, token=found.token, record=record)
            kept += isinstance(ask(store), m.Stored)
        return kept
