"""Sound and pictures on one clock, and holds that bring them together."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.sync import StreamClock, Sync

FRAME = 1 / 30
Delay = Callable[[int], float]


def ntp(seconds: float) -> int:
    return round(seconds * 2**32)


def sound_time(moment: float) -> int:
    return (7 + round(moment * 48_000)) & 0xFFFFFFFF


def picture_time(moment: float) -> int:
    return (2**32 - 9 + round(moment * 90_000)) & 0xFFFFFFFF


def report(sync: Sync, moment: float, set_by: float = 0.0) -> None:
    """Of both streams, by a clock that shows 3.9e9 s at 0 and was set by so much."""
    sync.sound_reported(ntp(3.9e9 + moment + set_by), sound_time(moment))
    sync.pictures_reported(ntp(3.9e9 + moment + set_by), picture_time(moment))


def run(
    sync: Sync, lag: float, picture: float | Delay, seconds: float, begin: float = 0.0
) -> list[tuple[float, float]]:
    """Sound and pictures of a sender; of each picture how late it is shown, and how late sound is then.

    ``lag``: of sound, unless it is asked for more; ``picture``: how late pictures come, in their order.
    """
    shown: list[tuple[float, float]] = []
    last = 0.0
    for number in range(round(begin / FRAME), round((begin + seconds) / FRAME)):
        moment = number * FRAME
        if number % 30 == 0:
            report(sync, moment)
        late = max(lag, sync.least)
        sync.sound_played(sound_time(moment), 50 + moment + late, late)
        takes = picture(number) if callable(picture) else picture
        came = last = max(last, 50 + moment + takes)
        sync.picture_came(picture_time(moment), came)
        shown.append((came + sync.hold(picture_time(moment), came) - 50 - moment, late))
    return shown


def test_pictures_that_came_alone_are_not_held_when_sound_begins() -> None:
    """What is judged at each fifth picture is judged at the first one for which it matters."""
    sync = Sync(48_000, 90_000)
    report(sync, 0.0)
    for number in range(200):  # from the hundredth on they come earlier: a clock that was corrected
        sync.picture_came(picture_time(number * FRAME), 50 + number * FRAME + (0.5 if number < 100 else 0.0))
    shown = run(sync, 0.02, 0.0, 2.0, begin=200 * FRAME)
    assert max(late for late, _ in shown) < 0.02


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
    shown = run(sync, sound, picture, 10)
    assert sync.offset == pytest.approx(0.0, abs=limits.SYNC_SLACK + 0.002)
    if abs(sound - picture) <= limits.SYNC_SLACK:
        assert all(late == pytest.approx(picture) for late, _ in shown)
        assert sync.least <= sound
    run(sync, 0.02, 0.02, 10, begin=10)
    assert sync.least <= 0.02
    assert sync.hold(picture_time(20.0), 50 + 20.0 + 0.02) == 0.0


def test_pictures_that_wait_for_repairs_stay_with_their_sound() -> None:
    """A tenth of their packets is lost, from 3 s on; sound lags 80 ms at most for that. By the median of each
    half second, but for one in a hundred: what it will lose is not known before.
    """
    skews: list[float] = []
    for seed in range(10):
        shown = run(Sync(48_000, 90_000), 0.04, repairs(seed), 23)
        halves = [shown[at : at + 15] for at in range(90, 690, 15)]
        skews += [statistics.median(late - picture for picture, late in half) for half in halves]
        assert max(late for _, late in shown) <= 0.08
    assert sum(abs(skew) > 0.04 for skew in skews) <= 0.01 * len(skews)


@pytest.mark.parametrize("pictures", [15, 30])
def test_after_a_burst_sound_lags_no_longer(pictures: int) -> None:
    """All pictures of half a second, or of one, come 250 ms late: forgotten two seconds later."""
    end = 150 + pictures
    shown = run(Sync(48_000, 90_000), 0.02, lambda number: 0.254 if 150 <= number < end else 0.004, 10)
    assert all(late <= 0.03 for _, late in shown[end + 60 :])


def repairs(seed: int) -> Delay:
    """How late pictures come whose packets are asked for again, each time with a fifth of failure."""
    chance = random.Random(seed)

    def repaired(number: int) -> float:
        late = 0.004
        while number >= 90 and late < 0.2 and chance.random() < (0.37 if late < 0.05 else 0.19):
            late += 0.055
        return late

    return repaired


def test_a_picture_that_comes_late_is_not_held() -> None:
    """It was late already; those that come early wait for their sound."""
    sync = Sync(48_000, 90_000)
    shown = run(sync, 0.1, lambda number: 0.07 if number % 10 == 0 else 0.004, 10)[-60:]
    assert all(late - picture == pytest.approx(limits.SYNC_SLACK, abs=0.002) for picture, late in shown)


def test_a_sender_without_a_clock_is_not_compared() -> None:
    """Stock aiortc reports 0 until it has sent something (RFC 3550 section 6.4.1): 24,000 s of difference."""
    sync = Sync(48_000, 90_000)
    sync.sound_reported(0, 0)
    sync.pictures_reported(0, 0)
    sync.sound_played(2**31 - 1, 50.0, 0.02)
    sync.picture_came(2**30, 50.0)
    assert sync.offset is None
    report(sync, 1.0)
    sync.sound_played(sound_time(1.0), 51.02, 0.02)
    sync.picture_came(picture_time(1.0), 51.0)
    sync.sound_reported(0, 0)
    assert sync.offset == pytest.approx(0.02)


@pytest.mark.parametrize("set_by", [106.2, -2.2, 3600.0])
def test_a_clock_that_was_set_moves_both_streams(set_by: float) -> None:
    """It jumps, or the source stood still: one report tells of that before the other one does."""
    sync = Sync(48_000, 90_000)
    run(sync, 0.05, 0.01, 5)
    least, moment = sync.least, 5.0
    sync.sound_reported(ntp(3.9e9 + moment + set_by), sound_time(moment))
    for number in range(150, 180):
        moment = number * FRAME
        sync.sound_played(sound_time(moment), 50 + moment + 0.05, 0.05)
        sync.picture_came(picture_time(moment), 50 + moment + 0.01)
        assert sync.offset is None
        assert sync.least == least
    sync.pictures_reported(ntp(3.9e9 + moment + set_by), picture_time(moment))
    sync.sound_played(sound_time(moment), 50 + moment + 0.05, 0.05)
    sync.picture_came(picture_time(moment), 50 + moment + 0.01)
    assert sync.offset == pytest.approx(0.04, abs=0.006)


def test_nonsense_is_bounded() -> None:
    """Reports hours apart hold nothing for more than the most."""
    sync = Sync(48_000, 90_000)
    sync.sound_reported(ntp(5.0), 0)
    sync.pictures_reported(ntp(50_000.0), 0)
    for number in range(300):
        sync.sound_played(number * 1600, 100 + number / 30, 0.02)
        sync.picture_came(number * 3000, 100 + number / 30)
        assert 0 <= sync.hold(number * 3000, 100 + number / 30) <= limits.SYNC_HOLD_MAX
        assert 0 <= sync.least <= limits.SYNC_HOLD_MAX


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
                sync.sound_reported(moment, timestamp)
            case 1:
                sync.pictures_reported(moment, timestamp)
            case 2:
                sync.sound_played(timestamp, at, 0.02)
            case _:
                sync.picture_came(timestamp, at)
        assert 0 <= sync.hold(timestamp, at) <= limits.SYNC_HOLD_MAX
        assert 0 <= sync.least <= limits.SYNC_HOLD_MAX
