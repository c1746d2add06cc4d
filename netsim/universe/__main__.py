"""The universe's command line: ``python -m netsim.universe --nodes 10000 --dead 0.4 --hostile 0.2``.

What comes from virtual time goes to standard output and is the same for the same seed; what comes from this
machine's clock and memory goes to standard error, or is left out with ``--deterministic``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

from netsim.universe import figures, growth, load
from netsim.universe.hostile import KINDS
from netsim.universe.plot import Line, plot
from netsim.universe.scenario import Outcome, Scenario
from netsim.universe.settings import Settings


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m netsim.universe",
        description="Run the DHT engine of thousands of nodes in virtual time and print what it achieves.",
    )
    add = parser.add_argument
    add("--nodes", type=int, default=default.nodes, help="nodes besides the clients (default %(default)s)")
    add("--seed", type=int, default=default.seed, help="decides all that is left to chance")
    add("--dead", type=float, default=0.0, metavar="SHARE", help="dies at once after the joins")
    add("--hostile", type=float, default=0.0, metavar="SHARE", help="proves its id and then lies")
    add("--hostile-kind", choices=sorted(KINDS), metavar="KIND", help="one kind of lie instead of all")
    add("--nat", type=float, default=0.0, metavar="SHARE", help="is behind NATs, and in no table")
    add(
        "--churn",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="mean life of a node; newcomers replace it",
    )
    add("--sybils", type=int, default=0, metavar="N", help="hostile nodes beside one predictable key")
    add("--sybils-spread", action="store_true", help="not in one /24 but all over the net")
    add("--loss", type=float, default=0.0, metavar="SHARE", help="of the datagrams")
    add("--rtt", type=float, default=default.rtt_ms, metavar="MS", help="round-trip time")
    add("--latency", choices=("constant", "lognormal"), default=default.latency)
    add("--operations", type=int, default=default.operations, metavar="N", help="of each kind")
    add("--clients", type=int, default=default.clients, metavar="N", help="nodes that carry them out")
    add("--fresh", action="store_true", help="clients begin right after their join, with sparse tables")
    add("--real-joins", action="store_true", help="all nodes join by the protocol (for some hundreds)")
    add("--growth", metavar="N,N,...", help="lookups in networks of these sizes instead of the table")
    add("--json", action="store_true", help="JSON instead of Markdown")
    add("--plot", type=Path, metavar="FILE.svg", help="growth curve, or how long operations take")
    add("--deterministic", action="store_true", help="nothing that depends on this machine, nor progress")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 when a goal that applies is missed."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        settings = Settings(
            nodes=options.nodes, seed=options.seed, dead=options.dead, hostile=options.hostile,
            hostile_kind=options.hostile_kind, nat=options.nat, churn=options.churn, sybils=options.sybils,
            sybils_spread=options.sybils_spread, loss=options.loss, rtt_ms=options.rtt,
            latency=options.latency, operations=options.operations, clients=options.clients,
            real_joins=options.real_joins, fresh=options.fresh,
        )  # fmt: skip
        sizes = [int(size) for size in options.growth.split(",")] if options.growth else []
    except ValueError as error:
        parser.error(str(error))
    begun = time.monotonic()

    def log(text: str) -> None:
        if not options.deterministic:
            print(f"{time.monotonic() - begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    # Engines live to the end of the run: looking through all of them for garbage again and again is in vain
    gc.set_threshold(100_000, 50, 100)
    if sizes:
        return _growth(settings, sizes, options, log)
    outcome = Scenario(settings, log).run()
    if options.json:
        print(json.dumps(figures.to_json(outcome), indent=2))
    else:
        print(figures.to_markdown(outcome))
    if options.plot:
        options.plot.write_text(plot_outcome(outcome), encoding="utf-8")
    if not options.deterministic:
        log("measuring this machine")
        machine = load.make_figures(batches=5, nodes=min(settings.nodes, load.NODES))
        print("\n## This machine\n\n" + figures.figure_table(machine), file=sys.stderr)
    return 0 if all(figure.met for figure in figures.make_figures(outcome)) else 1


def _growth(settings: Settings, sizes: list[int], options: argparse.Namespace, log: growth.Log) -> int:
    points = growth.measure(settings, sizes, log)
    print(
        json.dumps(growth.to_json(points), indent=2) if options.json else growth.to_markdown(points, settings)
    )
    if options.plot:
        options.plot.write_text(growth.to_svg(points), encoding="utf-8")
    return 1 if any(point.failed for point in points) else 0


def plot_outcome(outcome: Outcome) -> str:
    """Share of the operations that have ended after so many milliseconds."""
    kinds = (("put", outcome.put), ("get", outcome.get_new + outcome.get_old), ("push", outcome.push))
    lines = []
    for name, times in kinds:
        points = [(value, 100 * (n + 1) / len(times)) for n, value in enumerate(sorted(times))]
        lines.append(Line(name, ((points[0][0], 0.0), *points))) if points else None
    return plot("Operations ended", "ms", "per cent", lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
