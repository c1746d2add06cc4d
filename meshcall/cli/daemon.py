"""`daemon`: the daemon's program takes this one's place."""

from __future__ import annotations

import typer

from meshcall.cli.program import become_daemon
from meshcall.cli.session import session_of

daemon_command = typer.Typer(rich_markup_mode=None, add_completion=False)


@daemon_command.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def daemon(context: typer.Context) -> None:
    """Run the daemon (its options: `meshcall daemon --help`)."""
    session = session_of(context)
    home = [] if session.home_option is None else ["--home", session.home_option]
    quiet = ["--quiet"] if session.quiet else []
    become_daemon([*home, *quiet, *["--verbose"] * session.verbose, *context.args])
