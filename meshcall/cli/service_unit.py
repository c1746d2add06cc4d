"""The text of the systemd user unit that runs a daemon. Pure.

Law 1: whatever a path or a flag holds reaches the daemon as it was given: systemd expands nothing in it.
Law 2: a unit says which home it is for, and that it is ours: others are never overwritten or removed.
Law 3: the hardening is what a user's manager can do without privileges: file systems stay as they are, as
cameras and whatever is recorded to or sent from must be reached. Memory may be made executable, which
FFmpeg and cffi need on some machines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from meshcall.errors import UsageError

UNIT_NAME: Final = "meshcall.service"

_HOME: Final = re.compile(r"^\[X-Meshcall\]\nHome=(.*)$", re.MULTILINE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=@,+-]+", re.ASCII)

# ":" before the program: no variables are expanded (systemd 244)
_TEXT: Final = """\
# Written by `meshcall service install`, which also changes it; `meshcall service remove` removes it.
[Unit]
Description=meshcall daemon

[Service]
Type=notify
NotifyAccess=main
ExecStart=:{command}
{more}Restart=on-failure
RestartPreventExitStatus=2 7
RestartSec=5
WatchdogSec=60
TimeoutStopSec=20
UMask=0077
NoNewPrivileges=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target

[X-Meshcall]
Home={home}
"""


def make_unit(
    python: str, home: str, flags: Sequence[str], *, folder: str | None = None, passphrase_file: str = ""
) -> str:
    """A unit that runs the daemon of ``home`` with ``flags``.

    ``folder``: what relative paths among the flags start from. Raises :class:`UsageError` for what no line of
    a unit can hold.
    """
    words = (python, "-P", "-m", "meshcall.daemon", "--home", home, *flags)
    more = ""
    if folder is not None:
        more += f"WorkingDirectory={_escaped(folder)}\n"
    if passphrase_file:
        more += f"Environment={quoted('MESHCALL_PASSPHRASE_FILE=' + passphrase_file)}\n"
    return _TEXT.format(command=" ".join(map(quoted, words)), more=more, home=home)


def home_of(unit: str) -> str | None:
    """The home that a unit is for; None: it is none of ours."""
    found = _HOME.search(unit)
    return None if found is None else found[1]


def quoted(word: str) -> str:
    """``word`` as one word of a unit (systemd.syntax(7))."""
    text = _escaped(word)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise UsageError(f"{text!r} can't stand in a unit of systemd", hint="it has a control character")
    return text.replace("%", "%%")
