"""The network interfaces of this machine.

Law 1: what the kernel says now. Nothing is cached, for interfaces come and go.
Law 2: an interface without a link (cable out, radio off) has no addresses, so that plugging in is a change.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import ifaddr

from meshcall import limits


@dataclass(frozen=True, slots=True, order=True)
class InterfaceAddress:
    """One address of one interface."""

    name: str
    """Of the interface, as ``ip link`` shows it."""
    index: int
    """Of the interface; a new one when it was removed and came back."""
    ip: str
    """Without a scope."""
    prefix: int
    """Length of the network's prefix."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.ip else 4

    @property
    def loopback(self) -> bool:
        """Whether it leads nowhere but to this machine."""
        return ipaddress.ip_address(self.ip).is_loopback

    @property
    def link_local(self) -> bool:
        """Whether it means nothing without its interface."""
        return ipaddress.ip_address(self.ip).is_link_local

    @property
    def network(self) -> str:
        """``192.0.2.7/24``."""
        return f"{self.ip}/{self.prefix}"


def interface_addresses(names: Collection[str] = ()) -> tuple[InterfaceAddress, ...]:
    """The addresses of the interfaces called ``names`` (empty: of all), sorted.

    Those of the loopback interface are left out unless there is nothing else or it was named. A name that
    does not exist is no error: the interface may be plugged in later. Raises OSError.
    """
    found = all_addresses(names)
    if not names and any(not one.loopback for one in found):
        found = [one for one in found if not one.loopback]
    return tuple(found)


def all_addresses(names: Collection[str] = ()) -> list[InterfaceAddress]:
    """:func:`interface_addresses` with those of the loopback interface."""
    try:
        adapters = [a for a in ifaddr.get_adapters() if not names or a.name in names]
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "an interface has a name that is not UTF-8") from error
    running = _running({adapter.name for adapter in adapters})
    return sorted(
        InterfaceAddress(adapter.name, adapter.index, _text(ip.ip), ip.network_prefix)
        for adapter in adapters
        for ip in adapter.ips
        if adapter.index is not None and adapter.name in running
    )


def best_addresses(addresses: Iterable[InterfaceAddress]) -> list[str]:
    """Which addresses to announce: every interface's first IPv4 and IPv6 before anybody's second; capped."""
    ranked: list[tuple[int, int, InterfaceAddress]] = []
    count: dict[tuple[str, int], int] = {}
    for one in sorted(addresses, key=lambda one: (one.link_local, one)):
        place = count.get((one.name, one.version), 0)
        count[one.name, one.version] = place + 1
        ranked.append((place, one.version, one))
    return [one.ip for _, _, one in sorted(ranked)][: limits.LAN_ADDRESSES_MAX]


_SIOCGIFFLAGS: Final = 0x8913  # netdevice(7)
_IFF_RUNNING: Final = 0x40


def _running(names: set[str]) -> set[str]:
    """Those that have a link; all of them where the system is not Linux."""
    if sys.platform != "linux":
        return names
    import fcntl  # not on every system

    result = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in names:
            request = struct.pack("16sH22x", name.encode(), 0)
            try:
                (flags,) = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
            except OSError:
                continue  # gone since it was listed
            if flags & _IFF_RUNNING:
                result.add(name)
    return result


def _text(ip: str | tuple[str, int, int]) -> str:
    """ifaddr gives IPv6 addresses as (text, flow, scope); some systems put the scope into the text too."""
    return (ip if isinstance(ip, str) else ip[0]).partition("%")[0]
