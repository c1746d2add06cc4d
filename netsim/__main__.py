"""The lab's command line: ``python -m netsim COMMAND``."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = ("list", "check", "verify", "matrix", "run", "bench", "shell")
"""Modules of :mod:`netsim.commands`, in the order of the help; ``list`` is ``listing`` there."""


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = argparse.ArgumentParser(prog="python -m netsim", description="A network lab in user namespaces.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"netsim.commands.{'listing' if name == 'list' else name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    options = make_parser().parse_args(argv)
    status: int = options.run(options, options.parser)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
