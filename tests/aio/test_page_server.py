"""The page's port over real sockets: who gets in, who does not, and what a page is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshcall.aio.files.home import open_home
from meshcall.config import Config
from meshcall.control import page_server as module
from meshcall.control.page_server import PageServer, make_page_server, open_sockets, read_files
from meshcall.control.server import ControlServer
from meshcall.identity.sas import EMOJI
from meshcall.paths import HomePaths
from tests.unit.control.fake_node import FakeNode

JSON = {"Content-Type": "application/json"}
WEB = Path(module.__file__).parents[1] / "web"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home."""
    return open_home(tmp_path / "home").path


@asynccontextmanager
async def serving(
    home: Path, uids: frozenset[int] | None = None
) -> AsyncIterator[tuple[PageServer, FakeNode, ControlServer]]:
    """A page with a fake node behind it, on a free port."""
    async with FakeNode(Config(home=home), None) as node:
        control = ControlServer(node, HomePaths(home), allowed_uids=uids)
        page = make_page_server(control, HomePaths(home), 20_000 + os.getpid() % 20_000)
        control.login_url = page.login_url
        async with page, control:
            assert page.port
            yield page, node, control


@asynccontextmanager
async def client(page: PageServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's cookies; it says that it is our own page."""
    base = f"http://127.0.0.1:{page.port}"
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(base, cookie_jar=jar, headers={"Origin": base}) as session:
        yield session


async def log_in(page: PageServer, session: aiohttp.ClientSession) -> int:
    """Use a login link."""
    token = page.login_url().partition("#login=")[2]
    async with session.post("/login", json={"token": token}) as response:
        return response.status


async def test_a_login_link_works_once(home: Path) -> None:
    """Before it nothing but files is answered; after it the API is; a second use is refused."""
    async with serving(home) as (page, node, _), client(page) as session, client(page) as other:
        async with session.get("/api/v1/id") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (401, "not-logged-in")
        token = page.login_url().partition("#login=")[2]
        async with session.post("/login", json={"token": token}) as response:
            assert response.status == 200
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        async with session.get("/api/v1/id") as response:
            assert (await response.json())["peer_id"] == node.id_text()
        async with other.post("/login", json={"token": token}) as response:
            assert response.status == 401
        async with session.post("/logout", json={}) as response:
            assert response.status == 200
        async with session.get("/api/v1/id") as response:
            assert response.status == 401


async def test_sessions_outlive_the_daemon(home: Path) -> None:
    """The browser stays logged in; a damaged file is set aside."""
    async with serving(home) as (page, _, _), client(page) as session:
        assert await log_in(page, session) == 200
        cookies = session.cookie_jar.filter_cookies(session._base_url)  # type: ignore[arg-type]
        (secret,) = (one.value for one in cookies.values())
        port = page.port
    async with serving(home) as (page, _, _), client(page) as session:
        assert page.port == port
        async with session.get("/api/v1/id", cookies={f"meshcall-{port}": secret}) as response:
            assert response.status == 200
    HomePaths(home).logins.write_bytes(b"nonsense")
    async with serving(home) as (page, _, _), client(page) as session:
        async with session.get("/api/v1/id", cookies={f"meshcall-{port}": secret}) as response:
            assert response.status == 401
        assert any("page.logins.corrupt" in name for name in await asyncio.to_thread(os.listdir, home))


FOREIGN: list[dict[str, str]] = [
    {"Host": "rebound.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_pages_of_others_get_403_and_change_nothing(home: Path, headers: dict[str, str]) -> None:
    """Rebinding, scripts, forms, images and WebSockets, with a good cookie, too."""
    async with serving(home) as (page, node, _), client(page) as session:
        assert await log_in(page, session) == 200
        before = node.contacts.list()
        for method, path in (
            ("GET", "/"),
            ("GET", "/api/v1/id"),
            ("GET", "/api/v1/id/qr"),
            ("POST", "/api/v1/invites"),
            ("DELETE", "/api/v1/contacts/alice"),
            ("POST", "/api/v1/calls"),
            ("POST", "/login"),
        ):
            body = None if method == "GET" else json.dumps({"peer": "alice"})
            async with session.request(method, path, data=body, headers=JSON | headers) as response:
                assert response.status == 403, (method, path)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with session.ws_connect("/api/v1/page", headers=headers):
                pass
        assert refused.value.status == 403
        assert node.contacts.list() == before
        assert node.calls() == []


async def test_a_form_or_a_request_without_an_origin_changes_nothing(home: Path) -> None:
    """What an HTML form can send is no JSON; what no browser sends has no Origin."""
    async with serving(home) as (page, node, _), client(page) as session:
        assert await log_in(page, session) == 200
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            async with session.post(
                "/api/v1/invites", data=b"{}", headers={"Content-Type": kind}
            ) as response:
                assert response.status == 403
        cookies = {one.key: one.value for one in session.cookie_jar}
        async with (
            aiohttp.ClientSession(cookies=cookies) as bare,
            bare.post(f"http://127.0.0.1:{page.port}/api/v1/invites", data=b"{}", headers=JSON) as response,
        ):
            assert response.status == 403
        assert node.calls() == []


async def test_another_user_can_not_connect(home: Path) -> None:
    """The kernel says whose socket it is; here nobody's is allowed."""
    async with serving(home, uids=frozenset({1})) as (page, _, _), client(page) as session:
        for path in ("/", "/api/v1/id"):
            async with session.get(path) as response:
                assert response.status == 403


async def test_guessing_is_slowed_down(home: Path) -> None:
    """20 tries a minute."""
    async with serving(home) as (page, _, _), client(page) as session:
        codes = []
        for _ in range(22):
            async with session.post("/login", json={"token": "x"}) as response:
                codes.append(response.status)
        assert codes == [401] * 20 + [429] * 2


async def test_every_answer_has_the_headers(home: Path) -> None:
    """Also errors."""
    async with serving(home) as (page, _, _), client(page) as session:
        for path in ("/", "/style.css", "/nothing", "/api/v1/id", "/../../etc/passwd", "/js/../index.html"):
            async with session.get(path) as response:
                assert "script-src 'self'" in response.headers["Content-Security-Policy"]
                assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_both_loopback_addresses_and_the_next_port(home: Path) -> None:
    """::1 as well; a port that is taken is passed by."""
    async with serving(home) as (page, _, _):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://[::1]:{page.port}/") as response,
        ):
            assert response.status == 200
        others = open_sockets(page.port)
        assert others[0].getsockname()[1] == page.port + 1
        for one in others:
            one.close()


async def test_a_page_is_told_what_happens(home: Path) -> None:
    """`hello`, then events and media; what it says reaches the node; when it goes, the node knows."""
    async with serving(home) as (page, node, _), client(page) as session:
        assert await log_in(page, session) == 200
        async with session.ws_connect("/api/v1/page") as socket:
            hello = await socket.receive_json(timeout=5)
            name = hello["hello"]["page"]
            assert name in node.pages.sends
            async with session.post("/api/v1/calls", json={"peer": "alice", "page": name}) as response:
                assert response.status == 201
            first: dict[str, Any] = await socket.receive_json(timeout=5)
            assert first["event"]["event"] == "looking-up"
            await socket.send_str("hello daemon")
            await until(lambda: node.pages.received == [(name, "hello daemon")])
        await until(lambda: name not in node.pages.sends)


async def test_openapi_metrics_and_health(home: Path) -> None:
    """They are there for who is logged in."""
    async with serving(home) as (page, _, _), client(page) as session:
        assert await log_in(page, session) == 200
        async with session.get("/openapi.json") as response:
            assert (await response.json())["openapi"] == "3.1.0"
        async with session.get("/metrics") as response:
            text = await response.text()
        assert re.search(r"^meshcall_calls 0\.0$", text, re.MULTILINE)
        assert FakeNode.__name__ not in text
        async with session.get("/healthz") as response:
            assert (await response.json())["healthy"] is True


async def until(condition: Any) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


def test_all_that_the_page_names_is_there() -> None:
    """Modules, styles, pictures, catalogues: by their paths, and each catalogue has every text."""
    served = read_files(WEB)
    assert {"index.html", "style.css", "icon.svg", "js/main.js", "lang/en.json"} <= set(served)
    for path in WEB.rglob("*.js"):
        if path.parent.name == "vendor":
            continue
        for name in re.findall(r"(?:from|import\()\s*'(\.[^']+)'", path.read_text()):
            assert (path.parent / name).resolve().exists(), (path, name)
    english = json.loads((WEB / "lang" / "en.json").read_text())
    for catalogue in (WEB / "lang").glob("*.json"):
        assert set(json.loads(catalogue.read_text())) == set(english), catalogue
        words = [json.loads(catalogue.read_text())[f"word.{word}"] for _, word in EMOJI]
        assert len(set(words)) == len(EMOJI), "two pictures must not read the same"
    used: set[str] = set()
    for path in WEB.rglob("*.js"):
        used |= set(re.findall(r"\bt\('([\w.-]+)'", path.read_text()))
    assert used <= set(english)
    assert not any("innerHTML" in path.read_text() for path in (WEB / "js").rglob("*.js"))
