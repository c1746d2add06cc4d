"""One teller, many listeners.

Law 1: a listener sees everything from the moment it subscribes, in order.
Law 2: telling never waits: a listener that does not read is dropped, and learns that it was.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Tells values to whoever listens."""

    def __init__(self, capacity: int, lagged: Callable[[int], T] | None = None) -> None:
        """``capacity``: how many unread values a listener may have. ``lagged(n)`` makes the last value that a
        listener gets which was too slow; None: it just ends.
        """
        self._capacity = capacity
        self._lagged = lagged
        self._listeners: weakref.WeakSet[_Listener[T]] = weakref.WeakSet()
        self._closed = False

    def publish(self, value: T) -> None:
        """Tell ``value`` to everybody who listens now."""
        for listener in list(self._listeners):
            if listener.unread.qsize() >= self._capacity:
                self._listeners.discard(listener)
                if self._lagged is not None:
                    listener.unread.put_nowait(self._lagged(listener.unread.qsize()))
                listener.unread.put_nowait(None)
            else:
                listener.unread.put_nowait(value)

    def subscribe(self, first: Iterable[T] = ()) -> AsyncIterator[T]:
        """``first``, then every value from now on; ends when the teller closes."""
        listener: _Listener[T] = _Listener(self._listeners.discard)
        for value in first:
            listener.unread.put_nowait(value)
        if self._closed:
            listener.unread.put_nowait(None)
        else:
            self._listeners.add(listener)
        return listener

    def close(self) -> None:
        """No more values: every listener ends after what it has not read yet."""
        self._closed = True
        for listener in self._listeners:
            listener.unread.put_nowait(None)
        self._listeners.clear()


class _Listener(AsyncIterator[T]):
    """One subscription; dropping it (or ``aclose``) ends it."""

    def __init__(self, leave: Callable[[_Listener[T]], None]) -> None:
        self.unread: asyncio.Queue[T | None] = asyncio.Queue()
        self._leave = leave
        self._ended = False

    async def __anext__(self) -> T:
        if self._ended:
            raise StopAsyncIteration
        value = await self.unread.get()
        if value is None:
            self._ended = True
            raise StopAsyncIteration
        return value

    async def aclose(self) -> None:
        """Stop listening."""
        self._ended = True
        self._leave(self)
