"""The lab's command line: ``python -m netsim check``, ``verify``, ``list`` and ``bench NAME``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from netsim import verify
from netsim.bench import runner
from netsim.errors import LabUnavailable
from netsim.namespaces import why_unavailable


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = argparse.ArgumentParser(prog="python -m netsim", description="A network lab in user namespaces.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the benches")
    commands.add_parser("check", help="say whether this machine can run the lab")
    commands.add_parser(
        "verify",
        help="prove each kind of NAT by independent tools; exit status 1 when one is not as described",
    )
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
    if options.command == "verify":
        return run_verify()
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


def run_verify() -> int:
    """Print what the tools say about each kind; returns the exit status."""
    try:
        return asyncio.run(verify.run())
    except LabUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
