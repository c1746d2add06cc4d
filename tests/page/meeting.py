"""What people do in meetings in the call page, and what is waited for, as tests use it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer
from tests.page.browser import GRANTED, Browser, Tab, browser_on, open_page

ROOM = "Field camp"
SMALL = {"width": 780, "height": 640}
"""A window whose tiles want the smallest pictures: two cores bear three browsers."""
TRIES = 3
"""Of 15 s each."""


# --- what a person does ---------------------------------------------------------------------------


async def rooms_view(tab: Tab) -> None:
    """The list of rooms."""
    await tab.eval("location.hash = 'rooms'")
    await tab.wait("#rooms-title")


async def create(tab: Tab, name: str) -> None:
    """Make a room and go in."""
    await rooms_view(tab)
    await tab.click("#room-create")
    await tab.fill("#room-name", name)
    await submit(tab)


async def ask_by_name(tab: Tab, name: str, *, video: bool = True) -> None:
    """Choose what the LAN shows, or knock at it."""
    await rooms_view(tab)
    shown = f"li.card:has(bdi:text-is('{name}'))"
    await tab.click(f"{shown} .actions button.primary")
    await tab.click("#join-video" if video else "#join-audio")


async def join_by_name(tab: Tab, name: str) -> None:
    """Join what the LAN shows."""
    await ask_by_name(tab, name)
    await tab.wait(".room-screen[data-state=joined]")


async def join_by(tab: Tab, text: str) -> None:
    """Join by a code or a link that somebody gave."""
    await rooms_view(tab)
    await tab.click("#room-join")
    await tab.fill("#room-text", text)
    await submit(tab)


async def submit(tab: Tab) -> None:
    """Press it, and wait to be in the room. Raises AssertionError with what is said instead."""
    problem = "document.querySelector('dialog form > .problem:not(:empty)')"
    room = "document.querySelector('.room-screen[data-state=joined]')"
    await tab.click("dialog button[type=submit]")
    await tab.until(f"{room} || {problem}")
    assert (said := await tab.eval(f"{problem}?.textContent")) is None, said


async def invite(tab: Tab) -> tuple[str, str]:
    """A link and a code."""
    await tab.click("#tool-invite")
    await tab.until("document.querySelector('#room-link')?.textContent.includes('#')")
    await tab.until("document.querySelector('img.qr')?.naturalWidth > 0")
    await tab.click("#room-code-make")
    await tab.until("document.querySelector('#room-code')?.textContent !== ''")
    found = await tab.text("#room-link"), await tab.text("#room-code")
    await tab.click("dialog button.primary")
    await tab.wait("dialog", "detached")
    return found


async def patiently(tab: Tab, condition: str) -> None:
    """Return when it is true. Three browsers on two cores may take long: it is printed what is there."""
    for _ in range(TRIES - 1):
        try:
            return await tab.until(condition)
        except AssertionError:
            print(await tab.eval("JSON.stringify(meshcall.room()?.room.members)"))
            print(await tab.eval("JSON.stringify(meshcall.peers().map(p => [p.peer, p.gate, p.stats]))"))
            print(await tab.do("messages"))
    return await tab.until(condition)


async def members(tab: Tab, count: int) -> None:
    """Return when there are so many tiles, and none says that it is not connected."""
    await patiently(
        tab,
        f"document.querySelectorAll('.tile').length === {count} && "
        "[...document.querySelectorAll('.tile:not(.me) .tile-state')].every(one => !one.textContent)",
    )


@asynccontextmanager
async def two_pages(lab: Lab) -> AsyncIterator[tuple[Browser, Browser]]:
    """Of ann, who has made the room, and of bob, who is not in it yet."""
    ann, bob = await start(list(await lab.lan(["ann", "bob"], ipv6=False)))
    async with browser_on(ann.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(ann, a), open_page(bob, b))
        for tab in (a, b):
            await tab.do("size", **SMALL)
        await create(a, ROOM)
        yield a, b


async def show_small(machine: Peer, *others: Peer) -> None:
    """What these send to the machine is as small as what SMALL windows want, and for the same reason."""
    for other in others:
        await machine.post("rooms/-/layer", peer=other.id, height=180, fps=15)


async def decoded(tab: Tab) -> dict[str, int]:
    """Pictures decoded, by member."""
    found: dict[str, int] = await tab.eval(
        "Object.fromEntries(meshcall.peers().filter(p => p.gate).map(p => [p.peer, p.stats?.decoded ?? 0]))"
    )
    return found


async def sees_all(tab: Tab, others: int, pictures: int = 5) -> dict[str, int]:
    """Return when so many pictures more of each of the others were decoded."""
    before = await decoded(tab)
    text = json.dumps(before)
    await patiently(
        tab,
        f"(before => meshcall.peers().filter(one => one.gate && (one.stats?.decoded ?? 0) >= "
        f"(before[one.peer] ?? 0) + {pictures}).length >= {others})({text})",
    )
    return await decoded(tab)


async def fits(tab: Tab, height: int, pages: list[Peer]) -> None:
    """Return when that height is asked of all, pictures are no higher, and those of pages as high.

    (A machine that is busy sends smaller ones, or none for a while.)
    """
    ids = json.dumps([page.id for page in pages])
    await patiently(
        tab,
        f"meshcall.room().room.members.every(one => one.me || one.layer === {height}) && "
        f"meshcall.peers().every(p => p.stats?.height <= {height} && "
        f"(!{ids}.includes(p.peer) || p.stats.height === {height}))",
    )
    tall = await tab.eval("document.querySelector('.tile').clientHeight")
    print(f"tiles of {tall} px: {await tab.eval('meshcall.peers().map(p => p.stats?.height)')}")


async def tile_of(tab: Tab, peer: Peer, condition: str) -> None:
    """Return when that member's tile is so: an expression about ``tile``."""
    await tab.until(
        f"(tile => tile && ({condition}))(document.querySelector(\".tile[data-peer='{peer.id}']\"))"
    )


async def in_front(tab: Tab, name: str) -> None:
    """Return when the screen of that member is in front, and its pictures come."""
    await patiently(
        tab,
        f"document.querySelector('.front-caption').textContent.includes('{name}') && "
        "document.querySelector('.front').videoWidth > 0",
    )


async def start(hosts: list[Host]) -> list[Peer]:
    """Daemons, each called as its host."""
    peers = [Peer(host) for host in hosts]
    await asyncio.gather(*(peer.start("--name", peer.host.name) for peer in peers))
    return peers


async def room_of(peer: Peer) -> dict[str, Any]:
    """The room that it is in."""
    rooms = (await peer.get("rooms"))["rooms"]
    found: dict[str, Any] = next(room for room in rooms if room["state"] == "joined")
    return found


async def until_members(peer: Peer, count: int, *, within: float = 15.0) -> None:
    """Return when a headless machine sees so many members."""
    end = time.monotonic() + within
    while len((await room_of(peer))["members"]) != count:
        assert time.monotonic() < end, await room_of(peer)
        await asyncio.sleep(0.1)
