"""Source strings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.errors import InvalidConfig, SourceUnusable
from meshcall.media.plan import IceServer, MediaPlan, SourceSpec, parse_ice_server, parse_source


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("none", SourceSpec("none")),
        ("testsrc", SourceSpec("testsrc", tone=440)),
        ("testsrc:880", SourceSpec("testsrc", tone=880)),
        ("camera", SourceSpec("camera", camera=0)),
        ("camera:2", SourceSpec("camera", camera=2)),
        ("camera+mic", SourceSpec("camera", microphone="default")),
        ("camera:1+mic:plughw:1,0", SourceSpec("camera", camera=1, microphone="plughw:1,0")),
        ("mic", SourceSpec("mic", microphone="default")),
        ("mic:hw:CARD=Device", SourceSpec("mic", microphone="hw:CARD=Device")),
        ("screen", SourceSpec("screen")),
        ("screen::0.1+mic", SourceSpec("screen", display=":0.1", microphone="default")),
        ("testsrc+mic", SourceSpec("file", path=Path("testsrc+mic"))),
        ("camera+film.mkv", SourceSpec("file", path=Path("camera+film.mkv"))),
        ("a film.mkv", SourceSpec("file", path=Path("a film.mkv"))),
        ("/x/camera:9", SourceSpec("file", path=Path("/x/camera:9"))),
        ("./none", SourceSpec("file", path=Path("none"))),
        ("none:1", SourceSpec("file", path=Path("none:1"))),
    ],
)
def test_source_strings(text: str, spec: SourceSpec) -> None:
    """Each form means what the documentation says."""
    assert parse_source(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "testsrc:",
        "testsrc:x",
        "testsrc:0",
        "testsrc:99999999",
        "testsrc:-1",
        "camera:256",
        "camera:٣",
        "camera:256+mic",
        "camera+mic:",
        "mic:",
        "mic:a b",
        "screen:",
        "screen:nowhere",
    ],
)
def test_bad_source_strings(text: str) -> None:
    """What can't be meant is refused, with a hint that lists the forms."""
    with pytest.raises(SourceUnusable) as caught:
        parse_source(text)
    assert "testsrc" in (caught.value.hint or "")


@given(st.text())
def test_any_text_parses_or_is_unusable(text: str) -> None:
    """No text raises anything else."""
    try:
        spec = parse_source(text)
    except SourceUnusable:
        return
    assert spec.kind in ("testsrc", "none", "camera", "screen", "mic", "file")


def test_plan_names_no_server() -> None:
    """A plan that says nothing uses no STUN or TURN server."""
    assert MediaPlan().ice_servers == ()


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("stun:198.51.100.1", IceServer("stun:198.51.100.1")),
        ("stun:[2001:db8::1]:3478", IceServer("stun:[2001:db8::1]:3478")),
        ("turn:h:3478,me,pw,with,commas", IceServer("turn:h:3478", "me", "pw,with,commas")),
        ("turns:h:443?transport=tcp,u,c", IceServer("turns:h:443?transport=tcp", "u", "c")),
    ],
)
def test_ice_servers(text: str, server: IceServer) -> None:
    """A server is written as its RFC writes it, with the credentials behind it."""
    assert parse_ice_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:3478",
        "stun:",
        "http:h",
        "stun:h,u,c",
        "stun:h?transport=udp",
        "turn:h",
        "turn:h,u",
        "turn:h,,c",
        "turn:h?transport=sctp,u,c",
        "turn:u@h,u,c",
        "turn:a b,u,c",
        "stun:h:99999",
        "stun:h:0",
        "stun:h:1:2",
        "stun:2001:db8::1",
        "stun:[2001:db8::1",
    ],
)
def test_wrong_ice_servers_are_refused(text: str) -> None:
    """With a hint, before anything starts."""
    with pytest.raises(InvalidConfig) as caught:
        parse_ice_server(text)
    assert caught.value.hint


def test_a_credential_is_not_shown() -> None:
    """Not even where a server is printed for debugging."""
    assert "hush" not in repr(MediaPlan(ice_servers=(IceServer("turn:h", "me", "hush"),)))
