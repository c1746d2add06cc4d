"""What the media bench says of what it measured: ratios, the worst pair, growth, courses of a cut link."""

from __future__ import annotations

import pytest

from netsim.bench.figure import Report
from netsim.bench.media import joining, mesh, rate, receiving, sending, soak
from netsim.bench.media.marks import PITCHES
from netsim.bench.media.trial import EngineName, Records, Troubles
from netsim.errors import LabError
from netsim.weights import Weight


def values(report: Report) -> dict[str, float]:
    """Each figure's value."""
    return {figure.name: figure.value for figure in report.figures}


def test_sending_is_compared_with_one_peer_of_the_same_engine() -> None:
    """In percent; what failed at stock aiortc is told, and fails nothing."""
    costs: dict[tuple[EngineName, int], list[float]] = {
        ("ours", 1): [10.0],
        ("ours", 3): [10.5],
        ("ours", 6): [11.0],
        ("stock", 1): [10.0],
        ("stock", 3): [27.0],
    }
    troubles = Troubles()
    troubles.add("stock", "3 peers", LabError("no picture\nlog"))
    report = sending.make_report(costs, {key: [0.99] for key in costs}, troubles)
    found = values(report)
    assert found["sender's CPU with 6 peers, of that with 1"] == pytest.approx(110)
    assert found["stock aiortc: CPU with 3 peers, of that with 1"] == pytest.approx(270)
    assert report.met
    assert report.notes == ("stock, 3 peers: no picture",)


def records(lag: float, *, lost: int = 0) -> Records:
    """Ten seconds of a call; every ``lost``-th frame of sound is missing."""
    sounds = [number * 0.02 for number in range(500)]
    pictures = {number: number / 30 for number in range(300)}
    heard = [(at + lag, n % PITCHES) for n, at in enumerate(sounds) if not lost or n % lost]
    seen = [(at + lag, number, 360) for number, at in pictures.items()]
    wire = [(number / 10, number * 12_500) for number in range(101)]
    return Records(sounds, pictures, list(heard), list(seen), wire)


def test_a_call_over_a_link_is_judged_without_the_way_itself() -> None:
    """Share played, lag, freezes, lip sync."""
    run = receiving.judge(records(0.085, lost=20), 1.0, 9.0, 25.0)
    assert run.played == pytest.approx(95)
    assert run.lag == pytest.approx(60)
    assert run.longest_freeze == pytest.approx(1000 / 30, rel=0.1)
    assert (run.frozen, round(run.skew)) == (0, 0)


def test_the_course_of_a_cut_link() -> None:
    """1 Mbit/s all the time does not fit 0.6, and has recovered at once."""
    course = rate.judge(records(0.05), 4.0, 7.0, 10.0)
    assert course.before == pytest.approx(1.0, rel=0.05)
    assert (course.fits, course.recovers) == (3.0, 0.0)
    assert course.gap == pytest.approx(50, abs=30)
    assert course.played == 100


def weight(rss: int, fds: int = 30) -> Weight:
    """Of a daemon."""
    return Weight(rss, 1.0, fds, 10, 1)


def test_a_mesh_is_as_good_as_its_worst_pair() -> None:
    """A pair whose pictures are too few is found, and so is memory that grows; a late look is none."""
    late = 1  # seconds that the look at b took the second time
    looks = [
        mesh.Look(
            {"a": 10.0 * place, "b": 10.0 * place + late * (place == 1)},
            {
                ("a", "b"): (150 * place, 10.0 * place),
                ("b", "a"): (90 * place + 9 * (place == 1), 10.0 * place + late * (place == 1)),
            },
            [weight(100 + 10 * place)],
        )
        for place in range(3)
    ]
    report = mesh.make_report(looks)
    assert [round(figure.value) for figure in report.figures] == [9, 100, 9]
    assert not report.met


def test_a_soak_tells_what_stays_behind() -> None:
    """From the first looks after warm-up on; a descriptor that stays is a leak."""
    looks = [(10, [weight(50, 20)])]
    looks += [(20 + 10 * number, [weight(100 + number // 3, 30 + number // 4)]) for number in range(9)]
    report = soak.make_report(100, looks, [])
    assert [round(figure.value) for figure in report.figures] == [2, 1, 0]
    assert [figure.met for figure in report.figures] == [True, False, True]


def test_garbage_at_some_looks_of_a_soak_is_no_growth() -> None:
    """What grows does so at all of them."""
    sizes = [100, 130, 104, 101, 125, 122, 128, 103, 119]
    looks = [(20 + 9 * number, [weight(size, 30)]) for number, size in enumerate(sizes, 1)]
    assert soak.make_report(100, looks, []).met
    grown = [size + 2 * number for number, size in enumerate(sizes)]
    looks = [(20 + 9 * number, [weight(size, 30)]) for number, size in enumerate(grown, 1)]
    assert not soak.make_report(100, looks, []).met


def test_joining_has_goals() -> None:
    """Warm, cold and seen; a failure is a missed goal."""
    times = joining.Times([500.0], [2000.0], [20.0], [1200.0])
    assert joining.make_report(times).met
    times.failures.append("warm 2: nothing")
    assert not joining.make_report(times).met
