"""The clocks and the random source: the only module that reads either.

Law 1: everything else is handed a :class:`Clock` or a time, so a test can hand it another.
Law 2: timers use ``now``, which never jumps; only what is compared with other machines uses ``now_ms``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Two clocks in one."""

    def now(self) -> float:
        """Monotonic seconds with an arbitrary zero: for timers. The same clock as the event loop's."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds: for records, which other machines read. Jumps when somebody sets the clock."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000


def time_asleep() -> float:
    """Seconds that the machine has slept since some moment; only differences mean something.

    Linux counts sleep in one clock and not in the other. Elsewhere the wall clock tells it, and setting that
    looks like sleep.
    """
    awake = time.monotonic()
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - awake
    return time.time() - awake


system_random: Final[Callable[[int], bytes]] = os.urandom
"""That many octets from the operating system's random source."""
