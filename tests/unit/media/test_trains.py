"""What a way carries, by what arrives of one picture."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.arrivals import Arrivals
from meshcall.media.trains import Trains

SIZE = 1150
ON_WIRE = 8 * (SIZE + limits.TRAIN_HEADERS)


def film(trains: Trains, link: float, seconds: float, *, seed: int = 1, busy: float = 0.0) -> float:
    """Pictures of nine packets over a link of so many bits a second; when it is over.

    ``busy``: seconds by which a packet is read late at most.
    """
    source, now = random.Random(seed), 0.0
    for picture in range(round(30 * seconds)):
        sent, read = picture / 30, 0.0
        for number in range(9):
            now = sent + (number + 1) * ON_WIRE / link
            read = max(read, now + source.uniform(0, busy))
            trains.add_untrusted(round(sent * (1 << 18)), read, SIZE)
    return now


@pytest.mark.parametrize("link", [1e6, 3e6, 20e6])
def test_the_narrowest_link_is_seen(link: float) -> None:
    trains = Trains()
    now = film(trains, link, 1.5)
    assert trains.carries(now) == pytest.approx(link, rel=0.02)


def test_a_busy_machine_changes_it_little() -> None:
    trains = Trains()
    now = film(trains, 3e6, 2.0, busy=0.006)
    assert trains.carries(now) == pytest.approx(3e6, rel=0.2)


def test_few_trains_tell_nothing() -> None:
    """Nor those that were long ago, nor packets that left one by one."""
    trains = Trains()
    now = film(trains, 3e6, (limits.TRAINS_MIN - 1) / 30)
    assert trains.carries(now) is None
    now = film(trains, 3e6, 1.0)
    assert trains.carries(now) is not None
    assert trains.carries(now + limits.TRAINS_LIFE + 0.1) is None
    apart = Trains()
    for number in range(100):
        apart.add_untrusted(number, number / 100, SIZE)
    assert apart.carries(1.0) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 0.2), st.integers(0, 1500)), max_size=300))
def test_whatever_a_peer_sends_is_a_rate(packets: list[tuple[int, float, int]]) -> None:
    trains, now = Trains(), 10.0
    for stamp, step, octets in packets:
        now += step
        trains.add_untrusted(stamp, now, octets)
        carries = trains.carries(now)
        assert carries is None or 0 <= carries <= 8 * 300 * 1600 / limits.TRAIN_LEAST


@pytest.mark.parametrize(("link", "least", "most"), [(3e6, 2.7e6, 3.3e6), (50e6, 3.4e6, 4.2e6)])
def test_an_estimate_grows_to_what_the_way_carries(link: float, least: float, most: float) -> None:
    """Of 2.6 Mbit/s of pictures; on a wide way to one and a half of them."""
    arrivals = Arrivals()
    for picture in range(300):
        sent = picture / 30
        for number in range(9):
            arrivals.add_untrusted(round(sent * (1 << 18)), sent + (number + 1) * ON_WIRE / link, SIZE)
    assert least < arrivals.estimate < most


def test_an_estimate_that_is_higher_sinks_slowly_and_not_below_what_arrives() -> None:
    """Other traffic goes between the packets of one picture, too: that cuts nothing."""
    arrivals, estimates = Arrivals(), list[int]()
    for picture in range(1200):
        sent = picture / 30
        link = 50e6 if picture < 300 else 2.9e6
        for number in range(9):
            arrivals.add_untrusted(round(sent * (1 << 18)), sent + (number + 1) * ON_WIRE / link, SIZE)
        estimates.append(arrivals.estimate)
    assert all(
        later > 0.96 * earlier for earlier, later in zip(estimates[300:], estimates[330:], strict=False)
    )
    assert estimates[-1] == pytest.approx(2.9e6 + limits.RATE_AUDIO, rel=0.03)
    assert estimates[-1] > 30 * 9 * 8 * SIZE


@pytest.mark.parametrize(("busy", "wide"), [(0.001, False), (0.03, True)])
def test_what_a_busy_machine_reads_late_tells_nothing(busy: float, wide: bool) -> None:
    """What it reads packet by packet looks like a narrow way; but every machine is a little late."""
    arrivals = Arrivals()
    for picture in range(300):
        sent = picture / 30
        arrivals.held_up(busy, sent)
        for number in range(9):
            arrivals.add_untrusted(round(sent * (1 << 18)), sent + (number + 1) * 0.0033, SIZE)
    assert (arrivals.estimate > 1.4 * 30 * 9 * 8 * SIZE) == wide
