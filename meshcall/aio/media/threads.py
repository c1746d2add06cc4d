"""Threads that read, encode, decode and write, and the bounded hand-over between them and the event loop.

Law 1: the loop never waits for a thread.
Law 2: every thread ends soon after its feed or queue is closed.
Law 3: a call into the loop wakes it up, which costs more than most of what is called: one for what is made,
none for each step on the way to it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_POLL = 0.002
"""Seconds between looks at a thread that is about to end."""


async def call_in_thread(function: Callable[[], T], *, name: str, timeout: float) -> T:
    """Run ``function`` in a thread of its own; raises what it raises, or TimeoutError.

    Not the loop's executor: a device that hangs would keep a place there, and hold up the end of the program.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if T is

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:  # noqa: BLE001 - handed to the caller
            error = caught
        call_in_loop(loop, settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    async with asyncio.timeout(timeout):
        return await future


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[*Ts], object], *args: *Ts) -> None:
    """From a thread. A loop that is closed has nobody left who waits for it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


async def wait_threads(threads: Iterable[threading.Thread], timeout: float) -> bool:
    """Wait until all have ended; whether they did within ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    for thread in threads:
        while thread.is_alive():
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL)
    return True


class Feed(Generic[T]):
    """A bounded queue from one thread to another."""

    def __init__(self, size: int, *, newest: bool = False) -> None:
        """``newest``: when full, drop the oldest item instead of holding up the thread (live sources)."""
        self._items: deque[T] = deque()
        self._size = size
        self._newest = newest
        self._change = threading.Condition()
        self._closed = False
        self._complete = False
        self.dropped = 0

    # the side of the thread that reads a source

    def put(self, item: T) -> bool:
        """Add an item, waiting for room; False when nobody wants any more."""
        with self._change:
            if self._newest:
                while len(self._items) >= self._size:
                    self._items.popleft()
                    self.dropped += 1
            else:
                self._change.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                return False
            self._items.append(item)
            self._change.notify_all()
        return True

    @property
    def closed(self) -> bool:
        """Nobody wants any more."""
        return self._closed

    def wait_closed(self, timeout: float) -> bool:
        """Wait until nobody wants any more; whether that is so after ``timeout`` seconds."""
        with self._change:
            return self._change.wait_for(lambda: self._closed, timeout)

    def end(self) -> None:
        """No more items will come."""
        with self._change:
            self._complete = True
            self._change.notify_all()

    # the side of the thread that sends it

    @property
    def ended(self) -> bool:
        """Everything that came was taken, and no more will come."""
        return self._complete and not self._items

    def peek(self, position: int = 0) -> T | None:
        """The item at ``position``, which stays; None when it is not there yet."""
        with self._change:
            return self._items[position] if position < len(self._items) else None

    def pop(self) -> T | None:
        """Take the first item, if there is one."""
        with self._change:
            if not self._items:
                return None
            item = self._items.popleft()
            self._change.notify_all()
        return item

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is an item, the end, or ``timeout`` seconds are over; whether there is an item."""
        with self._change:
            self._change.wait_for(lambda: self._items or self._complete, timeout)
            return bool(self._items)

    def close(self) -> None:
        """Let both threads go and forget the items."""
        with self._change:
            self._closed = True
            self._complete = True
            self._items.clear()
            self._change.notify_all()


class Ahead(Generic[T]):
    """A feed without a thread behind it: items of an iterator that waits for nothing, made one by one."""

    def __init__(self, items: Generator[T, None, None]) -> None:
        """The first item is made here."""
        self._items = items
        self._next: T | None = next(items, None)
        self._complete = self._next is None

    @property
    def ended(self) -> bool:
        """See :class:`Feed`."""
        return self.peek() is None

    def peek(self) -> T | None:
        """See :class:`Feed`."""
        if self._next is None and not self._complete:
            self._next = next(self._items, None)
            self._complete = self._complete or self._next is None
        return self._next

    def pop(self) -> T | None:
        """See :class:`Feed`."""
        item = self.peek()
        self._next = None
        return item

    def wait(self, timeout: float | None = None) -> bool:
        """See :class:`Feed`; there is nothing to wait for."""
        return self.peek() is not None

    def close(self) -> None:
        """Make no more."""
        self._complete = True

    def release(self) -> None:
        """Let go of what the items came from, once no thread takes any."""
        self._items.close()


class Lane(Generic[T]):
    """A thread that works on what the loop hands it, one after the other."""

    def __init__(self, work: Callable[[T], None], size: int, name: str) -> None:
        """At most ``size`` items wait. What ``work`` raises ends neither the thread nor anything else."""
        self._work = work
        self._size = size
        self._items: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._begin: float | None = None
        self._spent = 0.0
        self._asked = time.perf_counter()
        self.failures = 0
        """How often ``work`` raised."""
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def put(self, item: T) -> bool:
        """Hand an item over; False when as many wait already, or the lane is closed."""
        if self._closed or self._items.qsize() >= self._size:
            return False
        self._items.put((item,))
        return True

    def close(self) -> None:
        """End the thread after what it is at; the others that wait are dropped. Idempotent."""
        self._closed = True
        with suppress(queue.Empty):  # the thread takes from it at the same time
            while True:
                self._items.get_nowait()
        self._items.put(None)

    def load(self) -> float:
        """The share of the time since it was asked last that the thread was at work, 0 to 1."""
        now = time.perf_counter()
        with self._lock:
            spent = self._spent
            if self._begin is not None:
                spent += now - self._begin
                self._begin = now
            share = spent / max(1e-9, now - self._asked)
            self._spent, self._asked = 0.0, now
        return min(1.0, share)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            with self._lock:
                self._begin = time.perf_counter()
            try:
                self._work(item[0])
            except Exception:  # noqa: BLE001 - whatever FFmpeg raises for one frame; the next one may do
                self.failures += 1
            with self._lock:
                self._spent += time.perf_counter() - (self._begin or 0.0)
                self._begin = None
