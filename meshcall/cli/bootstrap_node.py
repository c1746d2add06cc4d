"""`bootstrap-node`: its flags are checked here; then the program takes this one's place."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from meshcall.address import parse_host_port
from meshcall.cli.session import session_of
from meshcall.errors import InvalidConfig
from meshcall.paths import choose_home

PORT = 4600
"""The UDP port unless `--port` says otherwise: one that can be written down."""
APPLICATION = "meshcall-bootstrap-node"
"""Names the home when nothing else does: never that of a daemon."""


def bootstrap_node(
    context: typer.Context,
    port: Annotated[int, typer.Option(metavar="N", help="UDP port; 0: any free one.")] = PORT,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A DHT node to join through; can be repeated."),
    ] = None,
) -> None:
    """Run a plain DHT router, for others to join through.

    In the foreground, without an identity or calls. It routes at once, so others must reach its port.
    SIGTERM and Ctrl-C stop it; SIGUSR1 has it log how it is.
    """
    session = session_of(context)
    if not 0 <= port <= 65535:
        raise InvalidConfig(f"--port: {port} is not a port (0 to 65535)")
    for text in bootstrap or ():
        parse_host_port(text)
    home = choose_home(session.home_option, APPLICATION)
    manner = "quiet" if session.quiet else "report"
    # -P: no modules of the folder that we are in, which others may write to
    command = [sys.executable, "-P", "-m", "meshcall.bootstrap_node", str(home), str(port), manner]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *(bootstrap or ())])  # noqa: S606 - our own interpreter, no shell
