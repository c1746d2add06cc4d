"""Octets per second: a token bucket whose level may be spent in any amount."""

from __future__ import annotations

from meshcall.limits import TURN_BURST


class Bandwidth:
    """``rate`` octets a second; what is not used is saved up for ``TURN_BURST`` seconds."""

    __slots__ = ("_burst", "_level", "_rate", "_since")

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._since = rate, now
        self._burst = self._level = rate * TURN_BURST

    def spend(self, octets: int, now: float) -> bool:
        """Whether so many may pass now."""
        level = self._level + (now - self._since) * self._rate
        self._since = now
        if level > self._burst:
            level = self._burst
        if level < octets:
            self._level = level
            return False
        self._level = level - octets
        return True
