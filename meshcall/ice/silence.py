"""When media that flowed has stopped: the path is looked at then, not at its next consent check.

Law 1: silence says nothing by itself: a peer may have muted. It is a reason for one check.
Law 2: what was never steady can't fall silent.
Law 3: those of one origin are looked at in one moment: seven links are not seven wake-ups.
"""

from __future__ import annotations

from math import ceil

from meshcall import limits

_NEVER = float("inf")


class Silence:
    """Counts what comes, window by window."""

    def __init__(self, origin: float) -> None:
        """``origin``: any moment; windows end whole windows after it."""
        self.at = _NEVER
        """When :meth:`look` is to be called."""
        self._origin = origin
        self._count = 0
        self._before = (0, 0)
        """What the last two windows brought: the end of a stream may fall into the midst of one."""

    def begin(self, now: float) -> None:
        """There is a path. Idempotent."""
        if self.at == _NEVER:
            self.at = self._end(now)

    def heard(self) -> None:
        """A datagram of media came."""
        self._count += 1

    def look(self, now: float) -> bool:
        """A window is over: whether nothing came in it after a steady stream; told once."""
        silent = not self._count and max(self._before) >= limits.ICE_SILENCE_PACKETS
        self._before = (0, 0) if silent else (self._before[1], self._count)
        flows = any(self._before)
        self._count = 0
        self.at = self._end(now) if flows else now + limits.CONSENT_INTERVAL
        return silent

    def _end(self, now: float) -> float:
        """Of the window that begins: after a look that came late it is shorter, by half at most."""
        window = limits.ICE_SILENCE
        return self._origin + window * ceil((now - self._origin) / window + 0.5)
