"""Whatever a peer reports and however it stamps its packets: rates stay within their bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.arrivals import Arrivals
from meshcall.media.rate import RateControl
from meshcall.media.uplink import Uplink, fair_parts

seconds = st.floats(0, 20)
inputs = st.one_of(
    st.tuples(st.just("estimated"), st.integers(-(2**40), 2**80)),
    st.tuples(st.just("reported"), st.floats(-1, 2)),
    st.tuples(st.just("requested"), st.integers(0, 10**6)),
    st.tuples(st.just("measured"), st.floats(0, 10)),
    st.tuples(st.just("sent"), st.integers(0, 10**5)),
)


@given(st.lists(st.tuples(seconds, inputs), max_size=60))
@settings(max_examples=200)
def test_pictures_get_nothing_or_between_floor_and_limit(
    steps: list[tuple[float, tuple[str, float]]],
) -> None:
    control, uplink, now = RateControl(0.0), Uplink(), 0.0
    uplink.add("a", control)
    uplink.add("b", RateControl(0.0))
    for pause, (name, value) in steps:
        now += pause
        if name == "sent":
            control.sent(int(value), int(value) * 1000, now)
        else:
            getattr(control, name)(value, now)
        uplink.look(now)
        pictures = control.allotment(now).pictures
        assert pictures == 0 or limits.RATE_FLOOR <= pictures <= limits.RATE_MAX


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2**24 - 1), st.integers(0, 65_535)), max_size=200))
@settings(max_examples=200)
def test_no_send_time_breaks_the_estimate(packets: list[tuple[float, int, int]]) -> None:
    arrivals, now = Arrivals(), 50.0
    for pause, sent, octets in packets:
        now += pause
        told = arrivals.add_untrusted(sent, now, octets)
        assert told is None or 0 < told <= limits.RATE_MAX + limits.RATE_AUDIO


@given(st.floats(0, 1e9), st.dictionaries(st.integers(), st.floats(0, 1e9), max_size=20))
def test_parts_are_fair(total: float, wants: dict[int, float]) -> None:
    parts = fair_parts(total, wants)
    assert parts.keys() == wants.keys()
    assert sum(parts.values()) <= total * (1 + 1e-9) + 1e-6
    assert all(part <= wants[key] for key, part in parts.items())
    unserved = [part for key, part in parts.items() if part < wants[key] - 1e-6]
    # Who gets less than it wants gets as much as anybody.
    assert all(part >= max(parts.values()) * (1 - 1e-9) - 1e-6 for part in unserved)
