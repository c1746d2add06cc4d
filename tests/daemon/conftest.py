"""Daemons and command lines as separate programs, each daemon with its own home."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0
CLI_TIMEOUT = 30.0
FAKE_DAEMON = [sys.executable, str(Path(__file__).with_name("fake_daemon.py"))]
REAL_DAEMON = [sys.executable, "-m", "meshcall.daemon"]


@dataclass
class Result:
    """What a command line printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def assert_error(self, code: int, *words: str, hint: str | None = None) -> None:
        """One line ``error:``, at most one line ``hint:``, nothing else on stderr, nothing on stdout."""
        lines = self.err.splitlines()
        assert self.code == code, self
        assert self.out == "", self
        assert lines, self
        assert lines[0].startswith("error: "), self
        assert len(lines) <= 2, self
        assert all(line.startswith("hint: ") for line in lines[1:]), self
        for word in words:
            assert word in lines[0], self
        if hint is not None:
            assert len(lines) == 2, self
            assert hint in lines[1], self


def environment(home: Path | None) -> dict[str, str]:
    """Our own environment with that home, and nothing that would change what is printed."""
    dropped = {"MESHCALL_HOME", "MESHCALL_PASSPHRASE_FILE", "NO_COLOR", "NOTIFY_SOCKET", "WATCHDOG_USEC"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    kept["PYTHONUNBUFFERED"] = "1"
    kept["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"  # nothing of a test on somebody's screen
    return kept if home is None else {**kept, "MESHCALL_HOME": str(home)}


def run_cli(home: Path | None, *arguments: str, stdin: str = "", **more: str) -> Result:
    """Run the command line without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "meshcall", *arguments],
        env={**environment(home), **more},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=CLI_TIMEOUT,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Daemon:
    """A daemon that was started, as a process."""

    def __init__(self, command: list[str], home: Path, flags: tuple[str, ...], env: dict[str, str]) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self._log_file = self.log.open("ab")
        self.process = subprocess.Popen(
            [*command, "--home", str(home), *flags],
            env={**environment(home), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
        )
        self.ready_line = ""

    def wait_ready(self) -> None:
        """Return when it says that it is ready; fail with its log if it ends before."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(START_TIMEOUT):
                pytest.fail(f"the daemon is not ready after {START_TIMEOUT} s:\n{self.log.read_text()}")
        self.ready_line = self.process.stdout.readline().decode()
        if not self.ready_line.startswith("ready: "):
            code = self.process.wait(START_TIMEOUT)
            pytest.fail(f"the daemon ended with {code}:\n{self.log.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the daemon did not stop:\n{self.log.read_text()}")
        self.close()
        return code

    def close(self) -> None:
        """Kill what is left and close the files."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log_file.close()

    def cli(self, *arguments: str, stdin: str = "", **more: str) -> Result:
        """Run a command against this daemon."""
        return run_cli(self.home, *arguments, stdin=stdin, **more)


StartDaemon = Callable[..., Daemon]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an identity."""
    path = tmp_path / "home"
    made = run_cli(path, "init")
    assert made.code == 0, made.err
    return path


@pytest.fixture
def start_daemon() -> Iterator[StartDaemon]:
    """Starts daemons: ``start_daemon(home, *flags, fake=False, ready=True, **environment)``."""
    started: list[Daemon] = []

    def start(home: Path, *flags: str, fake: bool = False, ready: bool = True, **env: str) -> Daemon:
        command = FAKE_DAEMON if fake else [*REAL_DAEMON, "--no-mainline"]  # nothing of the internet in tests
        daemon = Daemon(command, home, flags, env)
        started.append(daemon)
        if ready:
            daemon.wait_ready()
        return daemon

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def fake(home: Path, start_daemon: StartDaemon) -> Daemon:
    """A running daemon around a node without a network."""
    return start_daemon(home, fake=True)


def wait_for(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Look again and again until ``condition`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout} s")
        time.sleep(0.02)
