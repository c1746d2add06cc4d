"""Whom a relay serves, how much, and where it sends nothing (RFC 8656 section 21.1.4, RFC 6890).

Law: what is not plainly an address of the internet is refused; a LAN's own addresses need the word of whoever
runs the relay.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from meshcall import limits
from meshcall.address import METADATA

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
_LAN: Final = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10",  # RFC 6598
    "169.254.0.0/16",  # RFC 3927
    "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # RFC 5737
    "198.18.0.0/15",  # RFC 2544
    "fc00::/7",  # RFC 4193
    "2001:db8::/32", "3fff::/20",  # RFC 3849, RFC 9637
)  # fmt: skip
"""Addresses that a network may use for its own: :attr:`RelayPolicy.lan` lifts these."""
_NEVER: Final = _networks(
    "0.0.0.0/8",
    "192.0.0.0/24",  # RFC 6890
    "192.88.99.0/24",  # RFC 7526
    "224.0.0.0/4", "240.0.0.0/4",  # multicast, reserved, broadcast
    *METADATA,
    "2001::/23",  # RFC 2928: Teredo, which hides an IPv4 address, and others
    "2002::/16",  # RFC 3056: 6to4 hides one, too
)  # fmt: skip
_GLOBAL6: Final = _networks("2000::/3", "fc00::/7", "::1/128")
"""The only IPv6 that is looked at at all: mapped, compatible, NAT64 (RFC 6052, RFC 8215), link-local and
multicast addresses are outside."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """What a relay lends. The defaults are for a volunteer on the internet."""

    lan: bool = False
    """Relay to private addresses, too: for a relay that serves one LAN, or a lab."""
    loopback: bool = False
    """Relay to this machine: for tests only."""
    allocations: int = limits.TURN_ALLOCATIONS_MAX
    """In all."""
    per_user: int = limits.TURN_ALLOCATIONS_PER_USER
    per_address: int = limits.TURN_ALLOCATIONS_PER_ADDRESS
    rate: float = limits.TURN_RATE
    """Octets a second of one allocation, both directions together."""
    total_rate: float = limits.TURN_TOTAL_RATE
    """Octets a second of all allocations."""

    def refuses(self, host: str) -> bool:
        """Whether nothing is relayed to or from the IP address ``host``."""
        return _refuses(host, self.lan, self.loopback)


def denied_ranges() -> list[tuple[str, str]]:
    """What a relay on the internet refuses, as first and last addresses: IPv4, then IPv6."""
    ranges = [
        (str(network[0]), str(network[-1]))
        for network in (*_LOOPBACK, *_LAN, *_NEVER)
        if network.version == 4
    ]
    first, last = ipaddress.IPv6Address(0), ipaddress.IPv6Address(2**128 - 1)
    everywhere = ipaddress.IPv6Network("2000::/3")
    ranges.append((str(first), str(everywhere[0] - 1)))
    ranges.append((str(everywhere[-1] + 1), str(last)))
    within = [network for network in (*_LAN, *_NEVER) if network.version == 6 and network[0] in everywhere]
    return ranges + [(str(network[0]), str(network[-1])) for network in within]


@lru_cache(maxsize=4096)
def _refuses(host: str, lan: bool, loopback: bool) -> bool:
    ip = ipaddress.ip_address(host)

    def within(networks: tuple[_Network, ...]) -> bool:
        return any(ip in network for network in networks)

    if within(_LOOPBACK):
        return not loopback
    if within(_NEVER) or (ip.version == 6 and not within(_GLOBAL6)):
        return True
    return within(_LAN) and not lan
