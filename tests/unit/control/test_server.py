"""The local API as a hostile or clumsy client meets it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from meshcall.config import Config
from meshcall.control import models
from meshcall.control.server import ControlServer
from meshcall.errors import HomeNotUsable, LoosePermissions
from meshcall.paths import HomePaths
from tests.unit.control.fake_node import ALICE_ID, OWN_ID, FakeNode

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    """A node that holds its home."""
    async with FakeNode(Config(home=tmp_path / "home")) as running:
        yield running


@pytest.fixture
async def paths(node: FakeNode) -> AsyncIterator[HomePaths]:
    """The home of a node whose API is served."""
    paths = HomePaths(node.config.home)
    async with ControlServer(node, paths):
        yield paths


class Answer:
    """A response, and the connection that it came on."""

    def __init__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = int(head.split()[1])
        self.head = head
        self.reader = reader
        self.writer = writer
        self.body = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    async def line(self) -> Any:
        """The next event of a stream (HTTP chunks hold one line each)."""
        size = int(await self.reader.readline(), 16)
        if not size:
            return None
        chunk = await self.reader.readexactly(size + 2)
        return json.loads(chunk)

    async def drop(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def ask(
    paths: HomePaths,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    *,
    stream: bool = False,
) -> Answer:
    """Send one request; with ``stream`` leave the connection open behind the response's head."""
    reader, writer = await asyncio.open_unix_connection(str(paths.socket))
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "localhost", **(JSON if headers is None and method != "GET" else headers or {})}
    if method != "GET" or content:
        fields.setdefault("Content-Length", str(len(content)))
    if not stream:
        fields["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {models.API_PREFIX}{target} HTTP/1.1\r\n{head}\r\n".encode() + content)
    answer = Answer((await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer)
    if not stream:
        answer.body = await reader.read()
        await answer.drop()
    return answer


async def wait_until_ended(node: FakeNode) -> None:
    """Return when no call of the node lives any more."""
    for call in node.made.values():
        async for _ in call.events():
            pass


async def test_only_the_owner_can_open_it(paths: HomePaths) -> None:
    """0600 in 0700."""
    assert stat.S_IMODE(paths.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.run.stat().st_mode) == 0o700


async def test_another_user_is_refused(node: FakeNode) -> None:
    """The peer's user id counts, even if it came through the file modes."""
    paths = HomePaths(node.config.home)
    async with ControlServer(node, paths, allowed_uids=frozenset({os.geteuid() + 1})):
        answer = await ask(paths, "POST", "/calls", {"peer": "alice"})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert not node.made


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/status", {"Origin": "http://evil.example"}),
        ("GET", "/status", {"Origin": "null"}),
        ("POST", "/calls", {"Origin": "http://localhost", **JSON}),
        ("POST", "/calls", {"Content-Type": "text/plain"}),
        ("POST", "/calls", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/calls", {"Content-Type": "multipart/form-data; boundary=x"}),
        ("POST", "/calls", {}),
        ("DELETE", "/contacts/alice", {}),
        (
            "GET",
            "/events",
            {"Origin": "http://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"},
        ),
    ],
)
async def test_a_web_page_gets_nowhere(
    paths: HomePaths, node: FakeNode, method: str, target: str, headers: dict[str, str]
) -> None:
    """An origin, a form or a missing content type changes nothing."""
    answer = await ask(paths, method, target, {"peer": "alice"} if method == "POST" else None, headers)
    assert answer.status in (400, 403)
    assert answer.code in ("bad-request", "forbidden")
    assert not node.made
    assert "alice" in node.contacts.views


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"x"',
        b'{"peer":"alice","surplus":1}',
        b'{"peer":"alice","record":"relative.mkv"}',
        b'{"peer":"alice","record":"/tmp/\\u0000"}',
        b'{"peer":"\\ud800"}',
        b"[" * 30_000,
        b"",
    ],
)
async def test_bad_bodies_are_refused(paths: HomePaths, node: FakeNode, body: bytes) -> None:
    """One clear answer, and no call."""
    answer = await ask(paths, "POST", "/calls", body)
    assert (answer.status, answer.code) == (400, "bad-request")
    assert answer.json["error"]["exit_code"] == 2
    assert not node.made


