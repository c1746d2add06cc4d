"""Bad input to the real daemon and its command line: one clear line, a hint, the documented exit code.

In every case: no traceback, nothing lost, no process, socket or temporary file left behind.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from meshcall.identity.peer_id import PeerId
from tests.daemon.conftest import REAL_DAEMON, Daemon, Result, StartDaemon, environment, run_cli
from tests.unit.control.fake_node import ALICE_ID

ALONE = ("--no-mdns", "--port", "0")
"""Flags of a daemon that talks to nobody."""


def refused_start(home: Path, *flags: str, **env: str) -> Result:
    """A daemon that must not start; it has ended when this returns."""
    done = subprocess.run(
        [*REAL_DAEMON, "--home", str(home), *flags],
        env={**environment(None), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    leftovers = [path for path in home.rglob("*") if path.is_socket() or path.suffix == ".tmp"]
    assert leftovers == []
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def daemon(home: Path, start_daemon: StartDaemon) -> Daemon:
    """A real daemon that talks to nobody."""
    return start_daemon(home, *ALONE)


# --- the daemon's start ---------------------------------------------------------------------------


def test_no_identity(tmp_path: Path) -> None:
    """A daemon does not make one by itself: a wrong `--home` would go unnoticed."""
    refused_start(tmp_path / "home", *ALONE).assert_error(7, "no identity", hint="meshcall init")
    assert not (tmp_path / "home").exists()


def test_a_passphrase_that_is_not_given(tmp_path: Path) -> None:
    """Nothing is made, not even the folder; an empty variable names no file."""
    home = tmp_path / "home"
    for value in ("", str(tmp_path / "missing")):
        run_cli(home, "init", "--passphrase", MESHCALL_PASSPHRASE_FILE=value).assert_error(
            7, hint="MESHCALL_PASSPHRASE_FILE"
        )
        assert not home.exists()


def test_a_home_without_a_name(tmp_path: Path) -> None:
    """A script's empty variable does not mean the user's own home."""
    run_cli(tmp_path, "--home", "", "id").assert_error(2, "--home")
    run_cli(tmp_path, "daemon", "--home", "").assert_error(2, "--home")
    run_cli(tmp_path, "status", "--home").assert_error(2, "--home", hint="--help")


def test_the_port_is_taken(home: Path) -> None:
    """Named with its number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        refused_start(home, "--no-mdns", "--port", str(port)).assert_error(1, str(port), hint="--port")


def test_a_second_daemon_on_one_home(daemon: Daemon) -> None:
    """The first one is not disturbed."""
    refused = subprocess.run(
        [*REAL_DAEMON, "--home", str(daemon.home), *ALONE],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    Result(refused.returncode, refused.stdout, refused.stderr).assert_error(
        1, "another meshcall daemon", str(daemon.process.pid), hint="--home"
    )
    assert daemon.cli("status").code == 0


@pytest.mark.parametrize("command", [["init"], ["daemon", *ALONE]])
def test_the_home_is_a_file(tmp_path: Path, command: list[str]) -> None:
    """The file is left as it is."""
    home = tmp_path / "file"
    home.write_text("precious")
    run_cli(home, *command).assert_error(1, str(home))
    assert home.read_text() == "precious"


def test_the_home_can_not_be_made() -> None:
    """A place where nobody may write, not even root."""
    run_cli(Path("/proc/meshcall"), "init").assert_error(1, "/proc", hint="--home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run as another user")
def test_the_home_is_not_writable(tmp_path: Path) -> None:
    """A folder of ours without the right to write."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    run_cli(home, "init").assert_error(1, str(home))


@pytest.mark.parametrize("command", [["init"], ["daemon", *ALONE]])
def test_the_home_has_loose_permissions(home: Path, command: list[str]) -> None:
    """Refused with the command that mends it, and not mended behind the user's back."""
    home.chmod(0o755)
    run_cli(home, *command).assert_error(1, "0755", hint=f"chmod 700 {home}")
    assert home.stat().st_mode & 0o777 == 0o755


def test_the_run_folder_has_loose_permissions(home: Path) -> None:
    """The socket's folder counts as much as the home."""
    (home / "run").chmod(0o770)
    refused_start(home, *ALONE).assert_error(1, hint="chmod 700")


def test_the_key_has_loose_permissions(home: Path) -> None:
    """A key that others could read is not used."""
    (home / "identity.key").chmod(0o644)
    refused_start(home, *ALONE).assert_error(1, hint="chmod 600")


def test_the_key_is_a_link(home: Path) -> None:
    """Whoever made the link decides what it means; it is not followed."""
    key = home / "identity.key"
    key.rename(home / "elsewhere")
    key.symlink_to(home / "elsewhere")
    refused_start(home, *ALONE).assert_error(7)


def test_the_key_is_damaged(home: Path) -> None:
    """It is neither used nor replaced."""
    key = home / "identity.key"
    damaged = key.read_bytes()[:-1]
    key.write_bytes(damaged)
    refused_start(home, *ALONE).assert_error(7)
    run_cli(home, "init").assert_error(7)
    assert key.read_bytes() == damaged


def test_a_wrong_passphrase(tmp_path: Path) -> None:
    """Exit code 7, and no guess at what was meant."""
    home, secret = tmp_path / "home", tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o600)
    assert run_cli(home, "init", "--passphrase", MESHCALL_PASSPHRASE_FILE=str(secret)).code == 0
    refused_start(home, *ALONE).assert_error(7, "passphrase", hint="MESHCALL_PASSPHRASE_FILE")
    secret.write_text("wrong")
    refused_start(home, *ALONE, MESHCALL_PASSPHRASE_FILE=str(secret)).assert_error(7, "wrong")


