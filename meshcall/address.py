"""Transport addresses: an IP text and a UDP or TCP port."""

from __future__ import annotations

import contextlib
import ipaddress
from bisect import bisect
from functools import lru_cache
from typing import Final

from meshcall.errors import UsageError

Address = tuple[str, int]
"""(IP text, port). An IPv6 link-local address carries its scope: ``fe80::1%eth0``."""

_PORT_DIGITS = 5

METADATA = ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
"""Where clouds tell a machine its credentials: nothing is sent there on a peer's word."""


def parse_host_port(text: str) -> Address:
    """``HOST:PORT``, ``1.2.3.4:5`` or ``[v6]:5`` as (host, port); raises :class:`UsageError`."""
    host, separator, port_text = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not separator or not host or (":" in host and not text.startswith("[")):
        raise UsageError(f"{text!r} is not HOST:PORT", hint="for IPv6 write [ADDRESS]:PORT")
    is_number = port_text.isascii() and port_text.isdecimal() and len(port_text) <= _PORT_DIGITS
    if not is_number or not 0 < int(port_text) < 65536:
        raise UsageError(f"{port_text!r} in {text!r} is not a port (1 to 65535)")
    return host, int(port_text)


def parse_place(text: str) -> Address:
    """``HOST`` or ``HOST:PORT`` as (host, port), port 0 if there is none; raises :class:`UsageError`."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))), 0
    return parse_host_port(text) if ":" in text else (text, 0)


def format_address(address: Address) -> str:
    """``1.2.3.4:5`` or ``[v6]:5``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_OCTETS: Final = {str(octet): octet for octet in range(256)}


@lru_cache(maxsize=256)
def pack_ip(ip: str) -> bytes:
    """``ip`` in 4 or 16 octets, without its scope; raises ValueError.

    All that judges one datagram's source asks here, and parses it once. In a flood each may come from another
    address, and the objects of :mod:`ipaddress` take ten times as long to make and to ask.
    """
    try:
        a, b, c, d = ip.split(".")
        return bytes((_OCTETS[a], _OCTETS[b], _OCTETS[c], _OCTETS[d]))
    except (KeyError, ValueError):
        family = ipaddress.IPv6Address if ":" in ip else ipaddress.IPv4Address
        return family(ip.partition("%")[0]).packed


def _edges(*networks: str) -> tuple[bytes, ...]:
    """Where each of these networks begins, and where what is beyond it does; they are in order and apart."""
    edges = []
    for network in map(ipaddress.ip_network, networks):
        edges += [network[0].packed, (network[-1] + 1).packed]
    return tuple(edges)


_LAN4: Final = _edges(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.170/31",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
)
_RESERVED4: Final = 240
"""The first octet from which on all are reserved."""
_LAN6: Final = _edges("::/127", "100::/64", "2001::/23", "2001:db8::/32", "fc00::/7", "fe80::/10")

MAPPED: Final = bytes(10) + b"\xff\xff"
"""What an IPv6 address begins with that is an IPv4 one (RFC 4291 section 2.5.5.2)."""


@lru_cache(maxsize=8192)
def is_lan(ip: str) -> bool:
    """Whether ``ip`` is an address of this machine or of a local network (RFC 6890, RFC 4193)."""
    try:
        packed = pack_ip(ip).removeprefix(MAPPED)
    except ValueError:
        return False
    if len(packed) == 4:
        return packed[0] >= _RESERVED4 or bisect(_LAN4, packed) % 2 == 1
    return bisect(_LAN6, packed) % 2 == 1
