"""Whether this machine keeps up with what it receives, and how much smaller it asks pictures to be. Pure.

A machine that does not gets to its packets late, all of them: sound breaks up, checks of paths go unanswered,
and links that work are given up and made anew, which costs still more.

Law 1: it is judged by how late the event loop is with everything, on the average of a while.
Law 2: sound comes first: pictures are asked for smaller, step by step, and at last none.
Law 3: more is tried again after a while, and after twice as long each time that it was too much (Degree).
"""

from __future__ import annotations

from typing import Final

from meshcall import limits
from meshcall.media.degree import Degree
from meshcall.media.layers import LADDER
from meshcall.room.crowd import Shown

STEPS: Final[tuple[Shown, ...]] = (*((layer.height, layer.fps) for layer in LADDER), (0, 0))
"""From the largest pictures that are sent down to none."""


class Strain:
    """Of one machine in one room."""

    def __init__(self, wanted: Shown) -> None:
        """``wanted``: what a machine asks for that keeps up, one of the steps."""
        self._first = STEPS.index(wanted)
        self._degree = Degree(
            high=limits.STRAIN_LATE,
            high_after=limits.STRAIN_AFTER,
            low=limits.STRAIN_CALM,
            most=len(STEPS) - 1 - self._first,
        )
        self._late = 0.0
        self._looks = 0
        self._since: float | None = None

    @property
    def shown(self) -> Shown:
        """What is asked for."""
        return STEPS[self._first + self._degree.degree]

    @property
    def strained(self) -> bool:
        """Whether that is less than what is wanted."""
        return self._degree.degree > 0

    def want(self, wanted: Shown) -> None:
        """From now on."""
        self._first = STEPS.index(wanted)
        self._degree.limit(len(STEPS) - 1 - self._first)

    def looked(self, late: float, now: float) -> bool:
        """The loop is ``late`` seconds late at ``now``; whether something else is asked for."""
        if self._since is None:
            self._since = now
        self._late += late
        self._looks += 1
        if now - self._since < limits.STRAIN_LOOK:
            return False
        mean = self._late / self._looks
        self._late, self._looks, self._since = 0.0, 0, now
        return self._degree.measured(mean, now)
