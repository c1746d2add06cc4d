"""Who comes into a meeting of the call page, who goes, and who is put out: both ends are told, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from netsim.lab import Lab
from netsim.peer import Peer
from tests.page.browser import GRANTED, Tab, browser_on, no_errors, open_page
from tests.page.meeting import (
    ROOM,
    SMALL,
    ask_by_name,
    create,
    join_by,
    join_by_name,
    members,
    room_of,
    sees_all,
    start,
    tile_of,
)

SEEN = 3.0
"""Seconds in which the others see what happened to one."""
BACK = 6.0
"""Seconds in which a page that was loaded anew is in the meeting, with a link to each."""
UNBLOCKED = 15.0
"""Seconds in which somebody who is blocked no more is connected again: refused links are tried rarely."""
LOST = 15.0
"""Seconds after which nobody looks at the tile of somebody who died."""


@contextlib.asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """What is done in it takes no longer."""
    began = time.monotonic()
    yield
    after = time.monotonic() - began
    print(f"{what}: {after:.2f} s")
    assert after < seconds, what


async def gone(tab: Tab, peer: Peer) -> None:
    """Return when that member has no tile."""
    await tab.until(f"!document.querySelector(\".tile[data-peer='{peer.id}']\")")


async def not_here(tab: Tab, peer: Peer) -> None:
    """Return when that member has no tile, or one that says why nothing is seen of it."""
    await tab.until(
        f"document.querySelector(\".tile[data-peer='{peer.id}'] .tile-state\")?.textContent !== ''"
    )


async def lock(tab: Tab, wanted: str) -> None:
    """Lock or unlock the room, and return when it is so."""
    await tab.click("#tool-people")
    await tab.click("#room-lock")
    await tab.wait(".locked-room", wanted)
    await tab.click("#tool-people")


async def with_member(tab: Tab, verb: str, peer: Peer) -> None:
    """Block or remove a member, as the panel of people offers it; it asks once more."""
    await tab.click("#tool-people")
    await tab.click(f"#{verb}-{peer.id}")
    await tab.click("dialog button.danger")
    await tab.click("#tool-people")


async def knocks_at_a_machine(machine: Peer, knocker: Peer, tab: Tab) -> None:
    """A page knocks at a room whose member says no: it is told so."""
    room = (await machine.post("rooms", name="Office", source="none"))["id"]
    await machine.post(f"rooms/{room}/lock", locked=True)
    await ask_by_name(tab, "Office")
    await tab.wait(".room-screen[data-state=waiting]")
    await machine.post(f"rooms/{room}/admit", peer=knocker.id, admit=False)
    await tab.wait(".room-screen", "detached")
    assert "said no" in await tab.text(".toast")
    await machine.post(f"rooms/{room}/leave")


@pytest.mark.timeout(240)
async def test_who_comes_and_who_goes(lab: Lab) -> None:
    """Knocks, the lock, a reload, a second tab, a block and its end, a removal, a death."""
    ann, bob, robot = await start(list(await lab.lan(["ann", "bob", "robot"], ipv6=False)))
    async with browser_on(ann.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(ann, a), open_page(bob, b))
        for tab in (a, b):
            await tab.do("size", **SMALL)
        await knocks_at_a_machine(robot, bob, b)
        await create(a, ROOM)
        await lock(a, "visible")

        knock = asyncio.create_task(robot.cli("room", "join", ROOM))
        await a.click("#knock-refuse")
        assert "said no" in (await knock).stderr
        await ask_by_name(b, ROOM, video=False)
        await b.wait(".room-screen[data-state=waiting]")
        await a.click("#knock-admit")
        await b.wait(".room-screen[data-state=joined]")
        await sees_all(b, 1)  # who comes without a camera sees the others,
        await b.click("#tool-camera")
        await sees_all(a, 1)  # and is seen with one later
        await lock(a, "hidden")
        (await robot.cli("room", "join", ROOM, "--source", "testsrc")).check()
        for tab in (a, b):
            await members(tab, 3)

        # Loaded anew: it is in the meeting again, by itself
        link = await a.eval(f"meshcall.peers().find(p => p.gate && p.peer === '{bob.id}').media")
        async with within(BACK, "back after a reload"):
            await b.do("reload")
            await a.until(
                f"meshcall.peers().some(p => p.gate && p.peer === '{bob.id}' && p.media !== '{link}')"
            )
            await members(b, 3)
        await sees_all(b, 2)
        await members(a, 3)

        # One tab has the meeting; another one takes it and goes on, muted as the first one was
        await b.click("#tool-mic")
        await tile_of(a, bob, "tile.textContent.includes('microphone off')")
        second = b.tab("second")
        await second.do("open", url=await b.eval("location.origin"))
        await second.wait(".locked button")
        await members(b, 3)
        link = await a.eval(f"meshcall.peers().find(p => p.gate && p.peer === '{bob.id}').media")
        async with within(BACK, "another tab took over"):
            await second.click(".locked button")
            await b.wait(".locked button")
            await a.until(
                f"meshcall.peers().some(p => p.gate && p.peer === '{bob.id}' && p.media !== '{link}')"
            )
            await members(second, 3)
        assert (
            await second.eval("document.querySelector('#tool-mic').getAttribute('aria-pressed')") == "false"
        )
        await tile_of(a, bob, "tile.textContent.includes('microphone off')")
        await sees_all(second, 2)
        await sees_all(a, 2)

        # What was left in the other one is over in the first one, too
        await second.click("#tool-leave")
        await second.wait("#contacts-title")
        await b.click(".locked button")
        await b.wait("#rooms-title")
        await second.wait(".locked button")
        await members(a, 2)
        assert await b.do("count", selector=".room-screen") == 0
        await join_by_name(b, ROOM)
        for tab in (a, b):
            await members(tab, 3)
        await second.do("close")
        await a.click("#tool-chat")
        await a.fill(".chat-form input", "once")
        await a.do("press", key="Enter")
        await b.until("document.querySelectorAll('.lines li').length > 0")
        assert await b.do("count", selector=".lines li") == 1, "what is told is told once"

        await with_member(b, "block", robot)
        await gone(b, robot)
        await members(a, 3)
        await b.click("#tool-people")
        await b.click(f"#unblock-{robot.id}")
        await b.click("#tool-people")
        async with within(UNBLOCKED, "connected again after a block"):
            await members(b, 3)
        await sees_all(b, 2)

        assert robot.daemon is not None
        died = time.monotonic()
        async with within(SEEN, "seen that a member died"):
            await robot.daemon.kill()
            await not_here(a, robot)

        async with within(SEEN, "seen that a member was removed"):
            await with_member(a, "remove", bob)
            await b.wait(".room-screen", "detached")
            await gone(a, bob)
        assert "has removed you" in await b.text(".toast")
        await no_errors(a, b)
        with pytest.raises(AssertionError, match="removed this machine"):
            await join_by(b, ROOM)
        assert len((await room_of(ann))["members"]) <= 2
        await gone(a, robot)
        after = time.monotonic() - died
        print(f"no tile of who died after {after:.1f} s")
        assert after < LOST + 1
