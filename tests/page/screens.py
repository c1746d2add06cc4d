"""Every screen of the page, with a node without a network behind it: for tests and for pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from playwright.async_api import Page, async_playwright

from meshcall.aio.files.home import open_home
from meshcall.config import Config
from meshcall.control.page_server import PageServer, make_page_server
from meshcall.control.server import ControlServer
from meshcall.paths import HomePaths
from meshcall.views import NodeEvent, PeerView
from tests.page.shown_rooms import CROWD, LOCKED, OPEN, PEOPLE, ShownRooms
from tests.page.worker import CHROMIUM, FLAGS
from tests.unit.control.fake_node import FakeNode, peer_id_of

PORT = 27_400


class ShownNode(FakeNode):
    """With people whose states differ."""

    def __init__(self, config: Config, passphrase: str | None = None) -> None:
        super().__init__(config, passphrase)
        self.shown = ShownRooms(self.tell)
        self.rooms = self.shown

    def tell(self, event: NodeEvent) -> None:
        """Tell everybody who listens."""
        for queue in self.queues:
            queue.put_nowait(event)

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


Show = Callable[[Page, PageServer, ShownNode], Awaitable[None]]
"""Brings a page that is logged in to a screen."""


@asynccontextmanager
async def page_of(home: Path) -> AsyncIterator[tuple[PageServer, ShownNode]]:
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
    await tab.evaluate("document.querySelectorAll('.toast').forEach(toast => toast.remove())")
    await tab.evaluate(f"location.hash = '{name}'")
    await tab.locator(f"#{name}-title").wait_for()


async def welcome(tab: Page, page: PageServer, node: ShownNode) -> None:
    """The first run."""


async def contacts(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Contacts."""
    await view(tab, "contacts")


