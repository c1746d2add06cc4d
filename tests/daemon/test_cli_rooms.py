"""`meshcall room`: what it prints, what it ends with, and that Ctrl-C ends the waiting."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.daemon.conftest import Daemon, run_cli
from tests.daemon.test_cli_commands import run_on_terminal, start_cli

LOCKED_ID = "a" * 32


@pytest.fixture
def tea(fake: Daemon) -> Daemon:
    """A daemon that is in a room."""
    assert fake.cli("room", "create", "Tea time").code == 0
    return fake


def test_making_listing_and_leaving(fake: Daemon, tmp_path: Path) -> None:
    """Results on stdout, the rest on stderr; what to do next is said."""
    made = fake.cli("room", "create", "Tea time", "--record", str(tmp_path / "tea"))
    assert (made.code, made.out) == (0, "")
    assert "meshcall room join 'Tea time'" in made.err
    document = fake.cli("room", "list", "--json").json
    assert document["schema"] == 1
    assert [room["name"] for room in document["rooms"]] == ["Tea time"]
    rows = [line.split("\t") for line in fake.cli("room", "list").out.splitlines()]
    assert (
        rows
        == [
            ["Tea time", "joined", "2", "open"],
            ["Tea", "here", "3", "open, code"],
            ["(secret)", "here", "2", "secret, locked"],
        ]
        or rows[1][3] == "code"
    )
    left = fake.cli("room", "leave")
    assert (left.code, "left 'Tea time'" in left.err) == (0, True)
    fake.cli("room", "leave").assert_error(2, "no room", hint="meshcall room list")
    assert fake.cli("room", "forget", "tea time").code == 0
    fake.cli("room", "status", "tea time").assert_error(2, "tea time", hint="meshcall room list")


def test_status(tea: Daemon) -> None:
    """Who is there, what each sends and how it is connected."""
    document = tea.cli("room", "status", "--json").json
    assert [member["name"] for member in document["members"]] == ["me", "ann"]
    lines = [line.split("\t") for line in tea.cli("room", "status").out.splitlines()]
    assert ["room", "Tea time"] in lines
    assert ["* me", "here", "audio, video"] in [line[:3] for line in lines]
    assert ["ann", "here", "audio, hand", "lan", "30 pictures, 1.0 s"] in [line[:5] for line in lines]
    code, shown = run_on_terminal(tea.home, "room", "status", NO_COLOR="1")
    assert code == 0
    assert "MEMBER" in shown


def test_status_watch_ends_with_ctrl_c(tea: Daemon) -> None:
    """The first line comes at once."""
    process = start_cli(tea, "room", "status", "--watch", "--json")
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"schema":1,')
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_links_and_codes_are_results(tea: Daemon) -> None:
    """Alone on stdout, for scripts."""
    link = tea.cli("room", "invite")
    assert link.out.startswith("meshcall:")
    assert len(link.out.splitlines()) == 1
    assert tea.cli("--quiet", "room", "invite").err == ""
    assert len(tea.cli("room", "invite", "--qr").out.splitlines()) > 10
    code = tea.cli("room", "code")
    assert code.out.strip() == "7-apple-river"
    assert "10 minutes" in code.err
    assert tea.cli("room", "code", "--json").json["expires_s"] == 600.0


@pytest.mark.parametrize(
    "command",
    [
        ["lock"],
        ["unlock"],
        ["admit", "ben"],
        ["refuse", "ben"],
        ["remove", "ann"],
        ["block", "ann"],
        ["block", "ann", "--undo"],
        ["chat", "hello", "there"],
        ["share", "tea time", "testsrc"],
        ["share", "-", "screen::0"],
        ["unshare"],
        ["unshare", "tea time"],
        ["hand"],
        ["hand", "--down"],
        ["mute"],
        ["mute", "all"],
        ["unmute", "video"],
    ],
    ids=" ".join,
)
def test_what_members_do(tea: Daemon, command: list[str]) -> None:
    """Each with and without JSON."""
    plain = tea.cli("room", *command)
    assert (plain.code, plain.out) == (0, ""), plain
    document = tea.cli("room", *command, "--json")
    assert (document.code, document.json["schema"]) == (0, 1)


@pytest.mark.parametrize(
    ("room", "code", "word", "hint"),
    [
        ("nowhere", 4, "no such room", "--at"),
        ("closed", 5, "said no", ""),
        ("7-apple-river", 5, "code", "meshcall room code"),
    ],
)
def test_why_nobody_was_let_in(fake: Daemon, room: str, code: int, word: str, hint: str) -> None:
    """With the exit code of ``docs/operations.md``."""
    refused = fake.cli("room", "join", room)
    refused.assert_error(code, word, hint=hint) if hint else refused.assert_error(code, word)


def test_waiting_at_a_locked_door(fake: Daemon) -> None:
    """Until Ctrl-C, which gives up; or not at all."""
    at_once = fake.cli("room", "join", "locked", "--no-wait")
    assert at_once.code == 0
    assert "knocked" in at_once.err
    process = start_cli(fake, "room", "join", "locked")
    assert process.stderr is not None
    assert "locked" in process.stderr.readline()
    time.sleep(0.2)  # it listens now
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert fake.cli("room", "status", LOCKED_ID, "--json").json["state"] == "known"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["join", ""], "no room"),
        (["create", ""], "name"),
        (["mute", "screen"], "screen"),
        (["chat", "x" * 4001], "4000"),
        (["join", "tea", "--source", "/nothing/there.mkv"], "there.mkv"),
        (["create", "tea", "--record", ""], "folder"),
        (["join", "tea", "--record-mixed", ""], "folder"),
        (["remove", "nobody"], "nobody"),
        (["admit", "nobody"], "nobody"),
    ],
    ids=lambda value: " ".join(value)[:24] if isinstance(value, list) else "",
)
def test_what_makes_no_sense(tea: Daemon, arguments: list[str], word: str) -> None:
    """One clear line."""
    done = tea.cli("room", *arguments)
    assert done.code in (2, 8)
    assert word in done.err
    assert "Traceback" not in done.err


def test_without_a_daemon(home: Path) -> None:
    """Exit code 3, with what to do."""
    run_cli(home, "room", "list").assert_error(3, "not running", hint="daemon")