async def test_a_large_body_is_refused(paths: HomePaths) -> None:
    """64 KiB is enough for everything."""
    answer = await ask(paths, "POST", "/contacts", b'{"peer":"' + b"a" * models.BODY_MAX + b'"}')
    assert (answer.status, answer.code) == (413, "bad-request")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("PUT", "/contacts", 405),
        ("POST", "/status", 405),
        ("GET", "/calls/ab/hangup", 405),
        ("GET", "/invites", 405),
        ("GET", "/status?x=1", 400),
        ("GET", "/events?call=nobody", 404),
        ("GET", "/events?other=1", 400),
        ("GET", "/calls/abcdef", 404),
        ("POST", "/calls/-/answer", 404),
        ("POST", "/contacts/nobody/block", 404),
        ("DELETE", "/contacts/nobody", 404),
    ],
)
async def test_wrong_addresses(paths: HomePaths, method: str, target: str, status: int) -> None:
    """What is not there is an error in our own form, with an exit code for the command line."""
    answer = await ask(paths, method, target, {} if method != "GET" else None)
    assert answer.status == status
    assert answer.json["error"]["message"]
    assert answer.json["error"]["exit_code"] in (2, 4)


async def test_no_get_changes_anything(paths: HomePaths, node: FakeNode) -> None:
    """Every address that answers GET leaves calls and contacts as they were."""
    before = dict(node.contacts.views)
    for target in ("/id", "/status", "/peers", "/contacts", "/calls", "/history"):
        answer = await ask(paths, "GET", target)
        assert answer.status == 200
        assert answer.json["schema"] == 1
    assert node.contacts.views == before
    assert not node.made


async def test_the_id_in_all_its_forms(paths: HomePaths) -> None:
    """Text, groups, short form and link."""
    document = (await ask(paths, "GET", "/id")).json
    assert document == {
        "schema": 1,
        "peer_id": OWN_ID.text,
        "grouped": OWN_ID.grouped,
        "short": OWN_ID.short,
        "uri": f"meshcall:{OWN_ID.text}",
    }


async def test_the_dht_is_shown(paths: HomePaths) -> None:
    """State, lookup and ping have addresses of their own; an address with a colon needs no quoting."""
    state = await ask(paths, "GET", "/dht")
    assert (state.status, state.json["role"], state.json["schema"]) == (200, "ephemeral", 1)
    found = await ask(paths, "GET", "/dht/lookup/" + "ab" * 20)
    assert found.json["values"][0]["type"] == "presence"
    ping = await ask(paths, "GET", "/dht/ping/203.0.113.9:4600")
    assert ping.json["proven"] is True
    silent = await ask(paths, "GET", "/dht/ping/203.0.113.8:4600")
    assert (silent.status, silent.code, silent.json["error"]["exit_code"]) == (409, "node-silent", 6)


async def test_the_configuration_of_a_coturn(paths: HomePaths, node: FakeNode) -> None:
    """Shown whether there is a relay or not; it tells whether it is lent."""
    shown = await ask(paths, "GET", "/relay/coturn")
    assert (shown.status, shown.json["lent"]) == (200, False)
    assert "use-auth-secret" in shown.json["config"]
    node.config = node.config.with_(coturn="3478")
    assert (await ask(paths, "GET", "/relay/coturn")).json["lent"]


async def test_credentials_for_the_relay(paths: HomePaths, node: FakeNode) -> None:
    """Made while there is a relay; a life is a number of seconds."""
    off = await ask(paths, "GET", "/relay/credentials/60")
    assert (off.status, off.code) == (409, "relay-off")
    node.config = node.config.with_(relay=True)
    made = await ask(paths, "GET", "/relay/credentials/60")
    assert (made.status, made.json["username"], made.json["schema"]) == (200, "60:x", 1)
    for text in ("-1", "1e3", "9" * 10):
        assert (await ask(paths, "GET", f"/relay/credentials/{text}")).status == 400


async def test_a_lookup_ends_with_its_client(paths: HomePaths, node: FakeNode) -> None:
    """Nobody waits for it any more, so nobody works for it any more."""
    _, writer = await asyncio.open_unix_connection(str(paths.socket))
    target = f"{models.API_PREFIX}/dht/lookup/{'00' * 20}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await writer.drain()
    async with asyncio.timeout(5):
        await node.dht.waiting.wait()
        writer.close()
        await node.dht.cancelled.wait()
    assert node.dht.cancelled.is_set()


