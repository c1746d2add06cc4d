"""Sound and pictures on one clock, and holds that bring them together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.sync import StreamClock, Sync


def ntp(seconds: float) -> int:
    return round(seconds * 2**32)


def run(sync: Sync, sound: float, picture: float, seconds: float, begin: float = 0.0) -> None:
    """Both streams of a sender whose clock shows 3.9e9 s at 0, with these delays; sound waits as asked."""
    for number in range(round(begin * 30), round((begin + seconds) * 30)):
        moment = number / 30
        if number % 30 == 0:
            sync.sound.report(ntp(3.9e9 + moment), (7 + round(moment * 48_000)) & 0xFFFFFFFF)
            sync.pictures.report(ntp(3.9e9 + moment), (2**32 - 9 + round(moment * 90_000)) & 0xFFFFFFFF)
        sync.sound_played((7 + round(moment * 48_000)) & 0xFFFFFFFF, 50 + moment + sound + sync.wait)
        sync.picture_came((2**32 - 9 + round(moment * 90_000)) & 0xFFFFFFFF, 50 + moment + picture)


def test_a_clock_is_known_after_its_first_report() -> None:
    """Before and after the report's moment, across the wrap."""
    clock = StreamClock(48_000)
    assert clock.moment(0) is None
    clock.report(ntp(1000.0), 2**32 - 48_000)
    assert clock.moment(0) == pytest.approx(1001.0)
    assert clock.moment(2**32 - 96_000) == pytest.approx(999.0)


@pytest.mark.parametrize(("sound", "picture"), [(0.12, 0.02), (0.06, 0.01), (0.02, 0.12), (0.03, 0.02)])
def test_sound_and_pictures_come_together(sound: float, picture: float) -> None:
    """Whichever comes later; within the slack nothing waits."""
    sync = Sync(48_000, 90_000)
    assert sync.offset is None
    run(sync, sound, picture, 10)
    assert sync.offset == pytest.approx(0.0, abs=limits.SYNC_SLACK + 0.002)
    if abs(sound - picture) <= limits.SYNC_SLACK:
        assert sync.hold == sync.wait == 0.0
    run(sync, 0.02, 0.02, 10, begin=10)
    assert sync.hold == sync.wait == 0.0


def test_nonsense_is_bounded() -> None:
    """Reports hours apart hold nothing for more than the most."""
    sync = Sync(48_000, 90_000)
    sync.sound.report(ntp(5.0), 0)
    sync.pictures.report(ntp(50_000.0), 0)
    for number in range(300):
        sync.sound_played(number * 1600, 100 + number / 30)
        sync.picture_came(number * 3000, 100 + number / 30)
        assert 0 <= sync.hold <= limits.SYNC_HOLD_MAX
        assert 0 <= sync.wait <= limits.SYNC_HOLD_MAX


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 3), st.floats(0, 1e6)),
        max_size=60,
    )
)
def test_any_reports_are_bounded(events: list[tuple[int, int, int, float]]) -> None:
    """Whatever a peer says."""
    sync = Sync(48_000, 90_000)
    for moment, timestamp, what, at in events:
        match what:
            case 0:
                sync.sound.report(moment, timestamp)
            case 1:
                sync.pictures.report(moment, timestamp)
            case 2:
                sync.sound_played(timestamp, at)
            case _:
                sync.picture_came(timestamp, at)
        assert 0 <= sync.hold <= limits.SYNC_HOLD_MAX
        assert 0 <= sync.wait <= limits.SYNC_HOLD_MAX
