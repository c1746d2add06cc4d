"""A message, signed by its sender, padded, and sealed to one prekey of one peer.

::

    value (565 or 821 octets)
     0         1                  5           37                        549 or 805     565 or 821
    +---------+------------------+-----------+--------------------------+------------+
    | u8      | u32              | 32 octets | 512 or 768 octets        | 16 octets  |
    | suite 1 | prekey id, masked| HPKE enc  | inner, sealed            | tag        |
    +---------+------------------+-----------+--------------------------+------------+
    HPKE info = "meshcall/1/seal" 0 suite(u8) prekey id(u32) recipient key(32)
    masked    = prekey id XOR HMAC-SHA256(mask key, enc)[:4]

    inner
     0       1      2            34         50            58         60         92        94
    +-------+------+------------+----------+-------------+----------+----------+---------+======+-----------+
    | u8    | u8   | 32 octets  | 16       | u64         | u16      | 32       | u16     | m    | 64        |
    | ver 1 | kind | sender key | call id  | created, ms | valid, s | bind     | m       | body | signature |
    +-------+------+------------+----------+-------------+----------+----------+---------+======+-----------+
    zeros fill the padding class (512 or 768).     inner hash = SHA-256(inner[0 : 94+m])
    signature = Ed25519(sender, "meshcall/1/inner" 0 suite(u8) prekey id(u32) recipient key(32) prekey(32)
                        inner[0 : 94+m])

Law 1: the recipient and its prekey are in what is signed, so who opened a message can't pass it on as if it
had been written to a third peer. Kind and call id are, too, so it can't be used as another message.
Law 2: the gates stand in the order of their cost, and nothing behind one is touched before it is passed:
type, rendezvous, outer signature, prekey, open, layout, sender, policy, signature, clock, bind, replay, body.
Law 3: a message is remembered once all gates are passed; only then may anything ring.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from meshcall.errors import Rejected
from meshcall.identity import keys
from meshcall.identity.keys import (
    AgreementKey,
    SigningKey,
    mac,
    open_untrusted,
    seal,
    sha256,
    verify_untrusted,
)
from meshcall.identity.peer_id import PeerId
from meshcall.limits import CLOCK_SKEW_MAX, MESSAGE_TTL_MAX, VALID_DEFAULT, VALID_MAX
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.validation import verify_record_untrusted
from meshcall.signaling.messages import (
    Message,
    MessageKind,
    decode_body_untrusted,
    encode_body,
    kind_of,
)
from meshcall.signaling.rendezvous import Rendezvous
from meshcall.signaling.replay import ReplayCache

SUITE: Final = 1
REPLY_PREKEY_ID: Final = 0
"""Names the reply key of the offer that a reply box belongs to; published prekeys are never 0."""
PADDING_CLASSES: Final = (512, 768)
_VERSION: Final = 1
_SEAL_LABEL: Final = b"meshcall/1/seal\0"
_INNER: Final = struct.Struct("!BB32s16sQH32sH")
_SIGNATURE: Final = 64
_PREFIX: Final = 5
_ENC: Final = 32
_SKEW_MS: Final = CLOCK_SKEW_MAX * 1000

KINDS: Final = {
    RecordType.INBOX: frozenset(
        {
            MessageKind.OFFER,
            MessageKind.CANDIDATES,
            MessageKind.HANGUP,
            MessageKind.CONTACT_REQUEST,
            MessageKind.MISSED,
            MessageKind.PING_OFFER,
            MessageKind.ROOM,
        }
    ),
    RecordType.MAILBOX: frozenset(
        {
            MessageKind.ANSWER,
            MessageKind.RINGING,
            MessageKind.REJECT,
            MessageKind.CANDIDATES,
            MessageKind.HANGUP,
            MessageKind.PING_ANSWER,
            MessageKind.ROOM,
        }
    ),
}
"""What may be said where: callers write to inboxes, callees to reply boxes."""

_BOUND_TO_PRESENCE: Final = frozenset(
    {
        MessageKind.OFFER,
        MessageKind.CONTACT_REQUEST,
        MessageKind.MISSED,
        MessageKind.PING_OFFER,
        MessageKind.ROOM,
    }
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that passed all gates."""

    sender: PeerId
    call_id: bytes
    """16 octets, chosen by the caller."""
    kind: MessageKind
    created_ms: int
    """By the sender's clock, unix milliseconds."""
    valid_s: int
    bind: bytes
    """32 octets: hash of the presence that led here, or the inner hash of what it is about."""
    message: Message
    inner_hash: bytes
    """32 octets; of an offer, what its replies are bound to and where they go."""


