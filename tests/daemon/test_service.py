"""The daemon as a service of systemd, its log, its report, and `echo`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.daemon.conftest import Daemon, Result, StartDaemon, environment, run_cli, wait_for
from tests.daemon.test_cli_commands import start_cli
from tests.unit.control.fake_node import ALICE_ID, OWN_ID

SYSTEMD = Path("/lib/systemd/systemd")
UNIT = "systemd/user/meshcall.service"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder for the user's units."""
    return tmp_path / "config"


def service(home: Path, config: Path, *arguments: str, **more: str) -> Result:
    """`meshcall service`, where no manager can be reached."""
    nowhere = {"XDG_CONFIG_HOME": str(config), "XDG_RUNTIME_DIR": str(config), "DBUS_SESSION_BUS_ADDRESS": ""}
    return run_cli(home, "service", *arguments, **{**nowhere, **more})


def plant(folder: Path, name: str, text: str) -> dict[str, str]:
    """A program of that name, first on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# --- service --------------------------------------------------------------------------------------


def test_the_unit_is_valid_and_private(home: Path, config: Path) -> None:
    """systemd has nothing to complain of; flags may hold a relay's password, so only the user can read it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    done = service(home, config, "install", "--", "--port", "4600", "--name", 'A "b" $HOME %h; c')
    assert done.code == 0, done
    assert "systemctl --user enable --now meshcall.service" in done.err
    unit = config / UNIT
    assert unit.stat().st_mode & 0o777 == 0o600
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_install_and_remove_twice_are_once(home: Path, config: Path) -> None:
    """The second time nothing changes; afterwards nothing is left."""
    first = service(home, config, "install", "--json", "--", "--lan-only")
    unit = config / UNIT
    text = unit.read_text()
    assert first.json["changed"] is first.json["installed"] is first.json["ours"] is True
    assert first.json["home"] == str(home)
    # how much this command says is not how much the daemon logs
    again = service(home, config, "install", "--quiet", "-v", "--json", "--", "--lan-only")
    assert (again.json["changed"], unit.read_text()) == (False, text)
    other = service(home, config, "install", "--json")
    assert other.json["changed"] is True
    assert "--lan-only" not in unit.read_text()
    wants = unit.parent / "default.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    gone = service(home, config, "remove", "--json")
    assert (gone.json["changed"], gone.json["installed"]) == (True, False)
    assert not any(path.is_file() or path.is_symlink() for path in config.rglob("*"))
    assert service(home, config, "remove", "--json").json["changed"] is False


def test_units_of_others_are_left_alone(home: Path, config: Path, tmp_path: Path) -> None:
    """One that somebody wrote by hand, and the one of another home."""
    unit = config / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=meshcall daemon\n")
    for word in ("install", "remove"):
        service(home, config, word).assert_error(1, "was not written by meshcall", hint="move it away")
    assert unit.read_text() == "[Service]\nExecStart=meshcall daemon\n"
    assert service(home, config, "status", "--json").json["ours"] is False
    unit.unlink()
    assert service(home, config, "install").code == 0
    another = tmp_path / "another"
    run_cli(another, "init")
    for word in ("install", "remove"):
        service(another, config, word).assert_error(1, "another home", str(home), hint="remove")
    assert unit.exists()


def test_what_the_daemon_would_refuse_is_refused_now(home: Path, config: Path, tmp_path: Path) -> None:
    """Wrong flags, no identity, another home among the flags; nothing is written."""
    service(home, config, "install", "--", "--nonsense").assert_error(2, "--nonsense")
    service(home, config, "install", "--", "--port", "70000").assert_error(2, "port")
    service(home, config, "install", "--", "--home", "/x").assert_error(
        2, "--home", hint="meshcall --home DIR"
    )
    service(home, config, "install", "--", "--name", "a\nb").assert_error(2, "--name")
    service(tmp_path / "none", config, "install").assert_error(7, "no identity")
    service(home, config, "install", PATH=str(tmp_path)).assert_error(1, "no systemd", hint="meshcall daemon")
    config.write_text("a file in place of a folder")
    service(home, config, "install").assert_error(8, "can't be")


