"""A call begins on a relay and goes on directly: what is heard of the change.

Two networks that could reach each other directly are parted, so that the relay carries the call; a moment
after it was connected they are united.
"""

from __future__ import annotations

import asyncio
import time

from netsim import faults
from netsim.bench.connectivity.sound import write_tone
from netsim.bench.connectivity.watched_call import WatchedCall
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.listening import Harm, Listener, Stretch, harm
from netsim.site import Site
from netsim.stacks.make import RELAYS, make_meshcall
from netsim.stacks.meshcall import MeshcallStack

GAP_MS = 60.0
PARTED_S = 1.0
"""From media to the moment that a direct path is there."""
LIMIT_S = 20.0
"""From then until it has to be used."""
AFTER_S = 1.0


async def measure(options: Options) -> Report:
    """Call after call in one lab."""
    harms: list[Harm] = []
    took: list[float] = []
    failures: list[str] = []
    async with Lab() as lab:
        tone = await asyncio.to_thread(write_tone, lab.sandbox.directory)
        stack = await make_meshcall(lab, relays=RELAYS, source=str(tone))
        home, office = await lab.site("home"), await lab.site("office")
        for site in (home, office):
            await stack.start(site.host, ())
            await stack.ready(site.host)
        listener = Listener()
        await listener.add(home.host, office.host)
        for number in range(options.repeat):
            try:
                found, seconds = await _one(stack, listener, home, office)
            except LabError as error:
                failures.append(f"relay to direct {number + 1}: {str(error).splitlines()[0]}")
                await faults.unite(home)
                continue
            harms.append(found)
            took.append(1000 * seconds)
            options.log(
                f"relay to direct {number + 1}: gap {found.gap_ms:.0f} ms, {found.lost} lost,"
                f" stall {found.stall_ms:.0f} ms, direct {seconds:.2f} s after it could be"
            )
    return Report(
        "Relay to direct",
        (
            Figure("relay to direct switch: audio gap", "ms", tuple(one.gap_ms for one in harms), GAP_MS),
            Figure("relay to direct switch: packets lost", "", tuple(float(h.lost) for h in harms), 0, "max"),
            Figure("direct, after it could be", "ms", tuple(took)),
            Figure("a sender's own longest pause meanwhile", "ms", tuple(one.stall_ms for one in harms)),
        ),
        failures=tuple(failures),
    )


async def _one(stack: MeshcallStack, listener: Listener, home: Site, office: Site) -> tuple[Harm, float]:
    await faults.partition([home], [office])
    async with WatchedCall(stack, home.host, office.host) as call:
        await call.wait_for_media()
        connected = await call.at_caller(5.0, event="connected")
        if connected["path"] != "relay":
            raise LabError(f"it began by {connected['path']}")
        await asyncio.sleep(PARTED_S)
        begin = time.time()
        await faults.unite(home)
        changed = await call.at_caller(LIMIT_S, event="path", path="direct")
        await asyncio.sleep(AFTER_S)
        part = Stretch(begin, begin, time.time())
        return harm(listener, home.host, office.host, part), changed["at_ms"] / 1000 - begin
