"""A peer's presence: "I am online, seal to this prekey". No addresses.

::

    value = ChaCha20-Poly1305(mask key, nonce = 0(u32) seq(u64), aad = the record's 48 header octets)
            of body(116) signature(64); 196 octets with the tag

     0       1           5                 37             45        47           51      52              116
    +-------+-----------+-----------------+--------------+---------+------------+-------+---------------+
    | u8    | u32       | 32 octets       | u64          | u16     | u32        | u8    | 64 octets     |
    | ver 1 | prekey id | prekey (X25519) | created, ms  | ttl, s  | versions   | n     | name, zeros   |
    +-------+-----------+-----------------+--------------+---------+------------+-------+---------------+
    signature = Ed25519(identity, "meshcall/1/presence" 0 identity key(32) body)
    versions: bit v-1 set means that version v is spoken.     hash = SHA-256(identity key(32) body[0:51])

Law 1: storage nodes see neither the ID nor the prekey, as the mask key needs the ID, the rendezvous secret
or the invite; all have one size. The same presence stands at each rendezvous of its owner.
Law 2: a body lives half its ttl; then a new one is made. An offer that is bound to one that nobody takes any
more is refused (downgrade, use of a dead prekey).
Law 3: whoever can derive a rendezvous can store something there; the signature by the identity says what is
the peer's.
Old ones can be stored again: of several that pass, a young one or the one created last is right.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from meshcall.errors import Rejected
from meshcall.identity import keys
from meshcall.identity.keys import SigningKey, aead_open_untrusted, aead_seal, sha256, verify_untrusted
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import Prekey
from meshcall.identity.uri import clean_name
from meshcall.limits import CLOCK_SKEW_MAX, NAME_MAX, PRESENCE_TTL_MAX
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.validation import verify_record_untrusted
from meshcall.signaling.messages import decode_name_untrusted
from meshcall.signaling.rendezvous import Rendezvous

_BODY: Final = struct.Struct(f"!BI32sQHIB{NAME_MAX}s")
_HASHED: Final = 51
"""Octets of the body in front of the name, which is for people and binds nothing."""
_VERSION: Final = 1
_SIGNATURE: Final = 64
PROTOCOL_VERSIONS: Final = (1,)
"""What this program speaks."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a peer tells those who know its ID."""

    peer_id: PeerId
    prekey_id: int
    """u32, never 0."""
    prekey: bytes
    """X25519 public key, 32 octets."""
    created_ms: int
    """Unix milliseconds."""
    ttl_s: int = PRESENCE_TTL_MAX
    versions: tuple[int, ...] = PROTOCOL_VERSIONS
    """Protocol versions spoken, ascending, 1 to 32."""
    name: str = ""
    """At most 64 octets of UTF-8; empty unless its owner allows it to be seen."""


def _encode_body(presence: Presence) -> bytes:
    name = clean_name(presence.name).encode()
    versions = 0
    for version in presence.versions:
        if not 1 <= version <= 32:
            raise ValueError("a protocol version is 1 to 32")
        versions |= 1 << (version - 1)
    if not presence.prekey_id or not versions or not 0 < presence.ttl_s <= PRESENCE_TTL_MAX:
        raise ValueError("a presence has a prekey id, a version and a ttl")
    return _BODY.pack(
        _VERSION,
        presence.prekey_id,
        presence.prekey,
        presence.created_ms,
        presence.ttl_s,
        versions,
        len(name),
        name,
    )


def _decode_body_untrusted(body: bytes, peer_id: PeerId) -> Presence:
    version, prekey_id, prekey, created_ms, ttl_s, versions, name_length, name = _BODY.unpack(body)
    if version != _VERSION:
        raise Rejected("version")
    if not prekey_id or not versions or not 0 < ttl_s <= PRESENCE_TTL_MAX:
        raise Rejected("body")
    if name_length > NAME_MAX or any(name[name_length:]):
        raise Rejected("body")
    keys.check_agreement_key_untrusted(prekey)
    spoken = tuple(v for v in range(1, 33) if versions >> (v - 1) & 1)
    text = decode_name_untrusted(name[:name_length])
    return Presence(peer_id, prekey_id, prekey, created_ms, ttl_s, spoken, text)


