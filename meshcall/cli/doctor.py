"""`doctor`: what is wrong with this machine, its daemon or its network, and what to do about it.

Law 1: it looks and changes nothing.
Law 2: whatever can't be looked at makes one check SKIP, and none of the others.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import meshcall
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_json, note
from meshcall.cli.session import session_of
from meshcall.errors import MeshcallError, UsageError
from meshcall.reporting import phrase, printable

if TYPE_CHECKING:
    from meshcall.cli.findings import Facts, Finding
    from meshcall.cli.session import Session

MEDIA_PATIENCE = 30.0
"""Seconds that loading aiortc and av may take, on a machine that was just switched on."""

SYSTEMD_PATIENCE = 5.0


def doctor(
    context: typer.Context,
    checks: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="NAME", help="Only this check; can be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what keeps calls from working.

    Each check is OK, WARN, FAIL or SKIP, with what to do. Exit code 0: no FAIL.
    """
    from meshcall.cli.findings import CHECKS, examine

    session = session_of(context)
    names = [check.name for check in CHECKS]
    for name in checks or ():
        if name not in names:
            raise UsageError(f"--check: there is no check {name!r}", hint=f"there are {', '.join(names)}")
    if not as_json and not session.quiet:
        note("looking; this takes a few seconds")
    findings = examine(gather(session), checks or ())
    failed = sum(finding.status == "FAIL" for finding in findings)
    if as_json:
        rows = [
            {"check": one.check, "status": one.status, "found": one.found, "fix": one.fix} for one in findings
        ]
        emit_json({"schema": 1, "failed": failed, "findings": rows})
    else:
        show(findings)
    if failed:
        raise typer.Exit(1)


def show(findings: Iterable[Finding]) -> None:
    """A paragraph each on a terminal; status, check, what was found and the fix between tabs in a pipe."""
    if not sys.stdout.isatty():
        for one in findings:
            emit("\t".join(map(printable, (one.status, one.check, one.found, one.fix))))
        return
    findings = list(findings)
    width = max((len(one.check) for one in findings), default=0)
    margin = width + 8
    room = max(30, shutil.get_terminal_size().columns - margin)
    for one in findings:
        lines = _wrapped(one.found, room, "") + _wrapped(one.fix, room, "-> ")
        emit(f"{one.status:<4}  {one.check:<{width}}  {lines[0]}")
        for line in lines[1:]:
            emit(" " * margin + line)


def _wrapped(text: str, room: int, first: str) -> list[str]:
    """Lines of ``text``, broken between words only: a command that was cut could not be copied."""
    return textwrap.wrap(
        printable(text),
        room,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- looking --------------------------------------------------------------------------------------


def gather(session: Session) -> Facts:
    """Everything that the checks want to know."""
    from meshcall.cli.findings import Facts

    paths = session.paths
    home = _stat(paths.path)
    key = _stat(paths.key)
    status, daemon_fault, daemon_hint = None, "", ""
    netcheck, netcheck_fault = None, ""
    try:
        status = session.client.get("status")
        try:
            netcheck = session.client.get("netcheck")
        except MeshcallError as error:
            netcheck_fault = phrase(str(error))
    except MeshcallError as error:
        text = phrase(str(error))
        daemon_fault, daemon_hint = text[:1].lower() + text[1:], error.hint or ""
    return Facts(
        home=str(paths.path),
        home_mode=None if home is None else stat.S_IMODE(home.st_mode),
        home_ours=home is None or home.st_uid == os.geteuid(),
        key_mode=None if key is None else stat.S_IMODE(key.st_mode),
        free_octets=_free(paths.path),
        python=".".join(map(str, sys.version_info[:3])),
        media_fault=_media_fault(),
        version=meshcall.__version__,
        status=status,
        daemon_fault=daemon_fault,
        daemon_hint=daemon_hint,
        netcheck=netcheck,
        netcheck_fault=netcheck_fault,
        files_ahead_s=_ahead((paths.state, paths.dht, paths.key)),
        open_files=_open_files(),
        cameras=_devices("/dev", "video*"),
        microphones=_devices("/dev/snd", "pcmC*c"),
        service=_service(),
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _free(path: Path) -> int | None:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _ahead(paths: Iterable[Path]) -> float | None:
    written = [found.st_mtime for path in paths if (found := _stat(path)) is not None]
    return max(written) - time.time() if written else None


def _media_fault() -> str | None:
    """In a process of its own: a broken library must not break this one, and loading it takes a moment."""
    command = [sys.executable, "-P", "-c", "import aiortc, av"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            command, capture_output=True, text=True, timeout=MEDIA_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"they take longer than {MEDIA_PATIENCE:.0f} s"
    except OSError:
        return None
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _devices(folder: str, pattern: str) -> dict[str, bool] | None:
    if not sys.platform.startswith("linux"):
        return None
    return {str(path): os.access(path, os.R_OK) for path in sorted(Path(folder).glob(pattern))}


def _service() -> str | None:
    """What systemd says of the user's unit; None: there is no user manager."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [systemctl, "--user", "is-enabled", "meshcall.service"],
            capture_output=True,
            text=True,
            timeout=SYSTEMD_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.stdout.strip():
        return done.stdout.strip()
    return "not-found" if "No such file" in done.stderr or "not found" in done.stderr.lower() else None
