"""Values of STUN attributes (RFC 8489 section 14, RFC 8445 section 16.1, RFC 8656 section 18).

Law: a value that is not of its type's layout raises :class:`Rejected` (``attribute``).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.stun.message import MAGIC, AttributeType, MessageClass, StunMessage

_FAMILIES: Final = {1: 4, 2: 16}
_REASONS: Final = {
    300: "Try Alternate",
    400: "Bad Request",
    401: "Unauthenticated",
    403: "Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    486: "Allocation Quota Reached",
    487: "Role Conflict",
    500: "Server Error",
    508: "Insufficient Capacity",
}
"""The phrases of RFC 8489 section 14.8, RFC 8445 section 16.2 and RFC 8656 section 19."""


def encode_address(address: Address) -> bytes:
    """MAPPED-ADDRESS and its kin in clear: 0, family, port, address."""
    packed = ipaddress.ip_address(address[0].partition("%")[0]).packed
    return struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, address[1]) + packed


def decode_address_untrusted(value: bytes) -> Address:
    """An address in clear; raises :class:`Rejected`."""
    if len(value) < 4 or _FAMILIES.get(value[1]) != len(value) - 4:
        raise Rejected("attribute")
    return str(ipaddress.ip_address(value[4:])), int.from_bytes(value[2:4], "big")


def _mask(value: bytes, transaction_id: bytes) -> bytes:
    key = MAGIC.to_bytes(4, "big") + transaction_id
    address = bytes(octet ^ mask for octet, mask in zip(value[4:], key, strict=False))
    return value[:2] + bytes((value[2] ^ key[0], value[3] ^ key[1])) + address


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """XOR-MAPPED-ADDRESS and its kin (RFC 8489 section 14.2): port and address are masked."""
    return _mask(encode_address(address), transaction_id)


def xor_address_untrusted(message: StunMessage, kind: AttributeType) -> Address | None:
    """The address in the XOR attribute ``kind``, if it is there; raises :class:`Rejected`."""
    found = xor_addresses_untrusted(message, kind)
    return found[0] if found else None


def xor_addresses_untrusted(message: StunMessage, wanted: AttributeType) -> list[Address]:
    """All addresses in XOR attributes ``wanted``, as CreatePermission has them; raises :class:`Rejected`."""
    values = [value for kind, value in message.attributes if kind == wanted]
    if any(len(value) not in (8, 20) for value in values):
        raise Rejected("attribute")
    return [decode_address_untrusted(_mask(value, message.transaction_id)) for value in values]


def number_untrusted(message: StunMessage, kind: AttributeType, size: int) -> int | None:
    """The big-endian number of ``size`` octets in attribute ``kind``, if it is there; raises Rejected."""
    value = message.get(kind)
    if value is None:
        return None
    if len(value) != size:
        raise Rejected("attribute")
    return int.from_bytes(value, "big")


def text_untrusted(message: StunMessage, kind: AttributeType, longest: int) -> str | None:
    """The UTF-8 text in attribute ``kind``, if it is there; raises Rejected when it is none or too long."""
    value = message.get(kind)
    if value is None:
        return None
    if len(value) > longest:
        raise Rejected("attribute")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Rejected("attribute") from None


def encode_error(code: int, reason: str | None = None) -> bytes:
    """ERROR-CODE (RFC 8489 section 14.8), 300 to 699."""
    phrase = _REASONS.get(code, "") if reason is None else reason
    return struct.pack("!HBB", 0, code // 100, code % 100) + phrase.encode()


def error_untrusted(message: StunMessage) -> int:
    """The error code of an error response; raises :class:`Rejected` when it has none."""
    value = message.get(AttributeType.ERROR_CODE)
    if value is None or len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise Rejected("attribute")
    return (value[2] & 7) * 100 + value[3]


def success(request: StunMessage, *attributes: tuple[int, bytes]) -> StunMessage:
    """The success response to ``request``."""
    return StunMessage(request.method, MessageClass.SUCCESS, request.transaction_id, attributes)


def failure(request: StunMessage, code: int, *attributes: tuple[int, bytes]) -> StunMessage:
    """The error response to ``request``."""
    error = (AttributeType.ERROR_CODE, encode_error(code))
    return StunMessage(request.method, MessageClass.ERROR, request.transaction_id, (error, *attributes))


def unknown_attributes(request: StunMessage) -> StunMessage:
    """Error 420 with the types that are not understood (RFC 8489 section 14.9)."""
    types = request.unknown_required()
    listed = struct.pack(f"!{len(types)}H", *types)
    return failure(request, 420, (AttributeType.UNKNOWN_ATTRIBUTES, listed))
