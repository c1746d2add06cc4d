"""The grid: which kinds of NAT reach which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netsim import __main__ as command_line
from netsim.grid import differences
from netsim.matrix import KINDS, Plan, run_matrix
from netsim.routes import expected_routes, needless_relays
from netsim.stacks import make
from netsim.stacks.aiortc import AiortcStack

UDP_KINDS = tuple(kind for kind in KINDS if kind != "udp_blocked")


@pytest.mark.timeout(240)
async def test_plain_aiortc_reaches_what_rfc_4787_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 49 pairs whose UDP passes: 37 direct, 12 not, exactly as mapping and filtering say."""
    monkeypatch.setattr(make, "AiortcStack", lambda: AiortcStack(limit=6.0))
    grid = await run_matrix(Plan(UDP_KINDS, None, "aiortc", concurrency=7), print)
    expected = expected_routes(UDP_KINDS, relay=False, relay_when_blocked=True)
    assert differences(grid, expected) == []
    assert (grid.count("direct"), grid.count("fail")) == (37, 12)


@pytest.mark.timeout(240)
async def test_a_relay_brings_plain_aiortc_everywhere() -> None:
    """All 64 pairs have media, those without UDP by TLS."""
    grid = await run_matrix(Plan(KINDS, None, "aiortc", relay=True, concurrency=6), print)
    expected = expected_routes(KINDS, relay=True, relay_when_blocked=True)
    assert differences(grid, expected) == []
    assert grid.count("fail") == 0
    print(f"needless relays: {len(needless_relays(grid))} of 37")


DIAGONALS = [
    (row, KINDS[(number + shift) % len(KINDS)]) for shift in (0, 3) for number, row in enumerate(KINDS)
]
"""Each kind calls itself and another one: every row and column twice."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("relay", [False, True], ids=["no relay", "relay"])
async def test_meshcall_takes_the_expected_routes(relay: bool) -> None:
    """Daemons that call each other by ID: routes are those that plain ICE has, until more is built.

    Hosts without UDP have no way into the DHT yet, so they neither call nor are called.
    """
    grid = await run_matrix(Plan(KINDS, DIAGONALS, "meshcall", relay=relay), print)
    expected = expected_routes(KINDS, relay=relay, relay_when_blocked=False)
    assert differences(grid, expected) == []
    assert len(grid.attempts) == len(DIAGONALS)


def test_the_command_prints_and_draws_the_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``matrix --json --html``: the same figures for machines and as a picture."""
    page = tmp_path / "grid.html"
    words = ["matrix", "--stack", "aiortc", "--pairs", "open:full_cone", "--json", "--html", str(page)]
    assert command_line.main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["summary"]["direct"] == 1
    assert "open calls full_cone: direct" in page.read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["matrix", "--pairs", "open"], "is no pair"),
        (["matrix", "--repeat", "0"], "--repeat"),
        (["matrix", "--html", "/nowhere/at/all.html"], "there is no folder"),
        (["run", "no-such-scenario"], "can't be read"),
        (["shell", "nobody"], "invalid choice"),
        (["bench"], "NAME"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and the reason, before any lab is made."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(words)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Benches, kinds, links and scenarios, one a line, with what they are."""
    assert command_line.main(["list"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {line[0] for line in lines} == {"bench", "kind", "link", "scenario"}
    assert all(len(line) == 3 and line[2] for line in lines)


def test_a_shell_runs_on_a_host(capfd: pytest.CaptureFixture[str]) -> None:
    """``shell HOST -c COMMAND``: in the host's network, with its exit status."""
    assert command_line.main(["shell", "alice", "-c", "ip -4 -o addr show eth0; exit 7"]) == 7
    assert "192.168." in capfd.readouterr().out
