"""`open`: the call page in a browser, logged in. Makes what is missing: the identity, the daemon."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Annotated, Final

import typer

from meshcall.cli.output import emit, note
from meshcall.cli.session import Session, session_of
from meshcall.errors import DaemonNotRunning, HomeNotUsable

START_PATIENCE: Final = 20.0
"""Seconds for a daemon to be ready."""


def open_page(
    context: typer.Context,
    print_url: Annotated[
        bool, typer.Option("--print-url", help="Print the link in place of opening a browser.")
    ] = False,
) -> None:
    """Open the call page in your browser.

    The link logs one browser in, once, within two minutes. A daemon is started if none runs.
    """
    session = session_of(context)
    url = _login(session)
    if print_url:
        emit(url)
        return
    if not _show(url):
        note("no browser could be opened here; open this link in one on this machine:")
        emit(url)


def _login(session: Session) -> str:
    try:
        return _ask(session)
    except DaemonNotRunning:
        start_daemon(session)
    return _ask(session)


def _ask(session: Session) -> str:
    url: str = session.client.send("POST", "page", "login")["url"]
    return url


def start_daemon(session: Session) -> None:
    """Make an identity if there is none, start a daemon that outlives us, and wait until it is ready.

    Raises :class:`HomeNotUsable` when it does not come up.
    """
    home = str(session.paths.path)
    if not session.paths.key.exists():
        made = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-m", "meshcall.setup_home", "--home", home, "--quiet"],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if made.returncode:
            raise HomeNotUsable(f"no identity could be made in {home}")
    log_path = session.paths.path / "daemon.log"
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        daemon = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-m", "meshcall.daemon", "--home", home],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    if not session.quiet:
        note(f"started the daemon; its log is {log_path}")
    until = time.monotonic() + START_PATIENCE
    while time.monotonic() < until:
        if daemon.poll() is not None:
            raise HomeNotUsable("the daemon did not start", hint=f"its log says why: {log_path}")
        try:
            session.client.get("id")
        except DaemonNotRunning:
            time.sleep(0.05)
        else:
            return
    raise HomeNotUsable("the daemon is not ready yet", hint=f"its log may say why: {log_path}")


def _show(url: str) -> bool:
    """Whether a browser took the link. Text browsers do not count."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    ):
        return False
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
