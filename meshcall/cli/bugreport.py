"""`bugreport`: one file that says how this machine and its daemon are, for whoever is to help.

Law 1: no IDs, names, addresses, secrets or paths of the user (:mod:`meshcall.cli.scrubbing`).
Law 2: what can't be looked at makes one section say so, and none of the others.
Law 3: nothing is overwritten, and nothing is sent anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import meshcall
from meshcall.cli import logs
from meshcall.cli.doctor import gather
from meshcall.cli.output import emit, note
from meshcall.cli.session import Session, session_of
from meshcall.errors import FileError, MeshcallError
from meshcall.reporting import printable

if TYPE_CHECKING:
    from meshcall.cli.scrubbing import Scrubber

LOG_LINES: Final = 300
"""Lines of the log: those of some hours, or of the last crash."""

HISTORY: Final = 1000
"""Calls of the past whose names are looked for."""


def bugreport(
    context: typer.Context,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", show_default=False),
    ] = None,
) -> None:
    """Write a file for whoever is to help you.

    Versions, status, doctor, netcheck and the end of the log, without IDs, names, addresses and secrets.
    """
    session = session_of(context)
    path = Path(output if output is not None else time.strftime("meshcall-report-%Y%m%d-%H%M%S.txt"))
    descriptor = _create(path)
    if not session.quiet:
        note("looking; this takes a few seconds")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(report(session))
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(f"{path} can't be written: {error.strerror}") from error
        raise
    emit(str(path))
    if not session.quiet:
        note("read it before you pass it on")


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise FileError(f"{path} exists already", hint="choose another name: `-o FILE`") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a file"
        raise FileError(f"{path} can't be written: {reason}") from error


def report(session: Session) -> str:
    """The whole text."""
    scrubber = _scrubber(session)
    sections: list[tuple[str, Callable[[], Iterable[str]]]] = [
        ("versions", _versions),
        ("status", lambda: _pretty(scrubber.document(session.client.get("status")))),
        ("netcheck", lambda: _pretty(scrubber.document(session.client.get("netcheck")))),
        ("doctor", lambda: _doctor(session, scrubber)),
        ("log", lambda: map(scrubber.log_line, logs.read_log(session, LOG_LINES))),
    ]
    lines = []
    for title, look in sections:
        lines.append(f"== {title} ==")
        try:
            lines += [printable(line) for line in look()]
        except MeshcallError as error:
            lines.append(scrubber.text(printable(f"not known: {error}")))
        lines.append("")
    return "\n".join(lines)


def _versions() -> Iterable[str]:
    import platform  # late: only here
    import re
    from importlib import metadata

    yield f"meshcall {meshcall.__version__}"
    yield f"Python {platform.python_version()} ({platform.python_implementation()})"
    yield platform.platform()
    try:
        wanted = metadata.requires("meshcall") or []
    except metadata.PackageNotFoundError:
        wanted = []
    for name in sorted({re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in wanted}):
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name}: not installed"


def _pretty(document: Any) -> Iterable[str]:
    return json.dumps(document, indent=1).splitlines()


def _doctor(session: Session, scrubber: Scrubber) -> Iterable[str]:
    from meshcall.cli.findings import examine

    for one in examine(gather(session)):
        yield scrubber.text(f"{one.status:<4}  {one.check}: {one.found}{' -> ' if one.fix else ''}{one.fix}")


def _scrubber(session: Session) -> Scrubber:
    """One that knows this machine, its user, and everybody that the daemon can name."""
    import getpass  # late: only here
    import socket

    from meshcall.cli.scrubbing import Scrubber

    names = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    with contextlib.suppress(OSError, KeyError):  # a user without a name
        names.add(getpass.getuser())
    folders = {str(session.paths.path): "HOME", str(Path.home()): "~", sys.prefix: "PREFIX"}
    for path, query, rows in (
        ("peers", {}, "peers"),
        ("history", {"limit": HISTORY}, "calls"),
        ("calls", {}, "calls"),
    ):
        try:
            document = session.client.get(path, **query)
        except MeshcallError:
            continue
        for row in document[rows]:
            names.update(str(row.get(field) or "") for field in ("name", "self_name", "short", "peer_id"))
    with contextlib.suppress(MeshcallError):  # its section says why
        status = session.client.get("status")
        names |= {str(status["name"]), str(status["peer_id"]), str(status["peer_id"])[:7]}
    return Scrubber(folders, names=names - {"root"})
