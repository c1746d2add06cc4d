"""Carries out a scenario on a lab, and tells of each step whether it went as expected.

Law 1: whether media flows is read from the hosts' interfaces, which know nothing of the program that calls.
Law 2: an expectation with a gap must fail; when it is met, the scenario fails, so that gaps leave the files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from netsim import faults
from netsim import scenario as s
from netsim.errors import LabError
from netsim.grid import Grid, differences
from netsim.host import Host
from netsim.lab import Lab
from netsim.matrix import Plan, expected_routes, ice_servers, joined, run_matrix
from netsim.nat import Outbound
from netsim.peer import start_testnet
from netsim.servers import TLS_PORT, TurnServer
from netsim.site import Site
from netsim.stacks.aiortc import AiortcStack
from netsim.stacks.attempt import IceServer, LiveCall, Stack
from netsim.stacks.meshcall import MeshcallStack
from netsim.topology import parse_link

DHT_NODES = 12
WINDOW_S = 1.0
"""How long packets are counted to see whether media flows."""
MEDIA_RATE = 25
"""Packets per second that only media makes: sound alone is 50, checks and rendezvous are a few."""


class Unexpected(Exception):
    """A step did not go as it says; the message tells what happened instead."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step went."""

    what: str
    seconds: float
    problem: str = ""
    """Why the scenario fails here; empty: it went as expected."""
    gap: str = ""
    """A known gap, if the expectation was not met because of it."""
    detail: str = ""

    def __str__(self) -> str:
        word = "FAIL" if self.problem else "gap " if self.gap else "ok  "
        about = self.problem or (f"known gap: {self.gap}" if self.gap else self.detail)
        return f"{word} {self.seconds:6.2f} s  {self.what}" + (f": {about}" if about else "")


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How a scenario went."""

    scenario: s.Scenario
    steps: tuple[StepResult, ...]
    grid: Grid | None = None

    @property
    def ok(self) -> bool:
        """Whether all went as expected."""
        return not any(step.problem for step in self.steps)


async def run_scenario(scenario: s.Scenario, log: Callable[[str], None]) -> ScenarioResult:
    """Build the lab and carry out every step until one fails; ``log`` is told of each. Raises LabError."""
    if scenario.grid is not None:
        return await _run_grid(scenario, scenario.grid, log)
    results: list[StepResult] = []
    async with Lab() as lab:
        world = await World.build(lab, scenario)
        for step in scenario.steps:
            result = await world.carry_out(step)
            results.append(result)
            log(str(result))
            if result.problem:
                break
        await world.close()
    return ScenarioResult(scenario, tuple(results))


async def _run_grid(scenario: s.Scenario, plan: s.GridPlan, log: Callable[[str], None]) -> ScenarioResult:
    grid = await run_matrix(Plan(tuple(plan.kinds), None, scenario.stack, scenario.relay, plan.repeat), log)
    out_of_band = scenario.stack == "aiortc"
    expected = expected_routes(plan.kinds, relay=scenario.relay, relay_when_blocked=out_of_band)
    problems = differences(grid, expected)
    results = tuple(StepResult("grid", grid.seconds, problem) for problem in problems)
    return ScenarioResult(scenario, results or (StepResult("grid", grid.seconds),), grid)


class World:
    """A scenario's network with its programs and calls."""

    def __init__(self, lab: Lab, scenario: s.Scenario) -> None:
        self._lab = lab
        self._scenario = scenario
        self._server: TurnServer | None = None
        self._stack: Stack
        self._calls: dict[tuple[str, str], LiveCall] = {}

    @classmethod
    async def build(cls, lab: Lab, scenario: s.Scenario) -> World:
        """Make the network and start the programs. Raises LabError."""
        world = cls(lab, scenario)
        await lab.build(scenario.topology)
        if lab.sites:
            world._server = await lab.server("relay")
        world._stack = await world._make_stack()
        await asyncio.gather(*(world._start(host) for host in scenario.hosts()))
        return world

    async def close(self) -> None:
        """End every call."""
        await self._hang_up()
        self._stack.close()

    async def _make_stack(self) -> Stack:
        if self._scenario.stack == "aiortc":
            return AiortcStack()
        if not self._lab.sites:
            return MeshcallStack(["--lan-only"])
        net = await self._lab.public_host("net", ipv6=False)
        return MeshcallStack(["--no-mdns", *await start_testnet(net, DHT_NODES)])

    async def _start(self, name: str) -> None:
        host = self._lab.host(name)
        if self._server is not None:
            host.environment["SSL_CERT_FILE"] = str(self._server.ca_file)
        await self._stack.start(host, self._ice_servers(name))
        site = next((site for site in self._lab.sites.values() if name in site.hosts), None)
        if isinstance(self._stack, MeshcallStack) and site and site.nat.outbound is Outbound.ALL:
            await joined(self._stack, host)

    def _ice_servers(self, host: str) -> tuple[IceServer, ...]:
        scenario, server = self._scenario, self._server
        for name in scenario.topology.sites:
            if host in scenario.hosts_of(name) and server is not None:
                by = scenario.relay_by.get(host)
                if scenario.relay and by and by != "none":
                    port = TLS_PORT if by == "tcp" else None  # networks without UDP often pass 443 alone
                    return (IceServer(server.turn(by, port=port), server.user, server.password),)
                return ice_servers(server, self._lab.sites[name], relay=scenario.relay and by != "none")
        return ()

    # --- steps ------------------------------------------------------------------------------------

    async def carry_out(self, step: s.Step) -> StepResult:
        """One step. Raises LabError when the lab itself fails."""
        begin = time.monotonic()
        what = describe(step)
        gap = step.gap if isinstance(step, s.Expectation) else ""
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

    async def _do(self, step: s.Step) -> str:
        match step:
            case s.CallStep():
                return await self._call(step)
            case s.MediaStep():
                return await self._wait_for_media(step.within, flows=True)
            case s.SilenceStep():
                return await self._wait_for_media(step.within, flows=False)
            case s.HangUpStep():
                await self._hang_up()
            case s.WaitStep(seconds=seconds):
                await asyncio.sleep(seconds)
            case s.RelayStep(state=state):
                assert self._server is not None, "a scenario with a relay has a server"
                await (self._server.stop() if state == "stop" else self._server.start())
            case s.RoamStep(host=host, to=to):
                await faults.roam(self._lab.host(host), self._lab.sites[to])
            case s.FlapStep(host=host, seconds=seconds):
                await faults.flap(self._lab.host(host), seconds=seconds)
            case _:
                return await self._fault(step, self._lab.sites[step.site])
        return ""

    async def _fault(self, step: s.SiteFault, site: Site) -> str:
        match step:
            case s.CutStep():
                await faults.cut(site)
            case s.HealStep():
                await faults.heal(site)
            case s.RebootStep(seconds=seconds):
                await faults.reboot_nat(site, seconds=seconds)
            case s.ExpireStep():
                await faults.expire_mappings(site)
            case s.AddressStep():
                return f"now {await faults.change_wan_address(site)}"
            case s.KindStep(kind=kind):
                await faults.set_nat(site, kind)
            case s.LinkStep(link=link):
                await site.set_link(parse_link(link))
            case _:
                raise AssertionError(f"no way to do {step!r}")
        return ""

    async def _call(self, step: s.CallStep) -> str:
        pair = step.caller, step.callee
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


def describe(step: s.Step) -> str:
    """A step in a few words."""
    match step:
        case s.CallStep():
            return f"{step.caller} calls {step.callee}"
        case s.MediaStep(within=within):
            return f"media flows within {within:g} s"
        case s.SilenceStep(within=within):
            return f"no media after {within:g} s"
        case s.RoamStep(host=host, to=to):
            return f"{host} roams to {to}"
        case s.FlapStep(host=host, seconds=seconds):
            return f"{host}'s interface is off for {seconds:g} s"
        case s.RelayStep(state=state):
            return f"{state} the relay"
        case s.WaitStep(seconds=seconds):
            return f"wait {seconds:g} s"
        case s.LinkStep(site=site, link=link):
            return f"link of {site}: {link}"
        case s.KindStep(site=site, kind=kind):
            return f"set_nat {site}: {kind}"
        case s.SiteFault(site=site):
            return f"{step.__struct_config__.tag} {site}"
        case _:
            return str(step.__struct_config__.tag).replace("_", " ")
