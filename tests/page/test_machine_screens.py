"""A machine without a page shares a screen with pages in one room."""

from __future__ import annotations

import asyncio

import pytest

from netsim.lab import Lab
from netsim.peer import Peer
from tests.page import meeting
from tests.page.browser import GRANTED, Tab, browser_on, no_errors, open_page
from tests.page.meeting import ROOM, SMALL, create, join_by_name, members, room_of, sees_all, start

pytestmark = pytest.mark.timeout(240)


async def in_front(tab: Tab, name: str) -> None:
    """Return when that member's screen is in front, and its pictures move."""
    await meeting.in_front(tab, name)
    await tab.shows(".front")


async def screen_frames(machine: Peer, name: str) -> int:
    """Pictures of that member's screen that have come to the machine."""
    members = (await room_of(machine))["members"]
    return max(int(one["received"]["screen_frames"]) for one in members if one["name"] == name)


async def gets_screen(machine: Peer, name: str, more: int = 5) -> None:
    """Return when so many more have."""
    wanted = await screen_frames(machine, name) + more
    for _ in range(200):
        if await screen_frames(machine, name) >= wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no screen of {name} came")


async def test_a_machine_shares_its_screen_with_a_page(lab: Lab) -> None:
    """Each time it is in front, and goes when it stops; the page shares in the same section meanwhile."""
    ann, robot = await start(list(await lab.lan(["ann", "robot"], ipv6=False)))
    async with browser_on(ann.host, *GRANTED) as page:
        await open_page(ann, page)
        await page.do("size", **SMALL)
        await create(page, ROOM)
        (await robot.cli("room", "join", ROOM, "--source", "testsrc")).check()
        await members(page, 2)
        await sees_all(page, 1)
        for source in ("testsrc:880", "testsrc"):
            (await robot.cli("room", "share", ROOM, source)).check()
            await in_front(page, "robot")
            (await robot.cli("room", "unshare", ROOM)).check()
            await page.wait(".front", "hidden")

        await page.click("#tool-screen")  # the section that the machine made serves the page, too
        await gets_screen(robot, "ann")
        (await robot.cli("room", "share", ROOM, "testsrc")).check()
        await in_front(page, "robot")
        await gets_screen(robot, "ann")
        await page.click("#tool-screen")
        await in_front(page, "robot")
        (await robot.cli("room", "unshare", ROOM)).check()
        await page.wait(".front", "hidden")
        await page.click("#tool-screen")
        await gets_screen(robot, "ann")
        await sees_all(page, 1)
        await no_errors(page)


async def test_who_comes_by_a_page_later_sees_the_screen(lab: Lab) -> None:
    """It is offered when its link is confirmed; and a page that shares first is shared with as well."""
    ann, robot = await start(list(await lab.lan(["ann", "robot"], ipv6=False)))
    (await robot.cli("room", "create", ROOM, "--source", "testsrc")).check()
    (await robot.cli("room", "share", ROOM, "testsrc")).check()
    async with browser_on(ann.host, *GRANTED) as page:
        await open_page(ann, page)
        await page.do("size", **SMALL)
        await join_by_name(page, ROOM)
        await members(page, 2)
        await in_front(page, "robot")
        await page.click("#tool-screen")
        await gets_screen(robot, "ann")
        await in_front(page, "robot")
        await no_errors(page)


LATE = """() => {
  for (const peer of meshcall.peers()) {
    const receive = peer.receive.bind(peer);
    peer.receive = async message => {
      if (message.do === 'remote') await new Promise(done => { window.setTimeout(done, 1500); });
      return receive(message);
    };
  }
  return meshcall.peers().map(peer => peer.polite);
}"""
"""What the machine describes comes late to the page, so that the page's own offer crosses it."""


@pytest.mark.parametrize("comes", ["page", "machine"])
async def test_both_share_for_the_first_time_at_once(lab: Lab, comes: str) -> None:
    """One of the two offers gives way, whoever of them made the link; both screens are seen."""
    ann, robot = await start(list(await lab.lan(["ann", "robot"], ipv6=False)))
    async with browser_on(ann.host, *GRANTED) as page:
        await open_page(ann, page)
        await page.do("size", **SMALL)
        if comes == "machine":
            await create(page, ROOM)
            (await robot.cli("room", "join", ROOM, "--source", "testsrc")).check()
        else:
            (await robot.cli("room", "create", ROOM, "--source", "testsrc")).check()
            await join_by_name(page, ROOM)
        await members(page, 2)
        print(f"the page gives way: {await page.eval(f'({LATE})()')}")
        await robot.post("rooms/-/share", source="testsrc")
        await page.click("#tool-screen")
        await gets_screen(robot, "ann")
        await in_front(page, "robot")
        await sees_all(page, 1)
        await no_errors(page)
