"""Which of this machine's addresses are offered as host candidates.

Law 1: loopback only when asked for, or when there is nothing else.
Law 2: bridges of containers and virtual machines only when there is nothing else: they lead nowhere, cost a
socket and a check each, and tell the peer what runs here.
Law 3: interfaces that were asked for by name are used, whatever they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshcall import limits
from meshcall.aio.interfaces import all_addresses

_VIRTUAL = ("docker", "veth", "br-", "virbr", "vmnet", "vboxnet", "lxcbr", "cni", "podman")


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """What the user chose."""

    interfaces: tuple[str, ...] = ()
    """Names; empty: all that are useful."""
    allow_loopback: bool = False


def host_addresses(policy: HostPolicy) -> list[str]:
    """This machine's addresses to offer now; raises OSError."""
    return select_addresses([(one.name, one.ip) for one in all_addresses(policy.interfaces)], policy)


def select_addresses(found: Iterable[tuple[str, str]], policy: HostPolicy) -> list[str]:
    """The addresses to offer, out of (interface, address) pairs; IPv4 first, at most ICE_LOCAL_ADDRESSES_MAX.

    Link-local IPv6 is left out: it means nothing to a peer that does not know the interface.
    """
    usable = [(name, ip) for name, ip in found if not _is_link_local_v6(ip)]
    if policy.interfaces:
        usable = [(name, ip) for name, ip in usable if name in policy.interfaces]
    loopback = [ip for _, ip in usable if is_loopback(ip)]
    outside = [(name, ip) for name, ip in usable if not is_loopback(ip)]
    real = [ip for name, ip in outside if policy.interfaces or not name.startswith(_VIRTUAL)]
    chosen = real or [ip for _, ip in outside]
    if policy.allow_loopback or not chosen:
        chosen = chosen + loopback
    return _ordered(chosen)[: limits.ICE_LOCAL_ADDRESSES_MAX]


def only_loopback(addresses: Sequence[str]) -> bool:
    """Whether there is an address, and no way out of this machine."""
    return bool(addresses) and all(map(is_loopback, addresses))


def _ordered(addresses: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(addresses), key=lambda ip: (is_loopback(ip), ":" in ip))


def is_loopback(ip: str) -> bool:
    """Whether it leads nowhere but to this machine."""
    return ipaddress.ip_address(ip).is_loopback


def _is_link_local_v6(ip: str) -> bool:
    return ":" in ip and ipaddress.ip_address(ip.partition("%")[0]).is_link_local
