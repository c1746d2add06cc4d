"""How large pictures are spread."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.pacer import Pacer

SIZE = 1200


def leave(pacer: Pacer, packets: int, now: float, size: int = SIZE) -> list[float]:
    """When each packet of a picture leaves, and when the next picture can."""
    pacer.begin(packets * size, 0)
    times = [now]
    for _ in range(packets):
        times.append(times[-1] + pacer.pause(size, times[-1]))
    return times


def test_nothing_waits_on_a_way_that_is_not_narrow() -> None:
    assert leave(Pacer(), 50, 1.0) == [1.0] * 51


def test_an_ordinary_picture_leaves_at_once_and_a_keyframe_at_the_rate() -> None:
    """And sound that comes meanwhile waits behind one packet of it."""
    pacer = Pacer()
    rate = 1_000_000
    pacer.allow(rate)
    for number in range(30):
        now = 1.0 + number / 30
        assert leave(pacer, 3, now)[-1] == now
    times = leave(pacer, 30, 2.0)
    took = times[-1] - times[0]
    beyond = 30 * SIZE * 8 - limits.PACE_BURST * rate
    assert abs(took - beyond / (limits.PACE_OVER * rate)) < 0.002
    assert max(later - earlier for earlier, later in pairwise(times)) < 8 * SIZE / rate


def test_no_picture_takes_longer_than_its_time() -> None:
    """However little the way carries, and while pictures are paused."""
    pacer = Pacer()
    pacer.allow(limits.RATE_FLOOR)
    assert leave(pacer, 40, 1.0)[-1] <= 1.0 + limits.PACE_LONGEST + 1e-9
    pacer.allow(0)
    assert 0.3 < leave(pacer, 40, 9.0)[-1] - 9.0 <= limits.PACE_LONGEST + 1e-9


def test_what_is_sent_again_takes_of_the_same_room() -> None:
    """Whoever asks for everything at once gets what the way carries, and no more; a wide way has no limit."""
    pacer = Pacer()
    assert all(pacer.repair(SIZE, 1.0) for _ in range(100))
    rate = 600_000
    pacer.allow(rate)
    assert leave(pacer, 1, 2.0)[-1] == 2.0
    again = sum(pacer.repair(SIZE, 2.0 + number / 100) for number in range(200))
    assert 8 * SIZE * again <= (2 * limits.PACE_OVER + limits.PACE_BURST) * rate + 8 * SIZE
    assert 8 * SIZE * again >= 1.9 * rate
    times = leave(pacer, 20, 4.0)
    assert not pacer.repair(SIZE, (times[0] + times[-1]) / 2)  # a picture is leaving


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0, 1, 80_000, 600_000, 6_000_000]),
            st.integers(1, 60),
            st.integers(0, limits.RTP_PAYLOAD_MAX),
            st.floats(0, 2),
        ),
        max_size=20,
    )
)
def test_pauses_are_bounded_whatever_comes(steps: list[tuple[int | None, int, int, float]]) -> None:
    """Each picture has left in its time, and waits for no other one."""
    pacer, now = Pacer(), 0.0
    for rate, packets, size, gap in steps:
        pacer.allow(rate)
        times = leave(pacer, packets, now, size)
        assert times == sorted(times)
        now = times[-1] + gap
        assert times[-1] - times[0] <= limits.PACE_LONGEST + 1e-6
