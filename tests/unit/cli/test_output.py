"""What reaches the terminal, and what does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.cli.main import hoist_globals
from meshcall.cli.output import display_name, emit_fields, emit_json, emit_table
from meshcall.cli.progress import HumanEvents, JsonEvents, summary_fields
from meshcall.cli.qr import qr_lines
from meshcall.errors import DaemonNotRunning, NoAnswer, PeerOffline, SourceUnusable, UsageError
from meshcall.reporting import error_lines, printable


@given(st.text())
def test_nothing_steers_the_terminal(text: str) -> None:
    """No control character, escape sequence, line break or direction override survives."""
    shown = printable(text)
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)
    assert len(shown) == len(text)


def test_names_are_left_as_they_are() -> None:
    """Accents, other scripts and joined emoji are shown."""
    for name in ("Zoë", "محمد", "می‌خواهم", "👩‍💻", "a b"):
        assert printable(name) == name


def test_an_error_is_one_line_and_a_hint() -> None:
    """Whatever is in the message."""
    assert error_lines(PeerOffline("bob\nis \x1b[31moff", hint="try\nlater")) == [
        "error: bob\ufffdis \ufffd[31moff",
        "hint: try\ufffdlater",
    ]


def test_piped_tables_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Tabs, no heading, one line per row whatever the cells hold."""
    emit_table(("name", "id"), [("a\tb", "c\nd"), ("e", "f")])
    assert capsys.readouterr().out == "a\ufffdb\tc\ufffdd\ne\tf\n"


def test_an_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads stdout gets nothing."""
    emit_table(("name",), [], empty="no contacts")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no contacts\n")


def test_json_is_one_ascii_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No locale and no name can spoil it."""
    emit_json({"schema": 1, "name": "Zoë\u202e\ud800"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out)["name"] == "Zoë\u202e\ud800"


def test_fields_are_tab_separated_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, tab, value."""
    emit_fields([("id", "abc"), ("port", "5")])
    assert capsys.readouterr().out == "id\tabc\nport\t5\n"


@pytest.mark.parametrize(
    ("view", "name"),
    [
        ({"name": "bob", "self_name": "Eve"}, "bob"),
        ({"name": "", "self_name": "Eve"}, '"Eve"'),
        ({"name": "", "self_name": "", "short": "abcdefg"}, "abcdefg"),
        ({"peer_id": "abcdefghijk"}, "abcdefg"),
    ],
)
def test_display_name(view: dict[str, str], name: str) -> None:
    """Our name first; what a peer calls itself stands in quotes."""
    assert display_name(view) == name


ENDED = {
    "event": "ended",
    "name": "alice",
    "reason": "hangup",
    "path": "direct",
    "setup_ms": 212.4,
    "timeline": {"connected": 212.4, "lookup": 30.0},
    "received": {"video_frames": 150, "audio_seconds": 5.04},
    "record": "/tmp/x.mkv",
}


def test_summary() -> None:
    """Path, time, what arrived, each step in order, and where the recording is."""
    assert summary_fields(ENDED, "alice") == [
        ("call", "with alice: hung up"),
        ("path", "direct"),
        ("setup", "212 ms"),
        ("received", "150 video frames, 5.0 s of audio"),
        ("timeline", "       30 ms  lookup"),
        ("", "      212 ms  connected"),
        ("recorded", "/tmp/x.mkv"),
    ]


def test_summary_of_a_call_that_never_connected() -> None:
    """Nothing is told of media that never was, and an unknown reason is shown as it is."""
    assert summary_fields({"reason": "new-word", "setup_ms": None}, "bob") == [("call", "with bob: new-word")]


def test_human_events(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress on stderr, chat and summary on stdout; events of a newer daemon are passed over."""
    shown = HumanEvents("alice")
    for event in (
        {"event": "looking-up", "name": "alice"},
        {"event": "calling", "via": "dht", "reached": False},
        {"event": "calling", "via": "dht", "reached": True},
        {"event": "ringing"},
        {"event": "from-the-future", "x": 1},
        {"event": "connecting"},
        {"event": "connected", "path": "lan", "setup_ms": 80.2},
        {"event": "chat", "text": "hi\x1b]0;owned\x07"},
        {"event": "record-failed", "message": "disk full"},
        {"event": "path", "path": "direct", "why": "better"},
        {"event": "degraded", "why": "loss"},
        {"event": "degraded", "why": ""},
        {"event": "path", "path": "", "why": "lost"},
        ENDED,
    ):
        shown.show(event)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "alice: looking up",
        "alice: calling",
        "alice: reached",
        "alice: ringing",
        "alice: connecting",
        "alice: connected (lan, 80 ms)",
        "recording failed: disk full",
        "path is now direct (a better one works)",
        "the connection is degraded: packets are lost",
        "the connection is well again",
        "the peer does not answer; reconnecting",
    ]
    assert captured.out.startswith("alice: hi\ufffd]0;owned\ufffd\ncall\twith alice: hung up\n")


