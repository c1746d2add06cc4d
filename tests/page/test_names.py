"""A page that may use no camera and no microphone: its browser hides its addresses behind names."""

from __future__ import annotations

import asyncio

import pytest

from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer
from tests.page.browser import GRANTED, Browser, Tab, browser_on, open_page

pytestmark = pytest.mark.timeout(120)

WATCH = """(() => {
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...words) { super(...words); window.connections.push(this); }
  };
})()"""
"""Keep the peer connections, to look at what they tell."""


async def open_watched(peer: Peer, browser: Browser) -> None:
    """Open the page of ``peer``."""
    await open_page(peer, browser)
    await browser.eval(WATCH)


async def told_hosts(tab: Tab) -> list[str]:
    """The addresses of its host candidates, in all of its calls."""
    lines = await tab.eval(
        "connections.map(one => one.localDescription?.sdp ?? '').join('\\n')"
        ".split('\\n').filter(line => line.includes('typ host'))"
    )
    return [line.split()[4] for line in lines]


async def route(host: Host) -> None:
    """Without a leave, Chromium tells of the default route's interface alone."""
    (await host.run(["ip", "route", "add", "default", "dev", "eth0"])).check()


async def know(alice: Peer, bob: Peer) -> None:
    """Each has the other as a contact."""
    for one, other, name in ((alice, bob, "bob"), (bob, alice, "alice")):
        (await one.cli("contact", "add", other.id, "--name", name)).check()


async def hang_up(tab: Tab) -> None:
    """End the call, and wait for the contacts."""
    await tab.click("#tool-hangup")
    await tab.wait(".call-screen", "detached")


async def test_without_a_camera_a_page_calls_and_is_called_by_a_headless_machine(lab: Lab) -> None:
    """Its names are resolved by the daemon of the other end; sound and pictures come to it both times."""
    lan = await lab.lan(["alice", "bob"], ipv6=False)
    alice, bob = (Peer(host) for host in lan)
    answers = ("--auto-answer", "contacts", "--source", "testsrc")
    await asyncio.gather(alice.start("--no-mainline"), bob.start("--no-mainline", *answers))
    await know(alice, bob)
    await route(alice.host)
    async with browser_on(alice.host) as a:
        await open_watched(alice, a)
        await a.click("button[aria-label='Call bob with video']")
        await a.sees()
        assert await a.text(".path") == "LAN"
        await hang_up(a)

        call = await bob.start_cli("call", "alice", "--source", "testsrc", "--json")
        await a.wait("#answer-video")
        await a.click("#answer-video")
        await a.sees()
        assert await a.text(".path") == "LAN"
        hosts = await told_hosts(a)
        await hang_up(a)
        await call.wait(20)
    assert len(hosts) >= 2
    assert all(host.endswith(".local") for host in hosts), hosts
    for peer in (alice, bob):
        assert [one["reason"] for one in (await peer.get("calls"))["calls"]] == ["hangup"] * 2


@pytest.mark.parametrize("granted", [(), GRANTED])
async def test_without_a_camera_pages_call_each_other(lab: Lab, granted: tuple[str, ...]) -> None:
    """One may use its devices, or neither may; the path is the LAN's, and chat passes, whoever calls."""
    lan = await lab.lan(["alice", "bob"], ipv6=False)
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start("--no-mainline"), bob.start("--no-mainline"))
    await know(alice, bob)
    await asyncio.gather(route(alice.host), route(bob.host))
    async with browser_on(alice.host) as a, browser_on(bob.host, *granted) as b:
        await asyncio.gather(open_watched(alice, a), open_watched(bob, b))
        for caller, callee, name in ((a, b, "bob"), (b, a, "alice")):
            await caller.click(f"button[aria-label='Call {name} with video']")
            await callee.wait("#answer-video")
            await callee.click("#answer-video")
            for tab in (caller, callee):
                await tab.until("document.querySelector('.path')?.textContent === 'LAN'")
            if granted:
                await a.sees()
            await caller.click("#tool-chat")
            await caller.fill(".chat-form input", "hello")
            await caller.do("press", key="Enter")
            await callee.until("document.querySelector('.lines').textContent.includes('hello')")
            await hang_up(caller)
            await callee.wait(".call-screen", "detached")
        hosts = await told_hosts(a)
        assert len(hosts) >= 2
        assert all(host.endswith(".local") for host in hosts), hosts
