"""The addresses of rooms: what they take, and what is told when it can't be done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from meshcall.config import Config
from meshcall.control.server import ControlServer
from meshcall.paths import HomePaths

from .fake_node import FakeNode
from .fake_rooms import ANN, BEN
from .test_server import Answer, ask


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    """A node whose API is served."""
    async with FakeNode(Config(home=tmp_path / "home")) as running, ControlServer(running, paths(running)):
        yield running


def paths(node: FakeNode) -> HomePaths:
    """Of its home."""
    return HomePaths(node.config.home)


async def post(node: FakeNode, path: str, body: dict[str, Any] | None = None) -> Answer:
    """Ask for something."""
    return await ask(paths(node), "POST", f"/rooms{path}", body or {})


async def test_a_room_is_made_seen_and_left(node: FakeNode) -> None:
    """By its name or ID, or as the only one that there is."""
    made = await post(
        node, "", {"name": "Tea time", "secret": True, "lan_only": True, "record_mixed": "/tmp/tea"}
    )
    assert (made.status, made.json["state"], made.json["secret"]) == (201, "joined", True)
    assert node.rooms.asked == [("create", (True, None, None, Path("/tmp/tea"), "", True))]
    shown = await ask(paths(node), "GET", "/rooms")
    assert [room["id"] for room in shown.json["rooms"]] == [made.json["id"]]
    assert [room["name"] for room in shown.json["here"]] == ["Tea", ""]
    for name in ("tea%20time", made.json["id"], "-"):
        found = await ask(paths(node), "GET", f"/rooms/{name}")
        assert found.json["id"] == made.json["id"]
    left = await post(node, "/-/leave")
    assert (left.json["state"], left.json["members"]) == ("known", [])
    assert (await post(node, "/tea%20time/chat", {"text": "hi"})).code == "not-in-room"
    assert (await ask(paths(node), "DELETE", "/rooms/tea%20time", {})).status == 200
    assert (await ask(paths(node), "GET", "/rooms/tea%20time")).status == 404


@pytest.mark.parametrize(
    ("room", "code", "exit_code"),
    [
        ("nowhere", "room-not-found", 4),
        ("closed", "room-refused", 5),
        ("7-apple-river", "room-code", 5),
    ],
)
async def test_why_nobody_was_let_in_is_told(node: FakeNode, room: str, code: str, exit_code: int) -> None:
    """With a code that is stable, and what the command line ends with."""
    refused = await post(node, "/join", {"room": room})
    assert (refused.status, refused.code) == (409, code)
    assert refused.json["error"]["exit_code"] == exit_code


async def test_what_a_member_does(node: FakeNode) -> None:
    """Each address hands on what it was given, and no more."""
    await post(node, "", {"name": "Tea"})
    node.rooms.asked.clear()
    wishes: list[tuple[str, dict[str, Any]]] = [
        ("/tea/state", {"hand": True, "audio": False}),
        ("/tea/share", {"source": "screen::0"}),
        ("/tea/unshare", {}),
        ("/tea/chat", {"text": "hello"}),
        ("/tea/lock", {}),
        ("/tea/lock", {"locked": False}),
        ("/tea/admit", {"peer": "ben"}),
        ("/tea/admit", {"peer": BEN.text, "admit": False}),
        ("/tea/remove", {"peer": "ann"}),
        ("/tea/block", {"peer": ANN.text}),
        ("/tea/layer", {"peer": "ann", "height": 360, "fps": 15}),
        ("/tea/layer", {"peer": "ann", "kind": "screen", "height": 0}),
    ]
    for path, body in wishes:
        assert (await post(node, path, body)).status == 200, path
    assert node.rooms.asked == [
        ("state", (False, None, None, True, None)),
        ("share", "screen::0"),
        ("share", ""),
        ("say", "hello"),
        ("lock", True),
        ("lock", False),
        ("admit", True),
        ("admit", False),
        ("remove", "ann"),
        ("block", True),
        ("layer", ("camera", 360, 15)),
        ("layer", ("screen", 0, 0)),
    ]
    assert (await post(node, "/tea/invite")).json["uri"].startswith("meshcall:")
    assert (await post(node, "/tea/code")).json["code"] == "7-apple-river"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {}),
        ("", {"name": ""}),
        ("", {"name": "x", "record": "relative"}),
        ("/join", {"room": "x" * 2049}),
        ("/join", {"room": "x", "at": "h" * 300}),
        ("/tea/chat", {"text": ""}),
        ("/tea/share", {}),
        ("/tea/share", {"source": ""}),
        ("/tea/layer", {"peer": "ann", "height": -1}),
        ("/tea/layer", {"peer": "ann", "height": 70_000}),
        ("/tea/layer", {"peer": "ann", "height": 1, "kind": "face"}),
        ("/tea/state", {"hand": "up"}),
    ],
)
async def test_what_makes_no_sense_is_refused(node: FakeNode, path: str, body: dict[str, Any]) -> None:
    """Before the room hears of it."""
    await post(node, "", {"name": "Tea"})
    refused = await post(node, path, body)
    assert (refused.status, refused.json["error"]["exit_code"]) == (400, 2)


async def test_only_who_made_a_room_removes_members(node: FakeNode) -> None:
    """And nobody is removed who is not there."""
    await post(node, "/join", {"room": "theirs"})
    assert (await post(node, "/theirs/remove", {"peer": "ann"})).code == "not-creator"
    missing = await post(node, "/theirs/remove", {"peer": "nobody"})
    assert (missing.status, missing.code) == (404, "no-such-member")