async def test_contacts(paths: HomePaths) -> None:
    """Add, rename, block, unblock, remove; names may hold any character."""
    name = "Zoë / 100 %?#"
    added = await ask(paths, "POST", "/contacts", {"peer": f"meshcall:{'a' * 56}", "name": name})
    assert added.status == 400
    await ask(paths, "DELETE", "/contacts/alice", {})
    added = await ask(paths, "POST", "/contacts", {"peer": ALICE_ID.text, "name": name})
    assert (added.status, added.json["name"]) == (201, name)
    quoted = "Zo%C3%AB%20%2F%20100%20%25%3F%23"
    renamed = await ask(paths, "PATCH", f"/contacts/{quoted}", {"name": "zoe"})
    assert renamed.json["name"] == "zoe"
    assert (await ask(paths, "POST", "/contacts/zoe/block", {})).json["blocked"] is True
    assert (await ask(paths, "POST", "/contacts/zoe/unblock", {})).json["blocked"] is False
    assert (await ask(paths, "DELETE", "/contacts/zoe", {})).json == {"schema": 1}
    names = [view["name"] for view in (await ask(paths, "GET", "/contacts")).json["contacts"]]
    assert "zoe" not in names
    assert "offline" in names


async def test_a_bug_is_told_without_details(paths: HomePaths, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns that there is a bug; the traceback stays in the daemon's log."""
    answer = await ask(paths, "POST", "/calls", {"peer": "bug"})
    assert (answer.status, answer.code) == (500, "internal")
    assert "planted" not in answer.body.decode()
    assert any(record.exc_info for record in caplog.records)
    assert (await ask(paths, "GET", "/status")).status == 200


async def test_a_call_that_nobody_is_attached_to_goes_on(paths: HomePaths, node: FakeNode) -> None:
    """Without ``attach`` the answer is the call, and the client may go."""
    answer = await ask(paths, "POST", "/calls", {"peer": "ringer"})
    assert (answer.status, answer.json["state"]) == (201, "ringing")
    assert (await ask(paths, "GET", f"/calls/{answer.json['id']}")).json["state"] == "ringing"
    ended = await ask(paths, "POST", "/calls/ringer/hangup", {})
    assert (ended.json["state"], ended.json["reason"]) == ("ended", "cancelled")


async def test_an_attached_call_tells_everything_and_ends_with_ended(paths: HomePaths) -> None:
    """The stream is the call from its first event to its last, then the connection's answer is complete."""
    body = {"peer": "alice", "attach": True, "duration": 0.01}
    answer = await ask(paths, "POST", "/calls", body, stream=True)
    assert "application/x-ndjson" in answer.head
    events = []
    while (event := await answer.line()) is not None:
        events.append(event)
    names = [event["event"] for event in events]
    assert names == ["looking-up", "calling", "ringing", "connecting", "connected", "media", "ended"]
    assert all(event["schema"] == 1 for event in events)
    await answer.drop()


async def test_a_dropped_connection_hangs_up(paths: HomePaths, node: FakeNode) -> None:
    """What a killed command line leaves behind does not keep ringing."""
    answer = await ask(paths, "POST", "/calls", {"peer": "ringer", "attach": True}, stream=True)
    assert (await answer.line())["event"] == "looking-up"
    (call,) = node.made.values()
    assert call.state == "ringing"
    await answer.drop()
    await wait_until_ended(node)
    assert (call.state, call.reason) == ("ended", "cancelled")


async def test_a_mere_listener_may_go(paths: HomePaths, node: FakeNode) -> None:
    """Only the client that started a call owns it."""
    call_id = (await ask(paths, "POST", "/calls", {"peer": "alice"})).json["id"]
    answer = await ask(paths, "GET", f"/events?call={call_id[:8]}", stream=True)
    assert (await answer.line())["event"] == "looking-up"
    await answer.drop()
    assert (await ask(paths, "GET", "/status")).json["calls"] == 1
    assert node.made[call_id].state == "connected"


async def test_events_of_all_calls(paths: HomePaths) -> None:
    """A listener without a call hears every call from now on."""
    answer = await ask(paths, "GET", "/events", stream=True)
    await ask(paths, "POST", "/calls", {"peer": "callme"})
    event = await answer.line()
    assert (event["event"], event["name"]) == ("incoming", "callme")
    answered = await ask(paths, "POST", "/calls/-/answer", {})
    assert answered.json["state"] == "connected"
    assert (await answer.line())["event"] == "connecting"
    await answer.drop()


async def test_a_slow_listener_is_dropped_with_a_word(paths: HomePaths) -> None:
    """More events than the queue holds: the last one says so."""
    answer = await ask(paths, "POST", "/calls", {"peer": "chatty", "attach": True}, stream=True)
    last = None
    count = 0
    while (event := await answer.line()) is not None:
        last, count = event, count + 1
    assert last is not None
    assert last["event"] == "lagged"
    assert count <= models.LISTENER_QUEUE + 1
    await answer.drop()


async def test_listeners_are_counted(
    paths: HomePaths, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the cap a stream is refused before anything rings, and a closed one makes room."""
    monkeypatch.setattr(models, "LISTENERS_MAX", 2)
    streams = [await ask(paths, "GET", "/events", stream=True) for _ in range(2)]
    refused = await ask(paths, "POST", "/calls", {"peer": "ringer", "attach": True})
    assert (refused.status, refused.code) == (503, "too-many-listeners")
    assert not node.made
    for stream in streams:
        await stream.drop()
    while (answer := await ask(paths, "GET", "/events", stream=True)).status != 200:
        await answer.drop()
    assert answer.status == 200
    await answer.drop()


async def test_a_stalled_request_is_given_up(paths: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that announces a body and sends none gets an answer, not a handler for life."""
    monkeypatch.setattr("meshcall.control.messages.BODY_TIMEOUT", 0.01)
    answer = await ask(paths, "POST", "/contacts", b"{", {**JSON, "Content-Length": "100"})
    assert answer.code == "request-timeout"


async def test_garbage_on_the_socket(paths: HomePaths) -> None:
    """Bytes that are no HTTP cost one connection, nothing else."""
    for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"\xff" * 70_000, b"GET / HTTP/9.9\r\n\r\n"):
        reader, writer = await asyncio.open_unix_connection(str(paths.socket))
        writer.write(garbage)
        writer.write_eof()
        assert b"200 OK" not in await reader.read()
        writer.close()
    assert (await ask(paths, "GET", "/status")).status == 200


async def test_stop_ends_attached_calls_and_removes_the_socket(node: FakeNode) -> None:
    """The client of an attached call still learns how it ended."""
    paths = HomePaths(node.config.home)
    async with ControlServer(node, paths):
        answer = await ask(paths, "POST", "/calls", {"peer": "alice", "attach": True}, stream=True)
        listener = await ask(paths, "GET", "/events", stream=True)
    names = []
    while (event := await answer.line()) is not None:
        names.append(event["event"])
    assert names[-1] == "ended"
    assert not paths.socket.exists()
    await answer.drop()
    await listener.drop()


async def test_a_dead_daemons_socket_is_replaced(node: FakeNode) -> None:
    """kill -9 leaves a socket behind; the next daemon takes its place."""
    paths = HomePaths(node.config.home)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(paths.socket))
    stale.close()
    async with ControlServer(node, paths):
        assert (await ask(paths, "GET", "/id")).status == 200


