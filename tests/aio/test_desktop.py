"""Notifications by a program that stands in for ``notify-send``."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.aio.desktop import has_bus, show_notification

NAME = "<b>Zoë</b> & \\074i\\076 'x' \"$HOME\" `id` --help"


@pytest.fixture(autouse=True)
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session bus that is named, and a folder that is first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("SHOWN", str(tmp_path / "shown"))
    return folder


def plant(folder: Path, text: str) -> None:
    """A ``notify-send``."""
    program = folder / "notify-send"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


async def show() -> None:
    """A call."""
    await show_notification("Incoming call", NAME, icon="call-start", seconds=60)


async def test_the_program_gets_a_list_of_arguments(bus: Path, tmp_path: Path) -> None:
    """No shell has looked at the name."""
    plant(bus, 'printf "%s\\n" "$@" >"$SHOWN"')
    await show()
    lines = (await asyncio.to_thread((tmp_path / "shown").read_text)).splitlines()
    body = "&lt;b&gt;Zoë&lt;/b&gt; &amp; \\\\074i\\\\076 'x' \"$HOME\" `id` --help"
    assert lines[-3:] == ["--", "Incoming call", body]
    assert lines[0] == "--app-name=meshcall"


async def test_what_is_missing_or_fails_is_no_matter(
    bus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bus, a program that can't be run, that refuses, or none at all."""
    plant(bus, "exit 1")
    await show()
    (bus / "notify-send").write_text("#!/nowhere/at/all\n")
    await show()
    plant(bus, 'echo >"$SHOWN"')
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    await show()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    await show()
    assert not (tmp_path / "shown").exists()


async def test_a_program_that_hangs_is_ended(bus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, and at once when nobody waits any more."""
    plant(bus, "exec sleep 60")
    monkeypatch.setattr(limits, "NOTIFICATION_PATIENCE", 0.2)
    began = time.monotonic()
    await show()
    monkeypatch.setattr(limits, "NOTIFICATION_PATIENCE", 60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await show()
    assert time.monotonic() - began < 20


def test_the_bus_of_a_user_manager_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its socket."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not has_bus()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "bus"))
        assert has_bus()
