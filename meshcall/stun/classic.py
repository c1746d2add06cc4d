"""Binding requests of RFC 3489, whose clients send no magic cookie; ``stun-client`` is one of them.

::

     0       2        4                      20
    +-------+--------+----------------------+============================
    | u16   | u16    | transaction id       | attributes: u16 type, u16 n, value n
    | 0x0001| length | 16 octets            |
    +-------+--------+----------------------+============================

    answer = 0x0101, length, the same id, MAPPED-ADDRESS: 32 octets, 44 for IPv6

Law 1: it keeps no state, and an answer goes to the source of the request, from where that was sent to, only.
Law 2: a request for an answer to or from elsewhere (RESPONSE-ADDRESS, CHANGE-REQUEST) gets none: to such a
client silence means that no packet came, which is true.
"""

from __future__ import annotations

import struct
from typing import Final

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.stun.attributes import encode_address
from meshcall.stun.message import AttributeType

_HEADER: Final = struct.Struct("!HH16s")
_REQUEST: Final = 0x0001
_RESPONSE: Final = 0x0101
_SAME: Final = struct.pack("!HHI", AttributeType.CHANGE_REQUEST, 4, 0)
"""CHANGE-REQUEST with no flag: what clients send to have nothing changed."""


def answer_classic_untrusted(data: bytes, source: Address) -> bytes:
    """The answer to a request without a cookie; raises :class:`Rejected` (``stun``)."""
    if len(data) not in (_HEADER.size, _HEADER.size + len(_SAME)):
        raise Rejected("stun")
    kind, length, transaction_id = _HEADER.unpack_from(data)
    rest = data[_HEADER.size :]
    if kind != _REQUEST or length != len(rest) or rest not in (b"", _SAME):
        raise Rejected("stun")
    mapped = encode_address(source)
    body = struct.pack("!HH", AttributeType.MAPPED_ADDRESS, len(mapped)) + mapped
    return _HEADER.pack(_RESPONSE, len(body), transaction_id) + body
