"""`daemon`: the daemon's program takes this one's place."""

from __future__ import annotations

import os
import sys

import typer

from meshcall.cli.session import session_of

daemon_command = typer.Typer(rich_markup_mode=None, add_completion=False)


@daemon_command.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def daemon(context: typer.Context) -> None:
    """Run the daemon (its options: `meshcall daemon --help`)."""
    session = session_of(context)
    # -P: no modules of the folder that we are in, which others may write to
    command = [sys.executable, "-P", "-m", "meshcall.daemon"]
    if session.home_option is not None:
        command += ["--home", session.home_option]
    command += ["--quiet"] if session.quiet else []
    command += ["--verbose"] * session.verbose
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *context.args])  # noqa: S606 - our own interpreter, no shell
