"""What netcheck says of the NATs of the lab, which others' tools have proved to be what they are called."""

from __future__ import annotations

import asyncio

import pytest

from netsim.lab import Lab
from netsim.nat import nat
from netsim.peer import Peer, start_testnet

EIM, APDM = "endpoint-independent", "address-and-port-dependent"


@pytest.mark.timeout(120)
async def test_netcheck_names_each_nat(lab: Lab) -> None:
    """Mapping, filtering and hairpinning; a relay that a peer lends asks from another port of its host."""
    nets = [await lab.public_host(f"net{number}", ipv6=False) for number in range(3)]
    join = await start_testnet(nets[0], 8)
    for net in nets[1:]:
        await start_testnet(net, 6, join=join)
    lender = Peer(await lab.public_host("lender", ipv6=False))
    await lender.start("--no-mdns", "--relay", *join)
    kinds = {
        "hairpin": nat("full_cone").but(hairpin=True),
        "cone": nat("full_cone"),
        "address": nat("address_restricted"),
        "port": nat("port_restricted"),
        "random": nat("symmetric_random"),
    }
    peers = {name: Peer((await lab.site(name, kind)).host) for name, kind in kinds.items()}
    await asyncio.gather(*(peer.start("--no-mdns", *join) for peer in peers.values()))
    for peer in peers.values():
        await peer.wait_for_status("a relay", lambda status: status["relays"] >= 1, timeout=30)
    seen = {}
    for name, peer in peers.items():
        seen[name] = (await peer.cli("netcheck", "--json")).check().json()["ipv4"]
        words = {key: seen[name][key] for key in ("mapping", "filtering", "ports", "hairpin")}
        print(f"{name:8} {words}")
    assert {name: one["mapping"] for name, one in seen.items()} == dict.fromkeys(peers, EIM) | {
        "random": APDM
    }
    for name in ("port", "random"):
        assert seen[name]["filtering"] == "address-and-port-dependent"
    for name in ("hairpin", "cone", "address"):
        assert seen[name]["filtering"] != "address-and-port-dependent"
    assert {name: one["hairpin"] for name, one in seen.items()} == dict.fromkeys(peers, "no") | {
        "hairpin": "yes"
    }
