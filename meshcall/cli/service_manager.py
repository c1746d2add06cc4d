"""Asking systemd's manager of this user.

Law: that it can't be reached (no systemd, no session, a container) is an answer, not an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from meshcall.cli.service_unit import UNIT_NAME
from meshcall.errors import ServiceError

PATIENCE: Final = 60.0
"""Seconds for one request: a daemon that starts says that it is ready within a few, or is refused."""

_LINGER: Final = Path("/var/lib/systemd/linger")


def unit_path() -> Path:
    """Where the user's unit is, or would be."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # a relative one is invalid and ignored (XDG Base Directory Specification)
    base = Path(config) if config.startswith("/") else Path.home() / ".config"
    return base / "systemd" / "user" / UNIT_NAME


def has_systemd() -> bool:
    """Whether this machine has systemd's programs."""
    return shutil.which("systemctl") is not None


def ask(*words: str) -> subprocess.CompletedProcess[str] | None:
    """What ``systemctl --user`` says; None if it can't be run."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - fixed commands
            [systemctl, "--user", "--no-pager", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def is_reachable() -> bool:
    """Whether a manager of this user runs and answers us."""
    done = ask("show", "--property=Version")
    return done is not None and done.returncode == 0


def order(*words: str) -> None:
    """Have the manager do something; :class:`ServiceError` with its own words if it refuses."""
    done = ask(*words)
    if done is not None and done.returncode == 0:
        return
    said = "" if done is None else " ".join(done.stderr.split("\n")[0].split())
    raise ServiceError(
        f"`systemctl --user {' '.join(words)}` failed{': ' + said if said else ''}",
        hint="`meshcall logs` and `meshcall service status` say more",
    )


def properties() -> dict[str, str]:
    """What the manager knows of the unit; empty if it can't be reached."""
    names = "ActiveState,SubState,MainPID,NRestarts,UnitFileState"
    done = ask("show", UNIT_NAME, f"--property={names}")
    if done is None or done.returncode != 0:
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def lingers() -> bool | None:
    """Whether the user's services run while nobody is logged in; None: that can't be told."""
    import getpass  # late: termios is not for --help

    try:
        return (_LINGER / getpass.getuser()).exists()
    except (OSError, KeyError):
        return None
