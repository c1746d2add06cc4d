"""Transport addresses: an IP text and a UDP or TCP port."""

from __future__ import annotations

import contextlib
import ipaddress
from functools import lru_cache

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


@lru_cache(maxsize=256)
def parse_ip(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """``ip`` without its scope; raises ValueError. All that judges one datagram's source parses it once."""
    return ipaddress.ip_address(ip.partition("%")[0])


@lru_cache(maxsize=8192)
def is_lan(ip: str) -> bool:
    """Whether ``ip`` is an address of this machine or of a local network (RFC 6890, RFC 4193)."""
    try:
        address = parse_ip(ip)
    except ValueError:
        return False
    return address.is_private or address.is_loopback or address.is_link_local
