"""A bounded queue between a node's events and one reader of them.

Law: a reader that is too slow costs a fixed amount of memory, is told so once, and gets nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from meshcall.control.models import LISTENER_QUEUE
from meshcall.views import Lagged, View


async def close_events(source: AsyncIterator[object]) -> None:
    """Tell the source of events that nobody listens any more, if it wants to know."""
    if (aclose := getattr(source, "aclose", None)) is not None:
        await aclose()


class Listener:
    """Takes events from a source as they come, gives them to one reader as fast as it reads."""

    def __init__(self, source: AsyncIterator[View], *, size: int = LISTENER_QUEUE) -> None:
        self._source = source
        self._size = size
        self._queue: asyncio.Queue[View | None] = asyncio.Queue()

    async def fill(self) -> None:
        """Move events until the source ends or the reader lags. Run it as a task beside the reader."""
        try:
            async for event in self._source:
                if self._queue.qsize() >= self._size:
                    self._queue.put_nowait(Lagged(at_ms=int(time.time() * 1000), dropped=1))
                    return
                self._queue.put_nowait(event)
        finally:
            self.end()

    def end(self) -> None:
        """Let the reader finish what is queued, then stop. Idempotent."""
        self._queue.put_nowait(None)

    async def read(self) -> AsyncIterator[View]:
        """The events, until the end."""
        while (event := await self._queue.get()) is not None:
            yield event
