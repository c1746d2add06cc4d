"""The grid of all kinds of network: who is connected, who directly, and what a relay changes of that."""

from __future__ import annotations

from netsim.bench.figure import Figure, Report, Table
from netsim.bench.runner import Options
from netsim.grid import Grid, Pair
from netsim.matrix import KINDS, Plan, run_matrix
from netsim.report import failures
from netsim.routes import LETTERS, expected_routes

DIRECT = 46
PAIRS = [(caller, callee) for caller in KINDS for callee in KINDS]
WITH_UDP = [pair for pair in PAIRS if "udp_blocked" not in pair]


async def measure(options: Options) -> Report:
    """All pairs without a relay and with relays that peers lend."""
    grid = await run_matrix(Plan(KINDS, None, "meshcall", relay=True), options.log)
    if options.quick:  # what plain ICE can do stands for what was direct without a relay
        possible = expected_routes(KINDS, relay=False, plain=True)
        before = [pair for pair in PAIRS if possible[pair] == ("direct",)]
    else:
        without = await run_matrix(Plan(KINDS, WITH_UDP, "meshcall"), options.log)
        before = [pair for pair in PAIRS if without.route(pair) == "direct"]
    times = [seconds for pair in PAIRS if (seconds := grid.median(pair)) is not None]
    return Report(
        "Grid",
        (
            _count("grid 8 x 8: pairs connected", grid, PAIRS, len(PAIRS), ("direct", "relay")),
            _count("grid: direct among the 49 pairs whose UDP passes", grid, WITH_UDP, DIRECT),
            _count("grid: direct without a relay, and so with one", grid, before, len(before)),
            Figure("grid: answer to first media, four calls at a time", "ms", tuple(1000 * t for t in times)),
        ),
        (table(grid),),
        failures=tuple(line.removeprefix("- ") for line in failures(grid) if line.startswith("- ")),
    )


def _count(
    name: str, grid: Grid, pairs: list[Pair], goal: int, routes: tuple[str, ...] = ("direct",)
) -> Figure:
    found = sum(grid.route(pair) in routes for pair in pairs)
    return Figure(f"{name} (of {len(pairs)})", "pairs", (float(found),), goal, at_least=True)


def table(grid: Grid) -> Table:
    """Routes, rows call columns."""
    rows = []
    for caller in grid.kinds:
        routes = [grid.route((caller, callee)) for callee in grid.kinds]
        rows.append((caller, *("" if route is None else LETTERS[route] for route in routes)))
    return Table("Routes with relays lent by peers: rows call columns", ("", *grid.kinds), tuple(rows))
