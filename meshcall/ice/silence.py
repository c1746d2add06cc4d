"""When media that flowed has stopped: the path is looked at then, not at its next consent check.

Law 1: silence says nothing by itself: a peer may have muted. It is a reason for one check.
Law 2: what was never steady can't fall silent.
"""

from __future__ import annotations

from meshcall import limits

_NEVER = float("inf")


class Silence:
    """Counts what comes, window by window."""

    def __init__(self) -> None:
        self.at = _NEVER
        """When :meth:`look` is to be called."""
        self._count = 0
        self._before = (0, 0)
        """What the last two windows brought: the end of a stream may fall into the midst of one."""

    def begin(self, now: float) -> None:
        """There is a path. Idempotent."""
        if self.at == _NEVER:
            self.at = now + limits.ICE_SILENCE

    def heard(self) -> None:
        """A datagram of media came."""
        self._count += 1

    def look(self, now: float) -> bool:
        """A window is over: whether nothing came in it after a steady stream; told once."""
        silent = not self._count and max(self._before) >= limits.ICE_SILENCE_PACKETS
        self._before = (0, 0) if silent else (self._before[1], self._count)
        flows = any(self._before)
        self._count = 0
        self.at = now + (limits.ICE_SILENCE if flows else limits.CONSENT_INTERVAL)
        return silent
