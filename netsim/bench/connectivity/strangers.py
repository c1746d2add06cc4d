"""Packets that a stranger makes us send: an offer names addresses that are not the caller's.

The callee's own interfaces are recorded: before it answers nothing may go to what was named, after it a
bounded number of checks, and nothing ever to addresses that no stranger has business with.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import ROOT, Lab
from netsim.media_trace import datagrams
from netsim.peer import Peer
from netsim.recording import record
from netsim.site import Site
from netsim.stacks.make import start_dht

VICTIMS = tuple((f"5.1.{200 + number}.2", 7000 + number) for number in range(20))
"""Public addresses of others; that nobody is there makes no difference to who sends."""
FORBIDDEN = (
    ("127.0.0.1", 7100),
    ("224.0.0.251", 7104),
    ("239.255.255.250", 7105),
    ("169.254.169.254", 7101),
    ("255.255.255.255", 7102),
    ("0.0.0.0", 7103),  # noqa: S104 - to be refused
)
"""Loopback, multicast, the metadata of clouds, broadcast, nobody; at ports where we have no business."""
CHECKS_MAX = 12 * 7
PER_ADDRESS_MAX = 7
RING_S, AFTER_S = 3.0, 10.0
AT_A_TIME = 3


@dataclass(slots=True)
class Found:
    """Packets that were counted, a number for each call."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    per_address: list[float] = field(default_factory=list)
    forbidden: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def measure(options: Options) -> Report:
    """A stranger each call; several calls at a time, for they mostly wait."""
    found = Found()
    async with Lab() as lab:
        join = ["--no-mdns", *await start_dht(lab)]
        callees = [await lab.site(f"callee{number}") for number in range(AT_A_TIME)]
        callers = [await lab.site(f"stranger{number}", "full_cone") for number in range(AT_A_TIME)]
        peers = [Peer(site.host) for site in callees]
        await asyncio.gather(*(peer.start(*join, "--source", "none") for peer in peers))
        rounds = max(1, -(-options.repeat // (AT_A_TIME * 2)))
        for number in range(rounds):
            await asyncio.gather(
                *(
                    _one(peer, caller, join[-1], number, found)
                    for peer, caller in zip(peers, callers, strict=True)
                )
            )
            options.log(f"strangers, round {number + 1} of {rounds}: {found.after[-AT_A_TIME:]} packets")
    return Report(
        "Strangers",
        (
            Figure(
                "to addresses a stranger named: before the answer", "packets", tuple(found.before), 0, "max"
            ),
            Figure("the same, after it", "packets", tuple(found.after), CHECKS_MAX, "max"),
            Figure("the same, to one address", "packets", tuple(found.per_address), PER_ADDRESS_MAX, "max"),
            Figure(
                "to loopback, multicast, metadata, broadcast", "packets", tuple(found.forbidden), 0, "max"
            ),
        ),
        notes=(f"Each offer names {len(VICTIMS)} addresses of others and {len(FORBIDDEN)} forbidden ones.",),
        failures=tuple(found.problems),
    )


async def _one(peer: Peer, caller: Site, bootstrap: str, number: int, found: Found) -> None:
    recording = await record(peer.host, peer.host.directory / f"stranger-{number}.pcapng")
    home = caller.host.directory / f"home-{number}"
    stranger = await caller.host.popen(
        [
            *(sys.executable, "-m", "netsim.bench.connectivity.stranger", home, peer.id),
            *(f"{address},{port}" for address, port in (*FORBIDDEN, *VICTIMS)),
            *("--", bootstrap),
        ],
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        await stranger.wait_for_line("ringing", timeout=40)
        await asyncio.sleep(RING_S)
        answered = time.time()
        (await peer.cli("answer", "--detach", "--source", "none")).check()
        await asyncio.sleep(AFTER_S)
    except LabError as error:
        found.problems.append(f"stranger: {str(error).splitlines()[0]}")
        return
    finally:
        await stranger.stop()
        await recording.stop()
    early: Counter[tuple[str, int]] = Counter()
    late: Counter[tuple[str, int]] = Counter()
    for one in datagrams(recording.frames()):
        place = one.destination, one.destination_port
        if place in VICTIMS or place in FORBIDDEN:
            (early if one.time < answered else late)[place] += 1
    found.before.append(early.total())
    found.after.append(sum(late[place] for place in VICTIMS))
    found.per_address.append(max(late[place] for place in VICTIMS))
    found.forbidden.append(sum(late[place] for place in FORBIDDEN))
