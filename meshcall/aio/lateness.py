"""How late the event loop is with what it does, for all who want to know.

What this machine itself reads late is no lateness of a peer's link; and a loop that is late all the time has
more to do than this machine can.

Law 1: one timer for all, while somebody listens.
Law 2: who listens is told of each look, and may ask between two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from meshcall import limits

Listener = Callable[[float, float], None]
"""Takes by how many seconds the loop is late, and when."""


class Lateness:
    """Of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: list[Listener] = []
        self._due: float | None = None
        """When the loop is to look again; None: it does not look."""

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` from the next look on."""
        self._listeners.append(listener)
        if self._due is None:
            self._look_soon()

    def forget(self, listener: Listener) -> None:
        """Tell it no more. Idempotent."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    @property
    def listened(self) -> bool:
        """Whether anybody does."""
        return bool(self._listeners)

    def now(self, at: float) -> float:
        """Seconds by which a look is late ``at`` this moment: sockets are read before timers."""
        return 0.0 if self._due is None else max(0.0, at - self._due)

    def tell(self, late: float, at: float) -> None:
        """It is ``late`` seconds late ``at`` this moment."""
        for listener in tuple(self._listeners):
            listener(late, at)

    def _look_soon(self) -> None:
        self._due = self._loop.time() + limits.ARRIVALS_PROBE
        self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        at = self._loop.time()
        late, self._due = self.now(at), None
        self.tell(late, at)
        if self._listeners:
            self._look_soon()


_of_loops: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Lateness]] = WeakKeyDictionary()


def lateness_of_loop() -> Lateness:
    """Of the loop that runs."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = Lateness(loop)
    return _of_loops[loop]
