"""A call begins on a relay and goes on directly: what is heard of the change.

Two networks that could reach each other directly are parted, so that the relay carries the call; a moment
after it was connected they are united.
"""

from __future__ import annotations

import asyncio
import time

from netsim import faults
from netsim.bench.connectivity.sound import write_tone
from netsim.bench.connectivity.watched_call import Harm, Recorder, Stretch, WatchedCall, harm
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.peer import start_testnet
from netsim.site import Site
from netsim.stacks.make import DHT_NODES
from netsim.stacks.meshcall import MeshcallStack
from netsim.stacks.relays import credentials, lend_relays

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
        net = await lab.public_host("net", ipv6=False)
        join = ("--no-mdns", *await start_testnet(net, DHT_NODES))
        tone = await asyncio.to_thread(write_tone, lab.sandbox.directory)
        stack = MeshcallStack(join, source=str(tone))
        servers = await credentials(await lend_relays(lab, join, 1))
        home, office = await lab.site("home"), await lab.site("office")
        for site in (home, office):
            await stack.start(site.host, servers)
            await stack.ready(site.host)
        recorder = Recorder()
        await recorder.add(home.host, office.host)
        for number in range(options.repeat):
            try:
                found, seconds = await _one(stack, recorder, home, office)
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


async def _one(stack: MeshcallStack, recorder: Recorder, home: Site, office: Site) -> tuple[Harm, float]:
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
        return harm(recorder, home.host, office.host, part), changed["at_ms"] / 1000 - begin
