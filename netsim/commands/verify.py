"""``verify``: let independent tools say what the lab's NATs are."""

from __future__ import annotations

import argparse
import asyncio
import sys

from netsim import verify
from netsim.errors import LabError
from netsim.namespaces import why_unavailable

HELP = "prove every kind of NAT by coturn's tool, stun-client and two hosts; exit status 1 when one differs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    reason = why_unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    try:
        return asyncio.run(verify.run())
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
