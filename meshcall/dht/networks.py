"""Which addresses count as one network: what one owner gets cheaply stands for one voice.

Law 1: a public IPv4 /24 or IPv6 /48 is one network; addresses of a LAN are not counted, all peers share one.
Law 2: whatever ids somebody invents, one network has at most ``DHT_PER_NETWORK`` places in a bucket and in
a result.
"""

from __future__ import annotations

from functools import lru_cache

from meshcall.address import is_lan, pack_ip
from meshcall.limits import DHT_PER_NETWORK


@lru_cache(maxsize=4096)
def network_of(ip: str) -> bytes | None:
    """The /24 or /48 of a public address; None for one of a LAN, which is not counted."""
    if is_lan(ip):
        return None
    packed = pack_ip(ip)
    return packed[:3] if len(packed) == 4 else packed[:6]


@lru_cache(maxsize=4096)
def region_of(ip: str) -> bytes:
    """What another network must differ in to be a witness of its own: a /16 or /32; on a LAN a /24 or /64."""
    packed = pack_ip(ip)
    if is_lan(ip):
        return packed[:3] if len(packed) == 4 else packed[:8]
    return packed[:2] if len(packed) == 4 else packed[:4]


class NetworkCount:
    """Counts voices by network while a result is put together."""

    def __init__(self, *, lifted: bool = False) -> None:
        """``lifted``: nothing is counted (a network of one LAN)."""
        self._lifted = lifted
        self._counts: dict[bytes, int] = {}

    def take(self, ip: str) -> bool:
        """Whether there is a place for one more from there, which it then has."""
        network = None if self._lifted else network_of(ip)
        if network is None:
            return True
        count = self._counts.get(network, 0)
        self._counts[network] = count + 1
        return count < DHT_PER_NETWORK