def presence_hash(presence: Presence) -> bytes:
    """32 octets that an offer made from ``presence`` is bound to; the same for its owner and its readers."""
    return sha256(presence.peer_id.key, _encode_body(presence)[:_HASHED])


def renew_presence(
    previous: Presence | None,
    peer_id: PeerId,
    prekey: Prekey,
    now_ms: int,
    *,
    name: str = "",
    versions: tuple[int, ...] = PROTOCOL_VERSIONS,
) -> Presence:
    """``previous`` while it is young (half its ttl) and says the same, else a new presence."""
    fresh = Presence(peer_id, prekey.id, prekey.key.public, now_ms, versions=versions, name=clean_name(name))
    if previous is None or not 0 <= now_ms - previous.created_ms < previous.ttl_s * 500:
        return fresh
    same = (previous.peer_id, previous.prekey_id, previous.prekey, previous.versions, previous.name)
    if same != (fresh.peer_id, fresh.prekey_id, fresh.prekey, fresh.versions, fresh.name):
        return fresh
    return previous


def publish_presence(identity: SigningKey, presence: Presence, rendezvous: Rendezvous, seq: int) -> Record:
    """The record that tells ``presence`` at a rendezvous of its owner.

    ``seq`` must never have been used before with this rendezvous (it is the nonce). Raises ValueError for a
    presence of somebody else or with a field out of bounds.
    """
    if identity.public != presence.peer_id.key:
        raise ValueError("a presence is published by its owner")
    body = _encode_body(presence)
    signed = body + identity.sign(keys.PRESENCE, presence.peer_id.key + body)
    size = len(signed) + keys.TAG_LENGTH
    header = Record(
        RecordType.PRESENCE, rendezvous.signer.public, seq, presence.ttl_s, bytes(size), b""
    ).header
    value = aead_seal(rendezvous.mask_key, _nonce(seq), signed, header)
    return sign_record(rendezvous.signer, RecordType.PRESENCE, seq, presence.ttl_s, value)


def publications(
    identity: SigningKey, presence: Presence, places: Mapping[str, Rendezvous]
) -> dict[str, Callable[[int], Record]]:
    """What a :class:`~meshcall.record.publisher.Publisher` should want now: one record per place."""

    def build(place: Rendezvous) -> Callable[[int], Record]:
        return lambda seq: publish_presence(identity, presence, place, seq)

    return {name: build(place) for name, place in places.items()}


def read_presence_untrusted(record: Record, peer_id: PeerId, rendezvous: Rendezvous, now_ms: int) -> Presence:
    """The presence of ``peer_id`` in a ``record`` of ``rendezvous``; raises :class:`Rejected`.

    Reasons: ``type``, ``rendezvous``, ``signature``, ``sealed``, ``version``, ``body``, ``agreement``,
    ``clock`` (it comes from the future: one of the two clocks is wrong), ``expired``.
    """
    if record.type is not RecordType.PRESENCE:
        raise Rejected("type")
    if record.key != rendezvous.signer.public:
        raise Rejected("rendezvous")
    verify_record_untrusted(record)
    opened = aead_open_untrusted(rendezvous.mask_key, _nonce(record.seq), record.value, record.header)
    if len(opened) != _BODY.size + _SIGNATURE:
        raise Rejected("size")
    body, signature = opened[: _BODY.size], opened[_BODY.size :]
    verify_untrusted(peer_id.key, signature, keys.PRESENCE, peer_id.key + body)
    presence = _decode_body_untrusted(body, peer_id)
    if presence.created_ms > now_ms + CLOCK_SKEW_MAX * 1000:
        raise Rejected("clock")
    if now_ms > presence.created_ms + (presence.ttl_s + CLOCK_SKEW_MAX) * 1000:
        raise Rejected("expired")
    return presence


def _nonce(seq: int) -> bytes:
    return bytes(4) + seq.to_bytes(8, "big")
