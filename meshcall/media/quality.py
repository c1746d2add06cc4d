"""Whether the path that carries a call is a good one. Pure.

It is degraded, in this order, while
``silent``: a consent check has had no answer for ``QUALITY_SILENT``; it may be dying;
``loss``: of the packets of the last ``QUALITY_WINDOW`` at least ``QUALITY_LOSS`` did not arrive;
``slow``: the round trip was longer than ``QUALITY_RTT`` three times in a row;
``narrow``: there is so little room on it that the pictures that we send are smaller or fewer, or none;
``cpu``: this machine is too slow for what it is to send, and sends fewer pictures, or smaller ones.

Law: a word holds for ``QUALITY_HOLD`` after its last sign, so that nothing flickers.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from meshcall import limits

Trouble = Literal["", "silent", "loss", "slow", "narrow", "cpu"]
"""What is wrong; empty: nothing."""

_ORDER: Final[tuple[Trouble, ...]] = ("silent", "loss", "slow", "narrow", "cpu")
_SLOW_ANSWERS: Final = 3


class Quality:
    """Watches one call's path."""

    def __init__(self) -> None:
        self._until: dict[Trouble, float] = {}
        self._slow = 0
        self._counts: deque[tuple[float, int, int]] = deque()

    def measured(self, rtt: float, now: float) -> None:
        """A check was answered after ``rtt`` seconds."""
        self._slow = self._slow + 1 if rtt > limits.QUALITY_RTT else 0
        if self._slow >= _SLOW_ANSWERS:
            self._sign("slow", now)

    def unanswered(self, seconds: float, now: float) -> None:
        """A check has waited for its answer for so long."""
        if seconds >= limits.QUALITY_SILENT:
            self._sign("silent", now)

    def counted(self, expected: int, lost: int, now: float) -> None:
        """Packets that the peer sent so far, and those of them that did not arrive."""
        counts = self._counts
        counts.append((now, expected, lost))
        while len(counts) > 2 and now - counts[1][0] >= limits.QUALITY_WINDOW:
            counts.popleft()
        sent, missing = expected - counts[0][1], lost - counts[0][2]
        if sent >= limits.QUALITY_PACKETS_MIN and missing >= limits.QUALITY_LOSS * sent:
            self._sign("loss", now)

    def narrowed(self, now: float) -> None:
        """What we send has smaller pictures than the peer could show, because the path carries no more."""
        self._sign("narrow", now)

    def overloaded(self, now: float) -> None:
        """This machine can't encode all that the peer could be sent."""
        self._sign("cpu", now)

    def trouble(self, now: float) -> Trouble:
        """What is wrong now."""
        return next((one for one in _ORDER if now < self._until.get(one, float("-inf"))), "")

    def _sign(self, trouble: Trouble, now: float) -> None:
        self._until[trouble] = now + limits.QUALITY_HOLD