async def add(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Adding one."""
    await view(tab, "contacts")
    await tab.locator(".title button.primary").click()
    await tab.locator("#add-text").wait_for()


async def share(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Our own ID."""
    await view(tab, "contacts")
    await tab.locator(".title button:not(.primary)").click()
    await tab.locator("img.qr").wait_for()


async def more(tab: Page, page: PageServer, node: ShownNode) -> None:
    """About a contact."""
    await view(tab, "contacts")
    await tab.locator(".card .actions button:last-child").first.click()
    await tab.locator("#rename").wait_for()


async def history(tab: Page, page: PageServer, node: ShownNode) -> None:
    """History."""
    await view(tab, "history")


async def requests(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Strangers."""
    await view(tab, "requests")


async def diagnostics(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Doctor and netcheck."""
    await view(tab, "diagnostics")
    await tab.locator(".facts dt").first.wait_for()
    await tab.locator(".findings li").first.wait_for()


async def settings(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Settings."""
    await view(tab, "settings")


async def incoming(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Somebody calls."""
    await view(tab, "contacts")
    await node.call("callme")
    await tab.locator("#answer-video").wait_for()


async def call(tab: Page, page: PageServer, node: ShownNode) -> None:
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


async def files(tab: Page, page: PageServer, node: ShownNode) -> None:
    """A call in which files are sent and offered."""
    await view(tab, "contacts")
    await tab.locator("button[aria-label*='alice']").first.click()
    await tab.locator("#tool-files").click()
    for shown in FILES:
        text = json.dumps({"reason": "", "over": shown["state"] == "ended", **shown})
        await tab.evaluate(f"meshcall.screen().files.show({text})")
    await tab.locator("#file-accept").wait_for()


async def rooms(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Rooms of this LAN, and those that are known."""
    await leave(tab, node)
    await view(tab, "rooms")


async def room_new(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Making one."""
    await rooms(tab, page, node)
    await tab.locator("#room-create").click()
    await tab.locator("#room-name").fill("Field camp")


async def room_join(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Joining one by a code."""
    await rooms(tab, page, node)
    await tab.locator("#room-join").click()
    await tab.locator("#room-text").fill("7 otter lemon")


CAMERAS = """people => {
  const room = meshcall.room();
  for (const [index, {peer_id, video, screen, level}] of people.entries()) {
    const picture = (draw, width, height) => {
      const canvas = Object.assign(document.createElement('canvas'), {width, height});
      const context = canvas.getContext('2d');
      const stream = canvas.captureStream(5);
      draw(context);
      window.setInterval(() => draw(context), 200);
      return stream;
    };
    const face = context => {
      context.fillStyle = `hsl(${index * 67} 35% 32%)`; context.fillRect(0, 0, 640, 360);
      context.fillStyle = `hsl(${index * 67} 45% 58%)`;
      context.beginPath(); context.arc(320, 150, 75, 0, 7); context.fill();
      context.beginPath(); context.arc(320, 400, 170, 0, 7); context.fill();
    };
    const sheet = context => {
      context.fillStyle = '#fff'; context.fillRect(0, 0, 1280, 720); context.fillStyle = '#234';
      context.font = '40px sans-serif'; context.fillText('Plan of the camp', 80, 110);
      for (let at = 0; at < 9; at++) context.fillRect(80, 170 + at * 55, 400 + (at * 137) % 600, 18);
    };
    const peer = Object.assign(new EventTarget(), {peer: peer_id, gate: true, path: 'lan', close() {},
      remote: video ? picture(face, 640, 360) : new MediaStream(),
      remoteScreen: screen ? picture(sheet, 1280, 720) : null,
      stats: {rtt: 0.004 + index * 0.09, recentLoss: index === 3 ? 0.05 : 0, width: 640, height: 360,
        rate: 25, level}});
    room.attach(peer);
  }
}"""
"""Pictures for the members of a meeting."""


async def leave(tab: Page, node: ShownNode) -> None:
    """Out of every room."""
    await tab.evaluate("document.querySelector('dialog[open]')?.close()")
    await node.shown.leave_all()
    await tab.locator(".room-screen").wait_for(state="detached")


async def enter(tab: Page, node: ShownNode, *, people: int = len(PEOPLE), sharer: int | None = None) -> str:
    """Into a meeting with so many others; returns its ID."""
    await leave(tab, node)
    await view(tab, "rooms")
    await tab.locator(f"#join-{OPEN.tag}").click()
    await tab.locator("#join-video").click()
    await tab.locator(".room-screen").wait_for()
    room = node.shown.view(OPEN.name)
    others = CROWD[:people]
    me = [member for member in room.members if member.me]
    if sharer is not None:
        others[sharer] = msgspec.structs.replace(others[sharer], screen=True)
    node.shown.change(room.id, members=[*me, *others])
    there = [
        {"peer_id": one.peer_id, "video": one.video, "screen": one.screen, "level": 0.2 * one.speaking}
        for one in others
        if one.state == "here"
    ]
    await tab.evaluate(CAMERAS, there)
    await tab.locator(".tile").nth(people).wait_for()
    await asyncio.sleep(0.6)
    return room.id


async def meeting(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Seven people."""
    await enter(tab, node)


async def meeting_full(tab: Page, page: PageServer, node: ShownNode) -> None:
    """As many as a room takes."""
    await enter(tab, node, people=len(CROWD))


async def meeting_screen(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Somebody shares a screen, and they write."""
    room = await enter(tab, node, sharer=0)
    await tab.locator(".front").wait_for()
    await tab.locator("#tool-chat").click()
    node.shown.line(room, PEOPLE[1], "Where do the tents go?")
    node.shown.say(room, "North of the stream.")
    await tab.locator(".lines .mine").wait_for()
    await asyncio.sleep(0.6)


async def meeting_people(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Who is there, who is blocked, and somebody knocks at the locked room."""
    room = await enter(tab, node)
    node.shown.change(room, locked=True, mine=True)
    await node.shown.block(room, CROWD[-1].peer_id, blocked=True)
    node.shown.knock(room, "Zoe")
    await tab.locator("#tool-people").click()
    await tab.locator(".knocks button.primary").wait_for()
    await asyncio.sleep(0.3)


async def meeting_invite(tab: Page, page: PageServer, node: ShownNode) -> None:
    """A link, its QR code, and a code to be spoken."""
    await enter(tab, node, people=2)
    await tab.locator("#tool-invite").click()
    await tab.locator("#room-code-make").click()
    await tab.locator("#room-code:not(:empty)").wait_for()
    await tab.locator("img.qr").wait_for()


async def waiting(tab: Page, page: PageServer, node: ShownNode) -> None:
    """We have knocked."""
    await leave(tab, node)
    await view(tab, "rooms")
    await tab.locator(f"#join-{LOCKED.tag}").click()
    await tab.locator("#join-audio").click()
    await tab.locator(".room-screen[data-state=waiting]").wait_for()


async def locked(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Not logged in."""
    await tab.context.clear_cookies()
    await tab.reload()
    await tab.locator(".locked").wait_for()


async def elsewhere(tab: Page, page: PageServer, node: ShownNode) -> None:
    """Another tab has the calls."""
    other = await tab.context.new_page()
    await other.goto(f"http://127.0.0.1:{page.port}/")
    await other.locator(".locked button").click()
    await tab.locator(".locked").wait_for()


SCREENS: dict[str, Show] = {
    show.__name__: show
    for show in (
        welcome, contacts, add, share, more, history, requests, diagnostics, settings, incoming, call,
        files, rooms, room_new, room_join, waiting, meeting, meeting_full, meeting_screen, meeting_people,
        meeting_invite, elsewhere, locked,
    )
}  # fmt: skip
"""In an order in which one leads to the next."""
