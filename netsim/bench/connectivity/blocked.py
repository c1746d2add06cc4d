"""Networks that let no UDP out: calls by ID, from a daemon that is up to the first media."""

from __future__ import annotations

import asyncio

from netsim.bench.connectivity.watched_call import WatchedCall
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.site import Site
from netsim.stacks.make import RELAYS, make_meshcall
from netsim.stacks.meshcall import MeshcallStack

GOAL_MS = 1500.0
PAUSE_S = 0.3


async def measure(options: Options) -> Report:
    """Both ends of a call, and one of them, behind such a network."""
    async with Lab() as lab:
        stack = await make_meshcall(lab, relays=RELAYS)
        blocked, deaf = await lab.site("b1", "udp_blocked"), await lab.site("b2", "udp_blocked")
        home = await lab.site("home")
        for site in (blocked, deaf, home):
            await stack.start(site.host, ())
        await asyncio.gather(*(stack.ready(site.host) for site in (blocked, deaf, home)))
        cases = {
            "from a network without UDP": (blocked, home),
            "to a network without UDP": (home, blocked),
            "between two networks without UDP": (blocked, deaf),
        }
        figures: list[Figure] = []
        problems: list[str] = []
        for name, (caller, callee) in cases.items():
            await _call(stack, caller, callee, [])  # a daemon's first call loads the media libraries
            times: list[float] = []
            for number in range(options.repeat):
                problem = await _call(stack, caller, callee, times)
                if problem:
                    problems.append(f"{name} {number + 1}: {problem}")
                    if len(problems) > number + 2:
                        break  # it does not work at all
            options.log(f"{name}: {times} ms")
            figures.append(Figure(f"{name}: call by ID to first media", "ms", tuple(times), GOAL_MS))
    return Report("Without UDP", tuple(figures), failures=tuple(problems))


async def _call(stack: MeshcallStack, caller: Site, callee: Site, times: list[float]) -> str:
    """Add how long it took, or say why it did not work."""
    try:
        async with WatchedCall(stack, caller.host, callee.host) as call:
            await call.wait_for_media()
            began = await call.at_caller(1.0, event="looking-up")
            near = await call.at_caller(1.0, event="media", kind="audio")
            far = await call.at_callee(1.0, event="media", kind="audio")
            times.append(float(max(near["at_ms"], far["at_ms"]) - began["at_ms"]))
        await asyncio.sleep(PAUSE_S)
    except LabError as error:
        return str(error).splitlines()[0]
    return ""
