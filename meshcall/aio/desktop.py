"""The desktop's notifications, by ``notify-send`` of libnotify (freedesktop Desktop Notifications
Specification).

Law 1: no shell: the program is given a list of arguments, and what comes from people stands behind ``--``.
Law 2: servers take the text as markup, and ``notify-send`` takes backslashes in it as escapes
(``g_strcompress``); both are undone here, so that a name is never more than a name.
Law 3: where there is no session bus, no program, or nobody who shows anything, nothing happens.

A library for D-Bus would save a process for each notification, and cost every daemon a dependency, also those
on machines without a desktop.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import os
import shutil
from pathlib import Path
from typing import Final

from meshcall import limits

_log = logging.getLogger(__name__)

PROGRAM: Final = "notify-send"


def has_bus() -> bool:
    """Whether there is a session bus: one that is named, or the user's own of systemd."""
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return True
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder.startswith("/") and (Path(folder) / "bus").is_socket()


def arguments(title: str, text: str, *, icon: str, seconds: float) -> list[str]:
    """What the program is given."""
    body = html.escape(text, quote=False).replace("\\", "\\\\")
    life = f"--expire-time={round(seconds * 1000)}"
    return ["--app-name=meshcall", f"--icon={icon}", life, "--", title, body]


async def show_notification(title: str, text: str, *, icon: str, seconds: float) -> None:
    """Show a line under a title, if that can be done; waits for the program. Cannot fail."""
    path = shutil.which(PROGRAM) if has_bus() else None
    if path is None:
        return
    words = arguments(title, text, icon=icon, seconds=seconds)
    null = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(path, *words, stdin=null, stdout=null, stderr=null)
    except (OSError, ValueError) as error:  # ValueError: a NUL
        _log.debug("%s can't be run: %s", PROGRAM, error)
        return
    try:
        async with asyncio.timeout(limits.NOTIFICATION_PATIENCE):
            await process.wait()
    except TimeoutError:
        _log.debug("%s takes too long", PROGRAM)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        _log.debug("%s ended with %d", PROGRAM, process.returncode)
