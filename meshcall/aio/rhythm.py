"""When what is done again and again is done: for all calls of a process in one wake-up of its event loop.

A member of a room of eight has seven links, each of which looks at its rate, its quality, its addresses. Each
at a time of its own, these wake the loop two hundred times a second.

Law: nothing comes later than its interval after it was asked for.
"""

from __future__ import annotations

import time
from typing import Final

ORIGIN: Final = time.monotonic()
"""Of this process: those of one machine need not ring together."""


def until_next(interval: float, now: float, origin: float = ORIGIN) -> float:
    """Seconds from ``now``, of a monotonic clock, until the next whole multiple of ``interval``."""
    return interval - (now - origin) % interval
