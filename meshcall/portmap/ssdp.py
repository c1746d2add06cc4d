"""Finding the description of a UPnP gateway: one question and its answer (UPnP Device Architecture 1.1, 1.3).

Law: an answer names a page that we are to fetch. Only a page of the gateway itself is fetched: by HTTP, at
the address that the answer came from, which is the one that was asked.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from meshcall.errors import Rejected
from meshcall.limits import PORTMAP_LOCATION_MAX, PORTMAP_SSDP_MAX

PORT: Final = 1900
GROUP: Final = "239.255.255.250"
_TARGETS: Final = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
)
_LOCATION: Final = re.compile(r"http://([0-9.]+)(?::([0-9]{1,5}))?(/[!-~]*)?")


def encode_searches(host: str | None) -> list[bytes]:
    """Questions for gateways; ``host``: to it alone, which then does not wait before it answers."""
    lines = [f"HOST: {host or GROUP}:{PORT}", 'MAN: "ssdp:discover"']
    if host is None:
        lines.append("MX: 1")
    return ["\r\n".join(["M-SEARCH * HTTP/1.1", *lines, f"ST: {st}", "", ""]).encode() for st in _TARGETS]


def decode_location_untrusted(data: bytes, gateway: str) -> str:
    """The description's URL in an answer of ``gateway``; raises :class:`Rejected`."""
    if len(data) > PORTMAP_SSDP_MAX:
        raise Rejected("size")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise Rejected("text") from None
    first, *lines = text.split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or words[1] != "200":
        raise Rejected("status")
    fields: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip().lower(), value.strip())
    if fields.get("st") not in _TARGETS:
        raise Rejected("target")
    return check_location_untrusted(fields.get("location", ""), gateway)


def check_location_untrusted(url: str, gateway: str) -> str:
    """``url`` as it is, if it is plain HTTP at ``gateway``'s own address; raises :class:`Rejected`."""
    if len(url) > PORTMAP_LOCATION_MAX:
        raise Rejected("location")
    parts = _LOCATION.fullmatch(url)
    if parts is None:
        raise Rejected("location")
    host, port, _ = parts.groups()
    try:
        same = ip_address(host) == ip_address(gateway)
    except ValueError:
        same = False
    if not same:
        raise Rejected("location-host")
    if port is not None and not 0 < int(port) < 65536:
        raise Rejected("location")
    return url
