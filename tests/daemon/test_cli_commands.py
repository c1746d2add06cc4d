"""Every command against the real server and a node without a network."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from meshcall.identity.peer_id import PeerId
from tests.daemon.conftest import Daemon, StartDaemon, environment, run_cli, wait_for
from tests.unit.control.fake_node import ALICE_ID, OWN_ID, peer_id_of


def calls_of(daemon: Daemon) -> list[dict[str, Any]]:
    """What `meshcall calls` lists."""
    views: list[dict[str, Any]] = daemon.cli("calls", "--json").json["calls"]
    return views


def start_cli(daemon: Daemon, *arguments: str) -> subprocess.Popen[str]:
    """A command line that goes on running."""
    return subprocess.Popen(
        [sys.executable, "-m", "meshcall", *arguments],
        env=environment(daemon.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_on_terminal(home: Path, *arguments: str, keys: str = "", **more: str) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; its exit code and all that appeared."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "meshcall", *arguments],
        env={**environment(home), "TERM": "xterm-256color", **more},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
        start_new_session=True,
    )
    os.close(follower)
    os.write(leader, keys.encode())
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    return process.wait(30), seen.decode()


# --- without a daemon -----------------------------------------------------------------------------


def test_init_is_idempotent_and_private(tmp_path: Path) -> None:
    """The same ID each time; a folder and a key that only the owner can read."""
    home = tmp_path / "deep" / "home"
    first, second = run_cli(home, "init"), run_cli(home, "init", "--json")
    assert (first.code, second.code) == (0, 0)
    peer_id = PeerId.parse(first.out.strip())
    assert second.json == {"schema": 1, "peer_id": peer_id.text, "created": False, "home": str(home)}
    assert home.stat().st_mode & 0o777 == 0o700
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_id_needs_no_daemon(home: Path) -> None:
    """All forms are of the same ID."""
    text = run_cli(home, "id").out.strip()
    peer_id = PeerId.parse(text)
    assert run_cli(home, "id", "--short").out.strip() == peer_id.short
    assert run_cli(home, "id", "--uri").out.strip() == f"meshcall:{text}"
    document = run_cli(home, "id", "--json").json
    assert document["schema"] == 1
    assert (document["peer_id"], document["grouped"]) == (text, peer_id.grouped)
    drawn = run_cli(home, "id", "--qr")
    assert drawn.code == 0
    assert "█" in drawn.out
    assert f"meshcall:{text}" in drawn.out


def test_id_is_grouped_for_eyes(home: Path) -> None:
    """On a terminal 8 groups of 7, which the parser takes back."""
    code, seen = run_on_terminal(home, "id")
    assert code == 0
    assert PeerId.parse(seen.strip()).text == run_cli(home, "id").out.strip()
    assert seen.count("-") == 7


def test_a_lost_public_id_comes_back(home: Path) -> None:
    """It is made from the key again."""
    text = run_cli(home, "id").out
    (home / "identity.pub").unlink()
    run_cli(home, "id").assert_error(7, "no identity", hint="meshcall init")
    assert run_cli(home, "init").out == text
    assert run_cli(home, "id").out == text


def test_passphrase(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """The key is locked from birth; the daemon opens it with the file, and not without."""
    home, secret = tmp_path / "home", tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    run_cli(home, "init", "--passphrase").assert_error(7, "terminal", hint="MESHCALL_PASSPHRASE_FILE")
    assert not (home / "identity.key").exists()
    made = run_cli(home, "init", "--passphrase", MESHCALL_PASSPHRASE_FILE=str(secret))
    assert made.code == 0, made
    assert run_cli(home, "id").out == made.out
    run_cli(home, "daemon", "--port", "0").assert_error(7, "locked with a passphrase")
    daemon = start_daemon(home, fake=True, MESHCALL_PASSPHRASE_FILE=str(secret))
    assert daemon.stop() == 0


def test_config_path_and_version(home: Path) -> None:
    """Where things are, and which release this is."""
    document = run_cli(home, "config", "path", "--json").json
    assert document["schema"] == 1
    assert document["home"] == str(home)
    assert document["socket"] == str(home / "run" / "control.sock")
    assert run_cli(home, "version", "--json").json["version"] in run_cli(home, "version").out


def test_home_option_before_and_after_the_command(home: Path, tmp_path: Path) -> None:
    """The option wins over the variable wherever it stands."""
    text = run_cli(home, "id").out
    other = tmp_path / "other"
    assert run_cli(other, "--home", str(home), "id").out == text
    assert run_cli(other, "id", "--home", str(home)).out == text
    assert run_cli(other, "id", f"--home={home}").out == text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["frobnicate"], "frobnicate"),
        (["call"], "PEER"),
        (["call", "--surplus", "x"], "--surplus"),
        (["call", "bob", "--duration", "soon"], "--duration"),
        (["call", "bob", "--timeout", "0"], "--timeout"),
        (["id", "--qr", "--uri"], "only one"),
        (["contact"], "command"),
        (["contact", "add", "x", "y", "--name", "z"], "once"),
        (["daemon", "--port", "x"], "--port"),
        (["daemon", "--surplus"], "--surplus"),
        (["invite", "--expires", "never"], "--expires"),
        (["chat", "bob"], "terminal"),
        (["chat", "bob", "x" * 5000], "4000"),
    ],
)
def test_usage_errors(home: Path, arguments: list[str], word: str) -> None:
    """Exit code 2, one line, and a hint."""
    result = run_cli(home, *arguments)
    result.assert_error(2)
    assert word.lower() in result.err.lower()


def test_arguments_that_are_not_utf8(fake: Daemon) -> None:
    """Bytes that can't be sent are refused, without a traceback."""
    command = [sys.executable, "-m", "meshcall", "call", os.fsdecode(b"\xff\xfe")]
    done = subprocess.run(command, env=environment(fake.home), capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_help_of_every_command() -> None:
    """Each command explains itself and exits 0; `meshcall` alone is a request for help."""
    listing = run_cli(None)
    assert listing.code == 0
    for name in ("init", "daemon", "id", "status", "peers", "contact", "invite", "accept", "call", "answer",
                 "decline", "hangup", "calls", "chat", "config", "version"):  # fmt: skip
        assert f"  {name} " in listing.out
        shown = run_cli(None, name, "--help")
        assert shown.code == 0, shown
        assert "--help" in shown.out


# --- with a daemon --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["status"], ["peers"], ["contact", "list"], ["calls"]])
def test_reading_commands(fake: Daemon, command: list[str]) -> None:
    """JSON has a schema, plain output has no escape sequence and no heading."""
    document = fake.cli(*command, "--json")
    assert document.code == 0
    assert document.json["schema"] == 1
    plain = fake.cli(*command)
    assert plain.code == 0
    assert "\x1b" not in plain.out


def test_status(fake: Daemon) -> None:
    """What the node says is what is shown."""
    document = fake.cli("status", "--json").json
    assert document["peer_id"] == OWN_ID.text
    assert document["lan"] == {"enabled": True, "peers": 2}
    dht = document["dht"]
    assert (dht["enabled"], dht["nodes"], dht["stored"], dht["watches"]) == (True, 20, 3, 8)
    assert dht["role"] == "ephemeral"
    assert (dht["bootstrap"], dht["announced"]) == ([], False)
    plain = fake.cli("status").out
    assert f"id\t{OWN_ID.text}" in plain
    assert "warning\tthe clock is wrong by 3 s" in plain
    assert "count rejected signature\t3" in fake.cli("-v", "status").out


def test_history(fake: Daemon) -> None:
    """Who, how it ended and when; missed calls are counted until a person has seen them listed."""
    hint = "missed\t2 missed calls: meshcall history --missed"
    assert hint in fake.cli("status").out
    document = fake.cli("history", "--json").json
    assert [call["missed"] for call in document["calls"]] == [True, True, False]
    assert hint in fake.cli("status").out, "a program that looks is no person"
    (line,) = fake.cli("history", "--limit", "1").out.splitlines()
    assert line.split("\t")[1:4] == ["from", "ann", "missed, cancelled (new)"]
    assert "missed\t1 missed call:" in fake.cli("status").out
    cancelled, unreached = fake.cli("history", "--missed").out.splitlines()
    assert cancelled.split("\t")[3] == "missed, cancelled"
    assert unreached.split("\t")[2:4] == [
        f"{peer_id_of(99).short} (not a contact)",
        "missed while offline (new)",
    ]
    assert "missed" not in fake.cli("status").out
    call_id, *fields, when = fake.cli("history").out.splitlines()[2].split("\t")
    assert (call_id, fields) == ("e" * 32, ["to", "ann", "hung up", "lan", "1 min 1 s"])
    assert when.startswith("2023-11-1")
    fake.cli("history", "--limit", "0").assert_error(2, "--limit")


def test_status_watch(fake: Daemon) -> None:
    """Line after line, until Ctrl-C."""
    process = start_cli(fake, "status", "--watch", "--json", "--interval", "50ms")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert all(line.startswith('{"schema":1,') for line in lines)


def test_hostile_names_do_not_reach_the_terminal(fake: Daemon) -> None:
    """A peer on the LAN calls itself by an escape sequence and a line break."""
    seen = fake.cli("peers").out
    assert "\x1b" not in seen
    assert len(seen.splitlines()) == len(fake.cli("peers", "--json").json["peers"])
    code, shown = run_on_terminal(fake.home, "peers", NO_COLOR="1")
    assert code == 0
    assert "\x1b[31m" not in shown
    assert "NAME" in shown


def test_no_color(fake: Daemon) -> None:
    """With NO_COLOR a terminal gets no colour; tables still have their headings."""
    code, plain = run_on_terminal(fake.home, "contact", "list", NO_COLOR="1")
    assert code == 0
    assert "alice" in plain
    assert "\x1b[3" not in plain


def test_contacts(fake: Daemon) -> None:
    """Add, rename, block, unblock and remove, by name and with odd characters."""
    bob = peer_id_of(50)
    added = fake.cli("contact", "add", bob.text, "Bob / 100 %", "--json")
    assert (added.code, added.json["peer_id"]) == (0, bob.text)
    assert fake.cli("contact", "rename", "Bob / 100 %", "bob").code == 0
    assert fake.cli("contact", "block", "bob", "--json").json["blocked"] is True
    assert "bob\t" + bob.text + "\tblocked" in fake.cli("contact", "list").out
    assert fake.cli("contact", "unblock", "bob").code == 0
    assert fake.cli("contact", "remove", "bob").code == 0
    fake.cli("contact", "remove", "bob").assert_error(4, "bob", hint="meshcall peers")


def test_invite_and_accept(fake: Daemon) -> None:
    """A link on stdout alone; whoever accepts gets a contact."""
    made = fake.cli("invite", "--expires", "10m")
    assert made.out.startswith(f"meshcall:{OWN_ID.text}#")
    assert "10 min" in made.err
    assert fake.cli("--quiet", "invite").err == ""
    document = fake.cli("invite", "--many", "--expires", "7d", "--json").json
    assert (document["once"], document["expires_s"]) == (False, 604800.0)
    accepted = fake.cli("accept", f"meshcall:{peer_id_of(60).text}", "--json")
    assert accepted.json["name"] == "inviter"


def test_call_prints_json_lines(fake: Daemon) -> None:
    """From the look-up to ``ended`` with everything that is promised."""
    result = fake.cli("call", "alice", "--duration", "100ms", "--json")
    assert result.code == 0, result
    events = result.lines
    assert [event["event"] for event in events] == [
        "looking-up", "calling", "ringing", "connecting", "connected", "media", "ended",
    ]  # fmt: skip
    ended = events[-1]
    assert ended["reason"] == "hangup"
    assert ended["path"] == "lan"
    assert ended["setup_ms"] == 12.5
    assert ended["timeline"] == {"lookup": 3.0, "connected": 12.5}
    assert ended["received"] == {"video_frames": 30, "screen_frames": 0, "audio_seconds": 1.5}


def test_call_for_people(fake: Daemon) -> None:
    """Progress on stderr, a summary on stdout."""
    result = fake.cli("call", ALICE_ID.grouped, "--duration", "0.1")
    assert result.code == 0
    assert result.out.splitlines()[0] == "call\twith alice: hung up"
    assert "alice: connected (lan, 12 ms)" in result.err
    assert fake.cli("--quiet", "call", "alice", "--duration", "0.1").err == ""


def test_call_on_a_terminal_is_one_growing_line(fake: Daemon) -> None:
    """Looking up, ringing, connecting, path."""
    code, seen = run_on_terminal(fake.home, "call", "alice", "--duration", "0.1")
    assert code == 0
    assert "alice: looking up → calling → ringing → connecting → connected (lan, 12 ms)" in seen


@pytest.mark.parametrize(
    ("peer", "code", "word", "hint"),
    [
        ("nobody", 4, "nobody", "meshcall peers"),
        (OWN_ID.text, 2, "your own ID", "other machine"),
        (ALICE_ID.text[:-1] + "a", 2, "", None),
        ("decliner", 5, "declined", None),
        ("offline", 4, "offline", "--wait"),
        ("bug", 1, "bug", "log"),
    ],
)
def test_calls_that_fail(fake: Daemon, peer: str, code: int, word: str, hint: str | None) -> None:
    """The exit code says why, on one line."""
    fake.cli("--quiet", "call", peer).assert_error(code, word, hint=hint)
    as_json = fake.cli("call", peer, "--json")
    assert as_json.code == code
    assert as_json.err.startswith("error: ")


def test_ctrl_c_hangs_up(fake: Daemon) -> None:
    """The call is cancelled, the last line is still its summary, the exit code is 130."""
    process = start_cli(fake, "call", "ringer", "--json")
    assert process.stdout is not None
    while '"ringing"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert '"reason":"cancelled"' in out.splitlines()[-1]
    assert err == ""
    assert calls_of(fake)[0]["state"] == "ended"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_command_line_leaves_no_call(fake: Daemon, number: signal.Signals) -> None:
    """Nothing keeps ringing for a terminal that is gone."""
    process = start_cli(fake, "call", "ringer", "--json")
    assert process.stdout is not None
    while '"ringing"' not in process.stdout.readline():
        pass
    process.send_signal(number)
    process.communicate(timeout=20)
    wait_for(lambda: calls_of(fake)[0]["state"] == "ended", "the call is hung up")
    assert calls_of(fake)[0]["reason"] == "cancelled"


def test_a_killed_daemon_is_told(fake: Daemon) -> None:
    """The command line does not wait for ever."""
    process = start_cli(fake, "call", "ringer")
    wait_for(lambda: [view for view in calls_of(fake) if view["state"] == "ringing"], "it rings")
    fake.stop(signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert err.splitlines()[-2].startswith("error: ")


def test_a_stopped_daemon_ends_its_calls(fake: Daemon) -> None:
    """An attached call is hung up, and its command line sees the end."""
    process = start_cli(fake, "call", "alice", "--json")
    assert process.stdout is not None
    while '"connected"' not in process.stdout.readline():
        pass
    assert fake.stop() == 0
    out, err = process.communicate(timeout=20)
    assert '"event":"ended"' in out, err
    assert process.returncode == 0


def test_incoming_calls(fake: Daemon) -> None:
    """List, decline, answer; a call that waits for one finds it."""
    fake.cli("answer").assert_error(2, "nobody is calling", hint="meshcall answer --wait")
    detached = fake.cli("call", "callme", "--detach")
    assert calls_of(fake)[0]["id"] == detached.out.strip()
    fake.cli("decline", "callme", "--say", "ü" * 101).assert_error(2, "at most 200 octets")
    assert fake.cli("decline", "callme", "--say", "later").code == 0
    waiting = start_cli(fake, "answer", "--wait", "20s", "--duration", "0.1", "--json")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "waiting for a call\n"
    fake.cli("call", "callme", "--detach")
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, err
    assert out.splitlines()[0].startswith('{"schema":1,"event":"incoming"')
    fake.cli("--quiet", "answer", "--wait", "50ms").assert_error(5, "nobody called", hint="--wait")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
@pytest.mark.parametrize("command", ["status", "id", "init", "version"])
def test_output_that_can_not_be_written(fake: Daemon, command: str) -> None:
    """One line and exit code 8; a stdout that is closed is no error."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "meshcall", command],
            env=environment(fake.home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        8,
        "error: the output can't be written: No space left on device\n",
    )
    closed = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m meshcall {command} >&-"],
        env=environment(fake.home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in closed.stderr


def test_chat_without_a_call_now(fake: Daemon) -> None:
    """Calls that have ended are not written to, however many there were."""
    for _ in range(2):
        assert fake.cli("call", "alice", "--duration", "0.1").code == 0
    code, seen = run_on_terminal(fake.home, "chat", "alice")
    assert (code, "there is no call with alice now" in seen) == (2, True)


def test_waiting_for_one_caller(fake: Daemon) -> None:
    """A name with `--wait` waits for that one's call, and for no other."""
    fake.cli("call", "callme", "--detach")
    fake.cli("--quiet", "answer", "alice", "--wait", "50ms").assert_error(5, "nobody called")
    assert fake.cli("answer", "CallMe", "--wait", "20s", "--detach").code == 0


def test_the_timeline_of_each_call(fake: Daemon) -> None:
    """How it came about, which way its media took and why, what would be better; as JSON, too."""
    call_id = fake.cli("call", "alice", "--detach").out.strip()
    shown = fake.cli("calls", "--timeline").out.splitlines()
    begin = next(number for number, line in enumerate(shown) if call_id in line)
    assert shown[begin].endswith(": connected")
    assert shown[begin + 1 : begin + 6] == [
        "  path: direct over IPv4: both ends are in one local network",
        "  better with: nothing",
        "          0 ms  called",
        "         11 ms  path: lan (host to host, IPv4): the first that worked",
        "         12 ms  both ends proven",
    ]
    view = next(one for one in fake.cli("calls", "--json").json["calls"] if one["id"] == call_id)
    assert view["paths"] == [
        {"at": 11.0, "path": "lan", "why": "first", "local": "host", "remote": "host", "ipv6": False}
    ]
    fake.cli("hangup", call_id)


def test_hangup_and_detached_calls(fake: Daemon) -> None:
    """A detached call lives on until it is hung up, by the start of its ID or by name."""
    first = fake.cli("call", "ringer", "-d").out.strip()
    second = fake.cli("call", "alice", "-d", "--json").json["id"]
    fake.cli("hangup").assert_error(2, "several calls fit", hint=second[:8])
    assert fake.cli("hangup", first[:6]).code == 0
    assert fake.cli("hangup", "alice", "--json").json["reason"] == "hangup"
    fake.cli("hangup").assert_error(2, "no call")


def test_chat(fake: Daemon) -> None:
    """One line, several lines from a pipe, and a conversation on a terminal."""
    fake.cli("call", "alice", "-d")
    assert fake.cli("chat", "alice", "hello", "there").code == 0
    assert fake.cli("chat", "-", "-", stdin="one\n\ntwo\n").code == 0
    code, seen = run_on_terminal(fake.home, "chat", "alice", keys="ping\n\x04")
    assert "Exception" not in seen
    assert code == 0
    assert "alice: HELLO THERE" in seen
    assert "alice: TWO" in seen
    fake.cli("chat", "offline", "x").assert_error(2, "offline")


def test_relative_paths_are_the_command_lines_own(fake: Daemon, tmp_path: Path) -> None:
    """The daemon is told absolute paths, whatever its own folder is."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "meshcall",
            "call",
            "alice",
            "--record",
            "out.mkv",
            "--duration",
            "0.1",
            "--json",
        ],
        env=environment(fake.home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'"record":"{tmp_path}/out.mkv"' in done.stdout.splitlines()[-1]


def test_media_files_are_checked_before_anything_rings(fake: Daemon, tmp_path: Path) -> None:
    """Exit code 8, and no call was made."""
    taken = tmp_path / "taken.mkv"
    taken.write_bytes(b"x")
    fake.cli("call", "alice", "--source", "missing.mp4").assert_error(8, "missing.mp4", hint="testsrc")
    fake.cli("call", "alice", "--source", str(tmp_path)).assert_error(8, "not a file")
    fake.cli("call", "alice", "--record", str(taken)).assert_error(8, "exists", hint="another name")
    fake.cli("call", "alice", "--record", str(tmp_path / "no" / "x.mkv")).assert_error(8, "no folder")
    assert taken.read_bytes() == b"x"
    assert calls_of(fake) == []


def test_stdout_that_nobody_reads(fake: Daemon) -> None:
    """``meshcall peers | head -1`` ends without a traceback."""
    done = subprocess.run(
        f"{sys.executable} -m meshcall peers --json | true", shell=True, env=environment(fake.home),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_relay_credentials_in_a_pipe(fake: Daemon) -> None:
    """Without a relay a sentence; the JSON is the document."""
    fake.cli("relay").assert_error(1, "lends no relay", hint="--relay")
    fake.cli("relay", "--for", "forever").assert_error(2, "--for")


def test_dht_status_in_a_pipe(fake: Daemon) -> None:
    """Role with its reason, table, watches; refusals without ``-v``, everything with it."""
    lines = dict(line.split("\t", 1) for line in fake.cli("dht", "status").out.splitlines())
    assert lines["role"] == "ephemeral: 1 of 3 networks have reached us"
    assert lines["nodes"] == "18 IPv4, 2 IPv6, in 5 buckets"
    assert lines["stored"] == "3 records, 2799 octets, 2 keys, from 2 hosts"
    assert lines["own watches"] == "1 of 2 held"
    assert lines["watch efefefef"] == "(no holder)"
    assert lines["bootstrap"] == "router.example:4600, saved table (12)"
    assert lines["count limited-sender"] == "4"
    assert "count received-ping" not in lines
    assert "count received-ping\t99" in fake.cli("-v", "dht", "status").out


def test_dht_lookup_in_a_pipe(fake: Daemon) -> None:
    """Who was asked and what was found on stdout, the summary on stderr."""
    done = fake.cli("dht", "lookup", "ab" * 20)
    assert done.out.splitlines() == [
        "11111111\t203.0.113.9:4600\t12.5 ms\t2\tclosest",
        "?\t203.0.113.8:4600\t-\t1\tsilent",
        "presence: 308 octets, 60 of 7200 s old, number 5, from 203.0.113.9:4600 after 13.0 ms",
    ]
    assert "2 requests, 1 answered, 2 hops; first value after 13.0 ms, all in 25.5 ms" in done.err
    assert "kept by 1 of the 1 closest node\n" in done.err
    assert "our watch of it is held by 203.0.113.9:4600" in done.err
    assert fake.cli("dht", "lookup", "alice").err.endswith("nothing is stored there\n")
    assert fake.cli("--quiet", "dht", "lookup", "ab" * 20).err == ""


def test_dht_ping(fake: Daemon) -> None:
    """Proven or not in words; silence is exit code 6 with a hint."""
    done = fake.cli("dht", "ping", "203.0.113.9:4600")
    assert "id\tproven\n" in done.out
    assert "sees us at\t203.0.113.5:4242\n" in done.out
    assert "id\tNOT proven (relayed)\n" in fake.cli("dht", "ping", "other.example:4600").out
    fake.cli("dht", "ping", "203.0.113.8:4600").assert_error(6, "within 3 s", hint="firewall")


def test_a_lookup_is_interrupted(fake: Daemon) -> None:
    """Ctrl-C ends it at once, with 130 and no traceback."""
    process = start_cli(fake, "dht", "lookup", "00" * 20)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (130, "", "")


# --- pings ----------------------------------------------------------------------------------------


def test_ping_shows_each_reply(fake: Daemon) -> None:
    """Fields between tabs on stdout, how it comes about and the sum on stderr; events with --json."""
    done = fake.cli("ping", "alice")
    assert done.code == 0, done
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert lines[0] == ["1", "34.1", "relay", "relay 203.0.113.9:50000", "host 192.0.2.1:4242"]
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert "3 sent, 2 answered, 33 % lost; round trip 12.0 to 34.1 ms" in done.err
    assert "direct 2.10 s after the start" in done.err
    assert fake.cli("--quiet", "ping", "alice").err == ""
    events = fake.cli("ping", "alice", "--json", "--until-direct").lines
    assert [event["event"] for event in events] == ["step"] * 3 + ["reply", "silent", "reply", "ended"]
    assert events[-1]["reason"] == "direct"


def test_ping_on_a_terminal(fake: Daemon) -> None:
    """Sentences, and a change of path is told."""
    code, seen = run_on_terminal(fake.home, "ping", "alice")
    assert code == 0
    assert "1: 34.1 ms, relay  (relay 203.0.113.9:50000 -> host 192.0.2.1:4242)" in seen
    assert "2: no reply" in seen
    assert "3: 12.0 ms, direct, was relay" in seen


def test_ping_says_why_nobody_answers(fake: Daemon) -> None:
    """The call's errors and exit codes; what can't be asked for is refused before."""
    done = fake.cli("ping", "offline")
    assert done.code == 4
    assert "error: offline is offline" in done.err.splitlines()
    fake.cli("ping", "nobody").assert_error(4, "no contact is called 'nobody'")
    fake.cli("ping", "alice", "--count", "0").assert_error(2, "count")
    fake.cli("ping", "alice", "--interval", "soon").assert_error(2, "'soon' is not a time")
    fake.cli("ping", "alice", "--interval", "1ms").assert_error(2, "--interval", "0.1")
    fake.cli("ping", "alice", "--count", "600").assert_error(2, "60 s")


def test_ping_without_a_daemon(home: Path) -> None:
    """Exit code 3 and how to start it."""
    run_cli(home, "ping", "alice").assert_error(3, "not running", hint="meshcall")


# --- netcheck and doctor --------------------------------------------------------------------------


def test_netcheck_in_words_and_json(fake: Daemon) -> None:
    """The same facts for people and for programs."""
    done = fake.cli("netcheck")
    assert done.code == 0, done
    fields = dict(line.split("\t", 1) for line in done.out.splitlines())
    assert fields["IPv4 UDP"] == "works: 5 of 6 nodes answered, the fastest in 12.5 ms"
    assert fields["IPv4 mapping"].startswith("address-and-port-dependent: ")
    assert fields["port mapping"] == "no router answers"
    document = fake.cli("netcheck", "--json").json
    assert document["schema"] == 1
    assert document["ipv4"]["hairpin"] == "no"


def test_doctor_with_a_daemon(fake: Daemon) -> None:
    """Its findings between tabs; the fake daemon's release is another one, which is a warning."""
    done = fake.cli("doctor")
    rows = {line.split("\t")[1]: line.split("\t") for line in done.out.splitlines()}
    assert done.code == 0, done
    assert rows["home"] == ["OK", "home", str(fake.home), ""]
    assert rows["daemon"][0] == "WARN"
    assert rows["media"][0] == "OK"
    assert rows["nat"][0] == "WARN"
    assert "UPnP or PCP" in rows["nat"][3]


def test_doctor_without_a_daemon(home: Path) -> None:
    """It works; what needs the daemon is skipped, and the exit code says that something fails."""
    done = run_cli(home, "doctor", "--json")
    assert done.code == 1
    findings = {one["check"]: one for one in done.json["findings"]}
    assert [name for name, one in findings.items() if one["status"] == "FAIL"] == ["daemon"]
    assert done.json["failed"] == 1
    assert "daemon" in findings["daemon"]["fix"]
    assert findings["udp"]["found"] == "the daemon does not run"


def test_doctor_sees_what_others_could(home: Path) -> None:
    """A home that others can enter fails, alone if it is asked for alone; unknown checks are refused."""
    home.chmod(0o755)
    done = run_cli(home, "doctor", "--check", "home")
    assert (done.code, done.out) == (1, f"FAIL\thome\tother users can read {home}\tchmod 700 {home}\n")
    home.chmod(0o700)
    assert run_cli(home, "doctor", "--check", "home", "--check", "key").code == 0
    run_cli(home, "doctor", "--check", "weather").assert_error(2, "'weather'", hint="home, key, disk")


def test_doctor_on_a_narrow_terminal(fake: Daemon) -> None:
    """Words are never cut, and the fix stands below what was found."""
    code, seen = run_on_terminal(fake.home, "doctor", COLUMNS="50")
    assert code == 0
    lines = [line.rstrip() for line in seen.splitlines()]
    assert any(line.startswith("WARN  port-mapping  no router answers") for line in lines)
    assert any(line.strip().startswith("-> switch on UPnP") for line in lines)
    assert all(len(line) <= 50 for line in lines if "/" not in line)


def test_netcheck_without_a_daemon(home: Path) -> None:
    """Exit code 3 and how to start it."""
    run_cli(home, "netcheck").assert_error(3, "not running", hint="daemon")


def test_settings_are_set_and_survive_a_kill(home: Path, start_daemon: StartDaemon) -> None:
    """By their names with dashes; wrong ones are refused; `kill -9` loses none."""
    daemon = start_daemon(home, fake=True)
    assert run_cli(home, "config", "get", "name").out == "\n"
    assert run_cli(home, "config", "set", "name", "Ada L").err == "name: Ada L\n"
    assert (
        run_cli(home, "config", "set", "accept-strangers", "off", "--json").json["accept_strangers"] is False
    )
    run_cli(home, "config", "set", "colour", "red").assert_error(2, "no setting 'colour'", hint="config get")
    run_cli(home, "config", "set", "visible", "perhaps").assert_error(2, "on or off")
    run_cli(home, "config", "set", "auto-answer", "all").assert_error(2, "auto_answer can't be 'all'")
    run_cli(home, "config", "set", "name", "x" * 65).assert_error(2, "64 octets")
    daemon.stop(signal.SIGKILL)
    run_cli(home, "config", "get").assert_error(3, "not running")
    daemon = start_daemon(home, "--visible", fake=True)
    lines = run_cli(home, "config", "get").out.splitlines()
    assert "name\tAda L" in lines
    assert "visible\ton (an option of the daemon)" in lines
    assert "accept-strangers\toff" in lines
    assert "auto-answer\toff (default)" in lines
    run_cli(home, "config", "set", "visible", "off").assert_error(1, "visible", hint="without that option")
    assert run_cli(home, "status", "--json").json["name"] == "Ada L"
