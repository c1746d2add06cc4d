"""Relays that plain daemons lend: found through the DHT, used by calls that have no other path, replaced."""

from __future__ import annotations

import asyncio
import json

import pytest

from netsim.lab import Lab
from netsim.peer import Peer, start_testnet

ANSWERS = ("--auto-answer", "anyone", "--source", "testsrc:880")
BACK_WITHIN = 3.0
"""Seconds from a relay's death until media flow again at both ends."""


async def lenders(lab: Lab, join: list[str], count: int) -> list[Peer]:
    """Public hosts whose daemons lend."""
    peers = [Peer(await lab.public_host(f"lender{number}", ipv6=False)) for number in range(count)]
    await asyncio.gather(*(peer.start("--relay", *join) for peer in peers))
    return peers


async def pair(lab: Lab, join: list[str], relays: int) -> tuple[Peer, Peer]:
    """Two daemons behind NATs that plain ICE can't cross, with relays ready."""
    sites = [await lab.site(name, "symmetric_random") for name in ("alice", "bob")]
    alice, bob = (Peer(next(iter(site.hosts.values()))) for site in sites)
    await asyncio.gather(alice.start(*join, "--source", "testsrc:440"), bob.start(*join, *ANSWERS))
    for peer in (alice, bob):
        await peer.wait_for_status("relays", lambda status: status["relays"] >= relays, timeout=30)
    return alice, bob


@pytest.mark.timeout(150)
async def test_a_call_by_id_through_a_relay_that_a_peer_lends(lab: Lab) -> None:
    """No server is configured: two hosts behind symmetric NATs see and hear each other all the same."""
    join = await start_testnet(await lab.public_host("dht", ipv6=False), 12)
    (lender,) = await lenders(lab, join, 1)
    alice, bob = await pair(lab, join, 1)
    call = await alice.start_cli("call", bob.id, "--duration", "3", "--json")
    connected = await call.wait_for_event(event="connected", timeout=20)
    status = await lender.get("status")
    done = await call.wait(30)
    assert done.returncode == 0, call.tail()
    ended = call.json_lines()[-1]
    print(json.dumps(ended))
    assert connected["path"] == ended["path"] == "relay"
    assert ended["received"]["audio_seconds"] > 1
    assert ended["received"]["video_frames"] > 10
    assert status["relay"]["allocations"] >= 1
