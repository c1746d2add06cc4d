"""In the node: all media workers, and the process that they are forked from.

Law 1: each call has a worker of its own; the endpoints of one room share one.
Law 2: nothing runs before the first call is near, and nothing is left ``WORKER_WARM`` seconds after the last.
Law 3: whatever becomes of a worker or of the process that forks them, the next call gets a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from meshcall import limits
from meshcall.aio.ice.call_ice import ice_on
from meshcall.aio.ice.port import IcePort
from meshcall.aio.worker.channel import make_pair
from meshcall.aio.worker.proxy import WorkerEndpoint
from meshcall.aio.worker.worker import Worker
from meshcall.errors import MediaFailed, MeshcallError
from meshcall.media.endpoint import MediaEndpoint
from meshcall.media.plan import MediaPlan, parse_source
from meshcall.media_paths import check_source

_log = logging.getLogger("meshcall.media")

ZYGOTE: Final = "meshcall.aio.worker.zygote"
"""The module that is run."""

Forked = tuple[int, int]
"""Process id and pidfd."""


class _Zygote:
    """The process that forks; see :mod:`meshcall.aio.worker.zygote`."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        self._process = process
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Forked]] = deque()
        self.ended = False
        self._loop.add_reader(end, self._read)

    @classmethod
    async def start(cls) -> _Zygote:
        """Start one; it loads the media engine before it looks at what it is asked."""
        loop = asyncio.get_running_loop()
        ours, theirs = make_pair()
        theirs.setblocking(True)
        level = logging.getLogger("meshcall").getEffectiveLevel()
        # -P: no modules of the folder that we are in, which others may write to
        command = (sys.executable, "-P", "-m", ZYGOTE, str(theirs.fileno()), str(level))

        def run() -> subprocess.Popen[bytes]:
            return subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )

        try:
            process = await loop.run_in_executor(None, run)
        except OSError as error:
            ours.close()
            raise MediaFailed(f"the media process can't be started: {error.strerror}") from error
        finally:
            theirs.close()
        return cls(process, ours)

    async def fork(self) -> tuple[socket.socket, Forked]:
        """A worker: our end of its command socket, and who it is; raises :class:`MeshcallError`."""
        ours, theirs = make_pair()
        waiting: asyncio.Future[Forked] = self._loop.create_future()
        try:
            socket.send_fds(self._end, [b"fork"], [theirs.fileno()])
            self._waiting.append(waiting)
            async with asyncio.timeout(limits.WORKER_START):
                return ours, await waiting
        except (OSError, TimeoutError) as error:
            ours.close()
            self.end()
            raise MediaFailed("the media process does not start") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def _read(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._end, 16, 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds = b"", []
        if len(data) != 4 or len(fds) != 1:
            self.end()
            return
        waiting = self._waiting.popleft()
        if waiting.done():
            os.close(fds[0])  # its command socket is closed: it ends by itself
        else:
            waiting.set_result((struct.unpack("!I", data)[0], fds[0]))

    def end(self) -> None:
        """End it; its workers live on. Idempotent."""
        if self.ended:
            return
        self.ended = True
        self._loop.call_later(limits.WORKER_EXIT, self._process.kill)
        self._loop.remove_reader(self._end)
        self._end.close()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(OSError("the media process ended"))

    async def wait_exited(self) -> None:
        """Return when the process is gone; it looks after its dead workers first."""
        try:
            await self._loop.run_in_executor(None, self._process.wait, limits.WORKER_EXIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await self._loop.run_in_executor(None, self._process.wait)


def _look_at(task: asyncio.Task[Worker]) -> None:
    """That there is no worker is told to the call that wants one."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.debug("no worker in advance: %s", error)


class Workers:
    """See the laws."""

    def __init__(self) -> None:
        """Nothing is started."""
        self._zygote: _Zygote | None = None
        self._starting = asyncio.Lock()
        self._workers: set[Worker] = set()
        self._rooms: dict[str, asyncio.Future[Worker]] = {}
        self._spare: asyncio.Task[Worker] | None = None
        """A worker for the next call, forked before that is there."""
        self._sparing: asyncio.TimerHandle | None = None
        self._cooling: asyncio.TimerHandle | None = None
        self._closed = False

    def prepare(self) -> None:
        """A call is near: load the media engine, and have a worker."""
        self._warm()
        if self._spare is None and not self._closed:
            self._spare = asyncio.get_running_loop().create_task(self._fork(), name="media-spare")
            self._spare.add_done_callback(_look_at)

    async def make(
        self,
        plan: MediaPlan,
        port: IcePort | None = None,
        resolve: Callable[[str], Awaitable[list[str]]] | None = None,
    ) -> MediaEndpoint:
        """An endpoint in a worker; raises :class:`MeshcallError`."""
        worker = await (self._of_room(plan.room) if plan.room else self._take())
        try:
            return WorkerEndpoint(plan, worker, ice_on(port), resolve)
        except BaseException:
            if not worker.tenants:
                worker.end("")
            raise

    async def probe(self, source: str) -> None:
        """Raise :class:`SourceUnusable` unless ``source`` can be sent; before anybody's phone rings."""
        check_source(source)
        if parse_source(source).kind not in ("testsrc", "none"):
            await (await self._take()).probe(source)

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [worker.pid for worker in self._workers]

    async def _of_room(self, room: str) -> Worker:
        """The room's worker; who comes while it is being forked waits for the same one."""
        there = self._rooms.get(room)
        if there is not None and not (there.done() and (there.exception() or there.result().ended)):
            return await asyncio.shield(there)
        made = self._rooms[room] = asyncio.ensure_future(self._take())
        return await asyncio.shield(made)

    async def _take(self) -> Worker:
        """A worker that nobody has; the next one is forked when this one has had time to begin."""
        spare, self._spare = self._spare, None
        if self._sparing is not None:
            self._sparing.cancel()
        if not self._closed:
            self._sparing = asyncio.get_running_loop().call_later(limits.WORKER_SPARE, self.prepare)
        if spare is not None:
            with suppress(MeshcallError):
                worker = await spare
                if not worker.ended:
                    return worker
        return await self._fork()

    async def _fork(self) -> Worker:
        for attempt in (1, 2):
            zygote = await self._forker()
            try:
                command, (pid, handle) = await zygote.fork()
            except MeshcallError:
                if attempt == 2 or self._closed:
                    raise
                continue  # it had died while nobody looked
            worker = Worker(command, pid, handle, self._ended)
            self._workers.add(worker)
            self._warm()
            return worker
        raise AssertionError("the second attempt returns or raises")

    async def _forker(self) -> _Zygote:
        async with self._starting:
            if self._closed:
                raise MediaFailed("the node stops")
            if self._zygote is None or self._zygote.ended:
                if self._zygote is not None:
                    await self._zygote.wait_exited()
                self._zygote = await _Zygote.start()
            return self._zygote

    def _ended(self, worker: Worker) -> None:
        for room, made in tuple(self._rooms.items()):
            if made.done() and not made.cancelled() and made.exception() is None and made.result() is worker:
                del self._rooms[room]
        asyncio.get_running_loop().create_task(self._gone(worker), name="worker-gone")

    async def _gone(self, worker: Worker) -> None:
        await worker.wait_exited()
        self._workers.discard(worker)
        self._warm()

    def _warm(self) -> None:
        """It is used now; when nothing was for long, let the engine go."""
        if self._cooling is not None:
            self._cooling.cancel()
        if not self._closed:
            self._cooling = asyncio.get_running_loop().call_later(limits.WORKER_WARM, self._cool)

    def _cool(self) -> None:
        if self._spare is not None and not self._spare.done():
            self._warm()  # it is being forked
            return
        spare = self._idle_spare()
        if self._zygote is None or self._workers - {spare}:
            return
        self._spare = None
        if spare is not None:
            spare.end("")
        self._zygote.end()

    def _idle_spare(self) -> Worker | None:
        spare = self._spare
        if spare is None or not spare.done() or spare.cancelled() or spare.exception() is not None:
            return None
        return spare.result()

    async def close(self) -> None:
        """End all of them. Idempotent."""
        self._closed = True
        if self._cooling is not None:
            self._cooling.cancel()
        if self._sparing is not None:
            self._sparing.cancel()
        if self._spare is not None:
            self._spare.cancel()
            await asyncio.wait([self._spare])
        workers = tuple(self._workers)
        for worker in workers:
            worker.end("")
        for worker in workers:
            await worker.wait_exited()
        async with self._starting:
            if self._zygote is not None:
                self._zygote.end()
                await self._zygote.wait_exited()
                self._zygote = None
