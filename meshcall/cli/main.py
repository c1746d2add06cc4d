"""The command line's beginning and end.

Law 1: starting costs little: a command is loaded where it is used, and a daemon without typer.
Law 2: every error ends as one line ``error:`` and one line ``hint:`` on stderr, with its exit code.
"""

from __future__ import annotations

import os
import sys

from meshcall.cli.program import FLAGS, become_daemon, daemon_arguments
from meshcall.errors import MeshcallError, UsageError
from meshcall.reporting import print_error

EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        words = hoist_globals(sys.argv[1:] if arguments is None else arguments)
        daemon = daemon_arguments(words)
        if daemon is not None:
            become_daemon(daemon)
        from meshcall.cli.root import run  # late: typer costs as much as a third of a daemon's own libraries

        return run(words or ["--help"])
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UnicodeEncodeError:
        print_error(UsageError("that text is not valid UTF-8"))
        return UsageError.exit_code


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
        elif argument.startswith("--home=") or argument in FLAGS:
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest
