"""What is heard of a call while its network changes: four calls side by side, each with faults of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from netsim import faults
from netsim.bench.connectivity.sound import write_tone
from netsim.bench.connectivity.watched_call import WatchedCall
from netsim.bench.figure import Figure, Report
from netsim.bench.runner import Options
from netsim.errors import LabError
from netsim.host import Host
from netsim.lab import Lab
from netsim.listening import Harm, Listener, harm, stretch
from netsim.site import Site
from netsim.stacks.make import make_meshcall
from netsim.stacks.meshcall import MeshcallStack
from netsim.stacks.relays import busiest

QUIET_S = 6.0
"""After a fault: as long as a call may need to be whole again, and then some."""
CUT_S = 10.0
JOIN_S = 3.0
RELAYS = 3
GAP_P50_MS, GAP_MAX_MS = 1500.0, 4000.0
RELAY_GAP_MS = 3000.0
HEAL_MS = 1000.0

Act = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Series:
    """One call and what it went through."""

    name: str
    caller: Host
    callee: Host
    harms: list[Harm] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    calls: int = 0
    """Calls that were made; more than one: a fault ended one."""


class Bench:
    """The lab with its daemons."""

    def __init__(self, lab: Lab, options: Options) -> None:
        self.lab = lab
        self.options = options
        self.listener = Listener()
        self.stack: MeshcallStack

    async def build(self) -> None:
        """The DHT and those who lend. Raises LabError."""
        tone = await asyncio.to_thread(write_tone, self.lab.sandbox.directory)
        self.stack = await make_meshcall(self.lab, relays=RELAYS, source=str(tone))

    async def series(self, name: str, one: Site, other: Site) -> Series:
        """Start a pair of daemons. Raises LabError."""
        for host in (one.host, other.host):
            await self.stack.start(host, ())
        await asyncio.gather(*(self.stack.ready(host) for host in (one.host, other.host)))
        await self.listener.add(one.host, other.host)
        return Series(name, one.host, other.host)

    async def suffer(self, series: Series, acts: Callable[[int], Act], repeat: int, quiet: float) -> None:
        """Keep a call up and do ``acts(n)`` to its network, ``repeat`` times."""
        call: WatchedCall | None = None
        try:
            for number in range(repeat):
                try:
                    if call is None or call.over:
                        call = await self._call_again(series, call)
                    part = await stretch(acts(number), quiet)
                    found = harm(self.listener, series.caller, series.callee, part)
                    if call.over:
                        raise LabError(f"the call ended: {call.why()}")
                except LabError as error:
                    series.failures.append(f"{series.name} {number + 1}: {str(error).splitlines()[0]}")
                    continue
                series.harms.append(found)
                self.options.log(
                    f"{series.name} {number + 1}: gap {found.gap_ms:.0f} ms,"
                    f" back after {found.back_ms:.0f} ms, {found.lost} lost, stall {found.stall_ms:.0f} ms"
                )
        finally:
            if call is not None:
                await call.hang_up()

    async def _call_again(self, series: Series, old: WatchedCall | None) -> WatchedCall:
        if old is not None:
            await old.hang_up()
        series.calls += 1
        call = WatchedCall(self.stack, series.caller, series.callee)
        await call.dial()
        try:
            await call.wait_for_media()
        except LabError:
            await call.hang_up()
            raise
        await asyncio.sleep(1.5)
        return call

    async def relay_dies(self) -> None:
        """Kill the busiest relay; it starts again after the stretch, before the next one."""
        dead = [relay for relay in self.stack.relays if not relay.running]
        for relay in dead:
            await relay.start()
        if dead:
            await asyncio.sleep(JOIN_S)  # what a node does to join is more than a call's sound
        await (await busiest(self.stack.relays)).kill()


async def measure(options: Options) -> Report:
    """All series in one lab."""
    async with Lab() as lab:
        bench = Bench(lab, options)
        await bench.build()
        home, office = await lab.site("r-home"), await lab.site("r-office")
        mobile = await lab.site("r-mobile", "cgnat", hosts=[])
        wan, wan_office = await lab.site("w-home"), await lab.site("w-office")
        nat = await lab.site("n-home", "symmetric_random")
        nat_office = await lab.site("n-office", "symmetric_random")
        cut, cut_office = await lab.site("c-home"), await lab.site("c-office")
        roaming = await bench.series("roam", home, office)
        address = await bench.series("WAN address", wan, wan_office)
        reboot = await bench.series("NAT reboot on relay", nat, nat_office)
        cutting = await bench.series("10 s cut", cut, cut_office)
        death = Series("relay killed", reboot.caller, reboot.callee)

        def roam(number: int) -> Act:
            return lambda: faults.roam(roaming.caller, home if number % 2 else mobile)

        def cut_for_long(_: int) -> Act:
            async def act() -> None:
                await faults.cut(cut)
                await asyncio.sleep(CUT_S)
                await faults.heal(cut)

            return act

        async def relayed() -> None:
            await bench.suffer(reboot, lambda _: lambda: faults.reboot_nat(nat), options.repeat, QUIET_S)
            await bench.suffer(death, lambda _: bench.relay_dies, options.repeat, QUIET_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(bench.suffer(roaming, roam, options.repeat, QUIET_S))
            group.create_task(
                bench.suffer(
                    address, lambda _: lambda: faults.change_wan_address(wan), options.repeat, QUIET_S
                )
            )
            group.create_task(relayed())
            group.create_task(bench.suffer(cutting, cut_for_long, max(3, options.repeat // 3), 3.0))
    return make_report(roaming, address, reboot, death, cutting)


def make_report(roaming: Series, address: Series, reboot: Series, death: Series, cutting: Series) -> Report:
    """Figures of all series."""
    figures: list[Figure] = []
    names = {
        "roam to another uplink": roaming,
        "WAN address change": address,
        "NAT reboot on relay": reboot,
    }
    for name, series in names.items():
        gaps = tuple(found.gap_ms for found in series.harms)
        figures.append(Figure(f"{name}: audio gap", "ms", gaps, GAP_P50_MS))
        figures.append(Figure(f"{name}: audio gap, worst", "ms", gaps, GAP_MAX_MS, "max"))
    gaps = tuple(found.gap_ms for found in death.harms)
    figures.append(Figure("relay killed: back on another", "ms", gaps, RELAY_GAP_MS, "max"))
    back = tuple(found.back_ms for found in cutting.harms)
    figures.append(Figure("10 s cut: sound again after healing", "ms", back, HEAL_MS, "max"))
    stalls = tuple(f.stall_ms for series in (*names.values(), death, cutting) for f in series.harms)
    figures.append(Figure("a sender's own longest pause meanwhile", "ms", stalls))
    failures = tuple(line for series in (*names.values(), death, cutting) for line in series.failures)
    return Report("Calls whose network changes", tuple(figures), failures=failures)