def test_the_manager_is_told_and_its_refusal_is_an_error(home: Path, config: Path, tmp_path: Path) -> None:
    """Reload, enable, start; restarted only for a change; what systemctl says is passed on."""
    log = tmp_path / "log"
    planted = plant(
        tmp_path / "bin",
        "systemctl",
        f'echo "$*" >>{log}; case "$*" in *ActiveState*) echo ActiveState=${{STATE:-inactive}};; '
        '*restart*) [ -z "$REFUSE" ] || { echo "Job failed." >&2; exit 1; };; esac',
    )

    def orders() -> list[str]:
        said = [line.removeprefix("--user --no-pager ") for line in log.read_text().splitlines()]
        log.unlink()
        return [line for line in said if not line.startswith("show")]

    full = ["daemon-reload", "enable meshcall.service", "restart meshcall.service"]
    assert service(home, config, "install", **planted).code == 0
    assert orders() == full
    assert service(home, config, "install", STATE="active", **planted).code == 0
    assert orders() == full[:2]
    assert service(home, config, "install", "--", "--lan-only", STATE="active", **planted).code == 0
    assert orders() == full
    refused = service(home, config, "install", REFUSE="1", **planted)
    refused.assert_error(1, "restart meshcall.service", "Job failed", hint="meshcall logs")
    log.unlink()
    assert service(home, config, "remove", **planted).code == 0
    assert orders() == ["disable --now meshcall.service", "daemon-reload"]


def test_a_daemon_that_was_started_by_hand_is_not_fought(fake: Daemon, config: Path, tmp_path: Path) -> None:
    """One home has one daemon: the service would be refused the lock again and again."""
    planted = plant(tmp_path / "bin", "systemctl", f'echo "$*" >>{tmp_path / "log"}')
    done = service(fake.home, config, "install", **planted)
    assert done.code == 0
    assert "runs already" in done.err
    assert "restart" not in (tmp_path / "log").read_text()


REAL = r"""
# in a control group of its own: a manager takes every process of the group that it starts in under it
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ ! -f "$tree/cgroup.procs" ] ||
        { mkdir "$tree/$GROUP" && echo $$ >"$tree/$GROUP/cgroup.procs" && joined=1; } || exit 77
done
[ "$joined" ] || exit 77
ip link set lo up  # the daemon announces itself to nobody but itself
mount -t tmpfs none /run && mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" && chmod 700 "$XDG_RUNTIME_DIR"
timeout 90 /lib/systemd/systemd --user --log-target=null & manager=$!
for i in $(seq 100); do systemctl --user show --property=Version >/dev/null 2>&1 && break; sleep 0.1; done
meshcall() { "$PYTHON" -m meshcall "$@"; }
meshcall service install --json -- --port 0 --lan-only --name 'A "b" $HOME %h' || exit 1
meshcall status --json || exit 1
kill -9 "$(systemctl --user show meshcall.service --property=MainPID --value)"
for i in $(seq 300); do
    [ "$(systemctl --user show meshcall.service --property=NRestarts --value)" = 1 ] &&
        systemctl --user is-active -q meshcall.service && break
    sleep 0.1
done
meshcall service status --json
systemctl --user stop meshcall.service
meshcall open --print-url >"$OPENED" && systemctl --user is-active -q meshcall.service || exit 1
meshcall service remove --json
kill "$manager"; wait "$manager"
"""


