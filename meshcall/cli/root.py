"""The root command: what all commands share. Only typer is loaded here, a command where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from meshcall.cli.commands import CommandGroup
from meshcall.cli.session import Session
from meshcall.errors import MeshcallError, UsageError

# rich_markup_mode None: plain help, which costs 60 ms less than rich's
app = typer.Typer(
    name="meshcall",
    cls=CommandGroup,
    help="Call people and machines by public key, with no server.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from meshcall.cli.status import version

        version()
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    home: Annotated[
        str | None,
        typer.Option("--home", metavar="DIR", help="Folder of keys, state and sockets (or MESHCALL_HOME)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more.")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_print_version, help="Print the version."),
    ] = False,
) -> None:
    """Call people and machines by public key, with no server."""
    context.obj = Session(home_option=home, quiet=quiet, verbose=verbose)


def run(words: Sequence[str]) -> int:
    """Run a command, whose options for all commands come first; returns the exit code.

    Raises :class:`meshcall.errors.MeshcallError`.
    """
    try:
        code = app(words, prog_name="meshcall", standalone_mode=False)
    except typer.TyperException as error:
        raise _usage_error(error) from error
    except typer.Abort:
        raise KeyboardInterrupt from None  # it was one
    return code if isinstance(code, int) else 0


def _usage_error(error: typer.TyperException) -> MeshcallError:
    """Typer's complaint in our form."""
    lines = [line.strip() for line in error.format_message().splitlines() if line.strip()]
    command = getattr(getattr(error, "ctx", None), "command_path", "meshcall")
    text = " ".join(lines).rstrip(".")
    return UsageError(text[:1].lower() + text[1:], hint=f"see `{command} --help`")
