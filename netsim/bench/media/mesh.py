"""How many members of one room this machine carries, each of them a daemon that sends and receives all.

Every member sends a test picture and a tone, and asks every other for 360p at 15 a second. A queue that grows
anywhere shows as pictures or sound that came too few: what is counted was decoded.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise

from netsim.bench.figure import Figure, Report, Table, number
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.meeting import Attendee, agree, all_media, ask_for_tiles, others
from netsim.peer import Peer
from netsim.weights import Weight, weigh

MEMBERS = 8
HEIGHT, RATE = 360, 15
SECONDS, QUICK_SECONDS = 60.0, 20.0
WINDOW_S = 20.0
"""Sound is counted as it is decoded, up to 0.25 s at a time: in a shorter window that is too much of it."""
WARM_S = 8.0
PICTURES = 14.0
"""A second, of 15: the least that any member gets of any other in any window."""
SOUND = 98.0
"""Percent of the time, likewise."""
GROWTH = 5.0
"""Percent of memory from the first window to the last."""

Counts = dict[tuple[str, str], tuple[int, float]]
"""Pictures and seconds of sound by receiver and sender."""


@dataclass(slots=True)
class Look:
    """One after the other, which takes a busy machine a second or two."""

    at: dict[str, float]
    """When each receiver was looked at, monotonic seconds."""
    counts: Counts
    weights: list[Weight]


async def look(members: list[Attendee]) -> Look:
    """What all have got until now. Raises LabError, OSError."""
    counts: Counts = {}
    at = {}
    for one in members:
        asked = time.monotonic()
        view = await one.view()
        at[one.peer.id] = (asked + time.monotonic()) / 2
        for member in others(view):
            got = member["received"]
            counts[one.peer.id, member["peer_id"]] = got["video_frames"], got["audio_seconds"]
    weights = []
    for one in members:
        assert one.peer.daemon is not None, "it was started"
        weights.append(await weigh(one.peer.host, one.peer.daemon))
    return Look(at, counts, weights)


async def run(members_wanted: int, seconds: float) -> list[Look]:
    """A room of so many for so long. Raises LabError, OSError."""
    async with Lab() as lab:
        lan = await lab.lan([f"m{n + 1}" for n in range(members_wanted)])
        members = [Attendee(Peer(host)) for host in lan]
        await asyncio.gather(*(one.peer.start("--lan-only") for one in members))
        await members[0].create("mesh", source="testsrc")
        for one in members[1:]:
            await one.join("mesh", source="testsrc")
        await agree(members, 60.0)
        await ask_for_tiles(members, HEIGHT, RATE)
        await all_media(members, 60.0)
        await asyncio.sleep(WARM_S)
        looks = [await look(members)]
        for _ in range(round(seconds / WINDOW_S)):
            await asyncio.sleep(WINDOW_S)
            looks.append(await look(members))
    return looks


async def measure(options: Options) -> Report:
    """One room."""
    try:
        looks = await run(MEMBERS, QUICK_SECONDS if options.quick else SECONDS)
    except (LabError, OSError) as error:
        return Report("Mesh", (), failures=(f"{MEMBERS} members: {str(error).splitlines()[0]}",))
    return make_report(looks)


def _last(look: Look) -> float:
    """When it ended, and processor time was looked at."""
    return max(look.at.values())


def make_report(looks: list[Look]) -> Report:
    """Window by window."""
    pictures: list[float] = []
    sound: list[float] = []
    rows: list[tuple[str, ...]] = []
    for before, after in pairwise(looks):
        pairs = [
            ((now[0] - old[0]) / took, (now[1] - old[1]) / took)
            for pair, now in after.counts.items()
            for old in [before.counts.get(pair, (0, 0.0))]
            for took in [after.at[pair[0]] - before.at[pair[0]]]
        ]
        took = _last(after) - _last(before)
        pictures.append(min(rate for rate, _ in pairs))
        sound.append(100 * min(share for _, share in pairs))
        cpu = sum(weight.cpu for weight in after.weights) - sum(weight.cpu for weight in before.weights)
        rss = sum(weight.rss for weight in after.weights)
        rows.append(
            (
                number(_last(after) - _last(looks[0])),
                number(pictures[-1]),
                number(sum(rate for rate, _ in pairs) / len(pairs)),
                number(sound[-1]),
                number(100 * cpu / took),
                number(rss / 2**20),
            )
        )
    first, last = (sum(weight.rss for weight in looks[place].weights) for place in (1, -1))
    header = (
        "s", "pictures/s, worst pair", "mean", "% of sound, worst pair", "% of a core, all", "MB, all"
    )  # fmt: skip
    members = f"{MEMBERS} members at {HEIGHT}p{RATE} and sound"
    return Report(
        "Mesh",
        (
            Figure(f"{members}: pictures, worst pair", "/s", tuple(pictures), PICTURES, "min", at_least=True),
            Figure(f"{members}: sound, worst pair", "%", tuple(sound), SOUND, "min", at_least=True),
            Figure(f"{members}: growth of memory", "%", (100 * (last - first) / first,), GROWTH),
        ),
        (Table(f"{MEMBERS} members on this machine, window by window", header, tuple(rows)),),
    )