def test_quiet_shows_chat_only(capsys: pytest.CaptureFixture[str]) -> None:
    """``--quiet`` leaves results."""
    shown = HumanEvents("alice", quiet=True)
    for event in ({"event": "ringing"}, {"event": "chat", "text": "hi"}, ENDED):
        shown.show(event)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("alice: hi\n", "")


def test_json_events(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, as they came."""
    JsonEvents().show(ENDED)
    assert json.loads(capsys.readouterr().out) == ENDED


@pytest.mark.parametrize(
    ("given_arguments", "hoisted"),
    [
        (["status", "--home", "x"], ["--home", "x", "status"]),
        (["status", "--home=x", "--json"], ["--home=x", "status", "--json"]),
        (["chat", "bob", "--", "--home", "x"], ["chat", "bob", "--", "--home", "x"]),
        (["status", "-v"], ["-v", "status"]),
        (["init", "--quiet", "--json"], ["--quiet", "init", "--json"]),
        (["chat", "bob", "--", "-v"], ["chat", "bob", "--", "-v"]),
        ([], []),
    ],
)
def test_global_options_may_stand_anywhere(given_arguments: list[str], hoisted: list[str]) -> None:
    """Before or after the command, but not behind ``--``."""
    assert hoist_globals(given_arguments) == hoisted


def test_a_home_without_a_folder() -> None:
    """The next word is the command's, not a folder."""
    with pytest.raises(UsageError, match="requires an argument"):
        hoist_globals(["status", "--home"])


def test_an_error_is_a_phrase_not_a_sentence() -> None:
    """A class's own sentence reads like all others behind ``error:``; a name at the start stays as it is."""
    assert error_lines(DaemonNotRunning())[0] == "error: the meshcall daemon is not running"
    assert error_lines(NoAnswer("Bob did not answer"))[0] == "error: Bob did not answer"
    assert error_lines(SourceUnusable("it is no film."))[0] == "error: it is no film"


def test_a_call_that_broke_off_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    """What arrived until then, and where it was recorded; of one that never connected the error says all."""
    error = {"code": "peer-gone", "message": "alice disappeared", "exit_code": 6}
    HumanEvents("alice").show({**ENDED, "reason": "peer-gone", "error": error})
    assert "recorded\t/tmp/x.mkv" in capsys.readouterr().out
    HumanEvents("alice").show({**ENDED, "setup_ms": None, "error": error})
    assert capsys.readouterr().out == ""


def test_what_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A source's end for sound and picture together; a step that is repeated; a peer by its short ID."""
    shown = HumanEvents("a" * 56)
    for event in (
        {"event": "looking-up", "peer_id": "a" * 56, "name": ""},
        {"event": "calling"},
        {"event": "calling"},
        {"event": "source-ended", "kind": "video"},
        {"event": "source-ended", "kind": "audio"},
    ):
        shown.show(event)
    assert capsys.readouterr().err.splitlines() == [
        "aaaaaaa: looking up",
        "aaaaaaa: calling",
        "what you send has come to its end; the call goes on",
    ]


def test_fields_are_wrapped_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a narrow terminal, without cutting what one may want to copy."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    emit_fields([("id", "a" * 56), ("steps", "lookup 1 ms, dtls 20 ms, ended 300 ms")])
    assert capsys.readouterr().out.splitlines() == [
        "id     " + "a" * 56,
        "steps  lookup 1 ms, dtls 20",
        "       ms, ended 300 ms",
    ]


def test_a_qr_code_on_a_terminal_brings_its_colours() -> None:
    """Light blocks on black, whatever the terminal's own colours are."""
    plain, coloured = qr_lines("MESHCALL:A"), qr_lines("MESHCALL:A", colour=True)
    assert "\x1b" not in plain
    assert all(line.startswith("\x1b[97;40m") and line.endswith("\x1b[0m") for line in coloured.split("\n"))


def test_the_qr_code_of_an_id_is_small() -> None:
    """Upper case fits QR's alphanumeric mode: 33 modules and a quiet zone of 4, two rows to a line."""
    lines = qr_lines("MESHCALL:" + "A2" * 28).splitlines()
    assert len(lines) == 21
