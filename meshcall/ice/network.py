"""What a node knows of its own network: what explains why a call takes the path that it takes, or none.

Law: what is not known is None or unknown, and nothing is concluded from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.ice.nat import NatView


@dataclass(frozen=True, slots=True)
class Network:
    """A snapshot."""

    udp: bool | None = None
    """Whether anything on the internet answers by UDP."""
    nat: NatView = field(default_factory=NatView)
    """The NAT in front of our IPv4 port."""
    ipv6: bool | None = None
    """Whether this machine has a global IPv6 address."""
    port_mapped: bool | None = None
    """Whether a router maps our port for us (UPnP, NAT-PMP, PCP), or need not; False: none does."""
    relays: int | None = None
    """Relays that are ready, lent or configured."""
