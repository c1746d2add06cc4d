"""NAT kinds as values, in the words of RFC 4787 (NAT behaviour for UDP) and RFC 6092 (IPv6 firewalls).

Law 1: a value that exists can be built. What can't be is refused here, with the reason.
Law 2: pure: a value knows nothing of the lab. :mod:`netsim.rules` turns it into a rule set.

"Cone" and "symmetric" are older words (RFC 3489); they name presets, because people know them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Mapping(Enum):
    """When a second destination sees the same external port as the first (RFC 4787 §4.1)."""

    NONE = "none"
    """Addresses are not translated."""

    EIM = "endpoint-independent"
    """Always. What ICE needs on one side at least."""

    ADM = "address-dependent"
    """When it has the same address."""

    APDM = "address-and-port-dependent"
    """When it has the same address and port. "Symmetric"."""


class Filtering(Enum):
    """From where datagrams may come in to an external port that is mapped (RFC 4787 §5)."""

    EIF = "endpoint-independent"
    """From anywhere. Without translation: there is no firewall."""

    ADF = "address-dependent"
    """From addresses that the host has sent to."""

    APDF = "address-and-port-dependent"
    """From addresses and ports that the host has sent to. Without translation: a stateful firewall."""


class Ports(Enum):
    """How the external port of a new mapping is chosen (RFC 4787 §4.2)."""

    PRESERVE = "preserve"
    """The host's own port where it is free."""

    SEQUENTIAL = "sequential"
    """One more than for the mapping before."""

    RANDOM = "random"
    """None that can be foretold."""

    RANGE = "range"
    """One of the subscriber's block of ports (RFC 7422), :attr:`NAT.port_range`."""


class Unsolicited(Enum):
    """What becomes of datagrams to the router's own address that belong to no mapping."""

    DROP = "drop"
    """They vanish."""

    ACCEPT = "accept"
    """The router itself answers them with ICMP, and keeps state for them as Linux does: a port of that state
    is taken, so the mapping that a host makes a moment later for the same remote gets another port. Hole
    punching then depends on who comes first."""


class Outbound(Enum):
    """What hosts behind the router may send out."""

    ALL = "all"
    WEB = "web"
    """TCP to the ports 80 and 443. UDP vanishes."""
    NOTHING = "nothing"
    """The router has no uplink."""


