"""Grids and their reports."""

from __future__ import annotations

import asyncio
import json
from html.parser import HTMLParser

import pytest

from netsim.grid import Grid, Pair, differences
from netsim.matrix import KINDS, Plan, parse_pairs, run_disjoint
from netsim.report import html, markdown
from netsim.routes import Cell, Gap, expected_routes, judge, needless_relays, parse_table
from netsim.stacks.attempt import Attempt, Route

OPEN: Pair = ("open", "open")
ACROSS: Pair = ("open", "symmetric<random>")
BACK: Pair = ("symmetric<random>", "open")


@pytest.fixture
def grid() -> Grid:
    """Three of four pairs tried; one of them took both routes, one failed."""
    grid = Grid(("open", "symmetric<random>"), "aiortc", relay=True, seconds=12.3)
    for seconds in (0.1, 0.3, 0.2):
        grid.add(OPEN, Attempt("direct", seconds))
    grid.add(ACROSS, Attempt("direct", 0.1))
    grid.add(ACROSS, Attempt("relay", 0.5))
    grid.add(BACK, Attempt("fail", None, "no <path>"))
    return grid


def test_the_route_of_a_pair_is_that_of_most_calls(grid: Grid) -> None:
    """Between equally frequent routes the worse counts: a table must not flatter."""
    assert grid.route(OPEN) == "direct"
    assert grid.route(ACROSS) == "relay"
    assert grid.route(BACK) == "fail"
    assert grid.route(("symmetric<random>", "symmetric<random>")) is None
    assert (grid.steady(OPEN), grid.steady(ACROSS)) == (True, False)


def test_times_are_medians_of_calls_with_media(grid: Grid) -> None:
    """A failed call has no time, and spoils nobody else's."""
    assert grid.median(OPEN) == 0.2
    assert grid.median(BACK) is None
    assert grid.summary() == {
        "pairs": 3, "direct": 1, "relay": 1, "fail": 1, "attempts": 6,
        "median_s": pytest.approx(0.25), "p95_s": pytest.approx(0.3), "took_s": 12.3,
    }  # fmt: skip


def test_the_json_holds_every_attempt(grid: Grid) -> None:
    """A machine can recompute every figure."""
    pairs = json.loads(json.dumps(grid.to_json()))["pairs"]
    assert sum(len(pair["attempts"]) for pair in pairs) == 6
    assert next(pair for pair in pairs if pair["route"] == "fail")["reasons"] == ["no <path>"]


def test_differences_are_told(grid: Grid) -> None:
    """Each pair that is not as expected has its sentence; pairs that were not tried have none."""
    expected: dict[Pair, tuple[Route, ...]] = {
        OPEN: ("direct",), ACROSS: ("direct",), BACK: ("direct", "relay"), ("x", "y"): ("direct",),
    }  # fmt: skip
    assert differences(grid, expected) == [
        "open calls symmetric<random>: relay instead of direct",
        "symmetric<random> calls open: fail instead of direct or relay (no <path>)",
    ]


def test_markdown_has_a_row_for_each_caller(grid: Grid) -> None:
    """Route and time in each cell; a pair whose calls differed is marked. Then why calls failed."""
    lines = markdown(grid).splitlines()
    assert lines[0] == "| aiortc, relay on | open | symmetric<random> |"
    assert lines[2] == "| **open** | D 0.20 | R* 0.30 |"
    assert lines[3] == "| **symmetric<random>** | F |  |"
    assert "3 pairs, 6 calls: 1 direct, 1 by relay, 1 without a path" in lines[5]
    assert lines[-1] == "- no <path>: symmetric<random> to open"


def test_html_stands_alone_and_escapes(grid: Grid) -> None:
    """Nothing is loaded from elsewhere, no name becomes a tag, every tag is closed."""

    class Checker(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.stack: list[str] = []
            self.cells = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "img", "path", "random")
            self.cells += tag == "td" and dict(attrs).get("title") is not None
            if tag != "meta":
                self.stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag

    page = html([grid, grid])
    checker = Checker()
    checker.feed(page)
    assert checker.stack == []
    assert checker.cells == 8
    assert "http" not in page


def test_plain_ice_by_the_words_of_rfc_4787() -> None:
    """37 of the 64 pairs of the grid can be direct, and who calls makes no difference."""
    routes = expected_routes(KINDS, relay=False, plain=True)
    assert sum(route == ("direct",) for route in routes.values()) == 37
    assert all(routes[row, column] == routes[column, row] for row, column in routes)
    assert routes["symmetric_random", "address_restricted"] == ("direct",)
    assert routes["symmetric_random", "port_restricted"] == ("fail",)
    assert routes["cgnat", "port_restricted"] == ("direct",)


