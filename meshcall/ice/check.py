"""Connectivity checks: the Binding requests and answers of ICE (RFC 8445 section 7).

Law: what does not carry the right username and the HMAC of the right password is :class:`Rejected`.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.stun.attributes import (
    encode_xor_address,
    failure,
    number_untrusted,
    success,
    unknown_attributes,
)
from meshcall.stun.message import AttributeType, MessageClass, Method, StunMessage

ROLE_CONFLICT = 487


@dataclass(frozen=True, slots=True)
class Credentials:
    """One end's username fragment and password."""

    ufrag: str
    pwd: str

    @property
    def key(self) -> bytes:
        """The key of MESSAGE-INTEGRITY (RFC 8489 section 9.1.1)."""
        return self.pwd.encode()


@dataclass(frozen=True, slots=True)
class Check:
    """What a check says."""

    priority: int
    """Of the candidate that it makes known, if it is peer-reflexive."""
    controlling: bool
    tie_breaker: int
    nominates: bool = False
    """USE-CANDIDATE."""


def encode_check(check: Check, transaction_id: bytes, local: Credentials, remote: Credentials) -> bytes:
    """The Binding request from ``local`` to ``remote``."""
    role = AttributeType.ICE_CONTROLLING if check.controlling else AttributeType.ICE_CONTROLLED
    attributes = [
        (AttributeType.USERNAME, f"{remote.ufrag}:{local.ufrag}".encode()),
        (AttributeType.PRIORITY, check.priority.to_bytes(4, "big")),
        (role, check.tie_breaker.to_bytes(8, "big")),
    ]
    if check.nominates:
        attributes.append((AttributeType.USE_CANDIDATE, b""))
    request = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction_id, tuple(attributes))
    return request.encode(remote.key)


def read_check_untrusted(request: StunMessage, local: Credentials, remote: Credentials | None) -> Check:
    """What a Binding request to ``local`` says; raises :class:`Rejected`.

    ``remote``: None while the peer's description is on its way; then any fragment of its is believed.
    """
    name = (request.get(AttributeType.USERNAME) or b"").partition(b":")
    if name[0] != local.ufrag.encode() or (remote is not None and name[2] != remote.ufrag.encode()):
        raise Rejected("username")
    if not request.has_integrity(local.key):
        raise Rejected("integrity")
    priority = number_untrusted(request, AttributeType.PRIORITY, 4)
    controlling = number_untrusted(request, AttributeType.ICE_CONTROLLING, 8)
    controlled = number_untrusted(request, AttributeType.ICE_CONTROLLED, 8)
    if not priority or priority >= 1 << 31:
        raise Rejected("priority")
    tie_breaker = controlled if controlling is None else controlling
    if tie_breaker is None:
        raise Rejected("role")
    nominates = request.get(AttributeType.USE_CANDIDATE) is not None
    return Check(priority, controlling is not None, tie_breaker, nominates)


def encode_answer(request: StunMessage, source: Address, local: Credentials) -> bytes:
    """The answer to a good check that came from ``source``."""
    if request.unknown_required():
        return unknown_attributes(request).encode(local.key)
    mapped = encode_xor_address(source, request.transaction_id)
    return success(request, (AttributeType.XOR_MAPPED_ADDRESS, mapped)).encode(local.key)


def encode_role_conflict(request: StunMessage, local: Credentials) -> bytes:
    """Error 487 (RFC 8445 section 7.3.1.1)."""
    return failure(request, ROLE_CONFLICT).encode(local.key)
