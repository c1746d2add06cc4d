"""Calls where networks are poor, old, new or shared: a small MTU, one family of addresses, one port twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netsim.lab import Host, Lab
from netsim.link import LinkConditions
from netsim.peer import EventLog, Peer, start_testnet

from .test_first_call import assert_clean_log

SECONDS = 3
"""Of a call, at least."""
CHAT = "é" * 4000
"""The longest message there is: 8,000 octets, seven packets."""


async def answering(host: Host, *flags: str, port: int = 0) -> Peer:
    """A daemon there that takes every call and can be found in the DHT."""
    peer = Peer(host)
    await peer.start(*flags, "--port", str(port), "--auto-answer", "anyone", "--source", "testsrc:880")
    await peer.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)
    return peer


async def calling(host: Host, *flags: str) -> Peer:
    peer = Peer(host)
    await peer.start(*flags)
    return peer


async def whole_call(caller: Peer, callee: Peer, *, path: str = "direct") -> dict[str, Any]:
    """Sound and pictures and the longest message both ways; how it ended for the caller."""
    async with EventLog(callee) as events:
        call = await caller.start_cli("call", callee.id, "--source", "testsrc:440", "--json")
        connected = await call.wait_for_event(event="connected", timeout=30)
        talk = asyncio.create_task(asyncio.sleep(SECONDS))
        await events.wait_for(event="connected")
        (await caller.cli("chat", callee.id, CHAT)).check()
        (await callee.cli("chat", caller.id, CHAT)).check()
        await events.wait_for(event="chat", sender="peer", text=CHAT)
        await call.wait_for_event(event="chat", sender="peer", text=CHAT)
        await talk
        (await caller.cli("hangup", callee.id)).check()
        await call.wait(30)
        ended = [call.json_lines()[-1], await events.wait_for(event="ended")]
    for end in ended:
        print(f"{end['path']}, {end['reason']}, sent {end['sent']}, received {end['received']}")
        assert (end["event"], end["reason"], end["path"]) == ("ended", "hangup", path)
        assert {"first-audio", "first-video"} <= set(end["timeline"])
    for one, other in (ended, ended[::-1]):
        assert one["received"]["video_frames"] >= 0.8 * other["sent"]["video_frames"] > 15 * SECONDS / 2
    assert connected["path"] == path
    for peer in (caller, callee):
        assert_clean_log(peer)
    return ended[0]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("families", ["ipv4", "ipv6"])
async def test_a_path_of_1280_octets(lab: Lab, families: str) -> None:
    """Both uplinks lose what is longer without a word; nothing that a call needs is.

    The second time the ends have IPv6 alone, and the DHT, too.
    """
    narrow = LinkConditions(mtu=1280)
    kind = "port_restricted" if families == "ipv4" else "ipv6_firewall"
    one, other = [await lab.site(name, kind, link=narrow) for name in ("alice", "bob")]
    net = await start_testnet(await lab.public_host("net"), 20, ipv6=families == "ipv6")
    join = ("--no-mdns", *net)
    alice, bob = await asyncio.gather(calling(one.host, *join), answering(other.host, *join))
    await whole_call(alice, bob)
    assert [bool(site.host.ipv4) for site in (one, other)] == [families == "ipv4"] * 2


@pytest.mark.timeout(120)
async def test_a_machine_without_ipv6(lab: Lab) -> None:
    """The kernel has it switched off, loopback included: nothing waits for it, nothing complains."""
    sites = [await lab.site(name, "port_restricted") for name in ("alice", "bob")]
    for site in sites:
        off = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done"
        (await site.host.run(["sh", "-ec", off])).check()
        assert (await site.host.run(["ip", "-6", "addr"])).check().stdout == ""
    join = ("--no-mdns", *await start_testnet(await lab.public_host("net"), 20))
    alice, bob = await asyncio.gather(
        *(start(site.host, *join) for start, site in zip((calling, answering), sites, strict=True))
    )
    ended = await whole_call(alice, bob)
    assert ended["setup_ms"] < 3000


@pytest.mark.timeout(120)
async def test_two_daemons_behind_one_nat_on_one_port(lab: Lab) -> None:
    """Their packets leave by one address; both are called at the same time, and each hears its own caller."""
    home = await lab.site("home", "port_restricted", hosts=["bob", "carol"])
    away = await lab.site("away", "port_restricted", hosts=["alice", "dave"])
    join = ("--no-mdns", *await start_testnet(await lab.public_host("net"), 20))
    bob, carol, alice, dave = await asyncio.gather(
        *(answering(host, *join, port=5555) for host in home), *(calling(host, *join) for host in away)
    )
    assert bob.id != carol.id
    await asyncio.gather(whole_call(alice, bob), whole_call(dave, carol))


@pytest.mark.timeout(120)
async def test_two_daemons_on_a_machine_without_a_network(lab: Lab) -> None:
    """Its cable is out, so loopback is all there is: they find each other by mDNS and call by it."""
    (host,) = await lab.lan(["alone"])
    (await host.run(["ip", "link", "set", "eth0", "down"])).check()
    alice, bob = (Peer(host, home=host.directory / name) for name in ("alice", "bob"))
    await asyncio.gather(alice.start(), bob.start("--auto-answer", "anyone", "--source", "testsrc:880"))
    ended = await whole_call(alice, bob, path="lan")
    assert ended["setup_ms"] < 3000
