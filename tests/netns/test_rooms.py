"""Rooms of daemons on a switch without any route out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from netsim.errors import NeverHappened
from netsim.lab import Lab
from netsim.peer import Peer, start_testnet
from netsim.steps import nft_step

from .test_first_call import assert_clean_log, stop

TONES = (440, 550, 660, 770, 880)
POLL = 0.05
AGREED = 3.0
"""Seconds in which all members show the same list once the network is whole."""

View = dict[str, Any]


async def start(lab: Lab, count: int, *flags: str) -> list[Peer]:
    """Daemons with names and sources of their own, on one switch."""
    hosts = await lab.lan([f"host{number}" for number in range(count)])
    peers = [Peer(host) for host in hosts]
    await asyncio.gather(*(start_one(peer, number, *flags) for number, peer in enumerate(peers)))
    return peers


async def start_one(peer: Peer, number: int, *flags: str) -> None:
    """One of them."""
    await peer.start("--lan-only", "--name", f"n{number}", "--source", f"testsrc:{TONES[number]}", *flags)


async def room_of(peer: Peer, name: str = "-") -> View:
    """The room as a member shows it."""
    view: View = await peer.get(f"rooms/{name}")
    return view


async def wait_for(peer: Peer, what: str, test: Callable[[View], bool], timeout: float = 20.0) -> float:
    """Until ``test`` accepts the member's room; how long it took, in seconds."""
    began = time.monotonic()
    view: View = {}
    while time.monotonic() < began + timeout:
        try:
            view = await room_of(peer)
        except OSError:
            view = {"members": []}
        if test(view):
            return time.monotonic() - began
        await asyncio.sleep(POLL)
    logs = peer.daemon.tail() if peer.daemon else ""
    raise NeverHappened(f"{peer.host.name} did not get to: {what}; its room: {view}", logs)


def here(view: View) -> list[str]:
    """The names of who is here."""
    return sorted(member["name"] for member in view["members"] if member["state"] != "lost")


def sees(*names: str) -> Callable[[View], bool]:
    """Whether these are here, and nobody else."""
    return lambda view: here(view) == sorted(names)


def hears_all(view: View) -> bool:
    """Whether sound and pictures come from everybody else."""
    others = [member for member in view["members"] if not member["me"]]
    return bool(others) and all(
        one["state"] == "here" and one["received"]["video_frames"] and one["received"]["audio_seconds"]
        for one in others
    )


async def agree(peers: Sequence[Peer], *names: str, within: float = AGREED) -> None:
    """All show the same members soon."""
    await asyncio.gather(*(wait_for(peer, f"{names} here", sees(*names), within) for peer in peers))


async def join(peer: Peer, *words: str) -> View:
    """``meshcall room join``, to its end."""
    view: View = (await peer.cli("room", "join", *words, "--json")).check().json()
    return view


@pytest.mark.timeout(180)
async def test_a_room_on_a_lan(lab: Lab) -> None:
    """Made, listed, joined by name, by code and by link; one leaves, one is killed, one comes back."""
    first, second, third, fourth = peers = await start(lab, 4)
    made = (await first.cli("room", "create", "Tea time", "--json")).check().json()
    assert (made["state"], made["mine"], made["secret"]) == ("joined", True, False)
    listed = (await second.cli("room", "list", "--json")).check().json()
    assert [(one["name"], one["members"], one["joined"]) for one in listed["here"]] == [
        ("Tea time", 1, False)
    ]

    assert (await join(second, "tea TIME"))["id"] == made["id"]
    await agree((first, second), "n0", "n1")
    code = (await second.cli("room", "code")).check().stdout.strip()
    assert (await join(third, code))["name"] == "Tea time"
    link = (await third.cli("room", "invite")).check().stdout.strip()
    assert (await join(fourth, link))["id"] == made["id"]
    await agree(peers, "n0", "n1", "n2", "n3")
    for peer in peers:
        await wait_for(peer, "media from all", hears_all)
        view = await room_of(peer)
        assert {member["path"] for member in view["members"] if not member["me"]} == {"lan"}
        assert (await peer.cli("calls", "--json")).check().json()["calls"] == []
        assert (await peer.cli("history", "--json")).check().json()["calls"] == []

    (await third.cli("room", "hand")).check()
    await wait_for(first, "a raised hand", lambda view: any(m["hand"] for m in view["members"]))
    (await first.cli("room", "leave")).check()
    await agree(peers[1:], "n1", "n2", "n3")
    assert second.daemon is not None
    await second.daemon.kill()
    await agree(peers[2:], "n2", "n3", within=6)
    await start_one(second, 1)  # it was in the room when it was killed, so it is in it again
    await agree(peers[1:], "n1", "n2", "n3", within=15)
    await wait_for(second, "media from all", hears_all)
    for peer in peers[1:]:
        assert_clean_log(peer)
    await stop(*peers)


@pytest.mark.timeout(120)
async def test_where_multicast_does_not_get_far(lab: Lab) -> None:
    """A switch drops it, and carries the rest: mDNS answers who asks it at its address."""
    hosts = await lab.lan(["host0", "host1"])
    groups = "ip daddr 224.0.0.251 drop; ip6 daddr ff02::fb drop;"
    chain = f"chain in {{ type filter hook prerouting priority -500; {groups} }}"
    for host in hosts:
        await host.sandbox.steps([nft_step(host.name, f"table inet switch {{\n  {chain}\n}}\n")])
    first, second = peers = [Peer(host) for host in hosts]
    await asyncio.gather(*(start_one(peer, number) for number, peer in enumerate(peers)))
    (await first.cli("room", "create", "Tea")).check()
    await asyncio.sleep(1)
    assert (await second.cli("room", "list", "--json")).check().json()["here"] == []
    assert (await join(second, "Tea", "--at", first.host.ipv4))["state"] == "joined"
    for peer in peers:
        await agree((peer,), "n0", "n1", within=10)
        await wait_for(peer, "media from all", hears_all)
        assert_clean_log(peer)
    await stop(*peers)


@pytest.mark.timeout(240)
async def test_members_on_a_lan_and_far_away_in_one_room(lab: Lab) -> None:
    """Two behind one router, one elsewhere on the internet: by the room's link, through the DHT."""
    flags = await start_testnet(await lab.public_host("server"), 8)
    await lab.site("home", hosts=["ann", "ben"])
    await lab.site("cem")
    ann, ben, cem = (Peer(lab.host(name)) for name in ("ann", "ben", "cem"))
    await asyncio.gather(
        *(
            peer.start("--name", f"n{number}", "--source", f"testsrc:{TONES[number]}", *flags)
            for number, peer in enumerate((ann, ben, cem))
        )
    )
    for peer in (ann, ben, cem):
        await peer.wait_for_status("in the DHT", lambda status: status["dht"]["watches"] > 0)
    (await ann.cli("room", "create", "Tea")).check()
    link = (await ann.cli("room", "invite")).check().stdout.strip()
    assert (await join(ben, "Tea"))["state"] == "joined"
    assert (await join(cem, link))["state"] == "joined"
    for peer in (ann, ben, cem):
        await agree((peer,), "n0", "n1", "n2", within=20)
        await wait_for(peer, "media from all", hears_all, 30)
    paths = {member["name"]: member["path"] for member in (await room_of(ann))["members"]}
    assert (paths["n1"], paths["n2"]) == ("lan", "direct")
    for peer in (ann, ben, cem):
        assert_clean_log(peer)
    await stop(ann, ben, cem)
