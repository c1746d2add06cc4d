"""What is asked for again, when, and what counts as frozen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.repair import FreezeWatch, KeyframeWish, Missing, is_keyframe


def test_a_missing_packet_is_asked_for_at_once_and_again() -> None:
    """After a round trip, then twice in each, until it comes; across the wrap."""
    missing = Missing()
    missing.measured(0.05)
    assert missing.received(65_535, 0.0)
    assert missing.received(2, 1.0)
    assert missing.due(1.0) == []
    asked = []
    now = 1.0
    while (when := missing.deadline()) is not None and when < 1.2:
        now = when
        asked.append((round(now - 1.0, 3), missing.due(now)))
    assert asked == [
        (0.003, [0, 1]),
        (0.058, [0, 1]),
        (0.083, [0, 1]),
        (0.108, [0, 1]),
        (0.133, [0, 1]),
        (0.158, [0, 1]),
        (0.183, [0, 1]),
    ]
    assert missing.received(0, now)
    assert missing.repaired == 1
    assert missing.due(now + 1) == [1]
    assert missing.age(now) > 0.15
    missing.forget_before(2)
    assert missing.deadline() is None


def test_a_full_queue_is_part_of_the_round_trip() -> None:
    """What stands in it is not asked for again, nor given up, before it can be here."""
    missing = Missing()
    missing.measured(0.05)
    missing.queued(0.25)
    missing.received(0, 0.0)
    missing.received(2, 0.0)
    assert missing.due(0.003) == [1]
    assert missing.deadline() == 0.003 + limits.NACK_PAUSE * 0.3
    assert missing.life == limits.NACK_ROUNDS * 0.3
    missing.queued(0.0)
    assert missing.life == limits.NACK_LIFE
    assert missing.due(0.4) == [1]
    assert missing.deadline() == 0.4 + limits.NACK_PAUSE_AGAIN * 0.05
    missing.queued(5.0)
    assert missing.round_trip == limits.NACK_RTT_MAX


def lossy(every: int) -> Missing:
    """Of the last thousand packets each ``every``-th was lost, and came by a repair three packets later."""
    missing = Missing()
    missing.measured(0.05)
    for number in range(1000):
        now = 0.02 * number
        if number % every:
            missing.received(number, now)
        missing.due(now + 0.01)
        if number > 3 and not (number - 4) % every:
            missing.received(number - 4, now + 0.015)
    return missing


def asked_after(missing: Missing) -> list[float]:
    """Milliseconds after the loss of one more packet, until 0.15 s."""
    missing.received(1000, 100.0)
    missing.received(1002, 100.0)
    asked = []
    while (when := missing.deadline()) is not None and when < 100.15:
        assert missing.due(when) == [1001]
        asked.append(round(1000 * (when - 100), 1))
    return asked


def test_where_much_is_lost_packets_are_asked_for_twice_at_first() -> None:
    """Of a report and its repair one is lost more often than it may be."""
    assert asked_after(lossy(20)) == [3.0, 13.0, 68.0, 93.0, 118.0, 143.0]
    assert asked_after(lossy(100)) == [3.0, 58.0, 83.0, 108.0, 133.0]


def test_what_a_full_queue_drops_is_asked_for_once() -> None:
    """More repairs would fill it further."""
    missing = lossy(20)
    missing.queued(0.04)
    assert asked_after(missing) == [3.0, 102.0, 147.0]


def test_an_outage_is_no_way_that_loses_much() -> None:
    """All of it asked for twice would be more than a sender repairs in a second."""
    missing = lossy(1001)
    missing.received(1100, 90.0)
    assert len(missing.due(90.1)) == limits.NACK_REPORT_MAX
    assert missing.deadline() == pytest.approx(90.1 + limits.NACK_PAUSE * 0.05)


@pytest.mark.parametrize("late", [0.001, 0.004, 0.03])
def test_packets_that_change_places_are_no_loss(late: float) -> None:
    """Even those that come after they were asked for: no repair is so quick."""
    missing = Missing()
    missing.measured(0.05)
    for number in range(0, 1000, 2):
        missing.received(number + 1, 0.02 * number)
        missing.due(0.02 * number + late)
        missing.received(number, 0.02 * number + late)
    assert asked_after(missing) == [3.0, 58.0, 83.0, 108.0, 133.0]


def test_packets_that_changed_places_are_not_asked_for() -> None:
    """They come within the patience."""
    missing = Missing()
    for number, now in ((1, 0.0), (3, 0.001), (2, 0.002)):
        missing.received(number, now)
    assert missing.deadline() is None
    assert missing.repaired == 0


def test_too_many_at_a_time_are_hopeless() -> None:
    """A keyframe is less than all of them."""
    missing = Missing()
    missing.received(0, 0.0)
    assert not missing.received(limits.NACK_WANTED_MAX + 2, 0.0)
    assert missing.deadline() is None
    assert missing.received(limits.NACK_WANTED_MAX + 4, 0.0)
    assert len(missing.due(1.0)) == 1
    missing.begin_anew()
    assert missing.received(50_000, 0.0)
    assert missing.deadline() is None


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.floats(0, 0.3), st.floats(-1, 1e6)), max_size=60))
def test_any_numbers_are_bounded(packets: list[tuple[int, float, float]]) -> None:
    """Whatever the peer sends, and whatever is measured."""
    missing, wish = Missing(), KeyframeWish()
    now = 0.0
    for number, pause, rtt in packets:
        now += pause
        missing.measured(rtt)
        wish.measured(rtt)
        missing.received(number, now)
        assert len(missing._wanted) <= limits.NACK_WANTED_MAX
        assert len(missing.due(now)) <= limits.NACK_REPORT_MAX
        assert missing.life <= limits.NACK_ROUNDS * limits.NACK_RTT_MAX
        when = missing.deadline()
        assert when is None or when > now or len(missing._wanted) > limits.NACK_REPORT_MAX


def test_keyframes_are_asked_for_once_in_a_while() -> None:
    """And no more when one came."""
    wish = KeyframeWish()
    wish.measured(0.05)
    assert wish.deadline() is None
    wish.want()
    assert wish.due(10.0)
    assert not wish.due(10.1)
    wish.want()
    assert wish.deadline() == 10.0 + limits.KEYFRAME_PAUSE
    assert wish.due(10.5)
    wish.came()
    assert not wish.due(20.0)
    wish.want()
    assert wish.due(20.0)


def test_freezes_are_counted_and_pauses_are_not() -> None:
    """A stall is one, packets that are missing make one, a sender that sends nothing does not."""
    watch = FreezeWatch()
    for number in range(10):
        watch.shown(number / 30, number / 30, held=False)
    watch.shown(1.3, 10 / 30, held=False)
    assert (watch.freezes, watch.longest) == (1, 1.0)
    watch.shown(6.3, 10 / 30 + 5, held=False)
    assert watch.freezes == 1
    watch.shown(6.8, 10 / 30 + 5.5, held=True)
    assert watch.freezes == 2
    assert watch.frozen == 1.5


def test_keyframes_are_known() -> None:
    """By RFC 6386 section 9.1 and by the kind of the NAL unit."""
    assert is_keyframe("VP8", b"\x10\x02\x00\x9d\x01\x2a")
    assert not is_keyframe("VP8", b"\x11\x02\x00\x9d\x01\x2a")
    assert not is_keyframe("VP8", b"\x10\x02\x00\x9d\x01")
    assert is_keyframe("H264", b"\0\0\0\1\x67x")
    assert is_keyframe("H264", b"\0\0\0\1\x65x")
    assert not is_keyframe("H264", b"\0\0\0\1\x41x")
    assert not is_keyframe("H264", b"\0\0\0\1")
    assert not is_keyframe("AV1", b"\0\0\0\1\x67x")
