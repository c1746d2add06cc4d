"""Waiting for sockets without an event loop: for a program that does one thing and is to stay small.

Law: one thread owns a Poll; another thread, or a signal, wakes it with a byte into a socket that it reads.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any


class Poll:
    """Calls whoever waits for a descriptor that can be read now."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], object]] = {}

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` whenever ``fd`` can be read."""
        self._readers[fd] = lambda: callback(*args)
        self._poll.register(fd, select.POLLIN)

    def remove_reader(self, fd: int) -> None:
        """Do so no more."""
        if self._readers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def run_once(self, seconds: float) -> None:
        """Wait at most so long for something to read, and have it read."""
        # rounded up: a timer is never looked at just before it is due, again and again
        for fd, _ in self._poll.poll(int(max(0.0, seconds) * 1000) + 1):
            reader = self._readers.get(fd)
            if reader is not None:
                reader()
