"""Hosts whose UDP is blocked call by ID and are called by ID, through a node that takes TLS at port 443."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import pytest

from meshcall import limits
from netsim.faults import set_nat
from netsim.lab import Host, Lab
from netsim.peer import Peer, start_testnet
from netsim.site import Site
from netsim.stacks.attempt import Attempt
from netsim.stacks.meshcall import MeshcallStack

FIRST_MEDIA = 1.5
"""Seconds from a call by ID to media at both ends."""

GAP = 2.0
"""Seconds after which the media flow again, and both ends have told what did not arrive."""

CALM = limits.QUALITY_WINDOW + limits.QUALITY_HOLD
"""Seconds for which a gap in the media is told, at most."""


async def start_gateway(lab: Lab, name: str, flags: list[str]) -> Peer:
    """A daemon that lends a relay."""
    gateway = Peer(await lab.public_host(name, ipv6=False))
    await gateway.start(*flags, "--relay", "--auto-answer", "anyone", "--source", "testsrc:880")
    return gateway


async def make(
    lab: Lab, *sites: Site, gateways: Sequence[str] = ("gate",)
) -> tuple[list[Peer], MeshcallStack, dict[str, Host]]:
    """A DHT, gateways, and the hosts of these sites by name, which all know both."""
    flags = ["--no-mdns", *await start_testnet(await lab.public_host("net", ipv6=False), 8)]
    gates = [await start_gateway(lab, name, flags) for name in gateways]
    named = [word for gate in gates for word in ("--bootstrap", f"tls:{gate.host.ipv4}:443")]
    stack = MeshcallStack([*flags, *named])
    for gate in gates:
        stack.adopt(gate)
    hosts = {host.name: host for site in sites for host in site}
    await asyncio.gather(*(stack.start(host, ()) for host in hosts.values()))
    await asyncio.gather(*(stack.ready(host) for host in hosts.values()))
    return gates, stack, hosts | {gate.host.name: gate.host for gate in gates}


async def call(stack: MeshcallStack, caller: Host, callee: Host) -> Attempt:
    """One call, which is over."""
    made = await stack.begin(caller, callee)
    await made.end()
    return made.attempt


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_who_has_no_udp_calls_and_is_called(lab: Lab) -> None:
    """By ID: one side blocked, the other, both, the gateway's own node, and a neighbour on the LAN."""
    office = await lab.site("office", "udp_blocked", hosts=["ada", "amy"])
    hotel, home = await lab.site("bob", "udp_blocked"), await lab.site("eve", "symmetric_random")
    (gateway,), stack, hosts = await make(lab, office, hotel, home)
    for caller, callee, count in (
        ("ada", "eve", 3), ("eve", "ada", 3), ("ada", "bob", 3), ("bob", "gate", 1), ("gate", "ada", 1)
    ):  # fmt: skip
        made = [await call(stack, hosts[caller], hosts[callee]) for _ in range(count)]
        assert {attempt.route for attempt in made} == {"relay"}, [attempt.reason for attempt in made]
        totals = [attempt.total for attempt in made if attempt.total is not None]
        print(f"{caller} calls {callee}: {sorted(round(total, 2) for total in totals)} s to first media")
        assert statistics.median(totals) <= FIRST_MEDIA
    assert (await call(stack, hosts["ada"], hosts["amy"])).route == "direct", "their LAN lets UDP through"
    status = await gateway.get("status")
    assert status["relay"]["streams"] == 3
    told = (await stack.peer(hosts["ada"]).get("status"))["dht"]["tunnel"]
    assert told == f"tls:{hosts['gate'].ipv4}:443"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_an_invite_is_enough(lab: Lab) -> None:
    """A new machine without UDP knows nobody, and accepts an invite: the gateway that it names carries."""
    flags = ["--no-mdns", *await start_testnet(await lab.public_host("net", ipv6=False), 8)]
    gate = Peer(await lab.public_host("gate", ipv6=False))
    await gate.start(*flags, "--relay")
    office, home = await lab.site("ada", "udp_blocked"), await lab.site("eve", "open")
    ada, eve = Peer(office["ada"]), Peer(home["eve"])
    await asyncio.gather(
        ada.start("--no-mdns"),
        eve.start(*flags, "--auto-answer", "contacts", "--source", "testsrc:880"),
    )
    await eve.wait_for_status("a relay", lambda status: status["relays"] > 0, timeout=30)
    link = (await eve.cli("invite")).check().stdout.strip()
    assert f"&t={gate.host.ipv4}:443" in link
    assert f"&b={gate.host.ipv4}" not in link, "none of its nodes takes TLS"
    (await ada.cli("accept", link)).check()
    status = await ada.wait_for_status("a tunnel", lambda status: bool(status["dht"]["tunnel"]))
    assert status["dht"]["tunnel"] == f"tls:{gate.host.ipv4}:443"
    made = await ada.cli("call", eve.id, "--duration", "2", "--json", "--source", "testsrc:440")
    assert made.check().json_lines()[-1]["path"] == "relay"


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_tunnel_is_left_when_udp_works(lab: Lab) -> None:
    """A call that began through it goes on; the next one is direct. Where UDP is blocked anew, it is back."""
    site = await lab.site("ada", "udp_blocked")
    _, stack, hosts = await make(lab, site, await lab.site("eve", "open"))
    ada = stack.peer(hosts["ada"])
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


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_gateway_dies(lab: Lab) -> None:
    """The other one, which was kept open, carries within seconds: the call goes on, the next one arrives."""
    office, home = await lab.site("ada", "udp_blocked"), await lab.site("eve", "open")
    gates, stack, hosts = await make(lab, office, home, gateways=("gate", "door"))
    ada = stack.peer(hosts["ada"])
    carrier = (await ada.get("status"))["dht"]["tunnel"]
    dying = next(gate for gate in gates if str(gate.host.ipv4) in carrier)
    running = await stack.begin(hosts["ada"], hosts["eve"])
    assert running.attempt.route == "relay"
    assert dying.daemon is not None
    began = time.monotonic()
    await dying.daemon.kill()
    await ada.wait_for_status("the other gateway", lambda s: s["dht"]["tunnel"] not in ("", carrier))
    print(f"another gateway carries after {time.monotonic() - began:.2f} s")
    await asyncio.sleep(max(0.0, began + GAP + CALM - time.monotonic()))
    assert [shown["state"] for shown in (await ada.get("calls"))["calls"]] == ["connected"]
    await running.end()
    assert (await call(stack, hosts["eve"], hosts["ada"])).route == "relay"
