"""``matrix``: every kind of network calls every kind."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from netsim.commands.files import add_file_arguments, check_file_arguments
from netsim.errors import LabError
from netsim.grid import Grid, differences
from netsim.matrix import CONCURRENCY, KINDS, Plan, parse_pairs, run_matrix
from netsim.namespaces import why_unavailable
from netsim.report import html, markdown
from netsim.routes import expected_routes, needless_relays

HELP = "call from every kind of NAT to every kind; exit status 1 when a route is not as expected"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "--pairs",
        nargs="+",
        metavar="CALLER:CALLEE",
        help="only these, such as open:symmetric_random or 'cgnat:*'",
    )
    parser.add_argument("--stack", choices=("meshcall", "aiortc"), default="meshcall", help="what calls")
    parser.add_argument(
        "--relay", choices=("on", "off"), default="off", help="relays: of peers, or coturn for aiortc"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="calls per pair")
    parser.add_argument(
        "--concurrency", type=int, default=CONCURRENCY, metavar="N", help="calls at a time (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    add_file_arguments(parser)


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    for name in ("repeat", "concurrency"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} takes a number of at least 1")
    try:
        pairs = parse_pairs(options.pairs) if options.pairs else None
    except ValueError as error:
        parser.error(f"--pairs: {error}")
    check_file_arguments(options, parser)
    reason = why_unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    used = [kind for kind in KINDS if pairs is None or any(kind in pair for pair in pairs)]
    relay = options.relay == "on"
    plan = Plan(
        used,
        pairs,
        options.stack,
        relay,
        options.repeat,
        options.concurrency,
        keep=options.keep,
        pcap=options.pcap,
    )
    try:
        grid = asyncio.run(run_matrix(plan, lambda text: print(text, file=sys.stderr, flush=True)))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.html is not None:
        options.html.write_text(html([grid]))
    print(json.dumps(grid.to_json(), indent=2) if options.json else markdown(grid))
    return _judge(grid)


def _judge(grid: Grid) -> int:
    """Tell how the run differs from what ICE can do."""
    expected = expected_routes(grid.kinds, relay=grid.relay, plain=grid.stack == "aiortc")
    needless = needless_relays(grid)
    if needless:
        print(f"relayed although a direct path exists: {len(needless)} pairs", file=sys.stderr)
    found = differences(grid, expected)
    for sentence in found:
        print(f"not as expected: {sentence}", file=sys.stderr)
    return 1 if found else 0
