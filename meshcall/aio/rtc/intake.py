"""What comes out of a decoder: counted in its thread, and told to the loop if somebody takes it.

Law 1: what nobody takes does not reach the loop, but for the news of the first: each call of it costs more
than counting.
Law 2: nothing is kept here, and nothing goes into the queue of aiortc's track, which has no bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import av

Frame = av.AudioFrame | av.VideoFrame


class Intake:
    """Of one stream."""

    def __init__(self, first: Callable[[], None], take: Callable[[Frame], None]) -> None:
        """The loop calls ``first`` when something was decoded, and ``take`` with each frame that is taken."""
        self._loop = asyncio.get_running_loop()
        self._first = first
        self._take = take
        self.taken = False
        """Somebody takes frames."""
        self.frames = 0
        self.seconds = 0.0
        """Of sound."""

    # --- the thread's side ---

    def count(self, seconds: float = 0.0) -> None:
        """A picture, or so much sound, was decoded."""
        self.frames += 1
        self.seconds += seconds
        if self.frames == 1:
            self._tell(self._first)

    def put(self, frame: Frame) -> None:
        """It is this one."""
        if self.taken:
            self._tell(self._take, frame)

    def _tell(self, work: Callable[..., None], *arguments: Frame) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(work, *arguments)
