"""Short calls leave nothing behind. ``python -m tests.aio.soak 500`` does it for long."""

from __future__ import annotations

import pytest

from tests.aio.soak import soak

MEGABYTE = 1 << 20


@pytest.mark.timeout(240)
async def test_short_calls_leave_nothing_behind() -> None:
    """After some calls, more of them add no descriptor, task or thread, and no memory that stays.

    What is free but can't be given back comes and goes by 30 MB, so the least of several looks counts.
    """
    weights = await soak(calls=35, warm=15, every=5)
    first, last = weights[:4], weights[4:]
    assert len(last) == 4
    print(*weights, sep="\n")
    assert weights[-1].fds <= weights[0].fds
    assert weights[-1].tasks <= weights[0].tasks
    assert weights[-1].threads <= weights[0].threads + 1
    assert min(one.rss for one in last) - min(one.rss for one in first) < 15 * MEGABYTE
