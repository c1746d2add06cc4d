"""Pairs that plain ICE can't join: how often they become direct, how soon, and what is heard until then.

Both ends call, in turns. Each network has several hosts, so that routers have forgotten the last call of a
pair when it calls again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from netsim.bench.connectivity.sound import write_tone
from netsim.bench.connectivity.watched_call import WatchedCall
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.host import Host
from netsim.lab import Lab
from netsim.nat import nat
from netsim.site import Site
from netsim.stacks.make import RELAYS, make_meshcall
from netsim.stacks.meshcall import MeshcallStack

CALLS = 50
"""Of each kind, however few are asked for otherwise; with ``--quick`` as many as other figures have."""
SHARE = 98.0
DIRECT_S = 3.0
AUDIO_MS = 300.0
LIMIT_S = 10.0
"""How long a direct path is waited for, to know by how much one was late."""
HOSTS = 5
"""In each network. A pair of them calls again after all the others."""
TIMEOUT_S = 30
"""Of mappings: what most routers have, and less than a round of all pairs takes."""
PAUSE_S = 0.5
KINDS = ("symmetric_sequential", "symmetric_random")


@dataclass(slots=True)
class Found:
    """Calls of one kind."""

    calls: int = 0
    direct: list[float] = field(default_factory=list)
    """Seconds from the answer to the direct path."""
    audio: list[float] = field(default_factory=list)
    """Milliseconds from the answer to the first sound at both ends."""
    problems: list[str] = field(default_factory=list)

    def share(self, within: float) -> float:
        """Percent of all calls that were direct by then."""
        return 100 * sum(seconds <= within for seconds in self.direct) / max(1, self.calls)


async def measure(options: Options) -> Report:
    """Both kinds in one lab, side by side."""
    found = {kind: Found() for kind in KINDS}
    wanted = options.repeat if options.quick else max(CALLS, options.repeat)
    async with Lab() as lab:
        tone = await asyncio.to_thread(write_tone, lab.sandbox.directory)
        stack = await make_meshcall(lab, relays=RELAYS, source=str(tone))
        networks: dict[str, tuple[Site, Site]] = {}
        for index, kind in enumerate(KINDS):
            one, other = [
                await lab.site(
                    f"{side}{index}",
                    nat(name).but(timeout=TIMEOUT_S),
                    hosts=[f"{side}{index}{number}" for number in range(HOSTS)],
                )
                for side, name in (("s", kind), ("p", "port_restricted"))
            ]
            networks[kind] = one, other
        slots = asyncio.Semaphore(4)

        async def start(host: Host) -> None:
            async with slots:
                await stack.start(host, ())
                await stack.ready(host)

        await asyncio.gather(*(start(host) for pair in networks.values() for site in pair for host in site))

        async def series(kind: str, one: Site, other: Site) -> None:
            near, far = list(one), list(other)
            for pair in zip(near, far, strict=True):  # a daemon's first call loads the media libraries
                await _call(stack, *pair, Found())
            while found[kind].calls < wanted:
                number = found[kind].calls
                first, second = near[number % HOSTS], far[(number + number // HOSTS + 1) % HOSTS]
                found[kind].calls += 1
                caller, callee = (first, second) if number % 2 else (second, first)
                await _call(stack, caller, callee, found[kind])
                last = found[kind].direct[-1:]
                options.log(f"{kind} {number + 1}: direct after {last} s, {len(found[kind].direct)} in all")

        await asyncio.gather(*(series(kind, *pair) for kind, pair in networks.items()))
    figures = []
    for kind, calls in found.items():
        within = DIRECT_S if kind == "symmetric_random" else LIMIT_S
        words = f" within {DIRECT_S:g} s" if kind == "symmetric_random" else ""
        figures += [
            Figure(
                f"{kind} x port_restricted: direct{words}, of {calls.calls}",
                "%",
                (calls.share(within),) if calls.calls else (),
                SHARE,
                at_least=True,
            ),
            Figure(f"{kind} x port_restricted: answer to direct path", "s", tuple(calls.direct)),
            Figure(
                f"{kind} x port_restricted: answer to first audio",
                "ms",
                tuple(calls.audio),
                AUDIO_MS if kind == "symmetric_random" else None,
            ),
        ]
    return Report(
        "Beyond ICE",
        tuple(figures),
        failures=tuple(line for one in found.values() for line in one.problems),
    )


async def _call(stack: MeshcallStack, caller: Host, callee: Host, found: Found) -> None:
    try:
        async with WatchedCall(stack, caller, callee) as call:
            found.audio.append(1000 * await call.wait_for_media())
            answered = (await call.at_callee(1.0, event="connecting"))["at_ms"]
            direct = await call.wait_for_direct(LIMIT_S)
            if direct is not None:
                found.direct.append(max(0.0, direct - answered / 1000))
    except LabError as error:
        found.problems.append(f"{caller.name} calls {callee.name}: {str(error).splitlines()[0]}")
    await asyncio.sleep(PAUSE_S)
