"""How much less a machine does that can't keep up, a step at a time. Pure.

Law 1: one step more each time that the load was high for long enough; a moment is no reason.
Law 2: one step back, as a try, after it was low for a while, and after twice as long each time that a try did
not hold. Steps that follow each other at once are no tries.
"""

from __future__ import annotations

from meshcall import limits


class Degree:
    """Of one load, in whatever it is measured in."""

    def __init__(self, *, high: float, high_after: float, low: float, most: int) -> None:
        """``high``: from which on it is too much, after ``high_after`` seconds of it.

        ``low``: from which down more could be borne. ``most``: steps that there are.
        """
        self.degree = 0
        """Steps that are taken."""
        self._high, self._high_after, self._low, self._most = high, high_after, low, most
        self._patience = limits.CPU_LOW_AFTER
        self._high_since: float | None = None
        self._low_since: float | None = None
        self._tried: float | None = None
        """When a step was taken back last, if no step was taken since."""

    def limit(self, most: int) -> None:
        """There are so many steps from now on."""
        self._most = most
        self.degree = min(self.degree, most)

    def measured(self, load: float, now: float) -> bool:
        """The load is this; whether a step is taken, or taken back."""
        self._high_since = since(self._high_since, load >= self._high, now)
        self._low_since = since(self._low_since, load <= self._low, now)
        before = self.degree
        if self._high_since is not None and now - self._high_since >= self._high_after:
            self._judge_try(now)
            self._change(min(self._most, self.degree + 1))
        elif self.degree and self._low_since is not None and now - self._low_since >= self._patience:
            self._tried = now
            self._change(self.degree - 1)
        return self.degree != before

    def _judge_try(self, now: float) -> None:
        """The last one is over, whether it held or not."""
        if self._tried is not None:
            held = now - self._tried >= 2 * self._patience
            self._patience = (
                limits.CPU_LOW_AFTER if held else min(2 * self._patience, limits.CPU_LOW_AFTER_MAX)
            )
            self._tried = None

    def _change(self, degree: int) -> None:
        self.degree = degree
        self._high_since = self._low_since = None


def since(last: float | None, holds: bool, now: float) -> float | None:
    """Since when something holds; ``last``: as of the look before this one."""
    if not holds:
        return None
    return now if last is None else last