@pytest.mark.parametrize("name", ["state.db", "dht.state"])
@pytest.mark.parametrize("content", [b"", b"garbage " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_state_file(home: Path, start_daemon: StartDaemon, name: str, content: bytes) -> None:
    """The daemon starts; a state database that it can't read is set aside and said, not thrown away.

    The routing table is a cache: a damaged one is as good as none.
    """
    (home / name).write_bytes(content)
    (home / name).chmod(0o600)
    daemon = start_daemon(home, *ALONE)
    assert daemon.cli("status").code == 0
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()
    if content and name == "state.db":
        kept = [path for path in home.iterdir() if path.name.startswith(name) and path.name != name]
        assert any(path.read_bytes() == content for path in kept)
        assert "WARNING" in daemon.log.read_text()


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--source", "/no/such/file.mkv"], 8),
        (["--source", "/"], 8),
        (["--record", "/no/such/folder"], 8),
        (["--record", __file__], 8),
        (["--record", ""], 2),
        (["--source", ""], 2),
        (["--port", "65536"], 2),
        (["--bootstrap", "host"], 2),
        (["--lan-only", "--no-mdns"], 2),
    ],
)
def test_flags_that_make_no_sense(home: Path, flags: list[str], code: int) -> None:
    """Refused before anything is opened."""
    refused_start(home, *flags).assert_error(code)


def test_a_folder_for_recordings_is_made(home: Path, start_daemon: StartDaemon, tmp_path: Path) -> None:
    """For its owner alone; an interface that is not there is said, and no reason to stop."""
    folder = tmp_path / "recordings"
    daemon = start_daemon(home, *ALONE, "--record", str(folder), "--interface", "nowhere0")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert daemon.stop() == 0
    assert "no network interface nowhere0" in daemon.log.read_text()


def test_a_warning_is_logged_once(home: Path, start_daemon: StartDaemon) -> None:
    """Though the node knows it and the daemon starts it."""
    (home / "state.db").write_bytes(b"garbage " * 1000)
    (home / "state.db").chmod(0o600)
    daemon = start_daemon(home, *ALONE)
    assert daemon.stop() == 0
    assert daemon.log.read_text().count("state.db was damaged") == 1


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["dht", "status"],
        ["dht", "lookup", "bob"],
        ["dht", "ping", "h:1"],
        ["peers"],
        ["calls"],
        ["contact", "list"],
        ["call", "bob"],
        ["answer"],
        ["invite"],
    ],
)
def test_no_daemon(home: Path, command: list[str]) -> None:
    """Exit code 3, and how to start one."""
    run_cli(home, *command).assert_error(3, "not running", hint="daemon")


def test_no_home_at_all(tmp_path: Path) -> None:
    """Reading commands make nothing."""
    run_cli(tmp_path / "none", "status").assert_error(3, "not running")
    run_cli(tmp_path / "none", "id").assert_error(7, "no identity", hint="meshcall init")
    assert not (tmp_path / "none").exists()


def damaged(text: str) -> str:
    """An ID with one character changed."""
    return text[:20] + ("a" if text[20] != "a" else "b") + text[21:]


@pytest.mark.parametrize(
    "peer",
    [
        damaged(ALICE_ID.text),
        damaged(ALICE_ID.text).upper(),
        ALICE_ID.text[:-1],
        ALICE_ID.text + "a",
        ALICE_ID.text[:-1] + "!",
        f"meshcall:{damaged(ALICE_ID.text)}",
        "meshcall:",
        "meshcall:?n=x",
        "a" * 56,
    ],
)
def test_malformed_ids(daemon: Daemon, peer: str) -> None:
    """A typing error never reaches the network, whichever command it is given to."""
    daemon.cli("call", peer).assert_error(2)
    daemon.cli("contact", "add", peer, "x").assert_error(2)
    assert daemon.cli("contact", "list", "--json").json["contacts"] == []
    assert daemon.cli("calls", "--json").json["calls"] == []


