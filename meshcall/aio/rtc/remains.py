"""What connections that ended leave to Python's cyclic collector.

aiortc's objects hold each other, and with them encoders, filters and their threads: some 15 MB a call, which
a process that then does nothing would keep until it happens to collect.

Law 1: they are collected soon after the last connection of this process ended.
Law 2: never while there is one: that holds up the loop for some tens of ms, and a running call makes enough
objects to have them collected anyway.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from meshcall import limits


class Remains:
    """Of one process."""

    def __init__(self, collect: Callable[[], object] = gc.collect) -> None:
        self._collect = collect
        self._connections = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A connection is being made."""
        self._connections += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """One has ended: to be called once for each that began."""
        self._connections -= 1
        if not self._connections:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.MEDIA_REMAINS_AFTER, self._clear)

    def _clear(self) -> None:
        self._timer = None
        self._collect()


of_process = Remains()
"""That all endpoints share."""
