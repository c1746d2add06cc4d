"""Pictures that are held until their sound comes out.

Law 1: the order stays.
Law 2: what is held is bounded: when there are too many, the oldest go at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import av

from meshcall import limits

Frame = av.AudioFrame | av.VideoFrame


class Holding:
    """Of one stream."""

    def __init__(self, deliver: Callable[[Frame], None]) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, Frame]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, frame: Frame, seconds: float) -> None:
        """Deliver ``frame`` in so many seconds, after those that are held."""
        if not self._held and seconds <= 0:
            self._deliver(frame)
            return
        self._held.append((self._loop.time() + seconds, frame))
        while len(self._held) > limits.PICTURES_HELD_MAX:
            self._deliver(self._held.popleft()[1])
        self._set()

    def close(self) -> None:
        """Forget what is held. Idempotent."""
        self._held.clear()
        self._set()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._timer = self._loop.call_at(self._held[0][0], self._release)

    def _release(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            self._deliver(self._held.popleft()[1])
        self._set()
