"""The Mainline DHT of BitTorrent as a meeting place, through a worker process that runs libtorrent.

Law 1: the worker runs only while there is something to find or to announce; the loop never waits for it.
Law 2: what it says is data from strangers: each line is checked, and at most so many addresses are taken.
Law 3: it holds nothing of ours, and ends with us, also after ``kill -9``: it sees its stdin end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.dht.compact import is_public
from meshcall.errors import Rejected
from meshcall.limits import LADDER_MAINLINE_PEERS_MAX, MAINLINE_LINE_MAX, MAINLINE_RESTART

_log = logging.getLogger("meshcall.mainline")

OFF_VARIABLE: Final = "MESHCALL_NO_MAINLINE"
"""Environment variable that, when it is not empty, means the same as ``--no-mainline``."""

_END: Final = 3.0
"""Seconds that a worker gets to end by itself."""


class _Line(msgspec.Struct, frozen=True):
    """What the worker says."""

    nodes: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    peers: Annotated[list[tuple[Annotated[str, Meta(max_length=45)], int]], Meta(max_length=256)] = []


def peers_untrusted(line: bytes) -> tuple[int | None, list[Address]]:
    """(nodes in the worker's table if it tells, public addresses of peers); raises ``Rejected("line")``."""
    try:
        said = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected("line") from error
    return said.nodes, said.peers


class Mainline:
    """Finds and announces infohashes. Use :meth:`find`, :meth:`announce`, :meth:`close`."""

    def __init__(self, hosts: Sequence[str], *, clock: Clock) -> None:
        """``hosts``: HOST:PORT of Mainline nodes to start from; none: libtorrent's own."""
        self._hosts = tuple(hosts)
        self._clock = clock
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._started_at = -MAINLINE_RESTART
        self._find: list[bytes] = []
        self._announce: list[bytes] = []
        self._port = 0
        self._told: list[Address] = []
        self._seen: set[Address] = set()
        self._news = asyncio.Event()
        self.nodes = 0
        """Nodes in the worker's table."""
        self.counters: Counter[str] = Counter()
        """What was refused, by reason."""

    @staticmethod
    def is_available() -> bool:
        """Whether libtorrent is there (``pip install meshcall[mainline]``) and the environment allows it."""
        return not os.environ.get(OFF_VARIABLE) and importlib.util.find_spec("libtorrent") is not None

    @property
    def announcing(self) -> bool:
        """Whether we are being announced."""
        return bool(self._announce) and self._process is not None

    # --- what is wanted ---

    async def start_find(self, infohashes: Sequence[bytes]) -> None:
        """Search for these from now on; :meth:`next_peers` tells who is there."""
        self._find = list(infohashes)
        self._told.clear()
        self._seen.clear()
        await self._wish()

    async def next_peers(self) -> list[Address]:
        """New addresses, public ones and each once; at most ``LADDER_MAINLINE_PEERS_MAX`` of one search.

        Waits for them: give it a timeout.
        """
        while not self._told:
            self._news.clear()
            await self._news.wait()
        told, self._told = self._told, []
        return told

    async def stop_find(self) -> None:
        """Search no more."""
        self._find = []
        await self._wish()

    async def announce(self, infohashes: Sequence[bytes], port: int) -> None:
        """Say from now on that ``port`` at this machine's address is under these; none: nowhere."""
        wanted = list(infohashes)
        if (wanted, port) != (self._announce, self._port) or (wanted and self._process is None):
            self._announce, self._port = wanted, port
            await self._wish()

    async def close(self) -> None:
        """Stop the worker. Idempotent."""
        self._find, self._announce = [], []
        async with self._starting:
            await self._stop()

    # --- the worker ---

    async def _wish(self) -> None:
        """Tell the worker what is wanted; it is started and stopped as that needs."""
        async with self._starting:
            if not self._find and not self._announce:
                await self._stop()
                return
            if self._process is None and not await self._start():
                return
            assert self._process is not None
            assert self._process.stdin is not None
            wish = {
                "find": [one.hex() for one in self._find],
                "announce": [one.hex() for one in self._announce],
                "port": self._port,
            }
            with contextlib.suppress(OSError):
                self._process.stdin.write(msgspec.json.encode(wish) + b"\n")
                await self._process.stdin.drain()

    async def _start(self) -> bool:
        """Start the worker, unless one died just now; whether it runs."""
        if self._clock.now() - self._started_at < MAINLINE_RESTART:
            return False
        # -P: no modules of the folder that we are in, which others may write to
        command = (sys.executable, "-P", "-m", "meshcall.aio.mainline_worker", *self._hosts)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=MAINLINE_LINE_MAX
            )
        except OSError as error:
            self._started_at = self._clock.now()
            _log.warning("the Mainline worker can't be started: %s", error.strerror)
            return False
        self._reader = asyncio.create_task(self._read(self._process), name="mainline")
        return True

    async def _read(self, process: Process) -> None:
        """Take what the worker says until it ends; if it ends by itself, note when."""
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # the latter: a line without end
            while line := await process.stdout.readline():
                self._take(line)
        self.counters["mainline-died"] += 1
        self._started_at = self._clock.now()
        self._process, self._reader, self.nodes = None, None, 0
        await _end(process)

    def _take(self, line: bytes) -> None:
        try:
            nodes, peers = peers_untrusted(line)
        except Rejected as rejected:
            self.counters[f"mainline-{rejected.reason}"] += 1
            return
        if nodes is not None:
            self.nodes = nodes
        if not self._find:
            return
        for address in peers:
            if address in self._seen:
                continue
            if not is_public(address):
                self.counters["mainline-martian"] += 1
            elif len(self._seen) >= LADDER_MAINLINE_PEERS_MAX:
                self.counters["mainline-full"] += 1
            else:
                self._seen.add(address)
                self._told.append(address)
                self._news.set()

    async def _stop(self) -> None:
        process, reader = self._process, self._reader
        self._process, self._reader, self.nodes = None, None, 0
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if process is not None:
            await _end(process)


async def _end(process: Process) -> None:
    """Close its stdin, and kill it if that does not end it; returns when it is gone."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