async def test_what_is_no_socket_is_left_alone(node: FakeNode) -> None:
    """A file of that name is not ours to delete."""
    paths = HomePaths(node.config.home)
    paths.socket.write_text("precious")
    with pytest.raises(HomeNotUsable):
        await ControlServer(node, paths).start()
    assert paths.socket.read_text() == "precious"


async def test_a_loose_folder_is_refused(node: FakeNode) -> None:
    """The socket's folder keeps others out, or the daemon does not start."""
    paths = HomePaths(node.config.home)
    paths.run.chmod(0o755)
    with pytest.raises(LoosePermissions):
        await ControlServer(node, paths).start()


async def test_a_home_with_a_long_path(tmp_path: Path) -> None:
    """A path longer than a socket's address is reached all the same."""
    home = tmp_path / ("long" * 20) / ("path" * 20)
    async with FakeNode(Config(home=home)) as node:
        paths = HomePaths(home)
        async with ControlServer(node, paths):
            from meshcall.control.client import ControlClient

            document = await asyncio.to_thread(ControlClient(paths).get, "id")
        assert document["peer_id"] == OWN_ID.text
        assert not paths.socket.exists()


async def test_the_history_is_listed_and_marked_as_seen(paths: HomePaths) -> None:
    """All calls or the missed ones, so many; looking changes nothing, saying that one has looked does."""

    async def ids(query: str) -> list[str]:
        answer = await ask(paths, "GET", f"/history{query}")
        return [call["id"][0] for call in answer.json["calls"]]

    assert await ids("") == ["c", "d", "e"]
    assert await ids("?missed=1") == ["c", "d"]
    assert await ids("?missed=0&limit=1") == ["c"]
    assert await ids("?limit=0") == []
    assert (await ask(paths, "GET", "/status")).json["missed"] == 2
    assert (await ask(paths, "POST", "/history/seen", {"calls": ["d" * 32]})).status == 200
    assert (await ask(paths, "GET", "/status")).json["missed"] == 1
    seen = {call["id"][0]: call["seen"] for call in (await ask(paths, "GET", "/history")).json["calls"]}
    assert (seen["c"], seen["d"]) == (False, True)


