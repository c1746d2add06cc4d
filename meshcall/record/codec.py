"""The outer layout of a record, the part that storage nodes see.

::

     0       1       2                            34              42          46      48
    +-------+-------+----------------------------+---------------+-----------+-------+=========+-----------+
    | u8    | u8    | 32 octets                  | u64           | u32       | u16   | n       | 64        |
    | ver 1 | type  | outer Ed25519 key K        | seq           | ttl, s    | n     | value   | signature |
    +-------+-------+----------------------------+---------------+-----------+-------+=========+-----------+

    signature  = Ed25519(K, "meshcall/1/outer" 0 octets[0 : 48+n])
    storage key = SHA-256("meshcall/1/key" 0 place K)[:20]      place = 0x11 for presence and inbox, else type

Law 1: all integers are big-endian, every field has one width, nothing follows the signature.
Law 2: a type has few value sizes, so that a size tells nothing about the content.
Law 3: what is signed is the octets received, never a re-encoding.
Law 4: presence and inbox share their place: one lookup brings the presence and finds the inbox's nodes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from meshcall.errors import Rejected
from meshcall.identity.keys import OUTER, SigningKey, sha256
from meshcall.limits import MESSAGE_TTL_MAX, PRESENCE_TTL_MAX, RELAY_RECORD_TTL

VERSION: Final = 1
_KEY_LABEL: Final = b"meshcall/1/key\0"
_HEADER: Final = struct.Struct("!BB32sQIH")
_SIGNATURE: Final = 64

HEADER_SIZE: Final = _HEADER.size
STORAGE_KEY_SIZE: Final = 20
PRESENCE_VALUE: Final = 196
RELAY_VALUE: Final = 121
SEALED_VALUES: Final = (565, 821)
"""Octets of a sealed value: padding class 512 or 768, plus suite, prekey id, HPKE share and tag."""


class RecordType(IntEnum):
    """What a record is for, as far as storage nodes are told."""

    PRESENCE = 0x01
    """Signed by the peer, readable by who knows its ID: prekey and versions."""

    MAILBOX = 0x10
    """Sealed reply under a key that only two peers can derive."""

    INBOX = 0x11
    """Sealed message under a key that everybody who knows the ID can derive."""

    RELAY = 0x20
    """Announcement of a relay, under a key that everybody can derive, signed inside by its DHT node."""


VALUE_SIZES: Final = {
    RecordType.PRESENCE: (PRESENCE_VALUE,),
    RecordType.MAILBOX: SEALED_VALUES,
    RecordType.INBOX: SEALED_VALUES,
    RecordType.RELAY: (RELAY_VALUE,),
}
TTL_MAX: Final = {
    RecordType.PRESENCE: PRESENCE_TTL_MAX,
    RecordType.MAILBOX: MESSAGE_TTL_MAX,
    RecordType.INBOX: MESSAGE_TTL_MAX,
    RecordType.RELAY: RELAY_RECORD_TTL,
}
_PLACE: Final = {
    RecordType.PRESENCE: bytes([RecordType.INBOX]),
    RecordType.MAILBOX: bytes([RecordType.MAILBOX]),
    RecordType.INBOX: bytes([RecordType.INBOX]),
    RecordType.RELAY: bytes([RecordType.RELAY]),
}
RECORD_SIZES: Final = frozenset(
    HEADER_SIZE + size + _SIGNATURE for sizes in VALUE_SIZES.values() for size in sizes
)
"""233 (relay), 308 (presence), 677 and 933 octets."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, field by field. That it exists says nothing about its signature."""

    type: RecordType
    key: bytes
    """Outer Ed25519 public key K, 32 octets."""
    seq: int
    """Newer records of one slot have higher numbers; never a time."""
    ttl: int
    """Seconds a node keeps it after storing it."""
    value: bytes
    signature: bytes
    verified: bool = field(default=False, init=False, compare=False, repr=False)
    """Set once the signature held, so that it is checked once; a copy with other fields starts without it."""

    @property
    def header(self) -> bytes:
        """The 48 octets in front of the value."""
        return _HEADER.pack(VERSION, self.type, self.key, self.seq, self.ttl, len(self.value))

    @property
    def signed(self) -> bytes:
        """What the signature covers, without its domain."""
        return self.header + self.value

    @property
    def storage_key(self) -> bytes:
        """Where in the DHT it belongs, 20 octets."""
        return storage_key(self.type, self.key)

    def encode(self) -> bytes:
        """The octets on the wire: 233, 308, 677 or 933."""
        return self.signed + self.signature


def storage_key(type: RecordType, key: bytes) -> bytes:  # noqa: A002 - the layout's word
    """Where records of ``type`` under outer key ``key`` belong, 20 octets."""
    return sha256(_KEY_LABEL, _PLACE[type], key)[:STORAGE_KEY_SIZE]


def check_layout(type: RecordType, seq: int, ttl: int, value_size: int) -> None:  # noqa: A002
    """Raises :class:`Rejected` unless the fields are within their type's bounds."""
    if value_size not in VALUE_SIZES[type]:
        raise Rejected("size")
    if not 0 < ttl <= TTL_MAX[type]:
        raise Rejected("ttl")
    if not 0 <= seq < 2**64:
        raise Rejected("seq")


def sign_record(signer: SigningKey, type: RecordType, seq: int, ttl: int, value: bytes) -> Record:  # noqa: A002
    """A record of ours. Raises ValueError when a field is out of bounds (ttl in seconds)."""
    try:
        check_layout(type, seq, ttl, len(value))
    except Rejected as error:
        raise ValueError(f"record field out of bounds: {error.reason}") from None
    unsigned = Record(type, signer.public, seq, ttl, value, b"")
    return Record(type, signer.public, seq, ttl, value, signer.sign(OUTER, unsigned.signed))


def decode_record_untrusted(data: bytes) -> Record:
    """The fields of ``data``; raises :class:`Rejected`. The signature is NOT checked here.

    Reasons: ``size``, ``version``, ``type``, ``ttl``.
    """
    if len(data) not in RECORD_SIZES:
        raise Rejected("size")
    version, type_octet, key, seq, ttl, value_size = _HEADER.unpack_from(data)
    if version != VERSION:
        raise Rejected("version")
    try:
        record_type = RecordType(type_octet)
    except ValueError:
        raise Rejected("type") from None
    end = HEADER_SIZE + value_size
    if len(data) != end + _SIGNATURE:
        raise Rejected("size")
    check_layout(record_type, seq, ttl, value_size)
    return Record(record_type, key, seq, ttl, bytes(data[HEADER_SIZE:end]), bytes(data[end:]))
