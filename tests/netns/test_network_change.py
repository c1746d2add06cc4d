"""A daemon whose machine gets another address, link or interface is found and called again soon."""

from __future__ import annotations

import asyncio
import time

import pytest

from netsim.lab import Host, Lab
from netsim.peer import Peer, start_testnet

ANSWERS = ("--auto-answer", "anyone", "--source", "none")
CALLED_WITHIN = 8.0
"""Seconds from a change of the callee's network to the end of its call's set-up."""


async def ip(host: Host, *commands: str) -> None:
    """Change a host's interfaces."""
    for command in commands:
        (await host.run(["ip", *command.split()])).check()


async def call(caller: Peer, callee: Peer, since: float, what: str) -> float:
    """Call by ID, trying for a while; seconds from ``since`` until it was connected."""
    process = await caller.start_cli(
        *("call", callee.id, "--source", "none", "--wait", "20", "--duration", "0.5", "--json")
    )
    await process.wait_for_event(event="connected", timeout=30)
    seconds = time.monotonic() - since
    print(f"{what}: connected {seconds:.2f} s after the change")
    await process.wait(20)
    return seconds


async def changes(peer: Peer) -> int:
    """How many changes its daemon has acted on."""
    return int((await peer.get("status"))["counters"].get("network-changed", 0))


async def noticed(peer: Peer, before: int, since: float) -> float:
    """Seconds until the daemon has acted on one more change."""
    await peer.wait_for_status(
        "a change", lambda status: status["counters"].get("network-changed", 0) > before, timeout=10
    )
    return time.monotonic() - since


@pytest.mark.timeout(150)
async def test_called_again_on_a_lan_after_a_change_of_network(lab: Lab) -> None:
    """Another address, a cable that was out, another interface: each is noticed, and a call by ID arrives."""
    lan = await lab.lan(["alice", "bob"], ipv6=False)
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start("--no-mainline"), bob.start("--no-mainline", *ANSWERS))
    await call(alice, bob, time.monotonic(), "before any change")
    here = bob.host.ipv4

    before, began = await changes(bob), time.monotonic()
    await ip(bob.host, f"addr del {here}/24 dev eth0", "addr add 192.168.1.77/24 brd + dev eth0")
    assert await call(alice, bob, began, "another address") < CALLED_WITHIN
    print(f"noticed after {await noticed(bob, before, began):.2f} s at the latest")

    before = await changes(bob)
    await ip(bob.host, "link set eth0 down")
    await noticed(bob, before, time.monotonic())
    await asyncio.sleep(4)
    began = time.monotonic()
    await ip(bob.host, "link set eth0 up")
    assert await call(alice, bob, began, "link up again") < CALLED_WITHIN

    before = await changes(bob)
    await lab.sandbox.ip(
        ["link add name vwifi type veth peer name wifi0 netns bob", "link set vwifi master br-lan1 up"]
    )
    await asyncio.sleep(4)
    began = time.monotonic()
    await ip(bob.host, "link set wifi0 up", "addr flush dev eth0", "addr add 192.168.1.78/24 brd + dev wifi0")
    assert await call(alice, bob, began, "another interface") < CALLED_WITHIN
    assert await changes(bob) > before
    assert await changes(alice) == 0, "nothing has changed there"


@pytest.mark.timeout(120)
async def test_called_again_through_the_dht_after_a_change_of_address(lab: Lab) -> None:
    """Without mDNS: the watches are renewed from the new address, so the next call is pushed there."""
    lan = await lab.lan(["alice", "bob", "net"], ipv6=False, addresses="public")
    alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
    join = ("--no-mainline", "--no-mdns", *await start_testnet(lan["net"], 20))
    await asyncio.gather(alice.start(*join), bob.start(*join, *ANSWERS))
    await bob.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)
    await call(alice, bob, time.monotonic(), "before any change")
    before, began = await changes(bob), time.monotonic()
    await ip(bob.host, f"addr del {bob.host.ipv4}/24 dev eth0", "addr add 5.0.1.77/24 brd + dev eth0")
    assert await call(alice, bob, began, "another address") < CALLED_WITHIN
    print(f"noticed after {await noticed(bob, before, began):.2f} s at the latest")


@pytest.mark.timeout(60)
async def test_noise_of_interfaces_is_no_change_of_network(lab: Lab) -> None:
    """Containers' bridges and one more IPv6 address of the same network leave the daemon at rest."""
    lan = await lab.lan(["alice"])
    alice = Peer(lan["alice"])
    await alice.start("--no-mainline", "--no-mdns")
    await ip(
        alice.host,
        *("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up"),
        *("link add veth1 type veth peer name veth2", "link set veth1 up", "link set veth2 up"),
        f"addr add {alice.host.ipv6}1/64 dev eth0 nodad",
    )
    await asyncio.sleep(4)
    assert await changes(alice) == 0
    before, began = await changes(alice), time.monotonic()
    await ip(alice.host, "addr add 192.168.9.9/24 dev eth0")
    print(f"a real one is noticed after {await noticed(alice, before, began):.2f} s")
