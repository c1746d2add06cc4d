"""The grid: which kinds of NAT reach which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netsim import __main__ as command_line
from netsim.capture import read_capture
from netsim.grid import Grid
from netsim.matrix import KINDS, Plan, run_matrix
from netsim.report import markdown
from netsim.routes import expected_routes, judge, needless_relays
from netsim.stacks import make
from netsim.stacks.aiortc import AiortcStack
from tests.netns.routes import TABLES

UDP_PAIRS = [pair for pair in Plan().wanted() if "udp_blocked" not in pair]
DIAGONALS = [
    (row, KINDS[(number + shift) % len(KINDS)]) for shift in (0, 3) for number, row in enumerate(KINDS)
]
"""Each kind calls itself and another one: every row and column twice."""


async def check(plan: Plan) -> Grid:
    """Make the calls and compare every route with its table; both, and the gaps, are printed."""
    table = TABLES[plan.stack, plan.relay]
    grid = await run_matrix(plan, print)
    print(markdown(grid))
    for pair in grid.attempts:
        cell = table[pair]
        gap = f"; known gap: {cell.gap.promised} is promised, but {cell.gap.reason}" if cell.gap else ""
        print(f"{pair[0]} calls {pair[1]}: expected {' or '.join(cell.routes)}, {grid.route(pair)}{gap}")
    assert judge(grid, table) == []
    assert set(grid.attempts) == set(plan.wanted())
    return grid


@pytest.mark.timeout(240)
async def test_plain_aiortc_reaches_what_rfc_4787_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 49 pairs whose UDP passes: 37 direct, 12 not, exactly as mapping and filtering say."""
    monkeypatch.setattr(make, "AiortcStack", lambda: AiortcStack(limit=6.0))
    grid = await check(Plan(KINDS, UDP_PAIRS, "aiortc", concurrency=7))
    assert (grid.count("direct"), grid.count("fail")) == (37, 12)


@pytest.mark.timeout(240)
async def test_a_relay_brings_plain_aiortc_everywhere() -> None:
    """All 64 pairs have media, those without UDP by TLS."""
    grid = await check(Plan(KINDS, None, "aiortc", relay=True, concurrency=6))
    assert grid.count("fail") == 0
    print(f"needless relays: {len(needless_relays(grid))} of 37")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("relay", [False, True], ids=["no relay", "relay"])
async def test_meshcall_takes_the_expected_routes(relay: bool) -> None:
    """Daemons that call each other by ID: no route is worse than in the table, no gap is closed unseen."""
    await check(Plan(KINDS, DIAGONALS, "meshcall", relay=relay))


@pytest.mark.parametrize(("stack", "relay"), TABLES)
def test_the_tables_are_those_of_rfc_4787(stack: str, relay: bool) -> None:
    """What is written down by hand and what the words of each kind say are the same."""
    expected = expected_routes(KINDS, relay=relay, plain=stack == "aiortc")
    assert {pair: cell.routes for pair, cell in TABLES[stack, relay].items()} == expected


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
        (["matrix", "--keep", "/dev/null"], "is a file"),
        (["matrix", "--keep", "/"], "is not empty"),
        (["run", "cut", "--pcap", "/nowhere/at/all"], "there is no folder"),
        (["run", "cut", "--html", "/"], "is a folder"),
        (["run", "no-such-scenario"], "there is no file no-such-scenario"),
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


def test_a_scenario_leaves_a_page_logs_and_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``run --html --keep --pcap``: what each program wrote, and what each host and router saw."""
    files = {name: tmp_path / name for name in ("html", "keep", "pcap")}
    assert (
        command_line.main(
            ["run", "turn-udp", *(w for n, path in files.items() for w in (f"--{n}", str(path)))]
        )
        == 0
    )
    assert capsys.readouterr().out == "ok\tMedia through the relay over UDP\n"
    assert "alice calls bob" in files["html"].read_text()
    assert [path.stat().st_size for path in files["keep"].glob("relay-turnserver-*.out")] > [0]
    recordings = {path.stem: list(read_capture(path)) for path in files["pcap"].glob("*.pcapng")}
    assert set(recordings) == {"internet", "relay", "home-router", "office-router", "alice", "bob"}
    assert all(recordings.values())


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
