"""Notes to the peer that travel among the candidates: what else it takes to find a path (RFC 4787's words).

Law 1: a note of a type that is not known is skipped; one of a known type is right or the message is refused.
Law 2: nothing in a note is believed for what it costs others: see :mod:`meshcall.ice.birthday`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.ice.nat import Filtering, Mapping, Ports
from meshcall.ice.octets import Octets

NOTE_FAMILY: Final = 3
"""In the place of a candidate's address family."""


@dataclass(frozen=True, slots=True)
class NatNote:
    """The NAT that the sender's UDP port is behind, as far as it knows."""

    mapping: Mapping
    filtering: Filtering
    ports: Ports
    witness: Address | None = None
    """A DHT node of the sender's choice: who says it is somewhere shows a token that it got from there."""


@dataclass(frozen=True, slots=True)
class SeenNote:
    """The receiver's witness sees the sender at ``address``, and gave it ``token`` there."""

    address: Address
    token: bytes


@dataclass(frozen=True, slots=True)
class AimNote:
    """The sender's next mappings will reach this port: send to it."""

    address: Address


@dataclass(frozen=True, slots=True)
class RoundNote:
    """Which change of the running session a description is: see :mod:`meshcall.call.negotiation`."""

    number: int
    """1 and up, of the sender's offers; in an answer, of the offer that it answers."""


Note = NatNote | SeenNote | AimNote | RoundNote

_NAT, _SEEN, _AIM, _ROUND = range(4)
_TOKEN_MAX: Final = 16

# --- octets ---------------------------------------------------------------------------------------
#
#  0  u8   type << 4 | 3 << 2 | 0        (family 3: no candidate)
#            type: 0 nat, 1 seen, 2 aim, 3 round
#  1  u8   n
#  2  n    value
#
#  nat     u8 mapping, u8 filtering, u8 ports, [witness: address]
#            mapping    0 unknown, 1 none, 2 endpoint-independent, 3 address-dependent, 4 address- and port-
#            filtering  0 unknown, 1 endpoint-independent, 2 address-dependent, 3 address- and port-dependent
#            ports      0 unknown, 1 preserving, 2 sequential, 3 random
#  seen    u8 n, address (n octets), token (1 to 16, up to the end)
#  aim     address
#  round   u32 number, not 0
#
#  address   4 or 16 octets of IP, u16 port


def encode_notes(notes: Iterable[Note]) -> bytes:
    """One note after the other; they may follow candidates."""
    return b"".join(map(_encode, notes))


def _encode(note: Note) -> bytes:
    match note:
        case NatNote(mapping, filtering, ports, witness):
            value = bytes([mapping, filtering, ports]) + (_pack(witness) if witness is not None else b"")
            kind = _NAT
        case SeenNote(address, token):
            packed = _pack(address)
            kind, value = _SEEN, bytes([len(packed)]) + packed + token
        case AimNote(address):
            kind, value = _AIM, _pack(address)
        case RoundNote(number):
            kind, value = _ROUND, number.to_bytes(4, "big")
    return bytes([kind << 4 | NOTE_FAMILY << 2, len(value)]) + value


def read_note_untrusted(octets: Octets) -> Note | None:
    """The note that begins here; None: its type is not known. Raises :class:`Rejected`."""
    head = octets.u8()
    if head >> 2 & 3 != NOTE_FAMILY or head & 3:
        raise Rejected("note")
    kind, value = head >> 4, Octets(octets.take(octets.u8()))
    note: Note | None = None
    if kind == _NAT:
        try:
            described = Mapping(value.u8()), Filtering(value.u8()), Ports(value.u8())
        except ValueError:
            raise Rejected("note") from None
        note = NatNote(*described, _unpack(value.take(value.left)) if value.left else None)
    elif kind == _SEEN:
        address = _unpack(value.take(value.u8()))
        note = SeenNote(address, value.take(value.left))
        if not 0 < len(note.token) <= _TOKEN_MAX:
            raise Rejected("note")
    elif kind == _AIM:
        note = AimNote(_unpack(value.take(value.left)))
    elif kind == _ROUND:
        note = RoundNote(value.u32())
        if not note.number or value.left:
            raise Rejected("note")
    return note


def _pack(address: Address) -> bytes:
    return ipaddress.ip_address(address[0]).packed + address[1].to_bytes(2, "big")


def _unpack(data: bytes) -> Address:
    if len(data) not in (6, 18):
        raise Rejected("note")
    port = int.from_bytes(data[-2:], "big")
    if not port:
        raise Rejected("note")
    return str(ipaddress.ip_address(data[:-2])), port
