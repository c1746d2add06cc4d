"""Why there is no path, in a sentence, with what to do about it. Pure.

Law 1: what is said is known: UDP is blocked here if nothing answers, and there if the peer knows no address
of its own that the internet reaches.
Law 2: a cause is a stable word; sentences may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from meshcall.address import is_lan
from meshcall.ice.candidate import Candidate
from meshcall.ice.nat import Ports
from meshcall.ice.network import Network

Cause = Literal[
    "no-address", "no-family", "not-chosen", "one-way",
    "udp-blocked", "udp-blocked-there", "udp-blocked-both", "nat",
]  # fmt: skip
"""no-address: the peer named none that may be used. no-family: none of a family that we have. not-chosen: a
path was found, but the peer never took it. one-way: packets arrive, ours do not. udp-blocked: here; there; on
both sides. nat: NATs or firewalls between the two."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an agent has seen when it gives up."""

    local: tuple[Candidate, ...]
    remote: tuple[Candidate, ...]
    paired: bool
    """Whether there was anything to check."""
    valid: bool
    """Whether a check of ours was answered."""
    arrived: bool
    """Whether the peer's packets came."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """There is no path."""

    cause: Cause
    reason: str
    """A sentence without its full stop."""
    hint: str


_LEND: Final = (
    "run meshcall with --relay on a machine that the internet reaches, or name a TURN server (--ice-server)"
)
_OPEN_UDP: Final = "allow UDP to the internet in the firewall"
HINTS: Final[dict[Cause, str]] = {
    "no-address": "`meshcall status` at the other end shows which addresses it has",
    "no-family": f"give both ends IPv4 or both IPv6; or {_LEND}",
    "not-chosen": "call again; if it stays so, the two versions do not fit",
    "one-way": f"{_OPEN_UDP} at both ends; or {_LEND}",
    "udp-blocked": f"{_OPEN_UDP} here; or {_LEND}",
    "udp-blocked-there": f"{_OPEN_UDP} at the peer's end; or {_LEND}",
    "udp-blocked-both": f"{_OPEN_UDP} at either end; or {_LEND}",
    "nat": f"turn on UPnP in a router, or use IPv6; or {_LEND}",
}
"""What to do."""


def hint_of(cause: str) -> str:
    """What to do about a cause; empty: it is none of ours."""
    return next((hint for known, hint in HINTS.items() if known == cause), "")


def no_path(evidence: Evidence, network: Network) -> Verdict:
    """What is to be said."""
    cause, reason = _judge(evidence, network)
    return Verdict(cause, reason, HINTS[cause])


def _judge(evidence: Evidence, network: Network) -> tuple[Cause, str]:
    if evidence.valid:
        return "not-chosen", "a path was found, but the peer never chose one"
    if not evidence.remote:
        return "no-address", "the peer named no address that may be used"
    if not evidence.paired:
        theirs = "IPv6" if all(":" in one.address for one in evidence.remote) else "IPv4"
        return "no-family", f"the peer has addresses of {theirs} only, a family that this machine lacks"
    relays = _relays(evidence, network)
    if evidence.arrived:
        blocked = "the peer's packets arrive, but it never answers ours: they are blocked on the way"
        return "one-way", f"{blocked}{relays}"
    here = network.udp is False
    there = not any(map(_is_reachable, evidence.remote))
    if here and there:
        return "udp-blocked-both", f"both sides block UDP{relays}"
    if here:
        return "udp-blocked", f"UDP is blocked on this side{relays}"
    if there and network.udp:
        seems = (
            "UDP seems to be blocked on the peer's side, which knows no address of its own on the internet"
        )
        return "udp-blocked-there", f"{seems}{relays}"
    return "nat", f"nothing arrives from the peer: {_nat(network)}{relays}"


def _nat(network: Network) -> str:
    if network.nat.mapping.depends:
        draws = " at random" if network.nat.ports is Ports.RANDOM else ""
        return (
            f"the router here draws another port for each destination{draws}, and nothing passes the peer's"
        )
    return "NATs or firewalls between the two let nothing through"


def _relays(evidence: Evidence, network: Network) -> str:
    if any(one.kind == "relay" for one in (*evidence.local, *evidence.remote)):
        return ", and the relay was no way round"
    if network.relays:
        return ", and none of the known relays answers"
    return "" if network.relays is None else " and no relay is known"


def _is_reachable(candidate: Candidate) -> bool:
    """Whether it may be reached from the internet."""
    return candidate.kind != "host" or not is_lan(candidate.address)
