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
    gap = "calls do not move to another address yet"

Law: whatever is written either means something or is refused with its place and the reason.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from netsim.errors import LabError
from netsim.matrix import KINDS, StackName
from netsim.nat import nat
from netsim.topology import Topology, parse_link, parse_topology

SCENARIOS = Path(__file__).parent / "scenarios"
"""Where scenarios that come with the lab are."""

Seconds = Annotated[float, Meta(ge=0, le=600)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,13}$")]


class Expectation(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a step expects, and whether it is known that it does not come true."""

    gap: str = ""
    """Why the expectation is not met as things are. When it is met after all, the scenario fails: the gap is
    closed and must go from the file."""


class CallStep(Expectation, tag_field="do", tag="call", rename={"caller": "from", "callee": "to"}):
    """``from`` calls ``to``; the call goes on until ``hang_up``."""

    caller: Name
    callee: Name
    expect: Literal["direct", "relay", "media", "fail", "any"] = "media"
    """Its route; ``media``: any that has media; ``any``: it may fail, too, and the result is told."""
    within: Seconds = 30.0
    """From the answer to media at both ends."""


class MediaStep(Expectation, tag_field="do", tag="media"):
    """Media must flow both ways in every call."""

    within: Seconds = 5.0


class SilenceStep(Expectation, tag_field="do", tag="silence"):
    """No media may flow any more."""

    within: Seconds = 5.0


class HangUpStep(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="hang_up"):
    """End every call."""


class WaitStep(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="wait"):
    """Let time pass."""

    seconds: Seconds


class SiteFault(Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that is done to a site's uplink or router."""

    site: Name


class CutStep(SiteFault, tag_field="do", tag="cut"):
    """Let everything vanish on the uplink."""


class HealStep(SiteFault, tag_field="do", tag="heal"):
    """The opposite."""


class RebootStep(SiteFault, tag_field="do", tag="reboot_nat"):
    """The router forgets everything."""

    seconds: Seconds = 0.0


class ExpireStep(SiteFault, tag_field="do", tag="expire_mappings"):
    """All mappings end, as if idle."""


class AddressStep(SiteFault, tag_field="do", tag="change_wan_address"):
    """The provider gives the router another address."""


class KindStep(SiteFault, tag_field="do", tag="set_nat"):
    """Another kind of NAT from now on."""

    kind: str


class LinkStep(SiteFault, tag_field="do", tag="link"):
    """Other conditions on the uplink, both ways."""

    link: str | dict[str, float]


class RoamStep(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="roam"):
    """A host leaves its network for another one."""

    host: Name
    to: Name


class FlapStep(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="flap"):
    """A host's interface goes down and up again."""

    host: Name
    seconds: Seconds = 0.5


class RelayStep(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="relay"):
    """The relay dies, or is there again."""

    state: Literal["stop", "start"]


Step = (
    CallStep
    | MediaStep
    | SilenceStep
    | HangUpStep
    | WaitStep
    | CutStep
    | HealStep
    | RebootStep
    | ExpireStep
    | AddressStep
    | KindStep
    | LinkStep
    | RoamStep
    | FlapStep
    | RelayStep
)


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
    """Whether hosts know of a relay."""
    relay_by: dict[Name, Literal["udp", "tcp", "tls", "none"]] = {}
    """How hosts reach it; those left out: by UDP, or by TLS where UDP does not pass."""
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
    for host in scenario.relay_by:
        if host not in hosts:
            raise ValueError(f"relay_by: no host is called {host}")
    for number, step in enumerate(scenario.steps, start=1):
        _check_step(scenario, step, f"step {number}", hosts)


def _check_step(scenario: Scenario, step: Step, where: str, hosts: list[str]) -> None:
    sites = scenario.topology.sites
    fields: dict[str, Any] = {name: getattr(step, name) for name in step.__struct_fields__}
    for field in ("caller", "callee", "host"):
        if field in fields and fields[field] not in hosts:
            raise ValueError(f"{where}: no host is called {fields[field]}")
    site = fields.get("site", fields.get("to"))
    if site is not None and site not in sites:
        raise ValueError(f"{where}: no site is called {site}")
    if isinstance(step, LinkStep):
        parse_link(step.link, f"{where}: link")
        if sites[step.site].link is None:
            raise ValueError(f"{where}: the uplink of {step.site} is a plain wire; give the site a link")
    if isinstance(step, KindStep):
        nat(step.kind)
    if isinstance(step, RelayStep) and not scenario.relay:
        raise ValueError(f"{where}: there is no relay; write relay = true")
