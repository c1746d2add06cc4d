"""The bodies of sealed messages: tag, length, value.

::

    body    = *field                     field = tag(u8) length(u16) value(length octets)

    kind              fields (tag: value)
    1 offer           1 description   2 reply key (32)   [3 name]   4 wants (u8: 1 audio 2 video 4 data)
                      [132 room tag (8 to 16)]
    2 answer          1 description
    3 candidates      5 candidates    6 end (u8: 0 or 1)   [130 change]
    4 reject          7 reason (u8)
    5 hangup          7 reason (u8)
    6 contact request [3 name]        8 secret (<= 32)
                      [128 rendezvous secret (36)]   [129 generation held (u32)]
    7 ringing         -
    8 missed          9 calls         10 count (u16)
    9 ping offer      2 reply key (32)   5 candidates    11 ice
   10 ping answer     5 candidates       11 ice
   11 room            [2 reply key (32)]   12 data

    calls = 1 to 8 of: call id (16 octets) begun (u64, unix ms) cancelled (u8: 0 or 1)
    ice   = n(u8, 4 to 32) ufrag(n octets) m(u8, 22 to 64) pwd(m octets)

Law 1: tags ascend strictly, so each occurs at most once and a body has one encoding.
Law 2: an unknown tag >= 128 is skipped, an unknown tag below refuses the message.
Law 3: names are for people: UTF-8, at most 64 octets, cleaned by who sends and by who reads of every
character that reorders or hides the text around it.
Law 4: parsing here says nothing of who wrote it; :mod:`envelope` parses only after the signature held.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final

from meshcall.errors import Rejected
from meshcall.identity.keys import check_agreement_key_untrusted
from meshcall.identity.uri import clean_line, clean_name
from meshcall.limits import (
    BODY_MAX,
    MISSED_CALLS_MAX,
    NAME_MAX,
    PWD_MAX,
    PWD_MIN,
    ROOM_TAG_MAX,
    ROOM_TAG_MIN,
    SECRET_MAX,
    UFRAG_MAX,
    UFRAG_MIN,
    WORDS_MAX,
)
from meshcall.signaling.rendezvous import RendezvousSecret


class MessageKind(IntEnum):
    """The octet that tells messages apart; it is signed."""

    OFFER = 1
    ANSWER = 2
    CANDIDATES = 3
    REJECT = 4
    HANGUP = 5
    CONTACT_REQUEST = 6
    RINGING = 7
    MISSED = 8
    PING_OFFER = 9
    PING_ANSWER = 10
    ROOM = 11


class Wants(IntFlag):
    """What the caller would like to send and receive; shown while it rings."""

    NONE = 0
    AUDIO = 1
    VIDEO = 2
    DATA = 4


class RejectReason(IntEnum):
    """Why a call was not taken. Codes that are not known yet read as FAILED."""

    DECLINED = 1
    BUSY = 2
    UNSUPPORTED = 3
    CLOCK = 4
    FAILED = 5


class HangupReason(IntEnum):
    """Why a call ended. Codes that are not known yet read as HANGUP."""

    HANGUP = 1
    CANCELLED = 2
    FAILED = 3
    TIMEOUT = 4
    ANSWERED_ELSEWHERE = 5
    PING = 6
    """No call ended, but a ping: said to who answered it, and nothing that anybody missed."""
    LINK = 7
    """Likewise, of a link of a room."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The caller asks for a call."""

    description: bytes
    """Compact description, opaque here."""
    reply_key: bytes
    """X25519 public key, 32 octets, made for this call: replies are sealed to it."""
    caller_name: str = ""
    """What the caller calls itself; unverified."""
    wants: Wants = Wants.AUDIO | Wants.VIDEO | Wants.DATA
    room: bytes = b""
    """Of a link between two members of a room: the room's tag, 8 to 16 octets; empty: it is a call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The callee took the call."""

    description: bytes


@dataclass(frozen=True, slots=True)
class Candidates:
    """More candidates of the sender, after its description."""

    candidates: bytes
    """Encoded candidates, opaque here."""
    end: bool = False
    """No more will come (RFC 8838 end-of-candidates)."""
    change: bytes = b""
    """A change of the running session, as the control channel says it, which is broken; opaque here."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The callee does not take the call."""

    reason: RejectReason
    words: str = ""
    """What the callee says to it, one line."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """The sender leaves the call, or takes its offer back."""

    reason: HangupReason


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """The sender asks to become a contact, or tells a contact by which secret it is found from now on."""

    name: str = ""
    secret: bytes = field(default=b"", repr=False)
    """From the invite, up to 32 octets; empty without one."""
    rendezvous: RendezvousSecret | None = None
    """The sender's own, for the receiver to keep."""
    held: int = 0
    """Generation of the receiver's secret that the sender holds; 0: it says nothing of that."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """The callee's people are being asked."""


