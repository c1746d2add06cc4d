"""``bench``: measure what the project promises."""

from __future__ import annotations

import argparse
import sys

from netsim.bench import runner
from netsim.namespaces import why_unavailable

HELP = "measure what the project promises; exit status 1 when a goal is missed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="see `list`")
    parser.add_argument("--all", action="store_true", help="every bench")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument("--repeat", type=int, metavar="N", help="measurements per case")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="of a bench that has parts; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="few measurements, to see that it works")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    names = list(runner.BENCHES) if options.all else options.names
    if not names:
        parser.error("give the NAME of a bench, or --all; `list` prints them")
    unknown = sorted(set(names) - set(runner.BENCHES))
    if unknown:
        parser.error(f"no bench is called {unknown[0]}; `list` prints them")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes a number of at least 1")
    reason = why_unavailable()
    if reason is not None and any(runner.BENCHES[name].needs_lab for name in names):
        print(f"error: {reason}", file=sys.stderr)
        return 1
    known = {part for name in names for part in runner.BENCHES[name].parts()}
    for part in options.only:
        if part not in known:
            parser.error(f"no part is called {part!r}; there are {', '.join(sorted(known)) or 'none'}")
    return runner.run(
        names,
        repeat=options.repeat,
        quick=options.quick,
        as_json=options.json,
        only=tuple(options.only),
    )
