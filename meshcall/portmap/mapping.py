"""What is mapped, where, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshcall.address import Address
from meshcall.dht.compact import is_public
from meshcall.limits import CANDIDATE_PORT_MIN

Transport = Literal["udp", "tcp"]

Protocol = Literal["pcp", "nat-pmp", "upnp"]
"""Best first: PCP tells of reboots and refusals best, UPnP takes several TCP connections."""

PROTOCOLS: tuple[Protocol, ...] = ("pcp", "nat-pmp", "upnp")

State = Literal["asking", "mapped", "double-nat", "refused", "silent", "released"]
"""Of one gateway: no answer yet; others reach us through it; it has a private address itself, so another NAT
is behind it; it answers, and does not do it; nothing answers; given back."""


@dataclass(frozen=True, slots=True)
class Service:
    """A port of ours that others are to reach."""

    transport: Transport
    port: int


@dataclass(frozen=True, slots=True, order=True)
class Gateway:
    """A router that packets leave by."""

    interface: str
    host: str
    """Its address on our network; link-local ones have a scope."""
    local: str
    """Ours, as it sees us."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4


@dataclass(frozen=True, slots=True)
class Mapping:
    """A port of a gateway that leads to one of ours."""

    service: Service
    protocol: Protocol
    external: Address
    lifetime: float
    """Seconds, as it was granted; 0: for ever."""
    expires: float
    """Monotonic seconds; infinite: never."""

    @property
    def reachable(self) -> bool:
        """Whether everybody on the internet could reach the external address.

        If not, another NAT is behind the gateway, or it says what is not so.
        """
        return self.external[1] >= CANDIDATE_PORT_MIN and is_public(self.external)
