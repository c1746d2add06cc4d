"""What `meshcall netcheck` shows; see :mod:`meshcall.views` for the laws."""

from __future__ import annotations

from typing import Literal

from meshcall.views import PortMappingView, RelayView, View

UdpWord = Literal["yes", "lan", "no", "unknown", "none"]
"""yes: nodes beyond the LAN answer; lan: only nodes on the LAN do; no: all that were asked are silent;
unknown: there is nobody to ask; none: this machine has no address of the family."""

HairpinWord = Literal["yes", "no", "unknown", "needless"]
"""Whether what is sent to our own outside address comes back in (RFC 4787 section 6); needless: no NAT."""


class FamilyCheck(View, frozen=True, kw_only=True):
    """IPv4 or IPv6."""

    udp: UdpWord
    local: list[str]
    """Addresses of this machine that calls use."""
    public: str = ""
    """HOST:PORT, as most nodes see us; empty: nobody has told us."""
    asked: int = 0
    """DHT nodes that were asked now."""
    answered: int = 0
    """Of these, those that answered by UDP."""
    rtt_ms: float | None = None
    """Of the fastest answer."""
    mapping: str = "unknown"
    """RFC 4787 section 4.1: `none`, `endpoint-independent`, `address-dependent`,
    `address-and-port-dependent` or `unknown`."""
    filtering: str = "unknown"
    """RFC 4787 section 5: `endpoint-independent`, `address-dependent`, `address-and-port-dependent`."""
    ports: str = "unknown"
    """How the NAT chooses outside ports: `preserving`, `sequential`, `random` or `unknown`."""
    hairpin: HairpinWord = "unknown"


class LanCheck(View, frozen=True, kw_only=True):
    """Multicast DNS."""

    enabled: bool
    heard_itself: bool = False
    """Our own announcement came back from the network stack."""
    peers: int = 0
    """Other meshcall daemons that are seen."""
    fault: str = ""
    """Why it does not work; empty: nothing is known to be wrong."""


class FallbackCheck(View, frozen=True, kw_only=True):
    """TCP and TLS in the place of UDP."""

    state: str
    """`unused` (UDP works, or nobody offers it), `used`, or `off`."""
    via: str = ""
    """HOST:PORT."""


class NetcheckView(View, frozen=True, kw_only=True):
    """What `meshcall netcheck` shows."""

    port: int
    """Our UDP port."""
    ipv4: FamilyCheck
    ipv6: FamilyCheck
    dht_nodes: int
    """Contacts in the routing tables."""
    port_mapping: PortMappingView
    lan: LanCheck
    relays: list[RelayView]
    """Those that calls of this node can use."""
    fallback: FallbackCheck
    clock_skew_s: float | None = None
    """Our clock minus that of peers who wrote to us lately; None: nobody did."""
    took_ms: float
