"""Guests that join and leave a room again and again: what stays behind at those who were there, and at them.

Two members, and four guests that take turns, each with a test picture and a tone. A stay ends when sound and
pictures of all came. One guest alone would begin more links in a minute than members take of one peer.

Law: what stays behind shows in the lowest of several looks. Garbage that is not collected yet and threads of
layers that happen to be sent are in some of them, and are not what stays.
"""

from __future__ import annotations

import asyncio

from netsim.bench.figure import Figure, Report, Table, number
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.meeting import Attendee, agree, all_media
from netsim.peer import Peer
from netsim.weights import Weight, weigh

STAYS, QUICK_STAYS = 500, 40
LOOKS = 20
REST_S = 12.0
"""Before a look: who has just left is closing its links, and looks for garbage a second later; whose layer
fell beside a guest mostly has it back within 8 s."""
WARM_SHARE = 0.2
"""Of the stays: what grows until then is what a daemon needs."""
MEMORY_GROWTH = 5.0
"""Percent."""
MEMBERS = ("one", "two")
GUESTS = ("ann", "bob", "cat", "dan")
ROOM = "soak"


async def measure(options: Options) -> Report:
    """One lab."""
    stays = QUICK_STAYS if options.quick else STAYS
    looks: list[tuple[int, list[Weight]]] = []
    failures: list[str] = []
    async with Lab() as lab:
        everybody = [Attendee(Peer(host)) for host in await lab.lan([*MEMBERS, *GUESTS])]
        members, guests = everybody[: len(MEMBERS)], everybody[len(MEMBERS) :]
        await asyncio.gather(*(one.peer.start("--lan-only") for one in everybody))
        await members[0].create(ROOM, source="testsrc")
        await members[1].join(ROOM, source="testsrc")
        await agree(members)
        for stay in range(1, stays + 1):
            guest = guests[stay % len(guests)]
            try:
                await guest.join(ROOM, source="testsrc")
                await all_media([*members, guest])
                await guest.do("leave")
                await agree(members)
            except (LabError, OSError) as error:
                failures.append(f"stay {stay}: {str(error).splitlines()[0]}")
                break
            if stay % max(1, stays // LOOKS) == 0:
                await asyncio.sleep(REST_S)
                looks.append((stay, [await weigh_one(one) for one in everybody]))
                options.log(f"{stay} of {stays} stays: {describe(looks[-1][1])}")
    return make_report(stays, looks, failures)


async def weigh_one(one: Attendee) -> Weight:
    """Its daemon. Raises LabError."""
    assert one.peer.daemon is not None, "it was started"
    return await weigh(one.peer.host, one.peer.daemon)


def describe(weights: list[Weight]) -> str:
    """In a line."""
    return ", ".join(f"{w.rss / 2**20:.0f} MB {w.fds} fds {w.threads} threads" for w in weights)


def make_report(stays: int, looks: list[tuple[int, list[Weight]]], failures: list[str]) -> Report:
    """Growth from the first third of the looks after warm-up to the last third, each by its lowest."""
    warm = [weights for stay, weights in looks if stay > WARM_SHARE * stays]
    third = len(warm) // 3
    memory: tuple[float, ...] = ()
    fds: tuple[float, ...] = ()
    threads: tuple[float, ...] = ()
    if third:
        first, last = _lowest(warm[:third]), _lowest(warm[-third:])
        memory = tuple(100 * (new[0] - old[0]) / old[0] for old, new in zip(first, last, strict=True))
        fds = tuple(float(new[1] - old[1]) for old, new in zip(first, last, strict=True))
        threads = tuple(float(new[2] - old[2]) for old, new in zip(first, last, strict=True))
    rows = [
        (str(stay), *(f"{number(w.rss / 2**20)} / {w.fds} / {w.threads}" for w in weights))
        for stay, weights in looks
    ]
    done = f"{looks[-1][0] if looks else 0} joins and leaves"
    return Report(
        "Soak",
        (
            Figure(f"{done}: growth of memory after warm-up", "%", memory, MEMORY_GROWTH, "max"),
            Figure(f"{done}: descriptors more", "", fds, 0, "max"),
            Figure(f"{done}: threads more", "", threads, 0, "max"),
        ),
        (Table("MB / descriptors / threads after stays", ("stays", *MEMBERS, *GUESTS), tuple(rows)),),
        failures=tuple(failures),
    )


def _lowest(looks: list[list[Weight]]) -> list[tuple[int, int, int]]:
    """Memory, descriptors and threads of each daemon."""
    return [
        (min(one.rss for one in own), min(one.fds for one in own), min(one.threads for one in own))
        for own in zip(*looks, strict=True)
    ]
