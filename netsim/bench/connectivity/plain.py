"""Plain aiortc in the same lab, for comparison: its descriptions travel outside of the network."""

from __future__ import annotations

import asyncio
import time

from netsim.bench.connectivity.grid import WITH_UDP
from netsim.bench.connectivity.setup import DEAD_SERVERS, FAILURE_LIMIT_S
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.lab import Lab
from netsim.matrix import KINDS, Plan, run_matrix
from netsim.stacks.aiortc import AiortcStack
from netsim.stacks.make import ice_servers

LIMIT_S = 8.0
"""After which a call counts as failed; aiortc itself needs 64 s."""
CONCURRENCY = 6
OFFERS = 3


async def measure(options: Options) -> Report:
    """The grid with and without coturn, offers whose STUN is dead, and one hopeless call."""
    counts: dict[str, Figure] = {}
    times: tuple[float, ...] = ()
    for relay in (False, True):
        plan = Plan(KINDS, WITH_UDP, "aiortc", relay=relay, concurrency=CONCURRENCY)
        grid = await run_matrix(plan, options.log, AiortcStack(limit=LIMIT_S))
        words = "with coturn" if relay else "without a relay"
        name = f"plain aiortc, {words}: direct among the 49 pairs"
        counts[name] = Figure(name, "pairs", (float(sum(grid.route(p) == "direct" for p in WITH_UDP)),))
        if not relay:
            times = tuple(1000 * t for pair in WITH_UDP if (t := grid.median(pair)) is not None)
    offers, failed = await _alone()
    return Report(
        "Plain aiortc",
        (
            *counts.values(),
            Figure(f"plain aiortc: answer to first media, {CONCURRENCY} calls at a time", "ms", times),
            Figure("plain aiortc: offer ready, STUN dead", "ms", offers),
            Figure("plain aiortc: no path, known after", "s", failed),
        ),
    )


async def _alone() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds to offers, and seconds to the failure of a call."""
    async with Lab() as lab:
        server = await lab.server()
        one, other = await lab.site("one", "symmetric_random"), await lab.site("other", "symmetric_random")
        stack = AiortcStack(limit=FAILURE_LIMIT_S + 10)
        await stack.start(one.host, DEAD_SERVERS[:1])
        offers = []
        for number in range(OFFERS):
            begin = time.monotonic()
            stack.tell(one.host, "offer", f"offer{number}", servers=stack.servers(one.host))
            await stack.event(one.host, f"offer{number}", "described", 20.0)
            offers.append(1000 * (time.monotonic() - begin))
        for site in (one, other):
            await stack.start(site.host, ice_servers(server, site, relay=False))
        begin = time.monotonic()
        call = await stack.begin(one.host, other.host)
        seconds = time.monotonic() - begin
        await call.end()
        stack.close()
        await asyncio.sleep(0)
    return tuple(offers), (seconds,)
