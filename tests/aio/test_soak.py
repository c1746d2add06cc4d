"""Short calls leave nothing behind. ``python -m tests.aio.soak 500`` does it for long."""

from __future__ import annotations

import pytest

from tests.aio.soak import soak

MEGABYTE = 1 << 20


@pytest.mark.timeout(240)
async def test_short_calls_leave_nothing_behind() -> None:
    """After some calls, more of them add no descriptor, task or thread, and no memory.

    What the process has of the system is printed only: what is free but can't be given back comes and goes.
    """
    weights = await soak(calls=35, warm=15, every=5)
    print(*weights, sep="\n")
    first, last = weights[0], weights[-1]
    assert last.fds <= first.fds
    assert last.tasks <= first.tasks
    assert last.threads <= first.threads + 1
    assert last.used - first.used < MEGABYTE, "one encoder that stays is 15 MB"
    assert last.blocks - first.blocks < 1000, "one call that stays is some thousands"
