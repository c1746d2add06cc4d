"""The daemon as a process: start, signals, what it leaves, who may use it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import FAKE_DAEMON, StartDaemon, environment, run_cli
from tests.unit.control.fake_node import OWN_ID

LEFT = {"identity.key", "identity.pub", "run", "lock", "state.db", "dht.state"}
"""All that a stopped daemon may leave. The lock file stays, empty: a second file would be a second lock."""


def files(home: Path) -> set[str]:
    """The names of everything in a home."""
    return {path.name for path in home.rglob("*")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_stop_it_cleanly(home: Path, start_daemon: StartDaemon, number: signal.Signals) -> None:
    """Exit code 0, no socket, no temporary file, an empty lock."""
    daemon = start_daemon(home, fake=True)
    assert daemon.ready_line == f"ready: {OWN_ID.text} on UDP port 4242, home {home}\n"
    assert (home / "run" / "control.sock").exists()
    assert daemon.stop(number) == 0
    assert files(home) <= LEFT
    assert (home / "run" / "lock").read_bytes() == b""
    run_cli(home, "status").assert_error(3, "not running", hint=f"--home {home} daemon")


def test_a_killed_daemon_is_replaced(home: Path, start_daemon: StartDaemon) -> None:
    """After kill -9 the stale socket says that nobody is there, and the next start takes its place."""
    start_daemon(home, fake=True).stop(signal.SIGKILL)
    assert (home / "run" / "control.sock").exists()
    run_cli(home, "status").assert_error(3, "not running")
    daemon = start_daemon(home, fake=True)
    assert daemon.cli("status").code == 0
    assert daemon.stop() == 0
    assert files(home) <= LEFT


def test_only_one_daemon_per_home(home: Path, start_daemon: StartDaemon) -> None:
    """The second one says so and harms nothing."""
    first = start_daemon(home, fake=True)
    second = subprocess.run(
        [*FAKE_DAEMON, "--home", str(home)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "another meshcall daemon" in second.stderr
    assert second.stderr.splitlines()[-1].startswith("hint: ")
    assert first.cli("status").code == 0


def test_two_homes_are_two_daemons(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """Homes share nothing."""
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        assert run_cli(home, "init").code == 0
        start_daemon(home, fake=True)
    for home in homes:
        assert run_cli(home, "status").code == 0


def test_files_are_private_whatever_the_umask(home: Path, start_daemon: StartDaemon) -> None:
    """A daemon that was started with umask 0 makes nothing that others can use."""
    old = os.umask(0)
    try:
        start_daemon(home, fake=True)
    finally:
        os.umask(old)
    for path in home.rglob("*"):
        assert path.lstat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE((home / "run" / "control.sock").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user: sudo make test")
def test_another_user_gets_nothing(home: Path, start_daemon: StartDaemon) -> None:
    """Neither the socket, nor the key, nor the log: checked as user 65534."""
    daemon = start_daemon(home, fake=True)
    for folder in (home.parent, *home.parent.parents):
        if folder.stat().st_mode & 0o001 == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    program = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "def refused(act, *args):\n"
        "    try: act(*args)\n"
        "    except PermissionError: return True\n"
        "    return False\n"
        f"print(refused(socket.socket(socket.AF_UNIX).connect, {str(home / 'run' / 'control.sock')!r}),\n"
        f"      refused(open, {str(home / 'identity.key')!r}), refused(os.listdir, {str(home)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]
    assert daemon.cli("status").code == 0


def test_it_tells_systemd(home: Path, tmp_path: Path, start_daemon: StartDaemon) -> None:
    """READY=1 when it is ready, the watchdog's sign of life, STOPPING=1 before it stops."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(10)
    with manager:
        daemon = start_daemon(home, fake=True, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        assert daemon.stop() == 0
        messages: list[bytes] = []
        while not messages or messages[-1] != b"STOPPING=1":
            messages.append(manager.recv(100))
        assert set(messages[:-1]) <= {b"WATCHDOG=1"}


def test_a_home_with_a_long_path(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """Longer than a socket's address may be."""
    home = tmp_path / ("x" * 100) / ("y" * 100)
    assert run_cli(home, "init").code == 0
    daemon = start_daemon(home, fake=True)
    assert daemon.cli("status").code == 0
    assert daemon.stop() == 0
    assert files(home) <= LEFT


def test_logs_hold_no_whole_id(home: Path, start_daemon: StartDaemon) -> None:
    """Not even with everything logged and a bug in a request."""
    daemon = start_daemon(home, "-v", fake=True)
    daemon.cli("call", "alice", "--duration", "0.1")
    daemon.cli("call", "bug")
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert "a planted bug" in log
    assert OWN_ID.text not in log


def test_the_daemon_command_passes_its_flags_on(home: Path) -> None:
    """`meshcall daemon` is the same program: its help and its errors."""
    shown = run_cli(home, "daemon", "--help")
    assert shown.code == 0
    for flag in ("--port", "--lan-only", "--no-mdns", "--bootstrap", "--auto-answer", "--source", "--record",
                 "--visible", "--name", "--interface"):  # fmt: skip
        assert flag in shown.out
