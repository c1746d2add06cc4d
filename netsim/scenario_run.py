"""Carries out a scenario on a lab, and tells of each step whether it went as expected.

Law 1: whether media flows is read from the hosts' interfaces, which know nothing of the program that calls.
Law 2: an expectation with a gap must fail; when it is met, the scenario fails, so that gaps leave the files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from netsim import faults
from netsim import verbs as v
from netsim.clock import WrongClock
from netsim.errors import LabError
from netsim.grid import differences
from netsim.host import Host
from netsim.lab import Lab
from netsim.listening import Listener, Stretch, harm
from netsim.matrix import Plan, run_matrix
from netsim.recording import record_all
from netsim.routes import expected_routes
from netsim.scenario import GridPlan, Scenario
from netsim.scenario_report import ScenarioResult, StepResult
from netsim.servers import TLS_PORT, TurnServer
from netsim.site import Site
from netsim.stacks.attempt import IceServer, LiveCall, Route, Stack
from netsim.stacks.make import ice_servers, make_stack, needs_server, start_program
from netsim.stacks.meshcall import MeshcallStack
from netsim.stacks.relays import busiest
from netsim.topology import parse_link

Log = Callable[[str], None]

WINDOW_S = 1.0
"""How long packets are counted to see whether media flows."""
MEDIA_RATE = 25
"""Packets per second that only media makes: sound alone is 50, checks and rendezvous are a few."""


SETTLE_S = 0.5
"""How long a route is looked at before it counts."""


class Unexpected(Exception):
    """A step did not go as it says; the message tells what happened instead."""


async def run_scenario(
    scenario: Scenario, log: Log, *, keep: Path | None = None, pcap: Path | None = None
) -> ScenarioResult:
    """Build the lab and carry out every step until one fails; ``log`` is told of each. Raises LabError.

    ``keep``: the folder where logs and files of all programs stay; ``pcap``: the one for a recording of each
    host and router.
    """
    if scenario.grid is not None:
        return await _run_grid(scenario, scenario.grid, log, keep, pcap)
    results: list[StepResult] = []
    async with Lab(directory=keep) as lab:
        world = await World.build(lab, scenario, pcap)
        for step in scenario.steps:
            result = await world.carry_out(step)
            results.append(result)
            log(str(result))
            if result.problem:
                break
        await world.close()
    return ScenarioResult(scenario, tuple(results))


async def _run_grid(
    scenario: Scenario, grid_plan: GridPlan, log: Log, keep: Path | None, pcap: Path | None
) -> ScenarioResult:
    kinds, stack, relay = grid_plan.kinds, scenario.stack, scenario.relay
    plan = Plan(kinds, None, stack, relay, grid_plan.repeat, keep=keep, pcap=pcap)
    grid = await run_matrix(plan, log)
    expected = expected_routes(kinds, relay=relay, plain=stack == "aiortc")
    results = tuple(StepResult("grid", grid.seconds, problem) for problem in differences(grid, expected))
    return ScenarioResult(scenario, results or (StepResult("grid", grid.seconds),), grid)


class World:
    """A scenario's network with its programs and calls."""

    def __init__(self, lab: Lab, scenario: Scenario) -> None:
        self._lab = lab
        self._scenario = scenario
        self._server: TurnServer | None = None
        self._stack: Stack
        self._clocks: dict[str, WrongClock] = {}
        self._calls: dict[tuple[str, str], LiveCall] = {}
        self._listener = Listener()
        self._changed = time.time()
        """When the last step that changed something began, Unix time."""

    @classmethod
    async def build(cls, lab: Lab, scenario: Scenario, pcap: Path | None = None) -> World:
        """Make the network and start the programs. Raises LabError."""
        world = cls(lab, scenario)
        await lab.build(scenario.topology)
        if lab.sites and needs_server(scenario.stack):
            world._server = await lab.server("relay")
        for name, offset in scenario.clocks.items():
            host = lab.host(name)
            clock = world._clocks[name] = WrongClock(host, offset)
            host.environment |= clock.env
            host.clock_offset = offset
        world._stack = await make_stack(scenario.stack, lab, relays=scenario.relays if scenario.relay else 0)
        if pcap is not None:
            await record_all(lab, pcap)
        await asyncio.gather(*(world._start(host) for host in scenario.hosts()))
        if any(isinstance(step, v.SoundStep) for step in scenario.steps):
            await world._listener.add(*(lab.host(name) for name in scenario.hosts()))
        return world

    async def close(self) -> None:
        """End every call."""
        await self._hang_up()
        self._stack.close()

    async def _start(self, name: str) -> None:
        host = self._lab.host(name)
        site = next((site for site in self._lab.sites.values() if name in site.hosts), None)
        servers = self._ice_servers(name, site)
        await start_program(self._stack, host, site, self._server, servers)

    def _ice_servers(self, host: str, site: Site | None) -> tuple[IceServer, ...]:
        server, relay = self._server, self._scenario.relay
        if server is None or site is None:
            return ()
        by = self._scenario.relay_by.get(host)
        if relay and by and by != "none":
            port = TLS_PORT if by == "tcp" else None  # networks without UDP often pass 443 alone
            return (IceServer(server.turn(by, port=port), server.user, server.password),)
        return ice_servers(server, site, relay=relay and by != "none")

    # --- steps ------------------------------------------------------------------------------------

    async def carry_out(self, step: v.Step) -> StepResult:
        """One step. Raises LabError when the lab itself fails."""
        begin = time.monotonic()
        what = v.describe(step)
        gap = step.gap if isinstance(step, v.Expectation) else ""
        if isinstance(step, v.CallStep) or not isinstance(step, v.Expectation):
            self._changed = time.time()
        try:
            detail = await self._do(step)
        except Unexpected as problem:
            seconds = time.monotonic() - begin
            if gap:
                return StepResult(what, seconds, gap=gap)
            return StepResult(what, seconds, str(problem))
        seconds = time.monotonic() - begin
        if gap:
            return StepResult(what, seconds, f"works, so this gap is closed and must leave the file: {gap}")
        return StepResult(what, seconds, detail=detail)

    async def _do(self, step: v.Step) -> str:
        match step:
            case v.CallStep():
                return await self._call(step)
            case v.MediaStep():
                return await self._wait_for_media(step.within, flows=True)
            case v.SilenceStep():
                return await self._wait_for_media(step.within, flows=False)
            case v.PathStep(expect=route, within=within):
                return await self._wait_for_route(route, within)
            case v.SoundStep():
                return self._judge_sound(step)
            case v.HangUpStep():
                await self._hang_up()
            case v.WaitStep(seconds=seconds):
                await asyncio.sleep(seconds)
            case v.RelayStep(state=state):
                return await self._do_to_relay(state)
            case v.PartitionStep(one=one, other=other):
                sites = self._lab.sites
                await faults.partition([sites[name] for name in one], [sites[name] for name in other])
            case v.UniteStep():
                await faults.unite(next(iter(self._lab.sites.values())))
            case v.SiteFault():
                return await self._do_to_site(step, self._lab.sites[step.site])
            case v.HostFault():
                await self._do_to_host(step, self._lab.host(step.host))
        return ""

    async def _do_to_relay(self, state: str) -> str:
        if self._server is not None:
            await {
                "stop": self._server.stop,
                "start": self._server.start,
                "restart": self._server.restart,
            }[state]()
            return ""
        assert isinstance(self._stack, MeshcallStack), "the other stack has a server"
        stopped = [relay for relay in self._stack.relays if not relay.running]
        if state != "start":
            relay = await busiest(self._stack.relays)
            await relay.kill()
            stopped.append(relay)
        if state != "stop":
            await asyncio.gather(*(relay.start() for relay in stopped))
        return ", ".join(relay.host.name for relay in stopped)

    async def _do_to_site(self, step: v.SiteFault, site: Site) -> str:
        match step:
            case v.CutStep():
                await faults.cut(site)
            case v.HealStep():
                await faults.heal(site)
            case v.RebootStep(seconds=seconds):
                await faults.reboot_nat(site, seconds=seconds)
            case v.ExpireStep():
                await faults.expire_mappings(site)
            case v.TimeoutStep(seconds=timeout):
                await faults.set_mapping_timeout(site, timeout)
            case v.AddressStep():
                return f"now {await faults.change_wan_address(site)}"
            case v.KindStep(kind=kind):
                await faults.set_nat(site, kind)
            case v.LinkStep(link=link):
                await site.set_link(parse_link(link))
            case _:
                raise AssertionError(f"no way to do {step!r}")
        return ""

    async def _do_to_host(self, step: v.HostFault, host: Host) -> None:
        program = self._stack.program(host)
        match step:
            case v.RoamStep(to=to):
                await faults.roam(host, self._lab.sites[to])
            case v.FlapStep(seconds=seconds):
                await faults.flap(host, seconds=seconds)
            case v.DownStep():
                await faults.interface_down(host)
            case v.UpStep():
                await faults.interface_up(host)
            case v.KillStep():
                await program.kill()
            case v.PauseStep():
                await program.pause()
            case v.ResumeStep():
                await program.resume()
            case v.RestartStep():
                await program.kill()
                await self._start(host.name)
            case v.ClockStep(offset=offset):
                self._clocks[host.name].set(offset)
                host.clock_offset = offset
            case _:
                raise AssertionError(f"no way to do {step!r}")

    async def _call(self, step: v.CallStep) -> str:
        pair = step.caller, step.callee
        if pair in self._calls:  # it may be dead, or go on
            await self._calls.pop(pair).end()
        call = await self._stack.begin(*(self._lab.host(name) for name in pair))
        self._calls[pair] = call
        attempt = call.attempt
        if attempt.seconds is None:
            if step.expect in ("fail", "any"):
                return f"no media: {attempt.reason}"
            raise Unexpected(f"no media: {attempt.reason}")
        detail = f"{attempt.route}, media {attempt.seconds:.2f} s after the answer"
        if step.expect not in ("media", "any", attempt.route):
            raise Unexpected(f"{detail}; expected: {step.expect}")
        if attempt.seconds > step.within:
            raise Unexpected(f"{detail}, later than {step.within:g} s")
        return detail

    async def _hang_up(self) -> None:
        await asyncio.gather(*(call.end() for call in self._calls.values()))
        self._calls.clear()

    async def _wait_for_media(self, within: float, *, flows: bool) -> str:
        """Until media flows at every host that is in a call (or at none)."""
        hosts = [self._lab.host(name) for name in {name for pair in self._calls for name in pair}]
        if not hosts:
            raise LabError("there is no call in which media could flow; a step `call` comes first")
        begin = time.monotonic()
        while True:
            rates = dict(zip(hosts, await self._rates(hosts), strict=True))
            good = all((rate >= MEDIA_RATE) == flows for rate in rates.values())
            seconds = time.monotonic() - begin
            if good and seconds <= within + WINDOW_S:
                return ", ".join(f"{host.name} {rate:.0f}/s" for host, rate in rates.items())
            if seconds > within:
                seen = ", ".join(f"{host.name} gets {rate:.0f} packets/s" for host, rate in rates.items())
                raise Unexpected(seen)

    async def _wait_for_route(self, route: Route, within: float) -> str:
        """Until every call has this route, and a moment longer."""
        begin = time.monotonic()
        while True:
            routes = {pair: call.route for pair, call in self._calls.items()}
            if routes and set(routes.values()) == {route}:
                seconds = time.monotonic() - begin
                await asyncio.sleep(SETTLE_S)
                later = {call.route for call in self._calls.values()}
                if later != {route}:
                    raise Unexpected(f"it did not stay so: {', '.join(sorted(later))}")
                return f"after {seconds:.2f} s"
            if time.monotonic() - begin > within:
                raise Unexpected(
                    ", ".join(f"{a} to {b}: {now}" for (a, b), now in routes.items()) or "no call"
                )
            await asyncio.sleep(0.02)

    def _judge_sound(self, step: v.SoundStep) -> str:
        now = time.time()
        stretch = Stretch(self._changed, self._changed, now)
        found = []
        for one, other in self._calls:
            heard = harm(self._listener, self._lab.host(one), self._lab.host(other), stretch)
            text = f"{one} and {other}: a pause of {heard.gap_ms:.0f} ms, {heard.lost} lost"
            if heard.gap_ms > 1000 * step.pause or (step.lost is not None and heard.lost > step.lost):
                raise Unexpected(text)
            found.append(text)
        return "; ".join(found)

    async def _rates(self, hosts: list[Host]) -> list[float]:
        """Packets per second that arrive at each host, over a short window."""
        begin = time.monotonic()
        before = await asyncio.gather(*map(_arrived, hosts))
        await asyncio.sleep(WINDOW_S)
        after = await asyncio.gather(*map(_arrived, hosts))
        seconds = time.monotonic() - begin
        return [(now - then) / seconds for then, now in zip(before, after, strict=True)]


async def _arrived(host: Host) -> int:
    """Packets that came in at the host's interfaces so far (proc(5), /proc/net/dev)."""
    lines = (await host.run(["cat", "/proc/net/dev"])).check().stdout.splitlines()[2:]
    fields = {name.strip(): rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return sum(int(values[1]) for name, values in fields.items() if name != "lo")
