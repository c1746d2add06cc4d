"""Two pages share their screens for the first time at the same moment, and what they say of it crosses."""

from __future__ import annotations

import asyncio

import pytest

from netsim.lab import Lab
from tests.page.browser import Tab, no_errors
from tests.page.meeting import ROOM, in_front, join_by_name, members, two_pages

pytestmark = pytest.mark.timeout(240)

HOLD = """(() => {
  const [peer] = meshcall.peers();
  const receive = message => Object.getPrototypeOf(peer).receive.call(peer, message);
  window.held = [];
  window.release = () => {
    const held = window.held ?? [];
    window.held = null;
    for (const message of held) receive(message);
  };
  peer.receive = message => {
    if (window.held && message.kind === 'offer') window.held.push(message); else return receive(message);
  };
})()"""
"""The peer's offers wait in the page until ``release()``."""

RELEASE_WHEN_ADDED = """(() => {
  for (const name of ['addTrack', 'addTransceiver']) {
    const real = RTCPeerConnection.prototype[name];
    RTCPeerConnection.prototype[name] = function (...words) {
      const made = real.apply(this, words);
      window.release();
      RTCPeerConnection.prototype[name] = real;
      return made;
    };
  }
})()"""
"""What waits is there when the screen has a transceiver, and before the page makes an offer of it."""

SENT = "meshcall.peers()[0].stats.sentScreen > 0 && meshcall.peers()[0].remoteScreen !== null"


async def sees(tab: Tab, name: str) -> None:
    """The screen of that member is in front, and its pictures move."""
    await in_front(tab, name)
    await tab.shows(".front")


async def both_see(ann: Tab, bob: Tab) -> None:
    """Each sees the screen of the other."""
    await asyncio.gather(sees(ann, "bob"), sees(bob, "ann"))
    await asyncio.gather(ann.until(SENT), bob.until(SENT))


async def press(tab: Tab) -> None:
    """Begin to share, or stop."""
    await tab.click("#tool-screen")


async def cross(*tabs: Tab) -> None:
    """Each begins to share; none has heard of the other's offer when it makes its own."""
    for tab in tabs:
        await tab.eval(HOLD)
    await asyncio.gather(*(press(tab) for tab in tabs))
    for tab in tabs:
        await tab.until("window.held.length > 0")
    await asyncio.gather(*(tab.eval("window.release()") for tab in tabs))


async def stopped(*tabs: Tab) -> None:
    """No screen is in front."""
    for tab in tabs:
        await tab.wait(".front", "hidden")


async def test_first_screens_cross(lab: Lab) -> None:
    """Both are seen, whoever's offer counts, and however far the other one's is."""
    async with two_pages(lab) as (a, b):

        async def meet() -> None:
            """Both in the room, by a new connection."""
            await join_by_name(b, ROOM)
            await asyncio.gather(members(a, 2), members(b, 2))

        async def part() -> None:
            """Ann stops, and bob leaves."""
            await press(a)
            await stopped(b)
            await no_errors(a, b)
            await b.click("#tool-leave")
            await b.wait("#rooms-title")
            await members(a, 1)

        await meet()
        await cross(a, b)
        await both_see(a, b)
        await part()

        # The other's offer is there when the screen has a transceiver, and before an offer was made of it
        for early, late in ((a, b), (b, a)):
            await meet()
            await late.eval(HOLD)
            await late.eval(RELEASE_WHEN_ADDED)
            await press(early)
            await late.until("window.held.length > 0")
            await press(late)
            await late.until("window.held === null")
            await both_see(a, b)
            await part()
