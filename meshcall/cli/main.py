"""The root command.

Law 1: starting costs little: only typer is loaded here, a command where it is used.
Law 2: every error ends as one line ``error:`` and one line ``hint:`` on stderr, with its exit code.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from meshcall.cli.commands import CommandGroup
from meshcall.cli.session import Session
from meshcall.errors import MeshcallError, UsageError
from meshcall.reporting import print_error

EXIT_INTERRUPTED = 130

_FLAGS = frozenset({"--quiet", "-q", "--verbose", "-v", "-vv"})

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(hoist_globals(given) or ["--help"], prog_name="meshcall", standalone_mode=False)
    except MeshcallError as error:
        return _fail(error)
    except typer.TyperException as error:
        return _fail(_usage_error(error))
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except UnicodeEncodeError:
        return _fail(UsageError("that text is not valid UTF-8"))
    return code if isinstance(code, int) else 0


def hoist_globals(arguments: list[str]) -> list[str]:
    """Options of all commands may stand anywhere before ``--``: move them to the front, for the root."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--home":
            value = next(waiting, None)
            if value is None:
                raise UsageError("option '--home' requires an argument", hint="see `meshcall --help`")
            front += [argument, value]
        elif argument.startswith("--home=") or argument in _FLAGS:
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def _usage_error(error: typer.TyperException) -> MeshcallError:
    """Typer's complaint in our form."""
    lines = [line.strip() for line in error.format_message().splitlines() if line.strip()]
    command = getattr(getattr(error, "ctx", None), "command_path", "meshcall")
    text = " ".join(lines).rstrip(".")
    return UsageError(text[:1].lower() + text[1:], hint=f"see `{command} --help`")


def _fail(error: MeshcallError) -> int:
    print_error(error)
    return error.exit_code
