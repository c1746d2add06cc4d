"""A LAN without internet has a DHT of its own, made of the daemons that mDNS finds."""

from __future__ import annotations

import asyncio

import pytest

from netsim.lab import Host, Lab
from netsim.peer import Peer, start_testnet


async def run(host: Host, *command: str) -> None:
    """Run a program to its end."""
    (await host.run(list(command))).check()


@pytest.mark.timeout(60)
async def test_nodes_of_a_lan_join_each_other(lab: Lab) -> None:
    """Whoever they are: no contact, no host, no saved table is needed."""
    lan = await lab.lan(["alice", "bob", "carol", "dave"], ipv6=False)
    peers = [Peer(host) for host in lan]
    await asyncio.gather(*(peer.start("--lan-only") for peer in peers))
    rungs = set()
    for peer in peers:
        status = await peer.wait_for_status("the others", lambda status: status["dht"]["nodes"] == 3)
        await peer.wait_for_status("watches", lambda status: status["dht"]["watches"] > 0)
        rungs |= {rung["rung"] for rung in status["dht"]["bootstrap"]}
    assert rungs == {"lan"}, "whom all others have asked need not ask by itself"


@pytest.mark.timeout(120)
async def test_call_from_segment_to_segment_through_a_daemon_in_both(lab: Lab) -> None:
    """mDNS does not cross a router; the DHT of a third daemon, which sees both segments, does."""
    one = await lab.lan(["alice", "carol"], ipv6=False)
    two = await lab.lan(["bob", "dave"], ipv6=False)
    carol = one["carol"]
    await lab.sandbox.ip(
        [
            "link add name vboth type veth peer name eth1 netns carol",
            "link set vboth master br-lan2 up",
        ]
    )
    await run(carol, "ip", "addr", "add", "192.168.2.50/24", "brd", "+", "dev", "eth1")
    await run(carol, "ip", "link", "set", "eth1", "up")
    await run(carol, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    await run(one["alice"], "ip", "route", "add", "default", "via", carol.ipv4)
    await run(two["bob"], "ip", "route", "add", "default", "via", "192.168.2.50")
    alice, bob, both = Peer(one["alice"]), Peer(two["bob"]), Peer(carol)
    await asyncio.gather(
        both.start("--lan-only"),
        alice.start("--lan-only"),
        bob.start("--lan-only", "--auto-answer", "anyone", "--source", "none"),
    )
    for peer in (alice, bob):
        await peer.wait_for_status("everybody", lambda status: status["dht"]["nodes"] == 2)
    await bob.wait_for_status("watches", lambda status: status["dht"]["watches"] > 0)
    called = await alice.cli(
        *("call", bob.id, "--source", "none", "--wait", "20", "--duration", "1", "--json"), timeout=40
    )
    events = called.json_lines()
    assert called.returncode == 0, called.stderr
    assert [event["via"] for event in events if event["event"] == "calling"][-1] == "dht"
    assert events[-1]["reason"] == "hangup"


@pytest.mark.timeout(90)
async def test_a_lan_only_node_is_not_led_out_by_a_neighbour_with_internet(lab: Lab) -> None:
    """It asks its neighbour, which knows routers on the internet, and sends them nothing."""
    lan = await lab.lan(["alice", "bob"], ipv6=False)
    net = await lab.lan(["net"], ipv6=False, addresses="public")
    await lab.sandbox.ip(
        ["link add name vout type veth peer name eth1 netns bob", "link set vout master br-lan2 up"]
    )
    await run(lan["bob"], "ip", "addr", "add", "5.0.2.50/24", "brd", "+", "dev", "eth1")
    await run(lan["bob"], "ip", "link", "set", "eth1", "up")
    join = await start_testnet(net["net"], 10)
    alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
    await bob.start("--no-mainline", *join)
    await bob.wait_for_status("the internet", lambda status: status["dht"]["nodes"] >= 2)
    await alice.start("--lan-only")
    status = await alice.wait_for_status(
        "bob's answer", lambda status: status["counters"].get("martian", 0) > 0, timeout=20
    )
    await asyncio.sleep(2)
    status = await alice.get("status")
    assert status["dht"]["nodes"] == 0, "its neighbour is ephemeral, the others are on the internet"
    # There is no route to the internet here, so whatever was sent there failed and was counted
    assert "send-enetunreach" not in status["counters"]
