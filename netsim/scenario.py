"""Scenario files (TOML): a network, who calls whom, what goes wrong, and what is expected. Pure.

::

    title = "The provider changes Alice's address in a call"
    relay = true

    [sites.home]
    nat = "port_restricted"
    hosts = ["alice"]

    [sites.office]
    nat = "full_cone"
    hosts = ["bob"]

    [[steps]]
    do = "call"
    from = "alice"
    to = "bob"
    expect = "direct"

    [[steps]]
    do = "change_wan_address"
    site = "home"

    [[steps]]
    do = "media"
    within = 5

Law: whatever is written either means something or is refused with its place and the reason.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from netsim.errors import LabError
from netsim.matrix import KINDS
from netsim.nat import nat
from netsim.stacks.make import StackName
from netsim.topology import Topology, parse_link, parse_topology
from netsim.verbs import ClockStep, KindStep, LinkStep, Name, Offset, RelayStep, RoamStep, Step

SCENARIOS = Path(__file__).parent / "scenarios"
"""Where scenarios that come with the lab are."""


class GridPlan(Struct, kw_only=True, forbid_unknown_fields=True):
    """Every kind calls every kind, in place of steps."""

    kinds: tuple[str, ...] = KINDS
    repeat: Annotated[int, Meta(ge=1, le=100)] = 1


class Scenario(Struct, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    title: str
    why: str = ""
    stack: StackName = "meshcall"
    relay: bool = False
    """Whether there is a relay: lent by peers (meshcall), or coturn, which hosts know of (aiortc)."""
    relays: Annotated[int, Meta(ge=1, le=4)] = 2
    """How many peers lend one."""
    relay_by: dict[Name, Literal["udp", "tcp", "tls", "none"]] = {}
    """How hosts reach it; those left out: by UDP, or by TLS where UDP does not pass."""
    clocks: dict[Name, Offset] = {}
    """Hosts whose programs have a time of day that is so many seconds fast."""
    steps: list[Step] = []
    grid: GridPlan | None = None
    topology: Topology = Topology()
    """The tables ``carriers``, ``sites`` and ``lans`` (:mod:`netsim.topology`)."""

    def hosts(self) -> list[str]:
        """Names of all hosts."""
        return [
            *(host for name in self.topology.sites for host in self.hosts_of(name)),
            *(host for lan in self.topology.lans.values() for host in lan.hosts),
        ]

    def hosts_of(self, site: str) -> tuple[str, ...]:
        """Names of the hosts that a site is made with."""
        hosts = self.topology.sites[site].hosts
        return (site,) if hosts is None else hosts


_TOPOLOGY = ("carriers", "sites", "lans")


def parse_scenario(text: str, name: str) -> Scenario:
    """The scenario in ``text``. Raises LabError, which names the place."""
    try:
        tables = tomllib.loads(text)
        topology = parse_topology({word: tables.pop(word) for word in _TOPOLOGY if word in tables})
        scenario = msgspec.convert(tables, Scenario)
        scenario.topology = topology
        _check(scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise LabError(f"{name}: {error}") from None
    return scenario


def load_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises LabError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path} can't be read: {error}") from None
    return parse_scenario(text, path.name)


def _check(scenario: Scenario) -> None:
    """What the types do not say. Raises ValueError."""
    if (scenario.grid is None) == (not scenario.steps):
        raise ValueError("a scenario has either steps or a grid")
    if scenario.grid is not None:
        for kind in scenario.grid.kinds:
            nat(kind)
    hosts = scenario.hosts()
    for table in ("relay_by", "clocks"):
        for host in getattr(scenario, table):
            if host not in hosts:
                raise ValueError(f"{table}: no host is called {host}")
    for number, step in enumerate(scenario.steps, start=1):
        _check_step(scenario, step, f"step {number}", hosts)


def _check_step(scenario: Scenario, step: Step, where: str, hosts: list[str]) -> None:
    sites = scenario.topology.sites
    fields: dict[str, Any] = {name: getattr(step, name) for name in step.__struct_fields__}
    for field in ("caller", "callee", "host"):
        if field in fields and fields[field] not in hosts:
            raise ValueError(f"{where}: no host is called {fields[field]}")
    if isinstance(step, RoamStep) and step.to not in sites:
        raise ValueError(f"{where}: no site is called {step.to}")
    named = [fields["site"]] if "site" in fields else []
    for site in (*named, *fields.get("one", ()), *fields.get("other", ())):
        if site not in sites and site not in scenario.topology.carriers:
            raise ValueError(f"{where}: no site and no carrier is called {site}")
    if isinstance(step, LinkStep):
        parse_link(step.link, f"{where}: link")
        if step.site not in sites or sites[step.site].link is None:
            raise ValueError(f"{where}: the uplink of {step.site} is a plain wire; give the site a link")
    if isinstance(step, KindStep):
        nat(step.kind)
    if isinstance(step, RelayStep) and not scenario.relay:
        raise ValueError(f"{where}: there is no relay; write relay = true")
    if isinstance(step, ClockStep) and step.host not in scenario.clocks:
        raise ValueError(f"{where}: {step.host} has the right clock; write clocks = {{ {step.host} = 0 }}")
