"""Relays that plain daemons lend: found through the DHT, used by calls that have no other path, replaced."""

from __future__ import annotations

import asyncio
import json

import pytest

from netsim.lab import Lab
from netsim.peer import Peer, start_testnet

ANSWERS = ("--auto-answer", "anyone", "--source", "testsrc:880")
SECONDS = 10
BACK_WITHIN = 3.0
"""Seconds from a relay's death until sound is heard again (pictures wait for a key frame)."""


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


async def busiest(peers: list[Peer]) -> Peer:
    """The one that relays most now."""

    async def relayed() -> list[int]:
        return [(await peer.get("status"))["relay"]["to_clients"] for peer in peers]

    before = await relayed()
    await asyncio.sleep(0.5)
    moved = [now - then for then, now in zip(before, await relayed(), strict=True)]
    print(f"octets relayed in half a second: {moved}")
    return peers[moved.index(max(moved))]


@pytest.mark.timeout(150)
async def test_calls_by_id_through_relays_that_peers_lend(lab: Lab) -> None:
    """No server is configured: two hosts behind symmetric NATs see and hear each other all the same.

    The relay that carries the call is killed: it goes on over the other one, which it has already.
    """
    join = await start_testnet(await lab.public_host("dht", ipv6=False), 12)
    peers = await lenders(lab, join, 2)
    alice, bob = await pair(lab, join, 2)
    call = await alice.start_cli("call", bob.id, "--duration", str(SECONDS), "--json")
    connected = await call.wait_for_event(event="connected", timeout=20)
    await asyncio.sleep(2)
    carrier = await busiest(peers)
    assert carrier.daemon is not None
    await carrier.daemon.kill()
    done = await call.wait(40)
    assert done.returncode == 0, call.tail()
    ended = call.json_lines()[-1]
    print(json.dumps(ended))
    assert connected["path"] == ended["path"] == "relay"
    assert ended["reason"] == "hangup"
    assert ended["received"]["audio_seconds"] > ended["sent"]["audio_seconds"] - BACK_WITHIN
    assert ended["received"]["video_frames"] > 15
    other = next(peer for peer in peers if peer is not carrier)
    assert (await other.get("status"))["relay"]["to_clients"] > 100_000