def test_names_and_short_forms(daemon: Daemon) -> None:
    """An unknown name, and the first characters of an ID, which are never an address."""
    assert daemon.cli("contact", "add", ALICE_ID.text, "alice").code == 0
    daemon.cli("call", "nobody").assert_error(4, "nobody", hint="meshcall peers")
    daemon.cli("call", ALICE_ID.short).assert_error(4, ALICE_ID.short, hint="full ID")
    daemon.cli("call", "").assert_error(2)
    daemon.cli("contact", "rename", "nobody", "x").assert_error(4)
    daemon.cli("contact", "rename", "alice", " ").assert_error(2)


def test_the_own_id(daemon: Daemon) -> None:
    """Neither called nor added, in any spelling."""
    peer_id = PeerId.parse(daemon.cli("id").out.strip())
    for spelling in (peer_id.text, peer_id.grouped.upper(), f"meshcall:{peer_id.text}?n=Me"):
        daemon.cli("call", spelling).assert_error(2, "your own ID", hint="other machine")
        daemon.cli("contact", "add", spelling, "me").assert_error(2, "your own ID")


def test_two_contacts_of_one_name(daemon: Daemon) -> None:
    """The first one keeps it."""
    from tests.unit.control.fake_node import peer_id_of

    assert daemon.cli("contact", "add", ALICE_ID.text, "alice").code == 0
    daemon.cli("contact", "add", peer_id_of(70).text, "Alice").assert_error(2, "alice")
    (view,) = daemon.cli("contact", "list", "--json").json["contacts"]
    assert view["peer_id"] == ALICE_ID.text


def test_media_files(daemon: Daemon, tmp_path: Path) -> None:
    """Missing or not a file; a record target that is there or can't be written."""
    taken = tmp_path / "taken.mkv"
    taken.write_bytes(b"x")
    peer = ALICE_ID.text
    daemon.cli("call", peer, "--source", "missing.mkv").assert_error(8, "missing.mkv", hint="testsrc")
    daemon.cli("call", peer, "--source", str(tmp_path)).assert_error(8, "not a file")
    daemon.cli("call", peer, "--record", str(taken)).assert_error(8, "exists", hint="never overwrites")
    daemon.cli("call", peer, "--record", str(tmp_path / "no" / "x.mkv")).assert_error(8, "no folder")
    assert taken.read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".mkv"] == ["taken.mkv"]
    assert daemon.cli("calls", "--json").json["calls"] == []


def test_texts_that_are_empty_or_too_long(daemon: Daemon) -> None:
    """Said in words, not in those of a schema."""
    daemon.cli("accept", "").assert_error(2, "no link was given", hint="meshcall invite")
    daemon.cli("call", " ").assert_error(2, "no ID was given", hint="meshcall id")
    daemon.cli("contact", "add", "", "x").assert_error(2, "no ID was given")
    for command in (["contact", "remove"], ["dht", "lookup"], ["dht", "ping"], ["hangup"]):
        daemon.cli(*command, "").assert_error(2, "an empty text names nothing", hint="variable")
    assert daemon.cli("contact", "add", ALICE_ID.text, "alice").code == 0
    daemon.cli("contact", "rename", "alice", "x" * 300).assert_error(2, "longer than 256 characters")


def test_invites_that_are_none(daemon: Daemon) -> None:
    """An ID, a damaged link, our own invite."""
    own = daemon.cli("invite").out.strip()
    for link in (ALICE_ID.text, "meshcall:abc", own[:-3], own):
        result = daemon.cli("accept", link)
        result.assert_error(2)


def test_calls_that_are_not_there(daemon: Daemon) -> None:
    """Nothing to answer, decline, hang up or write to."""
    daemon.cli("answer").assert_error(2, hint="--wait")
    for command in (
        ["decline"],
        ["hangup"],
        ["hangup", "abcdef"],
        ["chat", "-", "hello"],
        ["chat", "bob", "x"],
    ):
        daemon.cli(*command).assert_error(2, hint="meshcall calls")


def test_nothing_is_left_behind(daemon: Daemon) -> None:
    """After all that a daemon may meet, its home holds its files and nothing else."""
    daemon.cli("call", "nobody")
    daemon.cli("contact", "add", "x")
    assert daemon.stop() == 0
    names = {path.name for path in daemon.home.rglob("*")}
    assert names <= {"identity.key", "identity.pub", "state.db", "dht.state", "run", "lock"}