@dataclass(frozen=True, slots=True)
class MissedCall:
    """A call that did not reach its callee."""

    call_id: bytes
    """16 octets."""
    at_ms: int
    """When it began, by the caller's clock."""
    cancelled: bool = False
    """Whether the caller gave up by itself."""


@dataclass(frozen=True, slots=True)
class Missed:
    """The sender called while the receiver could not be reached."""

    calls: tuple[MissedCall, ...]
    """The newest 1 to 8, oldest first."""
    count: int
    """How many there were in all, up to 65,535."""


@dataclass(frozen=True, slots=True)
class PingOffer:
    """The sender wants to know what path leads to the receiver: checks without a call."""

    reply_key: bytes
    """X25519 public key, 32 octets, made for this ping: replies are sealed to it."""
    ufrag: str
    """ICE username fragment (RFC 8839 section 5.4)."""
    pwd: str = field(repr=False)
    """ICE password: who knows it is who could open this."""
    candidates: bytes
    """Encoded candidates, opaque here."""


@dataclass(frozen=True, slots=True)
class PingAnswer:
    """The receiver of a ping offer takes part."""

    ufrag: str
    pwd: str = field(repr=False)
    candidates: bytes
    """Encoded candidates, opaque here."""


@dataclass(frozen=True, slots=True)
class RoomLetter:
    """What one machine says to another about a room: asking to be let in, and the answer."""

    data: bytes = field(repr=False)
    """See :mod:`meshcall.room.messages`; opaque here."""
    reply_key: bytes = b""
    """X25519 public key, 32 octets: replies are sealed to it; empty in a reply."""


Message = (
    Offer
    | Answer
    | Candidates
    | Reject
    | Hangup
    | ContactRequest
    | Ringing
    | Missed
    | PingOffer
    | PingAnswer
    | RoomLetter
)

_DESCRIPTION, _REPLY_KEY, _NAME, _WANTS, _CANDIDATES, _END, _REASON, _SECRET, _CALLS, _COUNT, _ICE, _DATA = (
    range(1, 13)
)
_RENDEZVOUS, _HELD, _CHANGE, _WORDS, _ROOM = 128, 129, 130, 131, 132

_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]+")  # RFC 8839 section 5.4

_MISSED: Final = struct.Struct("!16sQB")

_WANTS_KNOWN: Final = 7
_REJECT_REASONS: Final = {int(reason): reason for reason in RejectReason}
_HANGUP_REASONS: Final = {int(reason): reason for reason in HangupReason}

_KIND: Final = {
    Offer: MessageKind.OFFER,
    Answer: MessageKind.ANSWER,
    Candidates: MessageKind.CANDIDATES,
    Reject: MessageKind.REJECT,
    Hangup: MessageKind.HANGUP,
    ContactRequest: MessageKind.CONTACT_REQUEST,
    Ringing: MessageKind.RINGING,
    Missed: MessageKind.MISSED,
    PingOffer: MessageKind.PING_OFFER,
    PingAnswer: MessageKind.PING_ANSWER,
    RoomLetter: MessageKind.ROOM,
}

_FIELDS: Final[dict[MessageKind, tuple[frozenset[int], frozenset[int]]]] = {
    MessageKind.OFFER: (frozenset({_DESCRIPTION, _REPLY_KEY, _WANTS}), frozenset({_NAME, _ROOM})),
    MessageKind.ANSWER: (frozenset({_DESCRIPTION}), frozenset()),
    MessageKind.CANDIDATES: (frozenset({_CANDIDATES, _END}), frozenset({_CHANGE})),
    MessageKind.REJECT: (frozenset({_REASON}), frozenset({_WORDS})),
    MessageKind.HANGUP: (frozenset({_REASON}), frozenset()),
    MessageKind.CONTACT_REQUEST: (frozenset({_SECRET}), frozenset({_NAME, _RENDEZVOUS, _HELD})),
    MessageKind.RINGING: (frozenset(), frozenset()),
    MessageKind.MISSED: (frozenset({_CALLS, _COUNT}), frozenset()),
    MessageKind.PING_OFFER: (frozenset({_REPLY_KEY, _CANDIDATES, _ICE}), frozenset()),
    MessageKind.PING_ANSWER: (frozenset({_CANDIDATES, _ICE}), frozenset()),
    MessageKind.ROOM: (frozenset({_DATA}), frozenset({_REPLY_KEY})),
}
"""Per kind: the tags that must be there, and those that may."""


def kind_of(message: Message) -> MessageKind:
    """The kind octet of ``message``."""
    return _KIND[type(message)]


# --- names ----------------------------------------------------------------------------------------


