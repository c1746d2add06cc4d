"""``check``: say whether this machine can run the lab."""

from __future__ import annotations

import argparse

from netsim.namespaces import why_unavailable

HELP = "say whether this machine can run the lab"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    reason = why_unavailable()
    print(reason or "the lab can run here")
    return 1 if reason else 0
