"""A media worker: endpoints in a process that holds no key.

Law 1: it lives as long as the node holds the other end of its command socket.
Law 2: nothing of a peer is read before the process has given up what it does not need.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

from meshcall import limits
from meshcall.aio.media.sources import check_source
from meshcall.aio.worker import messages as w
from meshcall.aio.worker.confine import confine
from meshcall.aio.worker.seat import Seat
from meshcall.aio.worker.warming import warm_up
from meshcall.media.plan import MediaPlan, parse_source

_log = logging.getLogger("meshcall.media")


class Program:
    """What one worker does."""

    def __init__(self, command: socket.socket) -> None:
        self._command = command
        self._loop = asyncio.get_running_loop()
        self._seats: set[Seat] = set()
        self._confined = False
        self._ended = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._probes: set[asyncio.Task[None]] = set()
        command.setblocking(False)

    async def run(self) -> None:
        """Work until the node lets go; what is recorded is finished then."""
        await warm_up()
        self._loop.add_reader(self._command, self._read)
        await self._ended.wait()
        async with asyncio.timeout(limits.WORKER_END):
            await self._empty.wait()

    def _read(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._command, limits.WORKER_MESSAGE_MAX, 2)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.remove_reader(self._command)
            self._ended.set()
            return
        match w.decode_to_worker(data):
            case w.Ping():
                self._tell(w.Pong())
            case w.Probe(number, source):
                task = self._loop.create_task(self._probe(number, os.fsdecode(source)), name="probe")
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)
            case w.Open() as opening:
                self._open(opening, [socket.socket(fileno=fd) for fd in fds])

    def _tell(self, message: w.FromWorker) -> None:
        try:
            self._command.send(w.encode(message))
        except OSError:
            self._ended.set()

    def _open(self, opening: w.Open, ends: list[socket.socket]) -> None:
        control, datagrams = ends
        for end in ends:
            end.setblocking(False)
        plan = w.decode_plan(opening.plan)
        if not self._confined:
            self._confined = True
            reads, writes, sockets = _needs(plan)
            confine(reads, writes, sockets=sockets)
        self._empty.clear()
        self._seats.add(Seat(opening, control, datagrams, self._left))

    def _left(self, seat: Seat) -> None:
        self._seats.discard(seat)
        if not self._seats:
            self._empty.set()

    async def _probe(self, number: int, source: str) -> None:
        failure = None
        try:
            await check_source(MediaPlan(source=source))
        except Exception as error:  # noqa: BLE001 - whatever a file does to its readers
            failure = w.failure_of(error)
            if failure is None:
                _log.error("a source could not be looked at", exc_info=error)
                failure = w.Failure("source-unusable", "the source could not be looked at")
        self._tell(w.Probed(number, failure))


def _needs(plan: MediaPlan) -> tuple[list[Path], list[Path], bool]:
    """What is read, the folders that are written to, and whether sockets are opened."""
    spec = parse_source(plan.source)
    reads = [spec.path] if spec.path is not None else []
    writes = [path.parent for path in (plan.record, plan.mixed) if path is not None]
    screen = spec.kind == "screen"
    if screen:  # what the X server knows us by
        reads.append(Path(os.environ.get("XAUTHORITY") or Path.home() / ".Xauthority"))
    return reads, writes, screen


def run(command: socket.socket) -> None:
    """Be a worker; returns when the node has let go."""
    with asyncio.Runner() as runner:
        runner.run(_work(command))
        os._exit(0)  # threads of libraries may take their time


async def _work(command: socket.socket) -> None:
    try:
        await Program(command).run()
    except TimeoutError:
        _log.warning("a media worker did not end in time")
