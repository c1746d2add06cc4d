"""The rendezvous overlay's promises: put, get and push among the dead, and what a node costs.

Times come from the universe (virtual time, the product's own engine, 50 ms round trip), so they do not depend
on this machine; rates and memory are this machine's. ``docs/universe.md`` says what is modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netsim.bench.figure import Figure, Report, Table
from netsim.bench.runner import Options
from netsim.universe import figures, growth, load
from netsim.universe.scenario import Scenario
from netsim.universe.settings import Settings

SIZES = ((200, 0.0), (200, 0.4), (1000, 0.4))
"""(nodes, share of dead) that the promises are for."""
HOSTILE = (1000, 0.2)
SYBILS = (1000, 20)
GROWTH = (100, 300, 1000, 3000, 10_000)
QUICK_GROWTH = (100, 300, 1000)
OPERATIONS, QUICK_OPERATIONS = 200, 40
CLIENTS, QUICK_CLIENTS = 100, 20
SETTLE, QUICK_SETTLE = 60.0, 5.0
"""Seconds that a bootstrap node has been one of its network when it is weighed."""
SEED = 1


def settings_of(options: Options) -> list[Settings]:
    """The universes of the table."""
    operations, clients = (QUICK_OPERATIONS, QUICK_CLIENTS) if options.quick else (OPERATIONS, CLIENTS)

    def make(nodes: int, dead: float = 0.0, hostile: float = 0.0, sybils: int = 0) -> Settings:
        return Settings(nodes=nodes, dead=dead, hostile=hostile, sybils=sybils, seed=SEED,
                        operations=operations, clients=clients)  # fmt: skip

    plain = [make(nodes, dead) for nodes, dead in SIZES]
    return [*plain, make(HOSTILE[0], hostile=HOSTILE[1]), make(SYBILS[0], sybils=SYBILS[1])]


def name_of(s: Settings) -> str:
    """What stands before the names of a universe's figures."""
    parts = [f"N={s.nodes}", f"{s.dead:.0%} dead"]
    parts += [f"{s.hostile:.0%} hostile"] if s.hostile else []
    parts += [f"{s.sybils} sybils"] if s.sybils else []
    return ", ".join(parts) + ": "


def measure(options: Options) -> Report:
    """All of it. No coroutine: a loop that is busy with one sees no Ctrl-C."""
    found: list[Figure] = []
    for settings in settings_of(options):
        options.log(f"universe of {figures.describe(settings)}")
        of_universe = figures.make_figures(Scenario(settings).run(), name_of(settings))
        if settings.sybils:
            of_universe = tuple(f for f in of_universe if "sybils succeeds" in f.name)
        # A goal for another kind of network says nothing here
        found += (f if f.judged else Figure(f.name, f.unit, f.values, None, f.statistic) for f in of_universe)
    options.log("this machine")
    found += load.make_figures(batches=options.repeat, settle=QUICK_SETTLE if options.quick else SETTLE)
    sizes = QUICK_GROWTH if options.quick else GROWTH
    base = replace(settings_of(options)[0], clients=QUICK_CLIENTS)
    points = growth.measure(base, sizes, options.log)
    hops, messages = growth.fits(points)
    notes = (
        f"Times are virtual, 50 ms round trip, seed {SEED}, records of 933 octets.",
        "All deaths are at one moment, after the watches were registered; pushes begin within 5 s of them.",
        f"Hops of a lookup = {hops.constant:.2f} + {hops.slope:.2f} log2 N (R2 {hops.r2:.2f}); "
        f"requests = {messages.constant:.1f} + {messages.slope:.2f} log2 N (R2 {messages.r2:.2f}).",
    )
    return Report("Rendezvous", tuple(found), (growth_table(points),), notes)


def growth_table(points: Sequence[growth.Point]) -> Table:
    """Hops and requests by size."""
    rows = tuple(
        (str(p.nodes), f"{p.mean_hops:.2f}", f"{p.mean_messages:.1f}", str(len(p.hops))) for p in points
    )
    return Table("A lookup against the size of the network", ("nodes", "hops", "requests", "n"), rows)
