"""Meetings for tests: daemons named like their hosts, in one room, and what is done to their networks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from netsim.host import Host
from netsim.lab import Lan
from netsim.meeting import Attendee, agree
from netsim.peer import Peer

ROOM = "tea"
AGREED_S = 3.0
"""Seconds from a whole network to one roster."""
FIVE = ("ann", "bob", "cleo", "dan", "eve")


async def start(hosts: Sequence[Host], *flags: str) -> list[Attendee]:
    """A daemon on each, named like its host."""
    attendees = [Attendee(Peer(host)) for host in hosts]
    await asyncio.gather(*(one.peer.start("--lan-only", "--name", one.name, *flags) for one in attendees))
    return attendees


async def gather(attendees: Sequence[Attendee], room: str = ROOM, source: str = "none") -> None:
    """The first makes the room, the others go in; all agree."""
    first, *rest = attendees
    await first.create(room, source=source)
    await asyncio.gather(*(one.join(room, source=source) for one in rest))
    await agree(attendees)


async def refusal(work: Awaitable[object]) -> str:
    """What the API says to what it refuses."""
    with pytest.raises(OSError) as caught:
        await work
    return str(caught.value)


def assert_clean_logs(attendees: Sequence[Attendee]) -> None:
    """No daemon tells of an unhandled exception."""
    for one in attendees:
        assert one.peer.daemon is not None
        for text in (one.peer.daemon.stderr(), one.peer.daemon.stdout()):
            for sign in ("Traceback", "never retrieved", "Unhandled", "was never awaited"):
                assert sign not in text, one.peer.daemon.tail(200)


async def set_link(host: Host, state: str) -> None:
    """The interface goes down, or up; its addresses stay, as a network manager has it."""
    lines = [f"link set {host.interface} {state}"]
    if state == "up":  # IPv6 addresses go with the link
        lines.append(f"addr replace {host.ipv6}/64 dev {host.interface} nodad")
    for line in lines:
        (await host.run(["ip", *line.split()])).check()


async def drop_multicast(lan: Lan) -> None:
    """As some switches and many access points do: nobody's mDNS leaves its machine."""
    groups = "ip daddr 224.0.0.251 drop; ip6 daddr ff02::fb drop;"
    rules = f"table inet filter {{ chain out {{ type filter hook output priority 0; {groups} }}; }}\n"
    for host in lan:
        (await host.run(["nft", "-f", "-"], input_text=rules)).check()
