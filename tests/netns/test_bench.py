"""Benches: goals are judged by the median, tables are Markdown, the exit status tells of a missed goal."""

from __future__ import annotations

import json
import math

import pytest

from netsim import __main__ as command_line
from netsim.bench import call_setup, runner
from netsim.bench.figure import Figure, Report, Table
from netsim.bench.runner import Bench, Options

FAST = Figure("fast thing", "ms", tuple(float(value) for value in range(1, 21)), goal=10.5)
SLOW = Figure("slow thing", "ms", (300.0, 100.0, 200.0), goal=150)


async def measure(options: Options) -> Report:
    """Stands in for a bench: misses its goal when quick."""
    return Report("Probe", (FAST, SLOW) if options.quick else (FAST,))


@pytest.fixture(autouse=True)
def only_this_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner knows one bench, which is in this file."""
    monkeypatch.setattr(runner, "BENCHES", {"probe": Bench("probe", "a probe", __name__)})


def test_figures_are_judged_by_their_median() -> None:
    """95th percentile by nearest rank; no values meet no goal."""
    assert (FAST.median, FAST.p95, FAST.met) == (10.5, 19.0, True)
    assert (SLOW.median, SLOW.p95, SLOW.met) == (200.0, 300.0, False)
    nothing = Figure("nothing", "ms", (), goal=1)
    assert math.isnan(nothing.median)
    assert not nothing.met
    assert Figure("for information", "ms", ()).met


def test_a_report_is_a_markdown_table() -> None:
    """Figure, goal, median, p95 and n in aligned columns."""
    table = Table("Phases", ("phase", "ms"), (("lookup", "12"),))
    text = Report("Probe", (FAST, SLOW), (table,), failures=("call 3: no answer",)).to_markdown()
    assert "| fast thing | <= 10.5       | 10.5   | 19  | 20 | ms   | met        |" in text
    assert "| slow thing | <= 150        | 200    | 300 | 3  | ms   | **missed** |" in text
    assert "### Phases\n\n| phase  | ms |\n|--------|----|\n| lookup | 12 |" in text
    assert "- call 3: no answer" in text


def test_a_failure_is_a_missed_goal() -> None:
    """A call that did not work is not hidden by those that did."""
    assert not Report("Probe", (FAST,), failures=("call 3: no answer",)).met


@pytest.mark.parametrize(("flags", "status"), [([], 0), (["--quick"], 1), (["--repeat", "3"], 0)])
def test_the_exit_status_tells_of_a_missed_goal(
    flags: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 when every goal is met, 1 when one is missed."""
    assert command_line.main(["bench", "probe", "--json", *flags]) == status
    assert json.loads(capsys.readouterr().out)["probe"]["met"] is (status == 0)


def test_benches_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: name, what it measures."""
    assert command_line.main(["list"]) == 0
    assert capsys.readouterr().out.startswith("bench\tprobe\ta probe\n")


@pytest.mark.parametrize("argv", [["bench"], ["bench", "no-such"], ["bench", "probe", "--repeat", "0"], []])
def test_wrong_usage_is_explained(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and a line on stderr."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(argv)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_round_trips_are_the_difference_between_the_slow_and_the_fast_link() -> None:
    """A phase that takes 50 ms longer at 50 ms round trip costs one; one that was never reached costs `-`."""
    marks = {"dial": 0.0, "presence": 10.0, "offer-ready": 12.0, "answer": 30.0, "ice": 35.0}
    slow = {"dial": 0.0, "presence": 60.0, "offer-ready": 12.0, "answer": 160.0, "ice": 215.0}
    cases: dict[tuple[call_setup.Path, float], call_setup.Case] = {}
    for rtt, timeline in ((0.0, marks), (call_setup.RTT_MS, slow)):
        one = call_setup.Measurement(
            marks={"caller": timeline, "callee": {}},
            dialled_ms=1000,
            answered_ms=1020,
            audio_ms={"caller": 1100, "callee": 1090},
            video_ms={"caller": 1120, "callee": 1080},
        )
        assert (one.to_audio, one.to_media, one.answer_to_audio) == (100, 120, 80)
        for path in call_setup.PATHS:
            cases[path, rtt] = call_setup.Case(path, rtt, cold=[one], new=[one], again=[one])
    rows = {row[0]: row for row in call_setup.phase_table("dht", cases).rows}
    assert rows["lookup"][2:4] == ("10", "60")
    assert rows["lookup"][5] == "1.0"
    assert rows["answer comes back"][5] == "1.6"
    assert rows["DTLS"][2:4] + rows["DTLS"][5:] == ("-", "-", "-")
    report = call_setup.make_report(cases)
    assert [figure.goal for figure in report.figures if figure.goal] == [150.0, 600.0]
    assert report.met