def test_prediction_and_probing_make_nine_more_direct() -> None:
    """46 of 64; left are those where both depend and one draws its ports by lot."""
    plain = expected_routes(KINDS, relay=False, plain=True)
    routes = expected_routes(KINDS, relay=False, plain=False)
    more = {pair for pair, route in routes.items() if route == ("direct",) != plain[pair]}
    assert sum(route == ("direct",) for route in routes.values()) == 46
    fixed = {"port_restricted", "cgnat"}
    assert more == {
        ("symmetric_sequential", "symmetric_sequential"),
        *((one, kind) for one in ("symmetric_sequential", "symmetric_random") for kind in fixed),
        *((kind, one) for one in ("symmetric_sequential", "symmetric_random") for kind in fixed),
    }
    assert routes["symmetric_random", "symmetric_sequential"] == ("fail",)


def test_a_relay_makes_the_rest_possible() -> None:
    """Also for who has UDP blocked.

    Where there is a direct path, plain ICE may be relayed all the same, and meshcall may not.
    """
    routes = expected_routes(KINDS, relay=True, plain=False)
    assert routes["symmetric_random", "symmetric_random"] == ("relay",)
    assert routes["symmetric_random", "port_restricted"] == ("direct",)
    assert routes["open", "open"] == ("direct",)
    assert routes["udp_blocked", "open"] == ("relay",)
    assert ("fail",) not in routes.values()
    plain = expected_routes(KINDS, relay=True, plain=True)
    assert plain["open", "open"] == ("direct", "relay")
    assert ("fail",) not in plain.values()


def test_needless_relays_are_counted() -> None:
    """A relayed pair that has a direct path, and no other."""
    grid = Grid(KINDS, "aiortc", relay=True)
    grid.add(("open", "open"), Attempt("relay", 0.1))
    grid.add(("open", "cgnat"), Attempt("direct", 0.1))
    grid.add(("cgnat", "symmetric_random"), Attempt("relay", 0.1))
    assert needless_relays(grid) == [("open", "open")]


GAPS = {"p": Gap("direct", "not yet")}


def test_a_table_is_strict_both_ways() -> None:
    """A route that is worse is told, and so is one that is better than a known gap."""
    table = parse_table("open D Fp\ncgnat DR Fp", ("open", "cgnat"), GAPS)
    assert table["open", "cgnat"] == Cell(("fail",), GAPS["p"])
    assert table["cgnat", "open"] == Cell(("direct", "relay"))
    grid = Grid(("open", "cgnat"), "aiortc", relay=False)
    grid.add(("open", "open"), Attempt("fail", None, "silence"))
    grid.add(("open", "cgnat"), Attempt("direct", 0.1))
    grid.add(("cgnat", "open"), Attempt("relay", 0.1))
    grid.add(("cgnat", "cgnat"), Attempt("fail", None, "silence"))
    assert judge(grid, table) == [
        "open calls open: fail instead of direct (silence)",
        "open calls cgnat: direct instead of fail",
        "open calls cgnat: the gap is closed, and must leave the table: not yet",
    ]


@pytest.mark.parametrize("text", ["open D", "moon D D", "open D X", "open D DD", "open D p", "open D Dp"])
def test_a_table_that_makes_no_sense_is_refused(text: str) -> None:
    """With the line."""
    with pytest.raises(ValueError, match=text):
        parse_table(text, ("open", "cgnat"), GAPS)


async def test_calls_of_one_row_or_column_never_overlap() -> None:
    """No host is in two calls, as many as allowed run side by side, and all are made."""
    running: list[Pair] = []
    made: list[Pair] = []
    most = 0

    async def call(pair: Pair) -> None:
        nonlocal most
        assert not any(pair[0] == row or pair[1] == column for row, column in running)
        running.append(pair)
        most = max(most, len(running))
        for _ in range(len(pair[0])):  # calls of different lengths
            await asyncio.sleep(0)
        running.remove(pair)
        made.append(pair)

    wanted = Plan().wanted() * 2
    await run_disjoint(wanted, call, 3)
    assert sorted(made) == sorted(wanted)
    assert most == 3


@pytest.mark.parametrize(
    ("words", "count"), [(["open:cgnat"], 1), (["*:cgnat", "open:*"], 15), (["*:*"], 64)]
)
def test_pairs_are_chosen_by_words(words: list[str], count: int) -> None:
    """A star stands for every kind; a pair that is named twice is one."""
    assert len(parse_pairs(words)) == len(set(parse_pairs(words))) == count


@pytest.mark.parametrize("word", ["open", "open:nowhere", ":", "x:*"])
def test_wrong_pairs_are_refused(word: str) -> None:
    """With the word, and what could be written."""
    with pytest.raises(ValueError, match=r"write CALLER|there are"):
        parse_pairs([word])