def decode_name_untrusted(data: bytes) -> str:
    """The name in ``data``, cleaned; raises :class:`Rejected` (``body``) when it is too long or not UTF-8."""
    return _line_untrusted(data, NAME_MAX)


def _line_untrusted(data: bytes, most: int) -> str:
    if len(data) > most:
        raise Rejected("body")
    try:
        return clean_line(data.decode(), most)
    except UnicodeDecodeError:
        raise Rejected("body") from None


# --- bodies ---------------------------------------------------------------------------------------


def _write(fields: dict[int, bytes]) -> bytes:
    return b"".join(bytes([tag]) + len(v).to_bytes(2, "big") + v for tag, v in sorted(fields.items()))


def _read_untrusted(body: bytes, required: Collection[int], optional: Collection[int]) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    last, at = -1, 0
    while at < len(body):
        if len(body) - at < 3:
            raise Rejected("body")
        tag, length = body[at], int.from_bytes(body[at + 1 : at + 3], "big")
        value = body[at + 3 : at + 3 + length]
        if tag <= last or len(value) != length:
            raise Rejected("body")
        last, at = tag, at + 3 + length
        if tag in required or tag in optional:
            fields[tag] = value
        elif tag < 0x80:
            raise Rejected("body")
    if any(tag not in fields for tag in required):
        raise Rejected("body")
    return fields


def _octet_untrusted(value: bytes) -> int:
    if len(value) != 1:
        raise Rejected("body")
    return value[0]


def _rendezvous_untrusted(value: bytes | None) -> RendezvousSecret | None:
    try:
        return None if value is None else RendezvousSecret.decode_untrusted(value)
    except Rejected:
        raise Rejected("body") from None


def _encode_ice(ufrag: str, pwd: str) -> bytes:
    encoded = b"".join(bytes([len(text)]) + text.encode("ascii") for text in (ufrag, pwd))
    try:
        _ice_untrusted(encoded)
    except Rejected:
        raise ValueError(
            "ICE credentials have 4 to 32 and 22 to 64 octets of letters, digits, + and /"
        ) from None
    return encoded


def _ice_untrusted(value: bytes) -> tuple[str, str]:
    size = value[0] if value else 0
    ufrag, rest = value[1 : 1 + size], value[1 + size :]
    pwd = rest[1:]
    fits = UFRAG_MIN <= len(ufrag) <= UFRAG_MAX and PWD_MIN <= len(pwd) <= PWD_MAX
    if not fits or len(ufrag) != size or len(pwd) != rest[0]:
        raise Rejected("body")
    texts = ufrag.decode("latin-1"), pwd.decode("latin-1")
    if not all(map(_ICE_CHARS.fullmatch, texts)):
        raise Rejected("body")
    return texts


def encode_body(message: Message) -> bytes:
    """The body of ``message``; raises ValueError when it has more than 610 octets or a field is wrong."""
    fields: dict[int, bytes]
    match message:
        case Offer(description, reply_key, caller_name, wants, room):
            fields = {_DESCRIPTION: description, _REPLY_KEY: reply_key, _WANTS: bytes([wants & _WANTS_KNOWN])}
            if name := clean_name(caller_name):
                fields[_NAME] = name.encode()
            if room:
                fields[_ROOM] = room
        case Answer(description):
            fields = {_DESCRIPTION: description}
        case Candidates(candidates, end, change):
            fields = {_CANDIDATES: candidates, _END: bytes([end])}
            if change:
                fields[_CHANGE] = change
        case Reject(reason, words):
            fields = {_REASON: bytes([reason])}
            if words := clean_line(words, WORDS_MAX):
                fields[_WORDS] = words.encode()
        case Hangup(reason):
            fields = {_REASON: bytes([reason])}
        case ContactRequest(name, secret, rendezvous, held):
            fields = {_SECRET: secret}
            if name := clean_name(name):
                fields[_NAME] = name.encode()
            if rendezvous is not None:
                fields[_RENDEZVOUS] = rendezvous.encode()
            if held:
                fields[_HELD] = held.to_bytes(4, "big")
        case Ringing():
            fields = {}
        case Missed(calls, count):
            if not 1 <= len(calls) <= min(count, MISSED_CALLS_MAX) or count > 0xFFFF:
                raise ValueError(f"a missed-call note names 1 to {MISSED_CALLS_MAX} calls")
            packed = (_MISSED.pack(call.call_id, call.at_ms, call.cancelled) for call in calls)
            fields = {_CALLS: b"".join(packed), _COUNT: count.to_bytes(2, "big")}
        case PingOffer(reply_key, ufrag, pwd, candidates):
            fields = {_REPLY_KEY: reply_key, _CANDIDATES: candidates, _ICE: _encode_ice(ufrag, pwd)}
        case PingAnswer(ufrag, pwd, candidates):
            fields = {_CANDIDATES: candidates, _ICE: _encode_ice(ufrag, pwd)}
        case RoomLetter(data, reply_key):
            fields = {_DATA: data}
            if reply_key:
                fields[_REPLY_KEY] = reply_key
    if len(fields.get(_REPLY_KEY, bytes(32))) != 32 or len(fields.get(_SECRET, b"")) > SECRET_MAX:
        raise ValueError("a reply key has 32 octets, a secret at most 32")
    if not ROOM_TAG_MIN <= len(fields.get(_ROOM, bytes(ROOM_TAG_MIN))) <= ROOM_TAG_MAX:
        raise ValueError(f"a room tag has {ROOM_TAG_MIN} to {ROOM_TAG_MAX} octets")
    if not fields.get(_DATA, b"-"):
        raise ValueError("a letter about a room says something, in 1 or more octets")
    body = _write(fields)
    if len(body) > BODY_MAX:
        raise ValueError(f"a message body has at most {BODY_MAX} octets, this one has {len(body)}")
    return body


