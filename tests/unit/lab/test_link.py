"""Links, without frames: what is asked is what happens, in numbers."""

from __future__ import annotations

import statistics
from itertools import groupby

import pytest

from netsim.link import HEADER, LADDER, Link, LinkConditions

FRAMES = 20_000


def run(
    conditions: LinkConditions, *, seed: int = 7, gap: float = 0.001, size: int = 1000
) -> list[tuple[float, ...]]:
    """Send frames at even distances; returns each one's times of arrival."""
    link = Link(conditions, seed)
    return [link.due(number * gap, size) for number in range(FRAMES)]


def test_a_link_is_repeatable_and_keeps_order() -> None:
    """The same seed gives the same fate to each frame; frames never overtake each other."""
    conditions = LinkConditions(delay_ms=30, jitter_ms=30, loss=0.3)
    first, again, other = run(conditions), run(conditions), run(conditions, seed=8)
    assert first == again != other
    kept = [due for times in first for due in times]
    assert kept == sorted(kept)
    assert 0.28 <= 1 - len(kept) / FRAMES <= 0.32


def test_a_change_of_one_condition_keeps_the_fate_by_the_others() -> None:
    """The frames that are lost are the same ones whether or not they are delayed."""
    plain = run(LinkConditions(loss=0.1))
    delayed = run(LinkConditions(loss=0.1, delay_ms=50, jitter_ms=20, reorder=0.1, duplicate=0.1))
    assert [bool(times) for times in plain] == [bool(times) for times in delayed]


@pytest.mark.parametrize(("loss", "burst"), [(0.02, 4.0), (0.12, 4.0), (0.25, 8.0), (0.05, 20.0)])
def test_losses_come_in_bursts_of_the_asked_length_with_the_asked_mean(loss: float, burst: float) -> None:
    """A link with bad times loses the same share as one without, in rows of the mean length."""
    lost = [not times for times in run(LinkConditions(loss=loss, burst=burst))]
    rows = [len(list(row)) for gone, row in groupby(lost) if gone]
    assert sum(lost) / FRAMES == pytest.approx(loss, rel=0.3)
    assert statistics.mean(rows) == pytest.approx(burst, rel=0.3)


def test_independent_losses_come_alone() -> None:
    """Without bursts two losses in a row are as rare as chance has it."""
    lost = [not times for times in run(LinkConditions(loss=0.05))]
    rows = [len(list(row)) for gone, row in groupby(lost) if gone]
    assert statistics.mean(rows) == pytest.approx(1 / 0.95, rel=0.05)


def test_some_frames_are_overtaken() -> None:
    """The asked share is held back for the asked time; all others keep their order."""
    arrivals = run(LinkConditions(delay_ms=5, reorder=0.1, reorder_ms=10))
    late = [number for number, (due,) in enumerate(arrivals) if due > number * 0.001 + 0.0051]
    assert len(late) / FRAMES == pytest.approx(0.1, rel=0.1)
    assert all(arrivals[number][0] == pytest.approx(number * 0.001 + 0.015) for number in late)
    others = [due for number, (due,) in enumerate(arrivals) if number not in set(late)]
    assert others == sorted(others)


def test_some_frames_arrive_twice() -> None:
    """The asked share is doubled, never more."""
    copies = [len(times) for times in run(LinkConditions(duplicate=0.2))]
    assert set(copies) == {1, 2}
    assert copies.count(2) / FRAMES == pytest.approx(0.2, rel=0.1)


def test_a_rate_delays_then_drops() -> None:
    """Twice the rate fills the queue up to its length in time; then half of the frames are lost."""
    conditions = LinkConditions(rate_mbit=4, queue_ms=100)  # 1,000 octets each ms are 8 Mbit/s
    arrivals = run(conditions)
    waits = [times[0] - number * 0.001 for number, times in enumerate(arrivals) if times]
    assert waits[0] == pytest.approx(0.002)
    assert max(waits) == pytest.approx(0.102, abs=0.0021)
    assert sum(bool(times) for times in arrivals[1000:]) / (FRAMES - 1000) == pytest.approx(0.5, rel=0.01)


def test_a_rate_that_suffices_loses_nothing() -> None:
    """Below its rate a link costs each frame its own length in time."""
    arrivals = run(LinkConditions(rate_mbit=10))
    assert all(due == pytest.approx(number * 0.001 + 0.0008) for number, (due,) in enumerate(arrivals))


def test_frames_over_the_mtu_are_lost_silently() -> None:
    """The header does not count; one octet more is too much."""
    link = Link(LinkConditions(mtu=1280), 1)
    assert link.due(0.0, 1280 + HEADER) == (0.0,)
    assert link.due(0.0, 1280 + HEADER + 1) == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"delay_ms": -1.0},
        {"delay_ms": float("inf")},
        {"jitter_ms": -0.1},
        {"loss": 1.1},
        {"loss": -0.1},
        {"loss": 0.9, "burst": 2.0},
        {"burst": 0.5},
        {"reorder": 2.0},
        {"duplicate": -1.0},
        {"rate_mbit": -1.0},
        {"queue_ms": float("nan")},
        {"mtu": -1},
    ],
)
def test_impossible_conditions_are_refused(bad: dict[str, float]) -> None:
    """A negative delay or more loss than everything is a mistake of the caller."""
    with pytest.raises(ValueError, match="not possible"):
        LinkConditions(**bad)  # type: ignore[arg-type] # wrong on purpose


def test_the_ladder_only_goes_down() -> None:
    """Each rung's name stands for conditions that a link can have; from the best to the worst rate falls."""
    rates = [conditions.rate_mbit for name, conditions in LADDER.items() if name != "satellite"]
    assert rates == sorted(rates, reverse=True)
    for name, conditions in LADDER.items():
        lost = sum(not times for times in run(conditions, gap=0.05))
        assert lost / FRAMES == pytest.approx(conditions.loss, rel=0.35, abs=0.001), name


def test_conditions_become_words_for_netem() -> None:
    """Kernels with netem are told the same; what netem can't do is refused, not left out."""
    words = LinkConditions(
        delay_ms=25, jitter_ms=5, loss=0.02, burst=4, duplicate=0.01, rate_mbit=8
    ).to_netem()
    assert " ".join(words) == (
        "netem limit 152 delay 25ms 5ms loss gemodel 0.510204% 25% 100% 0% duplicate 1% rate 8mbit"
    )
    assert LinkConditions(loss=0.1).to_netem() == ["netem", "limit", "20000", "loss", "10%"]
    with pytest.raises(ValueError, match="MTU"):
        LinkConditions(mtu=1280).to_netem()
    with pytest.raises(ValueError, match="hold"):
        LinkConditions(reorder=0.1).to_netem()
