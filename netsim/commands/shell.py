"""``shell``: a shell on a host of a lab, to look around."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys

from netsim.errors import LabError
from netsim.host import Host
from netsim.lab import Lab
from netsim.namespaces import search_path, why_unavailable
from netsim.nat import PRESETS

HELP = "open a shell on a host behind a NAT, in a small lab of two sites and a server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "host",
        choices=("alice", "bob", "server", "internet"),
        metavar="HOST",
        help="where to open it: alice, bob, server or internet",
    )
    parser.add_argument(
        "--alice",
        choices=tuple(PRESETS),
        metavar="KIND",
        default="port_restricted",
        help="kind of Alice's NAT (%(default)s); `list` prints them",
    )
    parser.add_argument(
        "--bob",
        choices=tuple(PRESETS),
        metavar="KIND",
        default="symmetric_random",
        help="kind of Bob's NAT (%(default)s)",
    )
    parser.add_argument("-c", dest="command", metavar="COMMAND", help="run this instead of a shell")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Returns the exit status."""
    reason = why_unavailable()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    try:
        return asyncio.run(_shell(options))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _shell(options: argparse.Namespace) -> int:
    async with Lab() as lab:
        server = await lab.server()
        for name in ("alice", "bob"):
            await lab.site(name, getattr(options, name))
        for host in lab.hosts.values():
            if address := host.ipv4 or host.ipv6:  # the core has none
                print(f"{host.name:16} {address}", file=sys.stderr)
        print(f"{'STUN':16} {server.stun}", file=sys.stderr)
        print(f"{'TURN':16} {server.turn()}, user {server.user}, password {server.password}", file=sys.stderr)
        command = (
            ["/bin/sh", "-c", options.command] if options.command else [os.environ.get("SHELL", "/bin/sh")]
        )
        return await asyncio.to_thread(_enter, lab.hosts[options.host], command)


def _enter(host: Host, command: list[str]) -> int:
    """Run ``command`` in the host's namespaces, on this terminal."""
    env = {**os.environ, "PATH": search_path(), "PS1": f"{host.name}# "}
    return subprocess.run([*host.sandbox.enter_command(host.name), *command], env=env, check=False).returncode
