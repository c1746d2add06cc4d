"""Why a call takes the path that it takes, and what would make it a better one. Pure.

Law: nothing is said of a network but what is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meshcall.call.timeline import PathStep
from meshcall.ice.nat import Ports
from meshcall.ice.network import Network

_DRAWS: Final = {Ports.RANDOM: "random ports", Ports.SEQUENTIAL: "one port after the other"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """For people."""

    path: str = ""
    """How the media travels, and why that way; empty: there is no path."""
    better: tuple[str, ...] = ()
    """What would make the path a better one, most useful first."""


def explain(steps: Sequence[PathStep], network: Network) -> Explanation:
    """What is to be said of the last path among ``steps``."""
    last = next((step for step in reversed(steps) if step.path), None)
    if last is None:
        return Explanation()
    if last.path == "relay":
        reasons = _obstacles(network)
        because = f": {'; '.join(reasons)}" if reasons else ""
        return Explanation(f"relayed{_end(last)}{because}", _remedies(network))
    how = "over IPv6" if last.ipv6 else "over IPv4"
    if last.path == "lan":
        return Explanation(f"direct {how}: both ends are in one local network")
    translated = [
        who for who, kind in (("this", last.local), ("the peer's", last.remote)) if kind in ("srflx", "prflx")
    ]
    through = f" through {' and '.join(translated)} router" + "s" * (len(translated) - 1)
    return Explanation(f"direct {how}{through if translated else ', no router between translates addresses'}")


def _end(step: PathStep) -> str:
    """Whose relay it is."""
    if step.local == "relay" and step.remote == "relay":
        return " at both ends"
    return " by our relay" if step.local == "relay" else " by the peer's relay"


def _obstacles(network: Network) -> list[str]:
    """What is known to stand in the way of a direct path."""
    found = []
    if network.udp is False:
        found.append("UDP is blocked here")
    if network.nat.mapping.depends:
        draws = _DRAWS.get(network.nat.ports, "another port")
        found.append(f"your router draws {draws} for each destination")
    if network.port_mapped is False:
        found.append("UPnP is off")
    if network.ipv6 is False:
        found.append("IPv6 is missing")
    return found


def _remedies(network: Network) -> tuple[str, ...]:
    found = []
    if network.udp is False:
        found.append("allow UDP to the internet in the firewall")
    if network.port_mapped is False:
        found.append("turn on UPnP, NAT-PMP or PCP in your router")
    if network.ipv6 is False:
        found.append("have IPv6 at both ends")
    return tuple(found)