class ClockRejected(Rejected):
    """An authentic message outside the time window: the two clocks differ, or it was held back.

    The sender's signature was verified, so the callee may answer ``Reject(clock)``, once per call id.
    """

    def __init__(self, opened: Opened, skew_s: float) -> None:
        """``skew_s`` is our clock minus the sender's, in seconds."""
        super().__init__("clock")
        self.opened = opened
        """The message. It is authentic, but must not ring."""
        self.skew_s = skew_s

    def was_kept(self, age: int) -> bool:
        """Whether it is old because a holder kept it for ``age`` seconds, and no clock is wrong.

        Its date and the holder's clock, which counts seconds only, agree. A holder that lies makes a missed
        call of a warning, or the other way round, and nothing else.
        """
        return 0 < age <= MESSAGE_TTL_MAX and abs(self.skew_s - age) <= CLOCK_SKEW_MAX

    @property
    def sender(self) -> PeerId:
        """Who signed it."""
        return self.opened.sender

    @property
    def call_id(self) -> bytes:
        """16 octets."""
        return self.opened.call_id


@dataclass(frozen=True, slots=True)
class _Inner:
    """The fixed part of an inner, and its pieces."""

    kind: MessageKind
    sender: PeerId
    call_id: bytes
    created_ms: int
    valid_s: int
    bind: bytes
    signed: bytes
    body: bytes
    signature: bytes

    @property
    def expires_ms(self) -> int:
        """The last millisecond at which the time window lets it pass."""
        return self.created_ms + self.valid_s * 1000 + _SKEW_MS


def _context(prekey_id: int, recipient: PeerId) -> bytes:
    return struct.pack("!BI", SUITE, prekey_id) + recipient.key


def _masked(prekey_id: int, mask_key: bytes, enc: bytes) -> int:
    return prekey_id ^ int.from_bytes(mac(mask_key, enc)[:4], "big")


def seal_message(
    *,
    identity: SigningKey,
    to: PeerId,
    prekey_id: int,
    prekey: bytes,
    rendezvous: Rendezvous,
    type: RecordType,  # noqa: A002 - the layout's word
    call_id: bytes,
    message: Message,
    bind: bytes,
    now_ms: int,
    valid_s: int = VALID_DEFAULT,
    seq: int,
    ttl: int,
) -> tuple[Record, bytes]:
    """The record that brings ``message`` to ``to``, and its inner hash. About 0.25 ms.

    ``prekey`` is the recipient's X25519 key: the one in its presence, or (id 0) the reply key of its offer.
    Raises ValueError when a field is out of bounds or the body does not fit, and :class:`Rejected`
    (``agreement``) for a prekey that can't be sealed to.
    """
    kind = kind_of(message)
    if kind not in KINDS.get(type, ()):
        raise ValueError(f"{kind.name} does not belong into {type.name}")
    if len(call_id) != 16 or len(bind) != 32 or not 0 < valid_s <= VALID_MAX:
        raise ValueError("a call id has 16 octets, a bind 32; a message is valid for 1 to 300 s")
    if rendezvous.offer_hash is not None and bind != rendezvous.offer_hash:
        raise ValueError("a reply is bound to the offer of its reply box")
    body = encode_body(message)
    signed = _INNER.pack(_VERSION, kind, identity.public, call_id, now_ms, valid_s, bind, len(body)) + body
    context = _context(prekey_id, to)
    inner = signed + identity.sign(keys.INNER, context + prekey + signed)
    padding = next(size for size in PADDING_CLASSES if len(inner) <= size)
    sealed = seal(prekey, _SEAL_LABEL + context, inner.ljust(padding, b"\0"))
    masked = _masked(prekey_id, rendezvous.mask_key, sealed[:_ENC])
    value = struct.pack("!BI", SUITE, masked) + sealed
    return sign_record(rendezvous.signer, type, seq, ttl, value), sha256(signed)


