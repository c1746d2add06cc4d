"""A STUN message: its layout, its integrity, its fingerprint (RFC 8489 sections 5 and 14).

::

     0       2        4                8                      20
    +-------+--------+----------------+----------------------+============================
    | u16   | u16    | 0x2112A442     | transaction id       | attributes, each padded to
    | type  | length |                | 12 octets            | 4: u16 type, u16 n, value n
    +-------+--------+----------------+----------------------+============================

    type = 00 MMMMM C MMM C MMMM        C C: 00 request, 01 indication, 10 success, 11 error
    length counts what follows the header and is a multiple of 4

Law 1: what is checked is the octets that came, never a re-encoding.
Law 2: an attribute behind MESSAGE-INTEGRITY is not seen, except FINGERPRINT (section 14.5).
Law 3: of an attribute that comes twice the first counts (section 14).
"""

from __future__ import annotations

import binascii
import hmac
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha1
from typing import Final

from meshcall.errors import Rejected
from meshcall.limits import STUN_ATTRIBUTES_MAX, STUN_SIZE_MAX

MAGIC: Final = 0x2112A442
HEADER: Final = struct.Struct("!HHI12s")
TRANSACTION_ID_SIZE: Final = 12
_ATTRIBUTE: Final = struct.Struct("!HH")
_MAGIC_OCTETS: Final = MAGIC.to_bytes(4, "big")
_FINGERPRINT_XOR: Final = 0x5354554E
_INTEGRITY_SIZE: Final = 20


class MessageClass(IntEnum):
    """What a message is in its transaction (RFC 8489 section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Method(IntEnum):
    """Methods of RFC 8489 and RFC 8656."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class AttributeType(IntEnum):
    """Attributes of RFC 8489, 8445, 8656 and 5780; from 0x8000 on one may be ignored."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C
    MESHCALL_NODE = 0xCA11
    """Ours, in answers to Allocate: u16 port of the DHT node on the relay's machine, 2 zero octets."""


_METHODS: Final = frozenset(Method)
_REQUIRED_KNOWN: Final = frozenset(
    kind for kind in AttributeType if kind < 0x8000 and kind is not AttributeType.CHANGE_REQUEST
)


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One message. A decoded one remembers its octets, so that its integrity can be checked."""

    method: Method
    kind: MessageClass
    transaction_id: bytes
    """12 octets."""
    attributes: tuple[tuple[int, bytes], ...] = ()
    """(type, value) in order; without MESSAGE-INTEGRITY and FINGERPRINT, which encoding adds."""
    signed: bytes | None = field(default=None, repr=False, compare=False)
    """Of a decoded message: what its MESSAGE-INTEGRITY is the HMAC of; None: it has none."""
    integrity: bytes = field(default=b"", repr=False, compare=False)
    """Of a decoded message: its MESSAGE-INTEGRITY."""

    def get(self, wanted: int) -> bytes | None:
        """The value of the first attribute of that type."""
        return next((value for kind, value in self.attributes if kind == wanted), None)

    def unknown_required(self) -> tuple[int, ...]:
        """Types that must be understood and are not (RFC 8489 section 6.3.1): answer 420."""
        unknown = (kind for kind, _ in self.attributes if kind < 0x8000 and kind not in _REQUIRED_KNOWN)
        return tuple(dict.fromkeys(unknown))

    def has_integrity(self, key: bytes) -> bool:
        """Whether the message came with the HMAC-SHA1 of ``key`` (RFC 8489 section 14.5)."""
        if self.signed is None:
            return False
        return hmac.compare_digest(hmac.digest(key, self.signed, sha1), self.integrity)

    def encode(self, key: bytes | None = None, *, fingerprint: bool = True) -> bytes:
        """Octets, with MESSAGE-INTEGRITY if there is a ``key``, and FINGERPRINT unless told otherwise."""
        body = b"".join(_encode_attribute(kind, value) for kind, value in self.attributes)
        if key is not None:
            head = self._header(len(body) + _ATTRIBUTE.size + _INTEGRITY_SIZE)
            body += _encode_attribute(AttributeType.MESSAGE_INTEGRITY, hmac.digest(key, head + body, sha1))
        if fingerprint:
            head = self._header(len(body) + _ATTRIBUTE.size + 4)
            crc = binascii.crc32(head + body) ^ _FINGERPRINT_XOR
            body += _encode_attribute(AttributeType.FINGERPRINT, crc.to_bytes(4, "big"))
        return self._header(len(body)) + body

    def _header(self, length: int) -> bytes:
        method, kind = int(self.method), int(self.kind)
        bits = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF | (kind & 2) << 7 | (kind & 1) << 4
        return HEADER.pack(bits, length, MAGIC, self.transaction_id)


def _encode_attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def is_stun(data: bytes) -> bool:
    """Whether a datagram is shaped like STUN (RFC 7983: first octet 0 to 3, then the magic cookie)."""
    return len(data) >= HEADER.size and data[0] < 4 and data[4:8] == _MAGIC_OCTETS


def decode_stun_untrusted(data: bytes) -> StunMessage:
    """The message in ``data``; raises :class:`Rejected` (``size``, ``stun``, ``method``, ``fingerprint``).

    A fingerprint that is there must be right; integrity is for who has the key
    (:meth:`StunMessage.has_integrity`).
    """
    if not HEADER.size <= len(data) <= STUN_SIZE_MAX:
        raise Rejected("size")
    bits, length, magic, transaction_id = HEADER.unpack_from(data)
    if bits >= 0x4000 or magic != MAGIC or length % 4 or length != len(data) - HEADER.size:
        raise Rejected("stun")
    method = (bits & 0x3E00) >> 2 | (bits & 0xE0) >> 1 | bits & 0xF
    if method not in _METHODS:
        raise Rejected("method")
    kind = MessageClass((bits & 0x100) >> 7 | (bits & 0x10) >> 4)
    attributes, signed, integrity = _decode_attributes(data)
    return StunMessage(Method(method), kind, transaction_id, attributes, signed, integrity)


def _decode_attributes(data: bytes) -> tuple[tuple[tuple[int, bytes], ...], bytes | None, bytes]:
    found: list[tuple[int, bytes]] = []
    signed: bytes | None = None
    integrity = b""
    at, count = HEADER.size, 0
    while at < len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, at)  # the length is a multiple of 4: 4 octets are there
        begin, end = at + _ATTRIBUTE.size, at + _ATTRIBUTE.size + size
        count += 1
        if end > len(data) or count > STUN_ATTRIBUTES_MAX:
            raise Rejected("stun")
        value = data[begin:end]
        if kind == AttributeType.FINGERPRINT:
            _check_fingerprint(data, at, value)
            break
        if kind == AttributeType.MESSAGE_INTEGRITY and signed is None:
            if size != _INTEGRITY_SIZE:
                raise Rejected("stun")
            # The HMAC counts a length that ends behind this attribute, whatever follows it.
            signed = data[:2] + struct.pack("!H", end - HEADER.size) + data[4:at]
            integrity = value
        elif signed is None:
            found.append((kind, value))
        at = end + -size % 4
    return tuple(found), signed, integrity


def _check_fingerprint(data: bytes, at: int, value: bytes) -> None:
    """It comes last, and covers all before it (section 14.7)."""
    if len(value) != 4 or at + _ATTRIBUTE.size + 4 != len(data):
        raise Rejected("fingerprint")
    if binascii.crc32(data[:at]) ^ _FINGERPRINT_XOR != int.from_bytes(value, "big"):
        raise Rejected("fingerprint")
