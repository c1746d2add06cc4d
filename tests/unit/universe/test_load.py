"""The part that measures this machine: it counts real work."""

from __future__ import annotations

import json

import pytest

from netsim.bench import rendezvous, runner
from netsim.bench.runner import Options
from netsim.universe import load


def test_rates_are_of_requests_that_were_carried_out() -> None:
    """Each find_node is answered and each record is kept, or the measurement itself fails."""
    assert load.find_node_rates(1)[0] > 100
    assert load.store_rates(1)[0] > 100


def test_engines_are_weighed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """KiB per engine, in a process of its own; what is printed there is JSON."""
    found = load.weigh(150)
    assert 5 < found["fresh"] < 500
    assert found["used"] < 48  # the goal is 40 among 1,000; here each node has more of the traffic
    assert found["contacts"] > 40
    monkeypatch.setattr("sys.argv", ["load", "--nodes", "20"])
    load.main()
    assert json.loads(capsys.readouterr().out)["contacts"] > 10


def test_the_bench_is_listed_and_needs_no_lab() -> None:
    """It runs where user namespaces are forbidden; quick means fewer operations in the same universes."""
    assert not runner.BENCHES["rendezvous"].needs_lab
    quick = rendezvous.settings_of(Options(5, quick=True))
    whole = rendezvous.settings_of(Options(15, quick=False))
    assert [s.nodes for s in quick] == [s.nodes for s in whole]
    assert all(s.operations >= 200 for s in whole)
    assert len({rendezvous.name_of(s) for s in whole}) == len(whole)