def open_message_untrusted(
    record: Record,
    *,
    me: PeerId,
    find_prekey: Callable[[int], AgreementKey | None],
    rendezvous: Rendezvous,
    now_ms: int,
    replay: ReplayCache,
    admit: Callable[[PeerId, MessageKind], bool],
    known_presences: Collection[bytes] | None = None,
) -> Opened:
    """The message to ``me`` in ``record``, remembered in ``replay``; raises :class:`Rejected`.

    ``find_prekey`` gives our private half by id (id 0: the reply key of our own offer). ``admit`` is the
    contact policy; it is asked before the signature is verified, so it must decide and do nothing else.
    ``known_presences`` are the hashes of our last two presences; None takes any.

    Reasons, in the order of the gates: ``type``, ``rendezvous``, ``signature``, ``suite``, ``prekey``,
    ``sealed``, ``inner``, ``kind``, ``peer-id``, ``reflected``, ``policy``, ``signature``, ``clock``
    (:class:`ClockRejected`), ``bind``, ``replay``, ``replay-full``, ``body``, ``agreement``.
    """
    if record.type not in KINDS:
        raise Rejected("type")
    if record.key != rendezvous.signer.public:
        raise Rejected("rendezvous")
    verify_record_untrusted(record)
    prekey_id, key, plain = _unseal_untrusted(record.value, me, find_prekey, rendezvous)
    inner = _split_untrusted(plain, record.type)
    kind = inner.kind
    if inner.sender == me:
        raise Rejected("reflected")
    if not admit(inner.sender, kind):
        raise Rejected("policy")
    signed = _context(prekey_id, me) + key.public + inner.signed
    verify_untrusted(inner.sender.key, inner.signature, keys.INNER, signed)
    digest = sha256(inner.signed)
    if not inner.created_ms - _SKEW_MS <= now_ms <= inner.expires_ms:
        opened = _opened_untrusted(inner, kind, digest)
        raise ClockRejected(opened, (now_ms - inner.created_ms) / 1000)
    _check_bind_untrusted(inner.bind, kind, rendezvous, known_presences)
    replay.check_untrusted(inner.sender, inner.call_id, kind, digest, inner.expires_ms, now_ms)
    opened = _opened_untrusted(inner, kind, digest)
    replay.add(inner.sender, inner.call_id, kind, digest, inner.expires_ms)
    return opened


def _unseal_untrusted(
    value: bytes, me: PeerId, find_prekey: Callable[[int], AgreementKey | None], rendezvous: Rendezvous
) -> tuple[int, AgreementKey, bytes]:
    if len(value) < _PREFIX + _ENC:
        raise Rejected("size")
    suite, masked = struct.unpack_from("!BI", value)
    if suite != SUITE:
        raise Rejected("suite")
    prekey_id = _masked(masked, rendezvous.mask_key, value[_PREFIX : _PREFIX + _ENC])
    key = find_prekey(prekey_id)
    if key is None:
        raise Rejected("prekey")
    return prekey_id, key, open_untrusted(key, _SEAL_LABEL + _context(prekey_id, me), value[_PREFIX:])


def _split_untrusted(plain: bytes, type: RecordType) -> _Inner:  # noqa: A002 - the layout's word
    """The pieces of a padded inner; the body stays octets. The sender's key, which costs most, comes last."""
    if len(plain) not in PADDING_CLASSES:
        raise Rejected("inner")
    version, kind, sender, call_id, created_ms, valid_s, bind, size = _INNER.unpack_from(plain)
    end = _INNER.size + size
    if version != _VERSION or not 0 < valid_s <= VALID_MAX or end + _SIGNATURE > len(plain):
        raise Rejected("inner")
    if any(plain[end + _SIGNATURE :]):
        raise Rejected("inner")
    return _Inner(
        _kind_untrusted(kind, type),
        PeerId.from_key_untrusted(sender),
        call_id,
        created_ms,
        valid_s,
        bind,
        plain[:end],
        plain[_INNER.size : end],
        plain[end : end + _SIGNATURE],
    )


def _kind_untrusted(octet: int, type: RecordType) -> MessageKind:  # noqa: A002 - the layout's word
    for kind in KINDS[type]:
        if kind == octet:
            return kind
    raise Rejected("kind")


def _check_bind_untrusted(
    bind: bytes, kind: MessageKind, rendezvous: Rendezvous, known_presences: Collection[bytes] | None
) -> None:
    if rendezvous.offer_hash is not None:
        if bind != rendezvous.offer_hash:
            raise Rejected("bind")
    elif kind in _BOUND_TO_PRESENCE and known_presences is not None and bind not in known_presences:
        raise Rejected("bind")


def _opened_untrusted(inner: _Inner, kind: MessageKind, digest: bytes) -> Opened:
    return Opened(
        inner.sender,
        inner.call_id,
        kind,
        inner.created_ms,
        inner.valid_s,
        inner.bind,
        decode_body_untrusted(kind, inner.body),
        digest,
    )
