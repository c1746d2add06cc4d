"""`logs`: what the daemon has logged, from the journal of its service or from the home's `daemon.log`.

Law: nothing of a log steers the terminal.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from meshcall.cli import service
from meshcall.cli.output import emit, note
from meshcall.cli.service_unit import UNIT_NAME
from meshcall.cli.session import Session, session_of
from meshcall.errors import FileError, ServiceError
from meshcall.reporting import printable

LINES_MAX: Final = 100_000
"""Lines at most: what a terminal may still be asked to show."""

TAIL_MAX: Final = 16 * 1024 * 1024
"""Octets at the end of a file that lines are looked for in (memory)."""

POLL: Final = 0.25
"""Seconds between two looks at a file that is followed."""

JOURNAL_PATIENCE: Final = 20.0
"""Seconds for the journal to be read, on a machine with a long one."""


def logs(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is logged next.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, max=LINES_MAX, help="How many lines.")
    ] = 100,
) -> None:
    """Show the daemon's log.

    From the journal if the daemon is a service, else from daemon.log in its home. Ctrl-C ends --follow.
    """
    session = session_of(context)
    for line in read_log(session, lines, follow=follow):
        emit(printable(line))


def read_log(session: Session, lines: int, *, follow: bool = False) -> Iterator[str]:
    """The last ``lines`` lines, and with ``follow`` those to come; :class:`FileError` if there is no log."""
    if service.is_installed(session):
        return _journal(lines, follow=follow)
    path = session.paths.path / "daemon.log"
    if not path.exists():
        raise FileError(
            "this daemon keeps no log",
            hint="`meshcall daemon` logs to its terminal; `meshcall service install` has the journal keep it",
        )
    return _file(path, lines, follow=follow)


def _journal(lines: int, *, follow: bool) -> Iterator[str]:
    journalctl = shutil.which("journalctl")
    if journalctl is None:
        raise ServiceError("there is no journalctl here to read the service's log with")
    command = [journalctl, "--user", f"--unit={UNIT_NAME}", f"--lines={lines}", "--output=cat", "--quiet"]
    command += ["--no-pager", *(["--follow"] if follow else [])]
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if not follow else subprocess.DEVNULL,
        text=True,
        errors="replace",
    ) as process:
        try:
            if follow:
                assert process.stdout is not None
                for line in process.stdout:
                    yield line.rstrip("\n")
                return
            out, err = process.communicate(timeout=JOURNAL_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"the journal is not read after {JOURNAL_PATIENCE:.0f} s") from None
        finally:
            process.kill()
    found = out.splitlines()
    if process.returncode != 0 and not found and err.strip():
        raise ServiceError(f"the journal can't be read: {err.strip().splitlines()[0]}")
    if not found and lines:
        note("the journal has nothing of the service yet")
    yield from found


def _file(path: Path, lines: int, *, follow: bool) -> Iterator[str]:
    descriptor = _open(path)
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - TAIL_MAX)
        file.seek(start)
        data = file.read(size - start)
        whole, _, rest = data.rpartition(b"\n")
        if start:
            whole = whole.partition(b"\n")[2]  # it begins in the middle of a line
        if not follow:
            whole, rest = whole + (b"\n" + rest if rest else b""), b""
        for line in deque(whole.split(b"\n") if whole else (), maxlen=lines):
            yield line.decode(errors="replace")
        while follow:
            more = file.read(TAIL_MAX)
            if not more:
                if file.tell() > os.fstat(descriptor).st_size:  # emptied
                    file.seek(0)
                    rest = b""
                time.sleep(POLL)
                continue
            *done, rest = (rest + more).split(b"\n")
            for line in done:
                yield line.decode(errors="replace")


def _open(path: Path) -> int:
    """A regular file for reading: no link is followed, a fifo is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"{path} is not a regular file")
    return descriptor
