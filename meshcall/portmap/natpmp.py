"""NAT-PMP messages (RFC 6886 section 3).

::

    request: external address   answer to it
    0        version  0         0        version  0
    1        opcode   0         1        opcode   128
                                2-3      result
    request: map                4-7      epoch, seconds
    0        version  0         8-11     external IPv4 address
    1        opcode   1 UDP, 2 TCP
    2-3      0                  answer to map
    4-5      internal port      0        version  0
    6-7      external port      1        opcode   129, 130
    8-11     lifetime, seconds  2-3      result
                                4-7      epoch, seconds
                                8-9      internal port
                                10-11    external port
                                12-15    lifetime, seconds

Law: an answer that says that something failed may end after the epoch (section 3.5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from meshcall.errors import Rejected
from meshcall.portmap.mapping import Transport

VERSION: Final = 0
RESPONSE: Final = 128
_MAP_OPCODES: Final[dict[Transport, int]] = {"udp": 1, "tcp": 2}
_TRANSPORTS: Final[dict[int, Transport]] = {1: "udp", 2: "tcp"}
_HEAD: Final = struct.Struct("!BBHI")
_MAP: Final = struct.Struct("!HHI")
_REQUEST: Final = struct.Struct("!BBHHHI")
_SIZE_MAX: Final = 16


class Result(IntEnum):
    """RFC 6886 section 3.5."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """The gateway does not do it."""

    opcode: int
    """Of the request."""
    result: int
    """Never 0; see :class:`Result`, and codes that we don't know."""
    epoch: int


@dataclass(frozen=True, slots=True)
class ExternalAddress:
    """The gateway's external address; also what it announces after a start or a change (section 3.2.1)."""

    epoch: int
    """Seconds since it lost its mappings."""
    address: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping was made, renewed or (lifetime 0) removed."""

    epoch: int
    transport: Transport
    internal_port: int
    external_port: int
    lifetime: int


Answer = Failure | ExternalAddress | Mapped


def encode_address_request() -> bytes:
    """Ask for the external address: changes nothing."""
    return bytes((VERSION, 0))


def encode_map_request(transport: Transport, internal_port: int, external_port: int, lifetime: int) -> bytes:
    """Ask for a mapping; ``external_port`` is a wish. Lifetime 0 removes it (section 3.4)."""
    return _REQUEST.pack(VERSION, _MAP_OPCODES[transport], 0, internal_port, external_port, lifetime)


def decode_answer_untrusted(data: bytes) -> Answer:
    """What a gateway answers or announces; raises :class:`Rejected`."""
    if not _HEAD.size <= len(data) <= _SIZE_MAX:
        raise Rejected("size")
    version, opcode, result, epoch = _HEAD.unpack_from(data)
    if version != VERSION:
        raise Rejected("version")
    if opcode < RESPONSE:
        raise Rejected("opcode")
    opcode -= RESPONSE
    if result != Result.SUCCESS:
        return Failure(opcode, result, epoch)
    body = data[_HEAD.size :]
    if opcode == 0:
        if len(body) != 4:
            raise Rejected("size")
        return ExternalAddress(epoch, str(IPv4Address(body)))
    if opcode not in _TRANSPORTS:
        raise Rejected("opcode")
    if len(body) != _MAP.size:
        raise Rejected("size")
    internal, external, lifetime = _MAP.unpack(body)
    if lifetime and not external:
        raise Rejected("port")
    return Mapped(epoch, _TRANSPORTS[opcode], internal, external, lifetime)