@pytest.mark.parametrize(
    "query", ["limit=1001", "limit=-1", "limit=", "limit=1e3", "limit=²", "missed=2", "all=1"]
)
async def test_the_history_is_asked_for_in_whole_numbers(paths: HomePaths, query: str) -> None:
    """A typing error is never ignored."""
    answer = await ask(paths, "GET", f"/history?{quote(query, safe='=')}")
    assert (answer.status, answer.code) == (400, "bad-request")


@pytest.mark.parametrize("calls", [["short"], ["c" * 32] * 1001, "c" * 32])
async def test_calls_that_were_seen_are_named_in_full(paths: HomePaths, calls: object) -> None:
    """A thousand at most, by their whole ids."""
    assert (await ask(paths, "POST", "/history/seen", {"calls": calls})).status == 400


# --- settings -------------------------------------------------------------------------------------


async def test_settings_are_read_and_set(paths: HomePaths) -> None:
    """What is left out stays; the answer is what holds now."""
    before = (await ask(paths, "GET", "/settings")).json
    assert (before["name"], before["origins"]["name"]) == ("", "default")
    set_ = await ask(paths, "POST", "/settings", {"name": "Ada", "auto_answer": "contacts"})
    assert (set_.status, set_.json["name"], set_.json["visible"]) == (200, "Ada", False)
    assert (await ask(paths, "POST", "/settings", {"welcomed": True})).json["name"] == "Ada"
    assert (await ask(paths, "GET", "/settings")).json == (await ask(paths, "POST", "/settings", {})).json


@pytest.mark.parametrize(
    ("body", "word"),
    [({"name": "a\nb"}, "name"), ({"name": "x" * 300}, "name"), ({"auto_answer": "all"}, "'all'"),
     ({"visible": 1}, "visible"), ({"origins": {}}, "origins")],
)  # fmt: skip
async def test_bad_settings_are_refused(paths: HomePaths, body: dict[str, Any], word: str) -> None:
    """With what is wrong, and nothing changed."""
    answer = await ask(paths, "POST", "/settings", {"welcomed": True, **body})
    assert answer.status == 400
    assert word in answer.json["error"]["message"]
    assert (await ask(paths, "GET", "/settings")).json["welcomed"] is False


async def test_what_the_daemon_was_told_cannot_be_set(tmp_path: Path) -> None:
    """A conflict, and the answer says which."""
    async with FakeNode(Config(home=tmp_path / "home", name="Bob")) as node:
        paths = HomePaths(node.config.home)
        async with ControlServer(node, paths):
            answer = await ask(paths, "POST", "/settings", {"name": "Eve"})
            assert (answer.status, answer.code) == (409, "setting-fixed")
            assert (await ask(paths, "GET", "/settings")).json["origins"]["name"] == "option"
