"""Short calls leave nothing behind. ``python -m tests.aio.soak 500`` does it for long."""

from __future__ import annotations

import pytest

from tests.aio.soak import soak

MEGABYTE = 1 << 20


@pytest.mark.timeout(240)
async def test_short_calls_leave_nothing_behind() -> None:
    before, after = await soak(calls=30, warm=15)
    assert after.fds <= before.fds
    assert after.tasks <= before.tasks
    assert after.threads <= before.threads + 1
    assert after.rss - before.rss < 15 * MEGABYTE
