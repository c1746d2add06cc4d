"""How soon: an offer whose servers are dead, the first media of direct calls, the end of hopeless ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from netsim.bench.connectivity.watched_call import WatchedCall
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.routes import can_punch
from netsim.site import Site
from netsim.stacks.attempt import IceServer
from netsim.stacks.make import make_meshcall
from netsim.stacks.meshcall import MeshcallStack

OFFER_MS, MEDIA_MS, FAILURE_S = 20.0, 120.0, 10.0
FAILURE_LIMIT_S = 70.0
"""Plain aiortc needs 64 s."""
DEAD = "5.1.250.2"
"""An address that nobody has."""
DEAD_SERVERS = (
    IceServer(f"stun:{DEAD}:3478"),
    IceServer("stun:stun.meshcall.example:3478"),
    IceServer(f"turn:{DEAD}:3478?transport=udp", "user", "secret"),
)
KINDS = ("open", "full_cone", "address_restricted", "port_restricted", "cgnat", "symmetric_random")
"""Networks between which plain ICE has direct paths, and one that reaches some of them."""
PAUSE_S = 0.3
"""Between calls: the end of one is no part of the next."""
FAILING = 4
"""Pairs that fail at a time: they wait, mostly."""


@dataclass(slots=True)
class Found:
    """What the calls brought."""

    offers: list[float] = field(default_factory=list)
    media: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    failures_near: list[float] = field(default_factory=list)
    failures_far: list[float] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


async def measure(options: Options) -> Report:
    """All in one lab."""
    found = Found()
    async with Lab() as lab:
        stack = await make_meshcall(lab)
        callers = [await lab.site(f"a{number}", kind) for number, kind in enumerate(KINDS)]
        callees = [await lab.site(f"b{number}", kind) for number, kind in enumerate(KINDS)]
        lost = [
            (
                await lab.site(f"x{number}", "symmetric_random"),
                await lab.site(f"y{number}", "symmetric_random"),
            )
            for number in range(FAILING)
        ]
        deaf = await lab.site("deaf")
        sites = [*callers, *callees, *(site for pair in lost for site in pair), deaf]
        slots = asyncio.Semaphore(4)

        async def start(site: Site) -> None:
            async with slots:
                await stack.start(site.host, DEAD_SERVERS if site is deaf else ())
                await stack.ready(site.host)

        await asyncio.gather(*map(start, sites))
        pairs = [(a, b) for a in callers for b in callees if can_punch(a.nat, b.nat)]
        for caller, callee in pairs:  # a daemon's first call loads the media libraries
            if caller is not callers[0] and callee is not callees[0]:
                continue
            await _media(stack, caller, callee, Found())
        for number in range(max(options.repeat, 5 if options.quick else len(pairs))):
            caller, callee = pairs[number * 7 % len(pairs)]
            await _media(stack, caller, callee, found)
            options.log(f"direct {number + 1}: media {1000 * found.media[-1:][0]:.0f} ms after the answer")
        await _media(stack, deaf, callees[0], Found())
        for _ in range(options.repeat):
            await _offer(stack, deaf, callees[0], found)
        rounds = max(1, -(-options.repeat // FAILING))
        for number in range(rounds):
            await asyncio.gather(*(_failure(stack, *pair, found) for pair in lost))
            options.log(f"no path {FAILING * (number + 1)}: known after {found.failures_near[-1:]} s")
    return Report(
        "Set-up",
        (
            Figure(
                "direct pairs: answer to first media",
                "ms",
                tuple(1000 * seconds for seconds in found.media),
                MEDIA_MS,
            ),
            Figure("direct pairs: call to first media", "ms", tuple(1000 * s for s in found.totals)),
            Figure("offer ready; STUN, DNS and relay dead", "ms", tuple(found.offers), OFFER_MS),
            Figure("no path: known to the caller", "s", tuple(found.failures_near), FAILURE_S, "max"),
            Figure("no path: known to the callee", "s", tuple(found.failures_far), FAILURE_S, "max"),
        ),
        notes=tuple(f"No path, in words: {reason}" for reason in sorted(found.reasons)),
        failures=tuple(found.problems),
    )


async def _media(stack: MeshcallStack, caller: Site, callee: Site, found: Found) -> None:
    """One direct call."""
    try:
        async with WatchedCall(stack, caller.host, callee.host) as call:
            found.media.append(await call.wait_for_media())
            began = await call.at_caller(1.0, event="looking-up")
            heard = await call.at_caller(1.0, event="media", kind="audio")
            found.totals.append((heard["at_ms"] - began["at_ms"]) / 1000)
        await asyncio.sleep(PAUSE_S)
    except LabError as error:
        found.problems.append(f"{caller.nat} calls {callee.nat}: {str(error).splitlines()[0]}")


async def _offer(stack: MeshcallStack, caller: Site, callee: Site, found: Found) -> None:
    """One call whose servers are dead."""
    try:
        async with WatchedCall(stack, caller.host, callee.host) as call:
            connected = await call.at_caller(30.0, event="connected")
            found.offers.append(float(connected["timeline"]["offer-ready"]))
        await asyncio.sleep(PAUSE_S)
    except LabError as error:
        found.problems.append(f"dead servers: {str(error).splitlines()[0]}")


async def _failure(stack: MeshcallStack, caller: Site, callee: Site, found: Found) -> None:
    """One call between networks that have no path: from the answer to the end, at both ends."""
    try:
        async with WatchedCall(stack, caller.host, callee.host) as call:
            near = await call.at_caller(FAILURE_LIMIT_S, event="ended")
            far = await call.at_callee(FAILURE_LIMIT_S, event="ended")
            answered = (await call.at_callee(1.0, event="connecting"))["at_ms"]
            if near["reason"] != "no-path":
                raise LabError(f"it ended with {near['reason']}")
            found.failures_near.append((near["at_ms"] - answered) / 1000)
            found.failures_far.append((far["at_ms"] - answered) / 1000)
            found.reasons.add(call.why().replace(stack.peer(callee.host).id[:7], "the callee"))
    except LabError as error:
        found.problems.append(f"no path: {str(error).splitlines()[0]}")
