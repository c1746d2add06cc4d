"""How long it takes to come into a room on a LAN: from a running daemon, and from one that is not started.

A room of five daemons on one bridge without any route out; a sixth comes in by the room's name, and has
joined when it has sound and pictures of all five. None compiles sources at its start, as none does that is
installed. The five ask each other for 360p at 15 a second: they all share the cores that in a meeting each
has for itself; how busy these are before that is told. How soon a running daemon sees that another machine
has made a room is measured beside it, and the same of python-zeroconf, which probes before it announces.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from netsim.bench.figure import Figure, Report
from netsim.bench.installed import bytecode
from netsim.bench.media.mesh import HEIGHT, RATE
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.host import Host
from netsim.lab import ROOT, Lab
from netsim.meeting import Attendee, agree, all_media, ask_for_tiles, has_media_from
from netsim.peer import EventLog, Peer

MEMBERS = 5
ROOM = "bench"
LAN_FLAGS = ("--lan-only",)
SOURCE = "testsrc"
WARM_MS, COLD_MS = 700.0, 2500.0
SEEN_MS = 50.0
JOIN_S = 20.0
GONE_S = 10.0
ZEROCONF_ROUNDS = 3
COLD_MAX = 5
SETTLED_S = 5.0
APART_S = 1.0
"""Between two rooms that are made: who makes and leaves many in a row announces them one by one."""
AGAIN_S = 2.0
"""Between two stays of the same guest: members take one link of a peer in 2 s, after the first six."""
BUSY_S = 2.0


@dataclass(slots=True)
class Times:
    """In ms."""

    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    zeroconf: list[float] = field(default_factory=list)
    busy: float = 0.0
    """Percent of this machine's cores, before anybody comes."""
    failures: list[str] = field(default_factory=list)


async def measure(options: Options) -> Report:
    """One lab for all."""
    times = Times()
    async with Lab() as lab:
        names = [f"m{number + 1}" for number in range(MEMBERS)]
        lan = await lab.lan([*names, "late", "cold"])
        for host in lan:
            host.environment |= bytecode()
        members = [Attendee(Peer(lan[name])) for name in names]
        late = Attendee(Peer(lan["late"]))
        await asyncio.gather(*(one.peer.start(*LAN_FLAGS) for one in (*members, late)))
        await measure_seen(times, members[0], late, options)
        first, *others = members
        await first.create(ROOM, source=SOURCE)
        for one in others:
            await one.join(ROOM, source=SOURCE)
        await agree(members)
        await all_media(members)
        await ask_for_tiles(members, HEIGHT, RATE)
        await asyncio.sleep(SETTLED_S)
        times.busy = await busy()
        for number in range(options.repeat):
            await attempt(times.warm, times.failures, "warm", number, options, join(members, late))
            await leave(members, late)
            await asyncio.sleep(AGAIN_S)
        for number in range(min(options.repeat, COLD_MAX)):
            host = lan["cold"]
            cold = Attendee(Peer(host, home=host.directory / f"home-{number}"))
            await cold.peer.init()
            await attempt(times.cold, times.failures, "cold", number, options, join_cold(members, cold))
            await leave(members, cold)
            assert cold.peer.daemon is not None, "it was started"
            await cold.peer.daemon.stop()
        await lab.stop_all()
        times.zeroconf += [await zeroconf_seen(lan["late"], lan["cold"]) for _ in range(ZEROCONF_ROUNDS)]
    return make_report(times)


async def busy() -> float:
    """Percent of all cores that whatever runs on this machine uses now."""
    before = cpu_ticks()
    await asyncio.sleep(BUSY_S)
    after = cpu_ticks()
    idle, total = (now - old for now, old in zip(after, before, strict=True))
    return 100 * (1 - idle / total)


