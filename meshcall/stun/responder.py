"""Answers Binding requests, so that peers learn their reflexive address from peers (RFC 8489 section 12).

Law 1: it keeps no state: an answer depends on the request and its source alone.
Law 2: an answer is never longer than the request allows: at most ``STUN_REPLY_RATIO`` times its length, so
that a forged source gains nothing.
Law 3: it answers from where it was asked, to who asked: CHANGE-REQUEST and RESPONSE-PORT (RFC 5780) are not
understood (420), for with one address they promise what can't be kept, and the second one aims at others.
"""

from __future__ import annotations

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.limits import STUN_REPLY_RATIO
from meshcall.stun.attributes import encode_xor_address, success, unknown_attributes
from meshcall.stun.classic import answer_classic_untrusted
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)


def answer_binding(request: StunMessage, source: Address, *, size: int) -> bytes | None:
    """The answer to a Binding request of ``size`` octets without credentials; None: there is none."""
    if request.method is not Method.BINDING or request.kind is not MessageClass.REQUEST:
        return None
    if request.unknown_required():
        reply = unknown_attributes(request).encode()
    else:
        mapped = encode_xor_address(source, request.transaction_id)
        reply = success(request, (AttributeType.XOR_MAPPED_ADDRESS, mapped)).encode()
    return reply if len(reply) <= STUN_REPLY_RATIO * size else None


def answer_stranger_untrusted(data: bytes, source: Address) -> bytes | None:
    """The answer to a datagram that may be a Binding request, of RFC 3489 too; None: there is none."""
    try:
        message = decode_stun_untrusted(data)
    except Rejected:
        try:
            return answer_classic_untrusted(data, source)
        except Rejected:
            return None
    if message.get(AttributeType.USERNAME) is not None:
        return None
    return answer_binding(message, source, size=len(data))
