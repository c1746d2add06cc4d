"""Transport addresses and nodes in as few octets as they take (BEP 5, BEP 32).

Law: nothing here resolves a name; an address on the wire is 4 or 16 octets and a port.

    address    +0  ip 4 | 16   +n  port u16                       6 or 18 octets
    node       +0  node id 20  +20 address                        26 or 38 octets
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from meshcall.address import MAPPED, Address, is_lan, pack_ip
from meshcall.errors import Rejected
from meshcall.limits import NODE_ID_SIZE

ADDRESS4_SIZE: Final = 6
ADDRESS6_SIZE: Final = 18
NODE4_SIZE: Final = NODE_ID_SIZE + ADDRESS4_SIZE
NODE6_SIZE: Final = NODE_ID_SIZE + ADDRESS6_SIZE

NodeInfo = tuple[bytes, Address]
"""(node id, address) as a reply names it: a claim, not a fact."""


def family(address: Address) -> int:
    """4 or 6."""
    return 6 if ":" in address[0] else 4


@lru_cache(maxsize=4096)
def pack_address(address: Address) -> bytes:
    """``address`` in 6 or 18 octets, without the scope of a link-local one (it means nothing elsewhere)."""
    ip, port = address
    return pack_ip(ip) + port.to_bytes(2, "big")


@lru_cache(maxsize=4096)
def unpack_address_untrusted(data: bytes) -> Address:
    """The address in 6 or 18 octets, one object however often it comes; any other length is Rejected."""
    if len(data) == ADDRESS4_SIZE:
        return str(IPv4Address(data[:4])), int.from_bytes(data[4:], "big")
    if len(data) == ADDRESS6_SIZE:
        return str(IPv6Address(data[:16])), int.from_bytes(data[16:], "big")
    raise Rejected("address")


def pack_nodes(nodes: list[NodeInfo]) -> tuple[bytes, bytes]:
    """``nodes`` as (those with IPv4 addresses, those with IPv6 addresses)."""
    four: list[bytes] = []
    six: list[bytes] = []
    for node_id, address in nodes:
        packed = node_id + pack_address(address)
        (four if len(packed) == NODE4_SIZE else six).append(packed)
    return b"".join(four), b"".join(six)


def unpack_nodes_untrusted(four: bytes, six: bytes) -> list[NodeInfo]:
    """The nodes in both lists; lengths that are no multiple of a node are Rejected."""
    if len(four) % NODE4_SIZE or len(six) % NODE6_SIZE:
        raise Rejected("nodes")
    nodes: list[NodeInfo] = []
    for blob, size in ((four, NODE4_SIZE), (six, NODE6_SIZE)):
        for start in range(0, len(blob), size):
            node_id = blob[start : start + NODE_ID_SIZE]
            nodes.append((node_id, unpack_address_untrusted(blob[start + NODE_ID_SIZE : start + size])))
    return nodes


_NOWHERE, _MACHINE, _LINK, _SITE, _EVERYWHERE = range(5)
"""How far an IP address means something."""


@lru_cache(maxsize=4096)
def _reach(ip: str) -> int:
    """How far ``ip`` means something."""
    try:
        packed = pack_ip(ip)
    except ValueError:
        return _NOWHERE
    return _reach4(ip, packed) if len(packed) == 4 else _reach6(ip, packed)


def _reach4(ip: str, packed: bytes) -> int:
    first, second = packed[0], packed[1]
    if first == 0 or first >= 224:
        return _NOWHERE  # RFC 1122 section 3.2.1.3, RFC 5771 (multicast), RFC 1112 section 4
    if first == 127:
        return _MACHINE
    if first == 100 and 64 <= second < 128:
        return _SITE  # inside a provider's NAT (RFC 6598): no more public than a LAN
    return _SITE if is_lan(ip) else _EVERYWHERE


def _reach6(ip: str, packed: bytes) -> int:
    if packed[0] == 255 or packed == bytes(16) or packed.startswith(MAPPED):
        return _NOWHERE  # multicast, unspecified, IPv4 in disguise (RFC 4291 section 2)
    if packed == bytes(15) + b"\1":
        return _MACHINE
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return _LINK
    return _SITE if is_lan(ip) else _EVERYWHERE


def is_impossible(address: Address) -> bool:
    """Whether no single node can be at ``address``, wherever one stands.

    Port 0, multicast, broadcast, unspecified, reserved and mapped addresses, and names.
    """
    return not 0 < address[1] < 65536 or _reach(address[0]) == _NOWHERE


def is_public(address: Address) -> bool:
    """Whether ``address`` means the same to everybody on the internet."""
    return not is_impossible(address) and _reach(address[0]) == _EVERYWHERE


def is_martian(address: Address, told_by: Address) -> bool:
    """Whether nobody can be at ``address``, or ``told_by`` can't know that somebody is.

    Private and loopback addresses mean something only within the network they come from: a node on the
    internet that names one wants us to send packets into our own LAN.
    """
    there, teller = _reach(address[0]), _reach(told_by[0])
    if there in (_NOWHERE, _LINK) or teller == _NOWHERE or not 0 < address[1] < 65536:
        return True  # the scope of a link does not travel
    return there < (_SITE if teller == _LINK else teller)
