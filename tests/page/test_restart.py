"""A page's network changes in a call, and its control channel dies: the call goes on within its limit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from meshcall import limits
from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer, start_testnet
from tests.page.browser import GRANTED, Browser, browser_on, call_and_answer, open_page

pytestmark = pytest.mark.timeout(120)

GONE = 7.0
"""Seconds that a path is gone: longer than it takes to be noticed, and an offer to go and get no answer."""


async def know(alice: Peer, bob: Peer) -> None:
    """Each has the other as a contact."""
    for one, other, name in ((alice, bob, "bob"), (bob, alice, "alice")):
        (await one.cli("contact", "add", other.id, "--name", name)).check()


async def ip(host: Host, *commands: str) -> None:
    """Change its interface."""
    for command in commands:
        (await host.run(["ip", *command.split()])).check()


async def move(host: Host, address: str) -> None:
    """Give it another address."""
    await ip(host, f"addr del {host.ipv4}/24 dev eth0", f"addr add {address}/24 brd + dev eth0")


async def cut(*hosts: Host) -> None:
    """Let nothing arrive there, of which nobody is told."""
    chain = 'type filter hook input priority 0; iifname "eth0" drop;'
    rules = f"table inet cut {{\n chain arriving {{ {chain} }}\n}}"
    for host in hosts:
        (await host.run(["nft", rules])).check()


async def heal(*hosts: Host) -> None:
    """The opposite."""
    for host in hosts:
        (await host.run(["nft", "delete", "table", "inet", "cut"])).check()


@contextlib.asynccontextmanager
async def pages_in_a_call(lab: Lab) -> AsyncIterator[tuple[Peer, Peer, Browser, Browser]]:
    """Alice's page and Bob's, on a LAN; she has called him."""
    lan = await lab.lan(["alice", "bob"], ipv6=False)
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start("--no-mainline"), bob.start("--no-mainline"))
    await know(alice, bob)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        yield alice, bob, a, b


async def live_call(peer: Peer) -> str:
    """The id of its only call, which lives."""
    (call,) = (await peer.get("calls"))["calls"]
    assert call["state"] in ("connected", "degraded", "reconnecting")
    return str(call["id"])


async def path_of(tab: Browser) -> str:
    """Both ends of the pair that carries its call."""
    return str(await tab.eval("meshcall.peers()[0]?.path ?? 'no call'"))


async def sees_again(what: str, before: list[str], *tabs: Browser) -> None:
    """All of them have another path than before, over which pictures and sound move, within the limit."""
    began = time.monotonic()
    for tab, path in zip(tabs, before, strict=True):
        await tab.until(f"(now => now && now !== {path!r})(meshcall.peers()[0]?.path ?? 'no call')")
        assert await path_of(tab) != "no call"
    await asyncio.gather(*(tab.sees() for tab in tabs))
    seconds = time.monotonic() - began
    print(f"{what}: pictures again after {seconds:.1f} s")
    assert seconds < limits.CONSENT_LOST + 3


@pytest.mark.parametrize("mover", ["alice", "bob"])
async def test_pages_on_a_lan_when_one_gets_another_address(lab: Lab, mover: str) -> None:
    """Whether the caller moves or the callee."""
    async with pages_in_a_call(lab) as (alice, bob, a, b):
        before = await live_call(alice), await live_call(bob)
        paths = [await path_of(tab) for tab in (a, b)]
        await move(alice.host if mover == "alice" else bob.host, "192.168.1.77")
        await sees_again(f"{mover} moved", paths, a, b)
        assert (await live_call(alice), await live_call(bob)) == before


@pytest.mark.parametrize("how", ["cut", "unplugged"])
async def test_pages_when_the_path_was_gone_for_long(lab: Lab, how: str) -> None:
    """The first try's offer is taken back, a later one brings the path; unplugged, by another address."""
    async with pages_in_a_call(lab) as (alice, bob, a, b):
        before = await live_call(alice), await live_call(bob)
        if how == "cut":
            await cut(alice.host, bob.host)
            await asyncio.sleep(GONE)
            await heal(alice.host, bob.host)
        else:
            await ip(bob.host, "link set eth0 down")
            await asyncio.sleep(GONE)
            await ip(bob.host, "link set eth0 up")
            await move(bob.host, "192.168.1.77")
        await sees_again(how, ["", ""], a, b)
        assert (await live_call(alice), await live_call(bob)) == before


async def test_a_call_whose_path_stays_away_ends(lab: Lab) -> None:
    """At both ends, and not before the limit of all calls."""
    async with pages_in_a_call(lab) as (alice, bob, a, b):
        await cut(alice.host, bob.host)
        began = time.monotonic()
        await asyncio.gather(*(tab.until("meshcall.peers().every(p => !p.path)") for tab in (a, b)))
        await asyncio.sleep(limits.CONSENT_LOST - 3)
        await asyncio.gather(live_call(alice), live_call(bob))
        await asyncio.gather(*(tab.wait(".call-screen", "detached") for tab in (a, b)))
        print(f"given up after {time.monotonic() - began:.1f} s")
        for peer in (alice, bob):
            assert [call["reason"] for call in (await peer.get("calls"))["calls"]] == ["peer-gone"]


@pytest.mark.parametrize("caller", ["page", "robot"])
async def test_a_page_and_a_headless_machine(lab: Lab, caller: Literal["page", "robot"]) -> None:
    """The page moves; the headless end takes its new credentials, whoever called."""
    lan = await lab.lan(["alice", "robot"], ipv6=False)
    alice, robot = (Peer(host) for host in lan)
    answers = ("--auto-answer", "contacts", "--source", "testsrc")
    await asyncio.gather(alice.start("--no-mainline"), robot.start("--no-mainline", *answers))
    (await robot.cli("contact", "add", alice.id, "--name", "alice")).check()
    (await alice.cli("contact", "add", robot.id, "--name", "robot")).check()
    async with browser_on(alice.host, *GRANTED) as a:
        await open_page(alice, a)
        if caller == "page":
            await a.click("button[aria-label='Call robot with video']")
        else:
            await robot.start_cli("call", "alice", "--source", "testsrc", "--json")
            await a.wait("#answer-video")
            await a.click("#answer-video")
        await a.sees()
        before = await live_call(alice), await live_call(robot)
        paths = [await path_of(a)]
        await move(alice.host, "192.168.1.77")
        await sees_again(f"page moved, {caller} had called", paths, a)
        assert (await live_call(alice), await live_call(robot)) == before
        await a.click("#tool-hangup")
        await a.wait(".call-screen", "detached")


@pytest.mark.parametrize("mover", ["alice", "bob"])
async def test_pages_through_the_dht(lab: Lab, mover: str) -> None:
    """Without mDNS, public addresses: a callee is found at its new one, a caller answered there."""
    lan = await lab.lan(["alice", "bob", "net"], ipv6=False, addresses="public")
    alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
    join = ("--no-mainline", "--no-mdns", *await start_testnet(lan["net"], 20))
    await asyncio.gather(alice.start(*join), bob.start(*join))
    await know(alice, bob)
    await bob.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        before = await live_call(alice), await live_call(bob)
        paths = [await path_of(tab) for tab in (a, b)]
        await move(lan[mover], "5.0.1.77")
        await sees_again(f"{mover} moved, DHT", paths, a, b)
        assert (await live_call(alice), await live_call(bob)) == before