def decode_body_untrusted(kind: int, body: bytes) -> Message:
    """The message in ``body``; raises :class:`Rejected` (``kind``, ``body``, ``agreement``)."""
    try:
        message_kind = MessageKind(kind)
    except ValueError:
        raise Rejected("kind") from None
    if len(body) > BODY_MAX:
        raise Rejected("body")
    fields = _read_untrusted(body, *_FIELDS[message_kind])
    match message_kind:
        case MessageKind.OFFER:
            check_agreement_key_untrusted(fields[_REPLY_KEY])
            wants = Wants(_octet_untrusted(fields[_WANTS]) & _WANTS_KNOWN)
            name = decode_name_untrusted(fields.get(_NAME, b""))
            room = fields.get(_ROOM)
            if room is not None and not ROOM_TAG_MIN <= len(room) <= ROOM_TAG_MAX:
                raise Rejected("body")
            return Offer(fields[_DESCRIPTION], fields[_REPLY_KEY], name, wants, room or b"")
        case MessageKind.ANSWER:
            return Answer(fields[_DESCRIPTION])
        case MessageKind.CANDIDATES:
            end = _octet_untrusted(fields[_END])
            if end > 1:
                raise Rejected("body")
            return Candidates(fields[_CANDIDATES], bool(end), fields.get(_CHANGE, b""))
        case MessageKind.REJECT:
            refusal = _REJECT_REASONS.get(_octet_untrusted(fields[_REASON]), RejectReason.FAILED)
            return Reject(refusal, _line_untrusted(fields.get(_WORDS, b""), WORDS_MAX))
        case MessageKind.HANGUP:
            return Hangup(_HANGUP_REASONS.get(_octet_untrusted(fields[_REASON]), HangupReason.HANGUP))
        case MessageKind.CONTACT_REQUEST:
            held = fields.get(_HELD, bytes(4))
            if len(fields[_SECRET]) > SECRET_MAX or len(held) != 4:
                raise Rejected("body")
            return ContactRequest(
                decode_name_untrusted(fields.get(_NAME, b"")),
                fields[_SECRET],
                _rendezvous_untrusted(fields.get(_RENDEZVOUS)),
                int.from_bytes(held, "big"),
            )
        case MessageKind.RINGING:
            return Ringing()
        case MessageKind.MISSED:
            return _missed_untrusted(fields[_CALLS], fields[_COUNT])
        case MessageKind.PING_OFFER:
            check_agreement_key_untrusted(fields[_REPLY_KEY])
            return PingOffer(fields[_REPLY_KEY], *_ice_untrusted(fields[_ICE]), fields[_CANDIDATES])
        case MessageKind.PING_ANSWER:
            return PingAnswer(*_ice_untrusted(fields[_ICE]), fields[_CANDIDATES])
        case MessageKind.ROOM:
            if not fields[_DATA]:
                raise Rejected("body")
            if _REPLY_KEY in fields:
                check_agreement_key_untrusted(fields[_REPLY_KEY])
            return RoomLetter(fields[_DATA], fields.get(_REPLY_KEY, b""))


def _missed_untrusted(calls: bytes, count: bytes) -> Missed:
    number, rest = divmod(len(calls), _MISSED.size)
    if rest or len(count) != 2 or not 1 <= number <= min(int.from_bytes(count, "big"), MISSED_CALLS_MAX):
        raise Rejected("body")
    entries = list(_MISSED.iter_unpack(calls))
    if any(how > 1 for _, _, how in entries) or len({call_id for call_id, _, _ in entries}) < number:
        raise Rejected("body")
    missed = tuple(MissedCall(call_id, at_ms, bool(how)) for call_id, at_ms, how in entries)
    return Missed(missed, int.from_bytes(count, "big"))
