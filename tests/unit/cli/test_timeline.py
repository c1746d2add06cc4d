"""A call's timeline for people."""

from __future__ import annotations

from typing import get_args

from meshcall.call.timeline import Mark
from meshcall.cli.timeline import _MARKS, _WHY, better_text, path_text, timeline_lines, why_text
from meshcall.ice.events import Why
from meshcall.media.quality import Trouble

VIEW = {
    "path": "direct",
    "timeline": {"dial": 0.0, "presence": 31.4, "ice": 140.0, "ended": 61_250.0, "of-a-newer-daemon": 32.0},
    "paths": [
        {"at": 140.0, "path": "relay", "why": "first", "local": "relay", "remote": "srflx", "ipv6": False},
        {"at": 310.2, "path": "direct", "why": "better", "local": "host", "remote": "host", "ipv6": True},
        {"at": 20_000.0, "path": "direct", "why": "loss", "local": "", "remote": "", "ipv6": False},
    ],
    "explanation": "direct over IPv6",
    "better": ["one", "another"],
}


def test_marks_and_paths_are_one_story() -> None:
    """In the order of time; a mark of a newer daemon is shown as it is."""
    assert timeline_lines(VIEW) == [
        "        0 ms  called",
        "       31 ms  peer found",
        "       32 ms  of-a-newer-daemon",
        "      140 ms  path found",
        "      140 ms  path: relay (relay to srflx, IPv4): the first that worked",
        "      310 ms  path: direct (host to host, IPv6): a better one works",
        "      20.0 s  degraded: packets are lost",
        "      61.2 s  ended",
    ]
    assert path_text(VIEW) == "direct over IPv6"
    assert better_text(VIEW) == "one; another"


def test_an_older_daemon_is_understood() -> None:
    """It tells of no paths and explains nothing."""
    assert path_text({"path": "lan"}) == "lan"
    assert path_text({}) == "unknown"
    assert better_text({}) == ""
    assert timeline_lines({}) == []


def test_every_word_has_its_sentence() -> None:
    """All marks, all reasons for a path, all that can be wrong with one."""
    assert set(_MARKS) == set(get_args(Mark))
    assert set(_WHY) == {*get_args(Why), *get_args(Trouble), "lost", "well"} - {""}
    assert why_text("of a newer daemon") == "of a newer daemon"
