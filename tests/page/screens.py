"""Every screen of the page, with a node without a network behind it: for tests and for pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

from meshcall.aio.files.home import open_home
from meshcall.config import Config
from meshcall.control.page_server import PageServer, make_page_server
from meshcall.control.server import ControlServer
from meshcall.paths import HomePaths
from meshcall.views import PeerView
from tests.page.worker import CHROMIUM, FLAGS
from tests.unit.control.fake_node import FakeNode, peer_id_of

PORT = 27_400

Show = Callable[[Page, PageServer, FakeNode], Awaitable[None]]
"""Brings a page that is logged in to a screen."""


class ShownNode(FakeNode):
    """With people whose states differ."""

    def peers(self) -> list[PeerView]:
        """Contacts, and one on the LAN."""
        states = ("lan", "dht", "offline", "unknown")
        shown = [
            PeerView(
                peer_id=view.peer_id,
                short=view.short,
                name=view.name,
                contact=True,
                verified=not number % 2,
                blocked=view.name == "bug",
                presence=states[number % 4],  # type: ignore[arg-type]
                last_seen_ms=1_795_000_000_000,
            )
            for number, view in enumerate(self.contacts.list())
        ]
        stranger = peer_id_of(50)
        return [
            *shown,
            PeerView(peer_id=stranger.text, short=stranger.short, self_name="Printer room", presence="lan"),
        ]


@asynccontextmanager
async def page_of(home: Path) -> AsyncIterator[tuple[PageServer, FakeNode]]:
    """A page that is served."""
    open_home(home)
    async with ShownNode(Config(home=home), None) as node:
        node.settings.change({"name": "Ann"})
        control = ControlServer(node, HomePaths(home))
        page = make_page_server(control, HomePaths(home), PORT)
        control.login_url = page.login_url
        async with page, control:
            yield page, node


@asynccontextmanager
async def chromium(
    page: PageServer, width: int = 1440, height: int = 900, language: str = "en-US"
) -> AsyncIterator[Page]:
    """A tab that is logged in and has passed by the welcome."""
    flags = [*FLAGS, "--use-fake-ui-for-media-stream"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        context = await browser.new_context(
            viewport={"width": width, "height": height}, locale=language, reduced_motion="reduce"
        )
        context.set_default_timeout(10_000)
        tab = await context.new_page()
        await tab.goto(page.login_url())
        await tab.locator("dialog[open]").wait_for()
        yield tab
        await browser.close()


async def view(tab: Page, name: str) -> None:
    """Go to a view."""
    await tab.evaluate("document.querySelector('dialog[open]')?.close()")
    await tab.evaluate(f"location.hash = '{name}'")
    await tab.locator(f"#{name}-title").wait_for()


async def welcome(tab: Page, page: PageServer, node: FakeNode) -> None:
    """The first run."""


async def contacts(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Contacts."""
    await view(tab, "contacts")


async def add(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Adding one."""
    await view(tab, "contacts")
    await tab.locator(".title button.primary").click()
    await tab.locator("#add-text").wait_for()


async def share(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Our own ID."""
    await view(tab, "contacts")
    await tab.locator(".title button:not(.primary)").click()
    await tab.locator("img.qr").wait_for()


async def more(tab: Page, page: PageServer, node: FakeNode) -> None:
    """About a contact."""
    await view(tab, "contacts")
    await tab.locator(".card .actions button:last-child").first.click()
    await tab.locator("#rename").wait_for()


async def history(tab: Page, page: PageServer, node: FakeNode) -> None:
    """History."""
    await view(tab, "history")


async def requests(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Strangers."""
    await view(tab, "requests")


async def diagnostics(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Doctor and netcheck."""
    await view(tab, "diagnostics")
    await tab.locator(".facts dt").first.wait_for()
    await tab.locator(".findings li").first.wait_for()


async def settings(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Settings."""
    await view(tab, "settings")


async def incoming(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Somebody calls."""
    await view(tab, "contacts")
    await node.call("callme")
    await tab.locator("#answer-video").wait_for()


async def call(tab: Page, page: PageServer, node: FakeNode) -> None:
    """A call with its chat open."""
    await view(tab, "contacts")
    await tab.locator("button[aria-label*='alice']").first.click()
    await tab.locator("#tool-chat").click()
    await tab.locator(".chat-form input").fill("hello")
    await asyncio.sleep(0.3)


FILES = (
    {
        "key": "one",
        "way": "out",
        "name": "holiday.zip",
        "octets": 48_200_000,
        "moved": 21_000_000,
        "state": "running",
    },
    {
        "key": "two",
        "way": "in",
        "name": "Straße nach Süden.pdf",
        "octets": 3_145_728,
        "moved": 0,
        "state": "offered",
    },
    {
        "key": "three",
        "way": "out",
        "name": "large.iso",
        "octets": 9,
        "moved": 0,
        "state": "ended",
        "reason": "declined-there",
    },
)


async def files(tab: Page, page: PageServer, node: FakeNode) -> None:
    """A call in which files are sent and offered."""
    await view(tab, "contacts")
    await tab.locator("button[aria-label*='alice']").first.click()
    await tab.locator("#tool-files").click()
    for shown in FILES:
        text = json.dumps({"reason": "", "over": shown["state"] == "ended", **shown})
        await tab.evaluate(f"meshcall.screen().files.show({text})")
    await tab.locator("#file-accept").wait_for()


async def locked(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Not logged in."""
    await tab.context.clear_cookies()
    await tab.reload()
    await tab.locator(".locked").wait_for()


async def elsewhere(tab: Page, page: PageServer, node: FakeNode) -> None:
    """Another tab has the calls."""
    other = await tab.context.new_page()
    await other.goto(f"http://127.0.0.1:{page.port}/")
    await other.locator(".locked button").click()
    await tab.locator(".locked").wait_for()


SCREENS: dict[str, Show] = {
    show.__name__: show
    for show in (
        welcome, contacts, add, share, more, history, requests, diagnostics, settings, incoming, call,
        files, elsewhere, locked,
    )
}  # fmt: skip
"""In an order in which one leads to the next."""
