"""Hosts whose UDP is blocked call by ID and are called by ID, through a node that takes TLS at port 443."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from netsim.faults import set_nat
from netsim.lab import Host, Lab
from netsim.peer import Peer, start_testnet
from netsim.stacks.attempt import Attempt
from netsim.stacks.meshcall import MeshcallStack

FIRST_MEDIA = 1.5
"""Seconds from a call by ID to media at both ends."""


async def make(lab: Lab, **kinds: str) -> tuple[Peer, MeshcallStack, dict[str, Host]]:
    """A DHT, a gateway, and hosts by name, each behind its kind of NAT, that all know both."""
    net, gate = [await lab.public_host(name, ipv6=False) for name in ("net", "gate")]
    sites = {name: await lab.site(name, kind) for name, kind in kinds.items()}
    flags = ["--no-mdns", *await start_testnet(net, 8)]
    gateway = Peer(gate)
    await gateway.start(*flags, "--relay", "--auto-answer", "anyone", "--source", "testsrc:880")
    stack = MeshcallStack([*flags, "--bootstrap", f"tls:{gate.ipv4}:443"])
    stack.adopt(gateway)
    hosts = {name: site.host for name, site in sites.items()}
    await asyncio.gather(*(stack.start(host, ()) for host in hosts.values()))
    await asyncio.gather(*(stack.ready(host) for host in hosts.values()))
    return gateway, stack, hosts | {"gate": gate}


async def call(stack: MeshcallStack, caller: Host, callee: Host) -> Attempt:
    """One call, which is over."""
    made = await stack.begin(caller, callee)
    await made.end()
    return made.attempt


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_who_has_no_udp_calls_and_is_called(lab: Lab) -> None:
    """By ID, five times each: one side blocked, the other, both, and the gateway's own node."""
    gateway, stack, hosts = await make(lab, ada="udp_blocked", bob="udp_blocked", eve="symmetric_random")
    for caller, callee in (("ada", "eve"), ("eve", "ada"), ("ada", "bob"), ("bob", "gate"), ("gate", "ada")):
        made = [await call(stack, hosts[caller], hosts[callee]) for _ in range(5)]
        assert {attempt.route for attempt in made} == {"relay"}, [attempt.reason for attempt in made]
        totals = [attempt.total for attempt in made if attempt.total is not None]
        print(f"{caller} calls {callee}: {sorted(round(total, 2) for total in totals)} s to first media")
        assert statistics.median(totals) <= FIRST_MEDIA
    status = await gateway.get("status")
    assert status["relay"]["streams"] == 2
    told = (await stack.peer(hosts["ada"]).get("status"))["dht"]["tunnel"]
    assert told == f"tls:{hosts['gate'].ipv4}:443"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_tunnel_is_left_when_udp_works(lab: Lab) -> None:
    """A call that began through it goes on; the next one is direct. Where UDP is blocked anew, it is back."""
    _, stack, hosts = await make(lab, ada="udp_blocked", eve="open")
    ada, site = stack.peer(hosts["ada"]), lab.sites["ada"]
    running = await stack.begin(hosts["ada"], hosts["eve"])
    assert running.attempt.route == "relay"
    began = time.monotonic()
    await set_nat(site, "port_restricted")
    await ada.wait_for_status("UDP again", lambda status: not status["dht"]["tunnel"], timeout=70)
    print(f"UDP is used again {time.monotonic() - began:.1f} s after it works")
    assert (await ada.get("status"))["calls"] == 1, "the call goes on"
    await running.end()
    await ada.wait_for_status("its leases", lambda status: status["dht"]["watches"] > 0)
    assert (await call(stack, hosts["eve"], hosts["ada"])).route == "direct"
    began = time.monotonic()
    await set_nat(site, "udp_blocked")
    await ada.wait_for_status("a tunnel", lambda status: bool(status["dht"]["tunnel"]), timeout=70)
    print(f"tunnelled {time.monotonic() - began:.1f} s after UDP was blocked")