class Impossible(ValueError):
    """This combination can't be built; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NAT:
    """What a router does to the flows that pass it."""

    mapping: Mapping = Mapping.EIM
    filtering: Filtering = Filtering.APDF
    ports: Ports = Ports.PRESERVE
    hairpin: bool = False
    """Whether hosts behind it reach each other by their external addresses (RFC 4787 §6). The receiver then
    sees the sender's external address (REQ-9)."""
    timeout: int = 120
    """Seconds until an idle UDP mapping ends. RFC 4787 REQ-5 asks for 120; many home routers take 30."""
    unsolicited: Unsolicited = Unsolicited.DROP
    outbound: Outbound = Outbound.ALL
    ipv4: bool = True
    """Whether there is IPv4 behind the router at all."""
    ipv6: Filtering | None = None
    """The firewall for IPv6, which is never translated: APDF (RFC 6092), EIF (none), or None: no IPv6."""
    port_range: tuple[int, int] = (40000, 41023)
    """First and last external port of :attr:`Ports.RANGE`."""
    carrier: NAT | None = None
    """A carrier's NAT between this one and the internet."""

    def __post_init__(self) -> None:
        reason = self._why_impossible()
        if reason:
            raise Impossible(reason)

    def _why_impossible(self) -> str:
        translated = self.mapping is not Mapping.NONE
        first, last = self.port_range
        if not 1 <= self.timeout <= 86400:
            return f"a mapping lasts 1 to 86400 s, not {self.timeout}"
        if not 1024 <= first <= last <= 65535:
            return f"external ports lie between 1024 and 65535, not {first}-{last}"
        if self.ipv6 is Filtering.ADF:
            return "an IPv6 firewall is stateful (APDF) or absent (EIF); it keeps no table of addresses"
        if not translated and self.filtering is Filtering.ADF:
            return "a router without translation is a stateful firewall (APDF) or none (EIF)"
        if not translated and self.ports is not Ports.PRESERVE:
            return "a router that does not translate addresses leaves ports as they are"
        if not translated and self.hairpin:
            return "hosts have global addresses behind a router that does not translate: nothing to hairpin"
        if self.mapping in {Mapping.ADM, Mapping.APDM} and self.ports is Ports.PRESERVE:
            return "a mapping that depends on the destination changes the port, so it can't preserve it"
        if not self.ipv4 and self.ipv6 is None:
            return "a router without IPv4 and IPv6 has nothing to do"
        if not self.ipv4 and translated:
            return "IPv6 is not translated: without IPv4 the mapping is Mapping.NONE"
        if self.carrier is not None and self.carrier.carrier is not None:
            return "a carrier's NAT is not behind another carrier's"
        if self.carrier is not None and not translated:
            return "a host behind a carrier's NAT has no public address, so its own router must translate"
        if self.carrier is not None and self.carrier.mapping is Mapping.NONE:
            return "a carrier's NAT translates; leave the carrier out for a carrier that does not"
        return ""

    def with_ipv6(self) -> NAT:
        """This kind with IPv6 beside IPv4, if it has none: behind a firewall, or open if the kind is."""
        if self.ipv6 is not None:
            return self
        return self.but(ipv6=Filtering.APDF if self.translates else self.filtering)

    def but(self, **changes: object) -> NAT:
        """A copy with changes: ``nat("full_cone").but(hairpin=True)``. Raises Impossible."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        words = [f"{self.mapping.name}+{self.filtering.name}" if self.translates else self._untranslated()]
        words += [self.ports.value] if self.translates and self.ports is not Ports.PRESERVE else []
        words += ["hairpin"] if self.hairpin else []
        words += [f"{self.timeout} s"] if self.timeout != 120 else []
        words += ["unsolicited accepted"] if self.unsolicited is Unsolicited.ACCEPT else []
        words += [f"IPv6 {'open' if self.ipv6 is Filtering.EIF else 'firewall'}"] if self.ipv6 else []
        words += ["no IPv4"] if not self.ipv4 else []
        words += [f"out: {self.outbound.value}"] if self.outbound is not Outbound.ALL else []
        words += [f"behind {self.carrier}"] if self.carrier else []
        return ", ".join(words)

    def _untranslated(self) -> str:
        return "open" if self.filtering is Filtering.EIF else "firewall"

    @property
    def translates(self) -> bool:
        """Whether hosts have private addresses behind it."""
        return self.mapping is not Mapping.NONE


_home = NAT()

PRESETS: dict[str, NAT] = {
    "open": NAT(mapping=Mapping.NONE, filtering=Filtering.EIF),
    "full_cone": NAT(filtering=Filtering.EIF),
    "address_restricted": NAT(filtering=Filtering.ADF),
    "port_restricted": _home,
    "symmetric_sequential": NAT(mapping=Mapping.APDM, ports=Ports.SEQUENTIAL),
    "symmetric_random": NAT(mapping=Mapping.APDM, ports=Ports.RANDOM),
    "cgnat": NAT(carrier=_home),
    "udp_blocked": NAT(outbound=Outbound.WEB),
    "ipv6_firewall": NAT(mapping=Mapping.NONE, ipv4=False, ipv6=Filtering.APDF),
    "short_timeout": NAT(timeout=30),
    "lan": NAT(outbound=Outbound.NOTHING),
}
"""The kinds by name. Add your own with ``PRESETS["name"] = NAT(...)``."""


def nat(kind: str | NAT) -> NAT:
    """The preset of that name, or the value itself. Raises Impossible."""
    if isinstance(kind, NAT):
        return kind
    if kind not in PRESETS:
        raise Impossible(f"no kind of NAT is called {kind!r}; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[kind]
