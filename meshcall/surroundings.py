"""What the node knows of the network that it is in: what explains a call's path, or that there is none.

Law: nobody is asked for it; it is what other work has found out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from meshcall.address import Address, is_lan
from meshcall.aio.ice.addresses import HostPolicy, host_addresses
from meshcall.ice.nat import NatView
from meshcall.ice.network import Network
from meshcall.views import RungView

_MAPPED = ("mapped", "needless")
_NOT_MAPPED = ("no-gateway", "silent", "refused", "double-nat")


def look(
    *,
    observed: Iterable[Address],
    rungs: Iterable[RungView],
    nat: NatView,
    port_mapping: str,
    relays: int | None,
) -> Network:
    """A snapshot. ``observed``: our address as others see it; ``rungs``: who was asked, and who answered.

    ``port_mapping``: the state of a :class:`meshcall.views.PortMappingView`.
    """
    addresses: list[str] = []
    with contextlib.suppress(OSError):
        addresses = host_addresses(HostPolicy())
    known = port_mapping in (*_MAPPED, *_NOT_MAPPED)
    return Network(
        udp=_udp(tuple(observed), tuple(rungs)),
        nat=nat,
        ipv6=any(":" in ip and not is_lan(ip) for ip in addresses) if addresses else None,
        port_mapped=port_mapping in _MAPPED if known else None,
        relays=relays,
    )


def _udp(observed: tuple[Address, ...], rungs: tuple[RungView, ...]) -> bool | None:
    """Whether the internet answers by UDP: a LAN says nothing of it."""
    if any(not is_lan(host) for host, _ in observed):
        return True
    outside = [one for one in rungs if one.rung != "lan" and one.asked]
    if not outside or any(one.answered for one in outside):
        return None
    return False
