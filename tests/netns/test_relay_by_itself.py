"""A node that strangers reach lends a relay though nobody told it to, and calls go over it."""

from __future__ import annotations

import asyncio
import time

import pytest

from meshcall.limits import DHT_DIAL_STABLE
from netsim.clock import WrongClock
from netsim.lab import Lab
from netsim.peer import Peer, start_testnet

NODES = 200
"""Each in a /16 of its own: three strangers among them are to reach it, whom it did not talk to lately."""
RATE = 20.0
"""How much faster the clock of that node goes: it waits ten minutes."""


async def start_internet(lab: Lab) -> list[str]:
    """A DHT of nodes at as many providers; returns the flags that make a daemon join."""
    return await start_testnet(await lab.public_host("net", ipv6=False, blocks=NODES - 1), NODES)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_reachable_node_lends_by_itself(lab: Lab) -> None:
    """Proven reachable for ten minutes it routes, lends, is found, and carries a call of symmetric NATs."""
    join = await start_internet(lab)
    gate = Peer(await lab.public_host("gate", ipv6=False))
    await gate.init()
    # Its clock is right when it begins to lend: relays are announced under a key of the hour
    gate.host.environment = WrongClock(gate.host, -DHT_DIAL_STABLE, rate=RATE).env
    await gate.start("--no-mdns", *join)
    assert not (await gate.get("status"))["relay"]["enabled"], "it is not proven yet"
    began = time.monotonic()
    status = await gate.wait_for_status(
        "a relay", lambda status: status["relay"]["enabled"], timeout=3 * DHT_DIAL_STABLE / RATE
    )
    print(f"it lends after {(time.monotonic() - began) * RATE:.0f} s of its time: {status['dht']}")
    assert status["dht"]["role"] == "router"
    sites = [await lab.site(name, "symmetric_random") for name in ("alice", "bob")]
    alice, bob = (Peer(next(iter(site.hosts.values()))) for site in sites)
    answers = ("--auto-answer", "anyone", "--source", "testsrc:880")
    await asyncio.gather(alice.start(*join, "--source", "testsrc:440"), bob.start(*join, *answers))
    for peer in (alice, bob):
        await peer.wait_for_status("the relay", lambda status: status["relays"] >= 1, timeout=60)
    call = await alice.start_cli("call", bob.id, "--duration", "4", "--json")
    done = await call.wait(40)
    assert done.returncode == 0, call.tail()
    ended = call.json_lines()[-1]
    assert ended["path"] == "relay"
    assert ended["received"]["video_frames"] > 15
    assert (await gate.get("status"))["relay"]["to_clients"] > 10_000


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_behind_a_nat_does_not(lab: Lab) -> None:
    """Nobody reaches it unasked, so as long as it runs it stays one that only uses the DHT."""
    join = await start_internet(lab)
    site = await lab.site("home", "port_restricted")
    # The NAT forgets as much faster, or what was sent to long ago could still reach the node
    for name, seconds in (("timeout", 30), ("timeout_stream", 120)):
        setting = f"net.netfilter.nf_conntrack_udp_{name}={round(seconds / RATE)}"
        (await site.router.run(["sysctl", "-qw", setting])).check()
    home = Peer(site["home"])
    await home.init()
    home.host.environment = WrongClock(home.host, rate=RATE).env
    await home.start("--no-mdns", *join)
    await asyncio.sleep(1.2 * DHT_DIAL_STABLE / RATE)
    status = await home.get("status")
    assert status["dht"]["role"] == "ephemeral"
    assert not status["relay"]["enabled"]
