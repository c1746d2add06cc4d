"""`meshcall ping` between homes behind NATs: punched, relayed, and from the relay to direct."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netsim import faults
from netsim.lab import Lab
from netsim.peer import Peer, start_testnet

KNOWN_WITHIN = 30.0
"""Seconds in which a daemon learns of the NAT before it."""


@pytest.mark.timeout(120)
async def test_ping_across_two_nats_and_from_a_relay_to_direct(lab: Lab) -> None:
    """Two NATs that filter by port: direct, and nobody's phone rings. While the direct way is cut the relay's
    replies are told as such; `--until-direct` goes on, and ends at the first one that comes without it.
    """
    net = await lab.public_host("net", ipv6=False)
    server = await lab.server()
    sites = [await lab.site(name, "port_restricted") for name in ("home", "office")]
    alice, bob = (Peer(site.host) for site in sites)
    join = (
        "--no-mdns",
        *await start_testnet(net, 20),
        "--ice-server",
        f"{server.turn()},{server.user},{server.password}",
    )
    await asyncio.gather(alice.start(*join), bob.start(*join))
    for one, other in ((alice, bob), (bob, alice)):
        (await one.cli("contact", "add", other.id, "friend")).check()
        await one.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)

    done = (await alice.cli("ping", "friend", "--count", "3", "--interval", "200ms", "--json")).check()
    events = done.json_lines()
    print(events[-1])
    assert [event["seq"] for event in events if event["event"] == "reply"] == [1, 2, 3]
    assert events[-1]["path"] == "direct"
    assert not (await bob.get("calls"))["calls"]
    assert not (await bob.get("history"))["calls"]

    await faults.partition([sites[0]], [sites[1]])
    relayed = await alice.cli("ping", "friend", "--count", "2", "--interval", "200ms", "--until-direct")
    assert relayed.returncode == 6, relayed
    assert "no direct path" in relayed.stderr
    assert [line.split("\t")[2] for line in relayed.stdout.splitlines()] == ["relay", "relay"]

    ping = await alice.start_cli("ping", "friend", "--interval", "200ms", "--until-direct", "--json")
    assert "relayed by" in relayed.stderr
    first = await ping.wait_for_event(event="reply", timeout=20)
    assert first["path"] == "relay"
    await faults.unite(sites[0])
    last = (await ping.wait(30)).check().json_lines()
    print(last[-2], last[-1])
    assert (last[-1]["reason"], last[-2]["path"], last[-2]["before"]) == ("direct", "direct", "relay")
    assert last[-1]["direct_ms"] > last[-1]["first_reply_ms"]

    seen = (await alice.cli("netcheck", "--json")).check().json()
    print(seen["ipv4"])
    assert (seen["ipv4"]["udp"], seen["ipv6"]["udp"]) == ("yes", "none")
    assert seen["ipv4"]["public"].startswith(sites[0].public_ipv4)


@pytest.mark.timeout(150)
async def test_a_hard_nat_is_named_explained_and_punched(lab: Lab) -> None:
    """Behind a symmetric NAT with sequential ports: netcheck says so in words of RFC 4787, doctor warns and
    says what helps, and a ping finds the direct way by prediction, as a call would.
    """
    nets = [await lab.public_host(f"net{number}", ipv6=False) for number in range(3)]
    join = await start_testnet(nets[0], 8)
    for net in nets[1:]:
        await start_testnet(net, 6, join=join)
    hard, easy = await lab.site("hard", "symmetric_sequential"), await lab.site("easy", "port_restricted")
    alice, bob = Peer(hard.host), Peer(easy.host)
    await asyncio.gather(*(peer.start("--no-mdns", *join) for peer in (alice, bob)))
    for one, other in ((alice, bob), (bob, alice)):
        (await one.cli("contact", "add", other.id, "friend")).check()
        await one.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)

    seen = await known_nat(alice)
    print(seen)
    assert (seen["udp"], seen["mapping"]) == ("yes", "address-and-port-dependent")
    assert seen["ports"] in ("sequential", "unknown")
    assert seen["hairpin"] == "no"
    assert (await known_nat(bob))["mapping"] == "endpoint-independent"
    doctor = await alice.cli("doctor", "--check", "udp", "--check", "nat", "--json")
    findings = {one["check"]: one for one in doctor.check().json()["findings"]}
    assert (findings["udp"]["status"], findings["nat"]["status"]) == ("OK", "WARN")
    assert "symmetric" in findings["nat"]["found"]

    done = await alice.cli("ping", "friend", "--until-direct", "--json")
    print(done.json_lines()[-1])
    assert done.returncode == 0, done
    assert done.json_lines()[-1]["path"] == "direct"


@pytest.mark.timeout(120)
async def test_where_udp_is_blocked_all_three_say_so(lab: Lab) -> None:
    """A node that is reached by TLS alone: netcheck says blocked and what carries, doctor warns and does not
    fail, and a ping both ways comes by a relay, so that `--until-direct` ends with 6.
    """
    net, gate = [await lab.public_host(name, ipv6=False) for name in ("net", "gate")]
    flags = ["--no-mdns", *await start_testnet(net, 8)]
    gateway = Peer(gate)
    await gateway.start(*flags, "--relay")
    sites = [await lab.site("ada", "udp_blocked"), await lab.site("bob", "port_restricted")]
    ada, bob = (Peer(site.host) for site in sites)
    flags += ["--bootstrap", f"tls:{gate.ipv4}:443"]
    await asyncio.gather(ada.start(*flags), bob.start(*flags))
    for one, other in ((ada, bob), (bob, ada)):
        (await one.cli("contact", "add", other.id, "friend")).check()
        await one.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)

    seen = (await ada.cli("netcheck", "--json")).check().json()
    print(seen)
    family = seen["ipv4"]
    assert (family["udp"], family["answered"], family["public"], family["mapping"]) == (
        "no",
        0,
        "",
        "unknown",
    )
    assert seen["fallback"] == {"state": "used", "via": f"tls:{gate.ipv4}:443"}
    doctor = (await ada.cli("doctor", "--check", "udp", "--json")).check().json()
    assert doctor["findings"][0]["status"] == "WARN"
    assert f"through {gate.ipv4}:443 by TLS" in doctor["findings"][0]["found"]
    for caller in (ada, bob):
        done = await caller.cli("ping", "friend", "--count", "2", "--until-direct", "--json")
        last = done.json_lines()[-1]
        print(last)
        assert (done.returncode, last["reason"], last["path"]) == (6, "not-direct", "relay")
        assert last["received"] > 0
    shown = (await ada.cli("ping", "friend", "--count", "1")).check().stderr
    assert "UDP is blocked here" in shown


async def known_nat(peer: Peer) -> dict[str, Any]:
    """What netcheck says of IPv4, once the mapping is known."""
    family: dict[str, Any] = {}
    async with asyncio.timeout(KNOWN_WITHIN):
        while family.get("mapping", "unknown") == "unknown":
            family = (await peer.cli("netcheck", "--json")).check().json()["ipv4"]
    return family
