"""What a node knows of its own network: what explains why a call takes the path that it takes, or none.

Law: what is not known is None or empty, and nothing is concluded from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mapping = Literal["", "endpoint-independent", "address-dependent", "address-and-port-dependent"]
"""RFC 4787 section 4.1; empty: not known."""


@dataclass(frozen=True, slots=True)
class Network:
    """A snapshot."""

    udp: bool | None = None
    """Whether anything answers by UDP."""
    mapping: Mapping = ""
    """How the NAT in front of us maps. Endpoint-independent, too, if there is none."""
    ports: Literal["", "preserving", "sequential", "random"] = ""
    """How a NAT that maps by destination draws its ports."""
    ipv6: bool | None = None
    """Whether this machine has a global IPv6 address."""
    port_mapped: bool | None = None
    """Whether a router maps our port for us (UPnP, NAT-PMP, PCP); False: it was asked, and none does."""
    relays: int | None = None
    """Relays that are known, lent or configured."""
