"""Time and randomness that a test decides."""

from __future__ import annotations

import random as _random
from collections.abc import Callable


class FakeClock:
    """A clock that moves only when it is told to. Fits :class:`meshcall.aio.clock.Clock`."""

    def __init__(self, now: float = 1000.0, now_ms: int = 1_800_000_000_000) -> None:
        """``now``: monotonic seconds to start with; ``now_ms``: unix milliseconds."""
        self._now = now
        self._start = now
        self._start_ms = now_ms

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._start_ms + round((self._now - self._start) * 1000)

    def advance(self, seconds: float) -> float:
        """Let ``seconds`` pass; returns the new time."""
        return self.advance_to(self._now + seconds)

    def advance_to(self, when: float) -> float:
        """Let time pass until ``when``; raises ValueError if that is in the past."""
        if when < self._now:
            raise ValueError(f"time does not go back: {when} < {self._now}")
        self._now = when
        return when

    def set_wall_clock(self, now_ms: int) -> None:
        """What somebody does who sets the machine's clock: unix time jumps, timers do not."""
        self._start_ms = now_ms - round((self._now - self._start) * 1000)


def seeded_random(seed: int | str) -> Callable[[int], bytes]:
    """Octets that are the same in every run: for tests, never for keys that anybody relies on."""
    return _random.Random(seed).randbytes  # noqa: S311 - repeatable on purpose