def cpu_ticks() -> tuple[int, int]:
    """Of all cores since the start: idle, all (proc(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


async def attempt(
    values: list[float],
    failures: list[str],
    name: str,
    number: int,
    options: Options,
    work: Coroutine[None, None, float],
) -> None:
    """Keep what was measured, or why it was not."""
    try:
        values.append(await work)
    except (LabError, OSError) as error:
        failures.append(f"{name} {number + 1}: {str(error).splitlines()[0]}")
    else:
        options.log(f"{name} {number + 1}: {values[-1]:.0f} ms")


async def join(members: list[Attendee], late: Attendee) -> float:
    """From the request to media of all, in ms. Raises LabError, OSError."""
    ids = {one.peer.id for one in members}
    begin = time.monotonic()
    await late.join(ROOM, source=SOURCE)
    end = await late.wait_for("media of all", lambda view: has_media_from(view, ids), JOIN_S)
    return 1000 * (end - begin)


async def join_cold(members: list[Attendee], cold: Attendee) -> float:
    """The same, the start of the daemon included."""
    begin = time.monotonic()
    await cold.peer.start(*LAN_FLAGS)
    started = 1000 * (time.monotonic() - begin)
    return started + await join(members, cold)


async def leave(members: list[Attendee], late: Attendee) -> None:
    """Go, and wait until everybody has seen it. Raises LabError, OSError."""
    if late.room:
        await late.do("leave")
        await agree(members, GONE_S)


async def measure_seen(times: Times, maker: Attendee, watcher: Attendee, options: Options) -> None:
    """From the request that makes a room to the watcher's telling of it."""
    async with EventLog(watcher.peer) as log:
        for number in range(options.repeat):
            name = f"seen {number}"
            begin = time.time()
            await maker.create(name, source="none")
            try:
                end = await first_shown(log, name)
            except LabError as error:
                times.failures.append(f"{name}: {str(error).splitlines()[0]}")
            else:
                times.seen.append(1000 * (end - begin))
            await maker.do("leave")
            await asyncio.sleep(APART_S)


async def first_shown(log: EventLog, name: str, timeout: float = 5.0) -> float:
    """When the room of that name was told first, Unix time. Raises LabError."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for event in log.events:
            if event["event"] == "lan-rooms" and any(room["name"] == name for room in event["here"]):
                return float(event["at_ms"]) / 1000
        await asyncio.sleep(0.005)
    raise LabError(f"nobody told of the room {name!r}")


async def zeroconf_seen(one: Host, other: Host) -> float:
    """From the call that registers a service to the other's handler, in ms. Raises LabError."""
    command = [sys.executable, "-m", "netsim.bench.media.zeroconf_node"]
    ends: list[int] = []
    try:
        readers = []
        for _ in range(2):
            reader, writer = os.pipe()
            readers.append(reader)
            ends.append(writer)
        env = {"PYTHONPATH": str(ROOT)}
        browser = await other.popen([*command, "browse"], env=env, stdin=readers[0])
        await browser.wait_for_event(event="ready")
        announcer = await one.popen([*command, "announce", "bench", one.ipv4], env=env, stdin=readers[1])
        for reader in readers:
            os.close(reader)
        begin = await announcer.wait_for_event(event="announce")
        seen = await browser.wait_for_event(event="seen")
        return 1000 * float(seen["at"] - begin["at"])
    finally:
        for writer in ends:
            os.close(writer)


def make_report(times: Times) -> Report:
    """All of it."""
    return Report(
        "Joining a room on a LAN",
        (
            Figure(f"join a room of {MEMBERS}, to media from all", "ms", tuple(times.warm), WARM_MS),
            Figure("the same from a cold daemon", "ms", tuple(times.cold), COLD_MS),
            Figure("room seen by another machine", "ms", tuple(times.seen), SEEN_MS),
            Figure("python-zeroconf: service seen", "ms", tuple(times.zeroconf)),
        ),
        notes=(
            f"All daemons run on this machine, each of {MEMBERS + 1} sends a test picture and a tone; before"
            f" anybody comes its {os.cpu_count()} cores are {times.busy:.0f} % busy with it.",
        ),
        failures=tuple(times.failures),
    )
