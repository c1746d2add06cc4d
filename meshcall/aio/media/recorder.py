"""The recorder: takes decoded frames on the loop, writes them in a thread.

Law 1: a recording that fails never ends a call; it is reported once and what was written is kept.
Law 2: a slow disk costs frames of the recording, counted, and never memory without bound.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import av.error

from meshcall import limits
from meshcall.aio.media.threads import wait_threads
from meshcall.aio.media.writer import Frame, Writer
from meshcall.errors import FileError
from meshcall.media.plan import MediaKind


class Recorder:
    """Records one call to one file."""

    def __init__(
        self,
        path: Path,
        kinds: frozenset[MediaKind],
        on_failed: Callable[[str], None],
        *,
        start: float | None = None,
    ) -> None:
        """``kinds``: what is expected to arrive. ``on_failed`` is called at most once, with a sentence.

        ``start``: when the recording begins, by the loop's clock, if not now.
        """
        self._path = path
        self._writer = Writer(path, kinds)
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self.start = self._loop.time() if start is None else start
        self._queue: queue.SimpleQueue[tuple[Frame, float] | None] = queue.SimpleQueue()
        self._octets_put = 0  # written by the loop only
        self._octets_done = 0  # written by the thread only
        self._failed = False
        self._closed = False
        self.dropped: Counter[MediaKind] = Counter()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def frames(self) -> dict[str, int]:
        """Frames written, by kind."""
        return dict(self._writer.frames)

    @property
    def path(self) -> str | None:
        """The file, if it was made."""
        return str(self._path) if self._writer.created else None

    def put(self, kind: MediaKind, frame: Frame) -> None:
        """Record ``frame``, which just arrived; the frame is the recorder's from now on."""
        if self._failed or self._closed:
            return
        octets = _octets(frame)
        if self._octets_put - self._octets_done + octets > limits.RECORD_QUEUE_MAX:
            self.dropped[kind] += 1
            return
        self._octets_put += octets
        self._queue.put((frame, self._loop.time() - self.start))

    async def close(self) -> None:
        """Write what is queued, and the index; may be called again."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if not await wait_threads([self._thread], limits.RECORD_CLOSE_TIMEOUT):
            self._report("the recording could not be finished in time")
        await asyncio.sleep(0)  # for a report of the thread that is on its way

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._writer.write(*item)
                self._octets_done += _octets(item[0])
            self._writer.finish()
        except (FileError, OSError, av.error.FFmpegError, ValueError) as error:
            self._failed = True
            with suppress(OSError, av.error.FFmpegError, ValueError):
                self._writer.abandon()
            message = sentence(error, self._path)
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._report, message)

    def _report(self, message: str) -> None:
        report, self._on_failed = self._on_failed, _ignore
        report(message)


def _octets(frame: Frame) -> int:
    if isinstance(frame, av.VideoFrame):
        return frame.width * frame.height * 3 // 2
    return frame.samples * 4


def sentence(error: Exception, path: Path) -> str:
    """Why a recording ended early, for people."""
    if isinstance(error, FileError):
        return str(error)
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return f"recording to {str(path)!r} stopped: {reason}"


def _ignore(_: str) -> None:
    """Nobody is told twice."""
