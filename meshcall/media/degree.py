"""How much less a machine does that can't keep up, a step at a time. Pure.

Law 1: one step more each time that the load was high for long enough; a moment is no reason.
Law 2: one step back after it was low for a while, and after twice as long each time that this did not hold.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which a load may be, in whatever it is measured in."""

    high: float
    """From which on it is too much,"""
    high_after: float
    """after so many seconds."""
    low: float
    """From which down more could be borne,"""
    low_after: float
    """after so many seconds;"""
    low_after_max: float
    """at most, after tries that failed."""


class Degree:
    """Of one load."""

    def __init__(self, bounds: Bounds, most: int) -> None:
        """``most``: steps that there are."""
        self.degree = 0
        """Steps that are taken."""
        self._most = most
        self._bounds = bounds
        self._patience = bounds.low_after
        self._high_since: float | None = None
        self._low_since: float | None = None
        self._changed = float("-inf")

    def limit(self, most: int) -> None:
        """There are so many steps from now on."""
        self._most = most
        self.degree = min(self.degree, most)

    def measured(self, load: float, now: float) -> bool:
        """The load is this; whether a step is taken, or taken back."""
        bounds = self._bounds
        self._high_since = since(self._high_since, load >= bounds.high, now)
        self._low_since = since(self._low_since, load <= bounds.low, now)
        before = self.degree
        if self._high_since is not None and now - self._high_since >= bounds.high_after:
            if now - self._changed < 2 * self._patience:  # the last try was one too many
                self._patience = min(2 * self._patience, bounds.low_after_max)
            self._change(min(self._most, self.degree + 1), now)
        elif self.degree and self._low_since is not None and now - self._low_since >= self._patience:
            self._change(self.degree - 1, now)
        return self.degree != before

    def _change(self, degree: int, now: float) -> None:
        self.degree, self._changed = degree, now
        self._high_since = self._low_since = None


def since(last: float | None, holds: bool, now: float) -> float | None:
    """Since when something holds; ``last``: as of the look before this one."""
    if not holds:
        return None
    return now if last is None else last
