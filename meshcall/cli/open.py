"""`open`: the call page in a browser, logged in. Makes what is missing: the identity, the daemon.

Law: a home whose daemon is a service gets no other daemon, unless the service can't be started; then it is
stopped for good, so that two daemons never want one home by turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from meshcall.cli import service
from meshcall.cli import service_manager as manager
from meshcall.cli.output import emit, note
from meshcall.cli.service_unit import UNIT_NAME
from meshcall.cli.session import Session, session_of
from meshcall.errors import DaemonNotRunning, FileError, HomeNotUsable, ServiceError

START_PATIENCE: Final = 20.0
"""Seconds for a daemon to be ready."""


def open_page(
    context: typer.Context,
    print_url: Annotated[
        bool, typer.Option("--print-url", help="Print the link in place of opening a browser.")
    ] = False,
) -> None:
    """Open the call page in your browser.

    The link logs one browser in, once, within two minutes. A daemon is started if none runs: the service, if
    `meshcall service install` made this home one.
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
        if not start_service(session):
            start_daemon(session)
    return _ask(session)


def _ask(session: Session) -> str:
    url: str = session.client.send("POST", "page", "login")["url"]
    return url


def start_service(session: Session) -> bool:
    """Start this home's service and wait until it is ready; whether it is. Why not is said."""
    try:
        if not service.is_installed(session):
            return False
    except FileError as error:
        return _without_it(str(error))
    if not manager.is_reachable():
        return _without_it("the service can't be started: no user manager can be reached here")
    try:
        manager.order("start", UNIT_NAME)
        _wait_ready(session, lambda: False, "`meshcall logs` may say why")
    except (ServiceError, HomeNotUsable) as error:
        manager.ask("stop", UNIT_NAME)
        return _without_it(f"the service does not start: {error}; `meshcall logs` shows its log")
    if not session.quiet:
        note("started the service; `meshcall logs` shows its log")
    return True


def _without_it(reason: str) -> bool:
    note(reason)
    note("a daemon is started without it")
    return False


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
    _wait_ready(session, lambda: daemon.poll() is not None, f"its log says why: {log_path}")


def _wait_ready(session: Session, has_ended: Callable[[], bool], hint: str) -> None:
    """Return when the daemon answers; :class:`HomeNotUsable` if it ended, or is not ready in time."""
    until = time.monotonic() + START_PATIENCE
    while time.monotonic() < until:
        if has_ended():
            raise HomeNotUsable("the daemon did not start", hint=hint)
        try:
            session.client.get("id")
        except DaemonNotRunning:
            time.sleep(0.05)
        else:
            return
    raise HomeNotUsable("the daemon is not ready yet", hint=hint)


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
