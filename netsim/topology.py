"""A whole network as one value, made in code or read from TOML.

::

    [servers.stun]

    [carriers.isp]
    nat = { preset = "full_cone", hairpin = true }

    [sites.home]
    nat = "port_restricted"
    hosts = ["phone", "laptop"]
    behind = "isp"
    ipv6 = true

    [sites.mobile]
    nat = "symmetric_random"
    hosts = []
    guests = ["phone"]          # hosts of other sites that have an interface here too
    link = "weak-4g"            # or conditions: { delay_ms = 25, loss = 0.02 }

    [lans.hut]
    hosts = ["alice", "bob"]

Law 1: pure: a value says what is to be built; :meth:`netsim.lab.Lab.build` does it.
Law 2: what is not understood is refused, with the word and those that would be.
"""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar

from netsim.link import LADDER, LinkConditions
from netsim.nat import NAT, Filtering, Mapping, Outbound, Ports, Unsolicited, nat

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

_WORDS: Dictionary[str, type[Enum]] = {
    "mapping": Mapping,
    "filtering": Filtering,
    "ports": Ports,
    "unsolicited": Unsolicited,
    "outbound": Outbound,
    "ipv6": Filtering,
}


class BadTopology(ValueError):
    """The description is not one; the message says which word is wrong."""


@dataclass(frozen=True, slots=True)
class CarrierPlan:
    """What :meth:`netsim.lab.Lab.carrier` takes."""

    nat: NAT = field(default_factory=NAT)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What :meth:`netsim.lab.Lab.site` takes."""

    nat: NAT = field(default_factory=NAT)
    hosts: tuple[str, ...] | None = None
    behind: str | None = None
    ipv6: bool = False
    lan: str | None = None
    upnp: bool = False
    guests: tuple[str, ...] = ()
    link: LinkConditions | None = None


@dataclass(frozen=True, slots=True)
class LanPlan:
    """What :meth:`netsim.lab.Lab.lan` takes."""

    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything by name, in the order in which it is built."""

    servers: tuple[str, ...] = ()
    carriers: Dictionary[str, CarrierPlan] = field(default_factory=dict)
    sites: Dictionary[str, SitePlan] = field(default_factory=dict)
    lans: Dictionary[str, LanPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, site in self.sites.items():
            if site.behind is not None and site.behind not in self.carriers:
                raise BadTopology(f"sites.{name}.behind: no carrier is called {site.behind!r}")


def parse_topology(data: Dictionary[str, Any]) -> Topology:
    """A topology from TOML's tables. Raises BadTopology, Impossible."""
    kinds = ("servers", "carriers", "sites", "lans")
    _check("topology", data, kinds)
    for kind in kinds:
        if not isinstance(data.get(kind, {}), dict):
            raise BadTopology(f"{kind} is a table, not {data[kind]!r}")
    for name, options in data.get("servers", {}).items():
        _check(f"servers.{name}", options, ())
    return Topology(
        tuple(data.get("servers", {})),
        {name: _plan(CarrierPlan, f"carriers.{name}", t) for name, t in data.get("carriers", {}).items()},
        {name: _plan(SitePlan, f"sites.{name}", table) for name, table in data.get("sites", {}).items()},
        {name: _plan(LanPlan, f"lans.{name}", table) for name, table in data.get("lans", {}).items()},
    )


def parse_nat(value: str | Dictionary[str, Any], where: str = "nat") -> NAT:
    """``"full_cone"``, or a table of a preset and the words to change. Raises BadTopology, Impossible."""
    if isinstance(value, str):
        return nat(value)
    names = [item.name for item in fields(NAT)]
    _check(where, value, ("preset", *names))
    changes: dict[str, Any] = {}
    for name, word in value.items():
        if name == "carrier":
            changes[name] = parse_nat(word, f"{where}.carrier")
        elif name in _WORDS:
            changes[name] = _word(_WORDS[name], word, f"{where}.{name}")
        elif name == "port_range":
            changes[name] = tuple(word)
        elif name != "preset":
            changes[name] = word
    return nat(value.get("preset", "port_restricted")).but(**changes)


def parse_link(value: str | Dictionary[str, Any], where: str = "link") -> LinkConditions:
    """``"weak-4g"``, or a table of conditions. Raises BadTopology."""
    if isinstance(value, str):
        if value not in LADDER:
            raise BadTopology(f"{where}: no link is called {value!r}; there are {', '.join(LADDER)}")
        return LADDER[value]
    _check(where, value, tuple(item.name for item in fields(LinkConditions)))
    try:
        return LinkConditions(**value)
    except (TypeError, ValueError) as error:
        raise BadTopology(f"{where}: {error}") from None


def _word(kind: type[E], text: str, where: str) -> E:
    for member in kind:
        if text in {member.name, member.value}:
            return member
    raise BadTopology(f"{where}: {text!r} is none of {', '.join(member.name for member in kind)}")


def _plan(kind: type[T], where: str, table: Dictionary[str, Any]) -> T:
    _check(where, table, tuple(item.name for item in fields(kind)))  # type: ignore[arg-type]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    if "nat" in values:
        values["nat"] = parse_nat(table["nat"], f"{where}.nat")
    if "link" in values:
        values["link"] = parse_link(table["link"], f"{where}.link")
    return kind(**values)


def _check(where: str, table: Dictionary[str, Any], known: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise BadTopology(f"{where} is a table, not {table!r}")
    for word in table:
        if word not in known:
            raise BadTopology(f"{where} has no {word!r}; it has {', '.join(known) or 'no options'}")
