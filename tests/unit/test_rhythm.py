"""Timers of many calls ring together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshcall.aio.rhythm import until_next

INTERVALS = st.floats(0.01, 10)
MOMENTS = st.floats(0, 1e7)


@given(INTERVALS, MOMENTS, MOMENTS)
def test_the_next_time_is_within_an_interval_and_never_now(
    interval: float, now: float, origin: float
) -> None:
    """A timer of no time at all would ring for ever."""
    assert 0 < until_next(interval, now, origin) <= interval


def test_whoever_asks_within_an_interval_is_told_the_same_time() -> None:
    """Whenever in it."""
    assert {round(now + until_next(0.5, now, 0.0), 9) for now in (7.0, 7.1, 7.499)} == {7.5}
