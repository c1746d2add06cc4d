"""`service`: the daemon as a systemd user unit.

Law 1: done twice is done once: what is as it should be is not touched, and a daemon is not restarted for it.
Law 2: a unit that is not ours, or is another home's, is neither overwritten nor removed.
Law 3: without a manager that could be asked, the unit is written or removed all the same, and what is left to
do is said.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshcall.cli import service_manager as manager
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit_fields, emit_json, note
from meshcall.cli.service_unit import UNIT_NAME, home_of, make_unit
from meshcall.cli.session import Session, session_of
from meshcall.errors import FileError, MeshcallError, NoIdentity, ServiceError, UsageError

if TYPE_CHECKING:
    from argparse import Namespace

UNIT_MAX = 64 * 1024
"""Octets of a unit that is read; ours have 2 KiB."""

service_commands = typer.Typer(
    help="The daemon as a service of systemd.", rich_markup_mode=None, add_completion=False
)


@service_commands.command("install")
def service_install(
    context: typer.Context,
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- FLAGS]", help="The daemon's flags.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Have systemd run the daemon of this home, now and at each login.

    Again, with other flags: the unit is rewritten and the daemon restarted.
    """
    session = session_of(context)
    if not manager.has_systemd():
        raise ServiceError(
            "there is no systemd here", hint="have your system run `meshcall daemon` in its own way"
        )
    path = manager.unit_path()
    text = _unit_for(session, list(flags or ()))
    old = _read_ours(path, session)
    changed = text != old
    if changed:
        _write(path, text)
    advice = _take_up(session, changed=changed)
    if manager.lingers() is False:
        advice.append("`loginctl enable-linger` has it run while you are not logged in, too")
    _tell(session, {**_state(session), "changed": changed, "advice": advice}, as_json=as_json)


@service_commands.command("remove")
def service_remove(context: typer.Context, as_json: JsonOption = False) -> None:
    """Stop the daemon's service and remove its unit."""
    session = session_of(context)
    path = manager.unit_path()
    changed = _read_ours(path, session) is not None
    advice: list[str] = []
    reachable = manager.is_reachable()
    if changed:
        if reachable:
            manager.order("disable", "--now", UNIT_NAME)
        try:
            path.unlink(missing_ok=True)
            (path.parent / "default.target.wants" / UNIT_NAME).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"{path} can't be removed: {error.strerror}") from error
        if reachable:
            manager.order("daemon-reload")
        else:
            advice.append("a daemon that runs as this service goes on: no user manager can be reached here")
    _tell(session, {**_state(session), "changed": changed, "advice": advice}, as_json=as_json)


@service_commands.command("status")
def service_status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show whether the daemon is a service, and how it is."""
    session = session_of(context)
    _tell(session, _state(session), as_json=as_json)


def is_installed(session: Session) -> bool:
    """Whether this home's daemon is a service."""
    text = _read(manager.unit_path())
    return text is not None and home_of(text) == str(session.paths.path)


# --- the unit -------------------------------------------------------------------------------------


def _unit_for(session: Session, flags: list[str]) -> str:
    """The unit; raises what the daemon would refuse, before anything is written."""
    from meshcall.daemon_options import config_from, make_parser  # late: only here

    options = make_parser().parse_args(flags)
    if options.home is not None:
        raise UsageError(
            "--home is no flag of the service", hint="`meshcall --home DIR service install -- FLAGS`"
        )
    here = Path.cwd()
    config_from(options, here)
    paths = session.paths
    if not paths.key.exists():
        raise NoIdentity(f"there is no identity in {paths.path} yet")
    passphrase_file = os.environ.get("MESHCALL_PASSPHRASE_FILE", "")
    return make_unit(
        sys.executable,
        str(paths.path),
        flags,
        folder=str(here) if _names_a_relative_path(options) else None,
        passphrase_file=str(here / passphrase_file) if passphrase_file else "",
    )


def _names_a_relative_path(options: Namespace) -> bool:
    from meshcall.media_paths import absolute_source

    named = [options.record, options.relay_certificate, options.coturn_secret]
    one, other = Path("/a"), Path("/b")
    return any(text is not None and not Path(text).is_absolute() for text in named) or (
        absolute_source(options.source, one) != absolute_source(options.source, other)
    )


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(UNIT_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror}") from error


def _read_ours(path: Path, session: Session) -> str | None:
    """The unit that is there; None if there is none, an error if it is not this home's."""
    text = _read(path)
    if text is None:
        return None
    home = home_of(text)
    if home is None:
        raise ServiceError(
            f"{path} was not written by meshcall", hint="move it away first, or go on using it"
        )
    if home != str(session.paths.path):
        raise ServiceError(
            f"the service is that of another home, {home}",
            hint="`meshcall --home DIR service remove` removes it; one user has one service",
        )
    return text


def _write(path: Path, text: str) -> None:
    """Make or replace the unit, whole; 0600, as flags may hold a relay's password."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"{path} can't be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


# --- the manager ----------------------------------------------------------------------------------


def _take_up(session: Session, *, changed: bool) -> list[str]:
    """Have the manager run the unit; returns what is left to a person."""
    if not manager.is_reachable():
        return [
            "no user manager can be reached here; in a login session:"
            f" systemctl --user enable --now {UNIT_NAME}"
        ]
    manager.order("daemon-reload")
    manager.order("enable", UNIT_NAME)
    active = manager.properties().get("ActiveState") in ("active", "activating", "reloading")
    if not active and _runs_by_hand(session):
        return [f"a daemon of this home runs already: stop it, then systemctl --user start {UNIT_NAME}"]
    if changed or not active:
        manager.order("restart", UNIT_NAME)
    return []


def _runs_by_hand(session: Session) -> bool:
    try:
        session.client.get("id")
    except MeshcallError:
        return False
    return True


def _state(session: Session) -> dict[str, Any]:
    """What there is, as a document."""
    path = manager.unit_path()
    text = _read(path)
    home = None if text is None else home_of(text)
    known = manager.properties()
    pid = known.get("MainPID", "0")
    restarts = known.get("NRestarts", "")
    return {
        "schema": 1,
        "unit": str(path),
        "installed": text is not None,
        "home": home,
        "ours": home == str(session.paths.path),
        "manager": bool(known),
        "enabled": known.get("UnitFileState") == "enabled",
        "state": known.get("ActiveState") or "unknown",
        "pid": int(pid) if pid.isdecimal() and pid != "0" else None,
        "restarts": int(restarts) if restarts.isdecimal() else None,
        "linger": manager.lingers(),
    }


def _tell(session: Session, state: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(state)
        return
    emit_fields(
        [
            ("unit", state["unit"] if state["installed"] else f"none ({state['unit']})"),
            *([("home", state["home"] or "unknown: not written by meshcall")] if state["installed"] else []),
            ("state", _state_text(state)),
            ("at login", "started" if state["enabled"] else "not started"),
            ("without login", {True: "runs on", False: "stops", None: "unknown"}[state["linger"]]),
        ]
    )
    if not session.quiet:
        for sentence in state.get("advice", ()):
            note(sentence)


def _state_text(state: dict[str, Any]) -> str:
    if not state["manager"]:
        return "unknown: no user manager can be reached"
    text = str(state["state"])
    if state["pid"] is not None:
        text += f", process {state['pid']}"
    if state["restarts"]:
        text += f", restarted {state['restarts']} times"
    return text
