"""The lab's command line: ``python -m netsim list`` and ``python -m netsim bench NAME``."""

from __future__ import annotations

import argparse
import sys

from netsim.bench import runner
from netsim.namespaces import why_unavailable


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = argparse.ArgumentParser(prog="python -m netsim", description="A network lab in user namespaces.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the benches")
    commands.add_parser("check", help="say whether this machine can run the lab")
    bench = commands.add_parser(
        "bench", help="measure what the project promises; exit status 1 when a goal is missed"
    )
    bench.add_argument("names", nargs="*", metavar="NAME", help="see `list`")
    bench.add_argument("--all", action="store_true", help="every bench")
    bench.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    bench.add_argument("--repeat", type=int, metavar="N", help="measurements per case")
    bench.add_argument("--quick", action="store_true", help="few measurements, to see that it works")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.command == "list":
        for bench in runner.BENCHES.values():
            print(f"{bench.name}\t{bench.summary}")
        return 0
    reason = why_unavailable()
    if options.command == "check":
        print(reason or "the lab can run here")
        return 1 if reason else 0
    names = list(runner.BENCHES) if options.all else options.names
    if not names:
        parser.error("give the NAME of a bench, or --all; `list` prints them")
    unknown = sorted(set(names) - set(runner.BENCHES))
    if unknown:
        parser.error(f"no bench is called {unknown[0]}; `list` prints them")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes a number of at least 1")
    if reason is not None and any(runner.BENCHES[name].needs_lab for name in names):
        print(f"error: {reason}", file=sys.stderr)
        return 1
    return runner.run(names, repeat=options.repeat, quick=options.quick, as_json=options.json)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
