"""What connections that ended leave to Python's cyclic collector, and to glibc.

aiortc's objects hold each other, and with them encoders, filters and their threads: some 15 MB a call, which
a process that then does nothing would keep until it happens to collect. And what is free then lies between
what is not: glibc would keep 50 MB of it after some dozen calls.

Law 1: garbage is collected soon after the last connection of this process ended.
Law 2: never while there is one: that holds up the loop for some tens of ms, and a running call makes enough
objects to have them collected anyway.
Law 3: what is free is given back soon after any of them ended: that takes a few ms.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from meshcall import limits
from meshcall.memory import trim_heap


class Remains:
    """Of one process."""

    def __init__(
        self, collect: Callable[[], object] = gc.collect, give_back: Callable[[], None] = trim_heap
    ) -> None:
        self._collect = collect
        self._give_back = give_back
        self._connections = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A connection is being made: nothing is done now that holds it up."""
        self._connections += 1
        self._cancel()

    def end(self) -> None:
        """One has ended: to be called once for each that began."""
        self._connections -= 1
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(limits.MEDIA_REMAINS_AFTER, self._clear)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _clear(self) -> None:
        self._timer = None
        if not self._connections:
            self._collect()
        self._give_back()


of_process = Remains()
"""That all endpoints share."""
