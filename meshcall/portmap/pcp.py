"""PCP messages (RFC 6887 sections 7, 11 and 14.1): MAP and ANNOUNCE.

::

    request                               answer
    0      version  2                     0      version  2
    1      opcode   0 ANNOUNCE, 1 MAP     1      opcode + 128
    2-3    0                              2      0
    4-7    lifetime, seconds              3      result
    8-23   our address                    4-7    lifetime, seconds
                                          8-11   epoch, seconds
                                          12-23  0
    MAP, in both
    24-35  nonce
    36     transport  17 UDP, 6 TCP
    37-39  0
    40-41  internal port
    42-43  external port: wished for, or assigned
    44-59  external address, likewise
    60-    options, a multiple of 4 octets

An IPv4 address is written as ``::ffff:192.0.2.1``.

Law 1: we send no option, so none in an answer concerns us; they are skipped.
Law 2: a gateway that speaks NAT-PMP alone answers with version 0 and result 1 (RFC 6886 section 3.5): that is
an :class:`Unsupported`, not a malformed message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from typing import Final

from meshcall.errors import Rejected
from meshcall.portmap.mapping import Transport

VERSION: Final = 2
RESPONSE: Final = 128
NONCE_SIZE: Final = 12
_SIZE_MAX: Final = 1100
"""RFC 6887 section 7."""
_REQUEST: Final = struct.Struct("!BBHI16s")
_ANSWER: Final = struct.Struct("!BBBBII12x")
_MAP: Final = struct.Struct("!12sB3xHH16s")
_NUMBERS: Final[dict[Transport, int]] = {"udp": 17, "tcp": 6}
_TRANSPORTS: Final[dict[int, Transport]] = {17: "udp", 6: "tcp"}
_NAT_PMP_SIZE: Final = 4
"""Octets that an answer of NAT-PMP has at least."""


class Opcode(IntEnum):
    """RFC 6887 section 19.1."""

    ANNOUNCE = 0
    MAP = 1


class Result(IntEnum):
    """RFC 6887 section 7.4."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The gateway speaks another version."""

    version: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """The gateway is there; sent after it lost its mappings, and as the answer to ANNOUNCE."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """An answer to MAP: a mapping was made, renewed or (lifetime 0) removed, or it was refused."""

    result: int
    """See :class:`Result`, and codes that we don't know."""
    lifetime: int
    """Of the mapping; after a failure: how long the same request will fail (section 7.4)."""
    epoch: int
    nonce: bytes
    transport: Transport
    internal_port: int
    external_port: int
    address: str
    """External: IPv4 or IPv6."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The gateway does not do what was asked, and says no more of it."""

    opcode: int
    result: int
    lifetime: int
    epoch: int


Answer = Unsupported | Announcement | Mapped | Failure


def encode_announce_request(client: str) -> bytes:
    """Ask whether the gateway is there and still has its mappings: changes nothing."""
    return _REQUEST.pack(VERSION, Opcode.ANNOUNCE, 0, 0, _packed(client))


def encode_map_request(
    client: str,
    nonce: bytes,
    transport: Transport,
    internal_port: int,
    *,
    lifetime: int,
    external: tuple[str, int] | None = None,
) -> bytes:
    """Ask for a mapping to ``client``, our address as the gateway sees it; lifetime 0 removes it.

    ``external``: what we should like to have, or have; None: the internal port, at any address.
    """
    host, port = external or ("::" if ":" in client else "0.0.0.0", internal_port)  # noqa: S104 - "any"
    if lifetime == 0 and external is None:
        port = 0
    return _REQUEST.pack(VERSION, Opcode.MAP, 0, lifetime, _packed(client)) + _MAP.pack(
        nonce, _NUMBERS[transport], internal_port, port, _packed(host)
    )


def decode_answer_untrusted(data: bytes) -> Answer:
    """What a gateway answers or announces; raises :class:`Rejected`."""
    if len(data) > _SIZE_MAX or len(data) < _NAT_PMP_SIZE:
        raise Rejected("size")
    if data[1] < RESPONSE:
        raise Rejected("opcode")
    if data[0] != VERSION:
        # Version 0 has its result in two octets, those of PCP in the second of them
        if data[3] != Result.UNSUPP_VERSION:
            raise Rejected("version")
        return Unsupported(data[0])
    if len(data) < _ANSWER.size or len(data) % 4:
        raise Rejected("size")
    _, opcode, _, result, lifetime, epoch = _ANSWER.unpack_from(data)
    opcode -= RESPONSE
    if result == Result.UNSUPP_VERSION:
        return Unsupported(data[0])
    if opcode == Opcode.ANNOUNCE:
        return Failure(opcode, result, lifetime, epoch) if result else Announcement(epoch)
    if opcode != Opcode.MAP:
        raise Rejected("opcode")
    if len(data) < _ANSWER.size + _MAP.size:
        if result == Result.SUCCESS:
            raise Rejected("size")
        return Failure(opcode, result, lifetime, epoch)
    nonce, number, internal, external, address = _MAP.unpack_from(data, _ANSWER.size)
    if number not in _TRANSPORTS:
        raise Rejected("protocol")
    if result == Result.SUCCESS and lifetime and not external:
        raise Rejected("port")
    return Mapped(result, lifetime, epoch, nonce, _TRANSPORTS[number], internal, external, _unpacked(address))


def _packed(ip: str) -> bytes:
    address = ip_address(ip.partition("%")[0])
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def _unpacked(octets: bytes) -> str:
    address = IPv6Address(octets)
    return str(address.ipv4_mapped or address)
