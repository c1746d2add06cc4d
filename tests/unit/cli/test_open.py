"""`meshcall open` where the daemon of the home is a service."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from meshcall.cli import open as opening
from meshcall.cli import service_manager as manager
from meshcall.cli.service_unit import make_unit
from meshcall.cli.session import Session
from meshcall.control.client import ControlClient
from meshcall.errors import DaemonNotRunning, ServiceError


class Machine:
    """A home with a unit, a manager, and a client that finds a daemon once one runs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.reachable = True
        self.refuses = False
        self.becomes_ready = True
        self._runs = False
        self.session = Session(home_option=str(folder / "home"))
        self.session.client = cast("ControlClient", self)
        unit = folder / "meshcall.service"
        unit.write_text(make_unit("/usr/bin/python3", str(folder / "home"), []))
        patch.setattr(manager, "unit_path", lambda: unit)
        patch.setattr(manager, "is_reachable", lambda: self.reachable)
        patch.setattr(manager, "order", self.order)
        patch.setattr(manager, "ask", lambda *words: self.done.append(" ".join(words)))
        patch.setattr(opening, "start_daemon", self.start_daemon)
        patch.setattr(opening, "_show", lambda url: True)
        self.unit = unit

    def order(self, *words: str) -> None:
        self.done.append(" ".join(words))
        if self.refuses:
            raise ServiceError("Job failed.")
        self._runs = self.becomes_ready

    def start_daemon(self, session: Session) -> None:
        self.done.append("own daemon")
        self._runs = True

    def get(self, *path: str) -> dict[str, str]:
        if not self._runs:
            raise DaemonNotRunning
        return {}

    def send(self, *path: str) -> dict[str, str]:
        return {"url": "http://127.0.0.1/#login=x", **self.get()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One whose daemon does not run."""
    return Machine(tmp_path, monkeypatch)


def test_the_service_is_started(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing beside it; a daemon that runs is left as it is."""
    assert opening._login(machine.session).endswith("#login=x")
    assert opening._login(machine.session).endswith("#login=x")
    assert machine.done == ["start meshcall.service"]
    assert "started the service" in capsys.readouterr().err


def test_a_service_that_fails_is_stopped_for_good(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would want the home again and again; that, and why, is said."""
    machine.refuses = True
    opening._login(machine.session)
    assert machine.done == ["start meshcall.service", "stop meshcall.service", "own daemon"]
    said = capsys.readouterr().err
    assert "the service does not start: Job failed." in said
    assert "a daemon is started without it" in said


def test_a_service_that_is_not_ready_is_not_waited_for_for_ever(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that fails."""
    machine.becomes_ready = False
    monkeypatch.setattr(opening, "START_PATIENCE", 0.0)
    opening._login(machine.session)
    assert machine.done[-2:] == ["stop meshcall.service", "own daemon"]
    assert "not ready yet" in capsys.readouterr().err


def test_without_a_manager_there_is_a_daemon_all_the_same(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is ordered from nobody."""
    machine.reachable = False
    opening._login(machine.session)
    assert machine.done == ["own daemon"]
    assert "no user manager" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "[Service]\nExecStart=true\n", "[X-Meshcall]\nHome=/another\n"])
def test_a_home_that_is_no_service_is_as_before(
    machine: Machine, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """No unit, somebody's own, or another home's."""
    machine.unit.unlink() if text is None else machine.unit.write_text(text)
    opening._login(machine.session)
    assert machine.done == ["own daemon"]
    assert capsys.readouterr().err == ""
