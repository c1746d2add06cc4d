"""Loaded by Python programs with a wrong clock (:mod:`netsim.clock`), before anything else.

libfaketime 0.9.10 makes ``clock_nanosleep`` on the monotonic clock fail with EINVAL; it leaves ``select``
alone.
"""

from __future__ import annotations

import select
import time


def sleep(seconds: float) -> None:
    """``time.sleep`` by another system call."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


setattr(time, "sleep", sleep)  # noqa: B010 - an assignment would have to repeat the type of the original
