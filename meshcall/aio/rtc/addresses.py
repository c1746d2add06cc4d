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

_VIRTUAL = ("docker", "veth", "br-", "virbr", "vmnet", "vboxnet", "lxcbr", "cni", "podman")


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """What the user chose."""

    interfaces: tuple[str, ...] = ()
    """Names; empty: all that are useful."""
    allow_loopback: bool = False


def select_addresses(found: Iterable[tuple[str, str]], policy: HostPolicy) -> list[str]:
    """The addresses to offer, out of (interface, address) pairs; IPv4 first, at most ICE_LOCAL_ADDRESSES_MAX.

    Link-local IPv6 is left out: aioice can't bind to it.
    """
    usable = [(name, ip) for name, ip in found if not _is_link_local_v6(ip)]
    if policy.interfaces:
        usable = [(name, ip) for name, ip in usable if name in policy.interfaces]
    loopback = [ip for _, ip in usable if _is_loopback(ip)]
    outside = [(name, ip) for name, ip in usable if not _is_loopback(ip)]
    real = [ip for name, ip in outside if policy.interfaces or not name.startswith(_VIRTUAL)]
    chosen = real or [ip for _, ip in outside]
    if policy.allow_loopback or not chosen:
        chosen = chosen + loopback
    return _ordered(chosen)[: limits.ICE_LOCAL_ADDRESSES_MAX]


def only_loopback(addresses: Sequence[str]) -> bool:
    """Whether there is an address, and no way out of this machine."""
    return bool(addresses) and all(map(_is_loopback, addresses))


def _ordered(addresses: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(addresses), key=lambda ip: (_is_loopback(ip), ":" in ip))


def _is_loopback(ip: str) -> bool:
    return ipaddress.ip_address(ip).is_loopback


def _is_link_local_v6(ip: str) -> bool:
    return ":" in ip and ipaddress.ip_address(ip.partition("%")[0]).is_link_local
