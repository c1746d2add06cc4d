"""The lowest value of the last seconds, in constant memory. Pure.

Law: a value counts for at least the window, and for about twice as long at most.
"""

from __future__ import annotations


class Lowest:
    """Two windows, one after the other: the running one, and the one before."""

    def __init__(self, window: float) -> None:
        """``window``: seconds."""
        self._window = window
        self._since: float | None = None
        self._running = float("inf")
        self._before = float("inf")

    def add(self, value: float, now: float) -> float:
        """Take a value; returns the lowest of late."""
        if self._since is None:
            self._since = now
        if now - self._since >= self._window:
            self._before = self._running if now - self._since < 2 * self._window else float("inf")
            self._running, self._since = value, now
        self._running = min(self._running, value)
        return min(self._running, self._before)
