"""Scenarios run, and judge."""

from __future__ import annotations

import re

import pytest

from netsim import scenario_run
from netsim.scenario import SCENARIOS, load_scenario, parse_scenario
from netsim.scenario_run import run_scenario

SHORT = (
    "turn-udp",
    "turn-tcp",
    "turn-tls",
    "same-lan",
    "same-cgnat",
    "same-cgnat-hairpin",
    "lan-meeting",
    "cut",
    "nat-reboot",
    "relay-death",
    "relay-failover",
    "relay-to-direct",
    "port-mapping",
    "roaming",
    "wan-address",
    "both-roam",
    "nat-reboot-symmetric",
    "udp-blocked",
    "crash",
    "partition",
    "short-timeout",
    "sleep",
)
"""Those that take seconds; the grids have a test of their own, the ladder says more than it asks."""

CALL = """
title = "x"
stack = "aiortc"
[sites.home]
hosts = ["alice"]
[sites.office]
hosts = ["bob"]
[[steps]]
do = "call"
from = "alice"
to = "bob"
"""


@pytest.mark.parametrize("name", SHORT)
async def test_scenarios_go_as_they_say(name: str) -> None:
    """Every step is as expected; known gaps are still there."""
    result = await run_scenario(load_scenario(SCENARIOS / f"{name}.toml"), print)
    assert result.steps
    assert [str(step) for step in result.steps if step.problem] == []


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ('expect = "relay"\n', "direct, media .* expected: relay"),
        ('gap = "calls are not there yet"\n', "works, so this gap is closed"),
        ('[[steps]]\ndo = "cut"\nsite = "home"\n[[steps]]\ndo = "media"\nwithin = 1\n', "packets/s"),
        ('[[steps]]\ndo = "silence"\nwithin = 1\n', "packets/s"),
    ],
)
async def test_a_scenario_fails_where_it_should(steps: str, problem: str) -> None:
    """A wrong route, a closed gap, silence and unexpected media are each noticed; the rest is not run."""
    tail = '[[steps]]\ndo = "wait"\nseconds = 600\n'
    result = await run_scenario(parse_scenario(CALL + steps + tail, "test.toml"), print)
    assert not result.ok
    assert [step.problem for step in result.steps[:-1]] == [""] * (len(result.steps) - 1)
    assert re.search(problem, result.steps[-1].problem)


async def test_a_gap_is_told_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expectation that is known not to come true does not end the scenario."""
    monkeypatch.setattr(scenario_run, "WINDOW_S", 0.3)
    steps = (
        '[[steps]]\ndo = "cut"\nsite = "home"\n'
        '[[steps]]\ndo = "media"\nwithin = 1\ngap = "nobody hears through a cut wire"\n'
        '[[steps]]\ndo = "heal"\nsite = "home"\n[[steps]]\ndo = "media"\nwithin = 3\n'
    )
    result = await run_scenario(parse_scenario(CALL + steps, "test.toml"), print)
    assert result.ok
    assert [step.gap for step in result.steps] == ["", "", "nobody hears through a cut wire", "", ""]


async def test_clocks_and_programs_do_as_they_are_told() -> None:
    """A wrong clock changes while its program runs; one that was killed starts again and can be called."""
    text = CALL.replace('title = "x"', 'title = "x"\nclocks = { alice = 90 }') + (
        # Between calls: aiortc's own test tone is paced by the time of day, and stops when that goes back.
        '[[steps]]\ndo = "hang_up"\n[[steps]]\ndo = "set_clock"\nhost = "alice"\noffset = -3600\n'
        '[[steps]]\ndo = "call"\nfrom = "alice"\nto = "bob"\n[[steps]]\ndo = "media"\n'
        '[[steps]]\ndo = "kill"\nhost = "bob"\n'
        '[[steps]]\ndo = "restart"\nhost = "bob"\n'
        '[[steps]]\ndo = "call"\nfrom = "alice"\nto = "bob"\nexpect = "direct"\n'
        '[[steps]]\ndo = "interface_down"\nhost = "bob"\n[[steps]]\ndo = "silence"\n'
        '[[steps]]\ndo = "interface_up"\nhost = "bob"\n[[steps]]\ndo = "media"\n'
    )
    result = await run_scenario(parse_scenario(text, "test.toml"), print)
    assert [str(step) for step in result.steps if step.problem] == []
    assert len(result.steps) == 12