def removed_group(folder: Path) -> bool:
    """Remove a control group, if nothing runs in it any more."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.timeout(120)
def test_a_real_manager_runs_it(home: Path, config: Path, tmp_path: Path) -> None:
    """It is ready, has its flags as given, comes back after kill -9, is started by `open`, can be removed."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None:
        pytest.skip("needs root, systemd and unshare, for a manager in namespaces of its own")
    env = {**environment(home), "XDG_CONFIG_HOME": str(config), "XDG_RUNTIME_DIR": "/run/user/0"}
    group = f"meshcall-test-{os.getpid()}"
    try:
        done = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c", REAL],
            env={
                **env,
                "PYTHON": sys.executable,
                "HOME": str(tmp_path),
                "GROUP": group,
                "OPENED": str(tmp_path / "url"),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        for found in Path("/sys/fs/cgroup").glob(f"**/{group}"):
            for folder, _, _ in os.walk(found, topdown=False):
                wait_for(partial(removed_group, Path(folder)), "its processes end")
    if done.returncode == 77:
        pytest.skip("control groups can't be made here")
    assert done.returncode in (0, 130, 143), done
    installed, status, later, removed = Result(0, done.stdout, done.stderr).lines
    assert (installed["state"], installed["enabled"], installed["restarts"]) == ("active", True, 0)
    assert status["name"] == 'A "b" $HOME %h'
    assert (later["state"], later["restarts"]) == ("active", 1)
    assert later["pid"] not in (None, installed["pid"])
    assert (tmp_path / "url").read_text().startswith("http://127.0.0.1:")
    assert not (home / "daemon.log").exists(), "no other daemon was started"
    assert (removed["installed"], removed["state"]) == (False, "inactive")


# --- logs -----------------------------------------------------------------------------------------


def test_logs_shows_the_end_of_the_file_and_goes_on(home: Path, config: Path) -> None:
    """The last N lines, then what is written; control characters do not reach the terminal."""
    log = home / "daemon.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(500)) + b"\x1b[31mred\xff\n")
    nowhere = {"XDG_CONFIG_HOME": str(config)}
    assert run_cli(home, "logs", "-n", "2", **nowhere).out == "line 499\n�[31mred�\n"
    assert len(run_cli(home, "logs", **nowhere).out.splitlines()) == 100
    assert run_cli(home, "logs", "-n", "0", **nowhere).out == ""
    following = subprocess.Popen(
        [sys.executable, "-m", "meshcall", "logs", "-f", "-n", "1"],
        env={**environment(home), **nowhere},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        assert "red" in following.stdout.readline()
        with log.open("a") as file:
            file.write("more\nhalf")
        assert following.stdout.readline() == "more\n"
        log.write_text("")  # somebody empties it
        time.sleep(0.6)
        with log.open("a") as file:
            file.write("anew\n")
        assert following.stdout.readline() == "anew\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
    finally:
        following.kill()
        following.wait()
        assert following.stdout is not None
        following.stdout.close()


def test_logs_of_a_service_come_from_the_journal(home: Path, config: Path, tmp_path: Path) -> None:
    """Once the unit is there, the journal is asked, and its refusal is an error."""
    (home / "daemon.log").write_text("of the file\n")
    assert service(home, config, "install").code == 0
    planted = plant(tmp_path / "bin", "journalctl", 'echo "$*"')
    done = run_cli(home, "logs", "-n", "7", XDG_CONFIG_HOME=str(config), **planted)
    assert re.search(r"--user-unit=meshcall.service --lines=7 --output=cat", done.out), done
    planted = plant(tmp_path / "bin", "journalctl", "echo No journal files were found. >&2; exit 1")
    done = run_cli(home, "logs", XDG_CONFIG_HOME=str(config), **planted)
    done.assert_error(1, "No journal files were found")


def test_no_log_is_a_plain_hint(home: Path, config: Path) -> None:
    """Neither a service nor a file; a link is not followed."""
    nowhere = {"XDG_CONFIG_HOME": str(config)}
    run_cli(home, "logs", **nowhere).assert_error(8, "keeps no log", hint="meshcall service install")
    (home / "daemon.log").symlink_to("/etc/passwd")
    run_cli(home, "logs", **nowhere).assert_error(8, "daemon.log")


# --- bugreport ------------------------------------------------------------------------------------


def test_a_report_tells_nobody(home: Path, config: Path, start_daemon: StartDaemon, tmp_path: Path) -> None:
    """All sections are there; planted IDs, names, addresses and secrets are not."""
    daemon = start_daemon(home, "--name", "Zoe Planted", fake=True)
    stamp = "2026-11-28 21:59:45,123 INFO    meshcall"
    (home / "daemon.log").write_text(
        f"{stamp}.call_log: call 0123abcd from Unknown Planted, not a contact\n"
        f"{stamp}.aio.udp: alice at 198.51.100.23:4242, 2001:db8::23, {ALICE_ID.text}, password=planted-1\n"
        f"{stamp}.node: meshcall:{OWN_ID.text}?n=Zoe#planted-secret\n"
        "ValueError: planted exception\n"
    )
    target = tmp_path / "report.txt"
    done = daemon.cli("bugreport", "-o", str(target), XDG_CONFIG_HOME=str(config))
    assert (done.code, done.out) == (0, f"{target}\n"), done
    assert target.stat().st_mode & 0o777 == 0o600
    text = target.read_text()
    for title in ("versions", "status", "netcheck", "doctor", "log"):
        assert re.search(rf"^== {title} ==\n(?!not known)\S", text, re.MULTILINE), title
    assert "aiortc 1." in text
    assert '"uptime_s"' in text
    assert "OK    disk" in text
    assert "call 0123abcd from [name], not a contact" in text
    secrets = [
        "planted",
        "198.51",
        "2001:db8",
        "203.0.113",
        "192.168",
        "alice",
        str(home),
        str(tmp_path),
    ]
    for secret in [*secrets, OWN_ID.text[:7], ALICE_ID.text[:7]]:
        assert secret.lower() not in text.lower(), secret
    again = daemon.cli("bugreport", "-o", str(target))
    again.assert_error(8, "exists already", hint="-o FILE")
    assert target.read_text() == text


def test_a_report_without_a_daemon_says_so(home: Path, config: Path, tmp_path: Path) -> None:
    """Each section that needs the daemon says why it is empty; a folder that is not there is an error."""
    target = tmp_path / "report.txt"
    assert run_cli(home, "bugreport", "-o", str(target), XDG_CONFIG_HOME=str(config)).code == 0
    text = target.read_text()
    assert text.count("not known: The meshcall daemon is not running") == 2
    assert "FAIL  daemon" in text
    assert str(home) not in text
    run_cli(home, "bugreport", "-o", str(tmp_path / "no" / "x")).assert_error(8, "can't be written")


# --- echo -----------------------------------------------------------------------------------------


def test_echo_answers_contacts_until_it_is_stopped(fake: Daemon) -> None:
    """A contact's call is answered and told; Ctrl-C hangs up."""
    process = start_cli(fake, "echo")
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "contacts are answered" in process.stderr.readline()
        fake.cli("call", "callme", "--detach")
        assert process.stdout.readline() == "callme: called, answered\n"
        assert process.stdout.readline().startswith("callme: connected (")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        wait_for(lambda: states(fake) == ["ended"], "the call ends")
    finally:
        process.kill()
        process.communicate()


def test_echo_ends_by_itself_and_with_its_call(fake: Daemon) -> None:
    """After its time, with 0; a call that rang before is answered, too; a call's end is told."""
    fake.cli("call", "callme", "--detach")
    process = start_cli(fake, "echo", "--for", "4s", "--json")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert '"event":"answered"' in out.splitlines()[0]
    wait_for(lambda: states(fake) == ["ended"], "the call ends")


def test_a_killed_echo_leaves_no_call(fake: Daemon) -> None:
    """kill -9 hangs up as well."""
    process = start_cli(fake, "echo")
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.readline()
        fake.cli("call", "callme", "--detach")
        assert "answered" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: states(fake) == ["ended"], "the call ends")


def states(daemon: Daemon) -> list[str]:
    """Of all calls."""
    return [view["state"] for view in daemon.cli("calls", "--json").json["calls"]]


def test_echo_needs_a_daemon_and_a_time(home: Path) -> None:
    """The errors of every command."""
    run_cli(home, "echo").assert_error(3, "not running")
    run_cli(home, "echo", "--for", "soon").assert_error(2, "--for")


# --- completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell: str, home: Path) -> None:
    """Commands, those of groups, and options; also behind an option of all commands."""

    def completed(text: str) -> str:
        words = {
            "COMP_WORDS": text,
            "COMP_CWORD": str(len(text.split(" ")) - 1),
            "_TYPER_COMPLETE_ARGS": text,
        }
        return run_cli(
            home, _MESHCALL_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **words
        ).out

    assert "service" in completed("meshcall serv")
    assert "install" in completed("meshcall service ")
    assert "--bootstrap" in completed("meshcall bootstrap-node --boot")
    assert "install" in completed("meshcall --home /x service inst")


# --- the desktop ----------------------------------------------------------------------------------


def test_calls_are_shown_on_the_desktop(home: Path, tmp_path: Path, start_daemon: StartDaemon) -> None:
    """While no page is open; not when that is switched off, now or by the option."""
    shown = tmp_path / "shown"
    planted = plant(tmp_path / "bin", "notify-send", f'echo "$@" >>{shown}')
    daemon = start_daemon(home, fake=True, **planted)
    ring = ("call", "callme", "--detach")
    assert daemon.cli(*ring).code == 0
    wait_for(shown.exists, "the call is shown")
    assert "Incoming call callme" in shown.read_text()
    shown.unlink()
    assert daemon.cli("config", "set", "notifications", "off").code == 0
    assert daemon.cli(*ring).code == 0
    daemon.stop()
    daemon = start_daemon(home, "--no-notifications", fake=True, **planted)
    assert daemon.cli(*ring).code == 0
    daemon.cli("config", "set", "notifications", "on").assert_error(1, "notifications")
    daemon.stop()
    assert not shown.exists()
