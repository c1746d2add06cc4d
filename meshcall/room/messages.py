"""What members say to each other: letters, which find a peer anywhere, and messages on a link.

Law 1: a letter or a message that is malformed raises :class:`Rejected`, whatever its octets.
Law 2: a kind that is not known is refused in a letter and skipped on a link, where newer peers say more.
Law 3: parsing says nothing of who wrote what: a letter comes with its sender, who signed it; entries,
settings, removals and chat lines carry their own signatures.

::

    letter = kind(u8) tag(8) body                    at most 600 octets, inside a sealed message
    1 Join      n(u8) name(n) proof(16, or nothing)  let me in; proof: I have the secret
    2 Welcome   d(u8) descriptor(d) secret(32) m(u8) member IDs(32 m) confirm(32, or nothing)
    3 Refused   reason(u8)
    4 Waiting   -                                    the members are being asked
    5 Pake      nameplate(u8) step(u8) data          1 and 2: element(33), 3: confirm(32)
    6 Here      asks(u8: 0 or 1) entry               I am here; asks: where are you?
    7 Out       removal(96)                          the creator has removed you

    message = kind(u8) said(u32) body               at most 16,384 octets, on a link's control channel
                                                     said: ms, by a clock that only goes forward
    1 Beat      e(u8) entry(e) n(u8) short keys of linked members(8 n) digest(8)
    2 Sync      *part      part = kind(u8) length(u16) value
                           1 age(u32, ms) entry   2 setting   3 removal; others are skipped
    3 Said      a signed chat line
    4 Knock     state(u8: 0 gone, 1 waits, 2 refused, 3 admitted) peer(32) n(u8) name(n)
    5 Has       1 to 400 line ids                    chat lines that the sender keeps
    6 Wants     1 to 400 line ids                    of those, what it is to send
    7 Missed    *(age(u32, ms) n(u16) signed chat line(n))

    line id   = short key of the author(8) incarnation(u64) number(u32)
    short key = the first 8 octets of a member's ID key
    digest    = what lasts in the sender's roster, see :meth:`meshcall.room.roster.Roster.digest`
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from meshcall import limits
from meshcall.discovery.rooms import NAMEPLATE_MAX, TAG
from meshcall.errors import Rejected
from meshcall.ice.octets import Octets
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name
from meshcall.room.descriptor import PROOF
from meshcall.room.entry import ENTRY_MAX, ENTRY_MIN
from meshcall.room.statements import REMOVAL_LENGTH, SAID_MAX, SAID_MIN, SETTING_LENGTH

SHORT_KEY: Final = 8
"""Octets of a member's key in a list of links."""

DIGEST: Final = 8
"""Octets of a roster's digest."""

ELEMENT: Final = 33
"""Octets of a key exchange's first two steps."""

CONFIRM: Final = 32
"""Octets of its third, and of the confirm in a welcome."""

_AGE_MAX: Final = 2**32 - 1
_ID: Final = struct.Struct("!8sQI")


class RefusedReason(IntEnum):
    """Why somebody is not let in. Codes that are not known yet read as DECLINED."""

    DECLINED = 1
    """A member said no."""
    FULL = 2
    """There are as many members as a room takes."""
    REMOVED = 3
    """The creator has removed this peer."""
    CODE = 4
    """The code is wrong, or works no more."""
    BUSY = 5
    """Too many wait, or ask too often."""
    GONE = 6
    """The member that was asked is not in the room."""


class KnockState(IntEnum):
    """What a member says of a knock."""

    GONE = 0
    """Given up."""
    WAITS = 1
    REFUSED = 2
    ADMITTED = 3


# --- letters --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Join:
    """Let me in."""

    tag: bytes
    name: str = ""
    """What the sender calls itself."""
    proof: bytes = field(default=b"", repr=False)
    """16 octets: it has the secret; empty: it does not."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """You are in."""

    tag: bytes
    descriptor: bytes
    secret: bytes = field(repr=False)
    members: tuple[PeerId, ...] = ()
    """Some of those who are here, the sender not among them."""
    confirm: bytes = field(default=b"", repr=False)
    """32 octets: the sender knows the code, too; empty: it was not asked by code."""


@dataclass(frozen=True, slots=True)
class Refused:
    """You are not let in."""

    tag: bytes
    reason: RefusedReason


@dataclass(frozen=True, slots=True)
class Waiting:
    """The members are being asked."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Pake:
    """A step of the key exchange by code."""

    tag: bytes
    nameplate: int
    step: int
    """1 the joiner's element, 2 the member's, 3 the joiner's confirm."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Here:
    """The sender is in the room."""

    tag: bytes
    entry: bytes
    """The sender's line; opaque here."""
    asks: bool = False
    """Whether it wants the like in answer."""


@dataclass(frozen=True, slots=True)
class Out:
    """The receiver has been removed."""

    tag: bytes
    removal: bytes


Letter = Join | Welcome | Refused | Waiting | Pake | Here | Out

_PAKE_LENGTHS: Final = {1: ELEMENT, 2: ELEMENT, 3: CONFIRM}


def encode_letter(letter: Letter) -> bytes:
    """The octets of ``letter``, at most 600."""
    match letter:
        case Join(tag, name, proof):
            octets = clean_name(name).encode()
            return b"\x01" + tag + bytes([len(octets)]) + octets + proof
        case Welcome(tag, descriptor, secret, members, confirm):
            ids = b"".join(peer.key for peer in members[: limits.ROOM_WELCOME_MEMBERS])
            head = b"\x02" + tag + bytes([len(descriptor)]) + descriptor + secret
            return head + bytes([len(ids) // 32]) + ids + confirm
        case Refused(tag, reason):
            return b"\x03" + tag + bytes([reason])
        case Waiting(tag):
            return b"\x04" + tag
        case Pake(tag, nameplate, step, data):
            return b"\x05" + tag + bytes([nameplate, step]) + data
        case Here(tag, entry, asks):
            return b"\x06" + tag + bytes([asks]) + entry
        case Out(tag, removal):
            return b"\x07" + tag + removal


def letter_tag_untrusted(data: bytes) -> bytes:
    """Which room a letter is about, 8 octets; raises :class:`Rejected` ("room-letter")."""
    if not 1 + TAG <= len(data) <= limits.ROOM_LETTER_MAX:
        raise Rejected("room-letter")
    return data[1 : 1 + TAG]


def decode_letter_untrusted(data: bytes) -> Letter:
    """The letter in ``data``; raises :class:`Rejected` ("room-letter", "truncated", "peer-id")."""
    tag = letter_tag_untrusted(data)
    octets = Octets(data)
    kind = octets.u8()
    octets.take(TAG)
    letter = _letter_untrusted(kind, tag, octets)
    if octets.left:
        raise Rejected("room-letter")
    return letter


def _letter_untrusted(kind: int, tag: bytes, octets: Octets) -> Letter:
    match kind:
        case 0x01:
            name = _name_untrusted(octets)
            return Join(tag, name, _optional_untrusted(octets, PROOF))
        case 0x02:
            descriptor = octets.take(octets.u8())
            secret = octets.take(limits.ROOM_SECRET)
            count = octets.u8()
            if count > limits.ROOM_WELCOME_MEMBERS:
                raise Rejected("room-letter")
            members = tuple(PeerId.from_key_untrusted(octets.take(32)) for _ in range(count))
            return Welcome(tag, descriptor, secret, members, _optional_untrusted(octets, CONFIRM))
        case 0x03:
            return Refused(tag, _REASONS.get(octets.u8(), RefusedReason.DECLINED))
        case 0x04:
            return Waiting(tag)
        case 0x05:
            nameplate, step = octets.u8(), octets.u8()
            if not 0 < nameplate <= NAMEPLATE_MAX or step not in _PAKE_LENGTHS:
                raise Rejected("room-letter")
            return Pake(tag, nameplate, step, octets.take(_PAKE_LENGTHS[step]))
        case 0x06:
            asks = octets.u8()
            if asks > 1 or not ENTRY_MIN <= octets.left <= ENTRY_MAX:
                raise Rejected("room-letter")
            return Here(tag, octets.take(octets.left), bool(asks))
        case 0x07:
            return Out(tag, octets.take(REMOVAL_LENGTH))
        case _:
            raise Rejected("room-letter")


_REASONS: Final = {int(reason): reason for reason in RefusedReason}


def _optional_untrusted(octets: Octets, size: int) -> bytes:
    return octets.take(size) if octets.left else b""


def _name_untrusted(octets: Octets) -> str:
    """A name, cleaned."""
    data = octets.take(octets.u8())
    if len(data) > limits.NAME_MAX:
        raise Rejected("room-name")
    try:
        return clean_name(data.decode())
    except UnicodeDecodeError:
        raise Rejected("room-name") from None


# --- messages on a link ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life."""

    entry: bytes
    """The sender's line, or one that it passes on; opaque here."""
    linked: frozenset[bytes]
    """Short keys of the members that the sender has links with."""
    digest: bytes
    """8 octets."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What the sender knows, or a part of it."""

    entries: tuple[tuple[int, bytes], ...] = ()
    """(milliseconds since it was new, line)."""
    settings: tuple[bytes, ...] = ()
    removals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SaidLine:
    """A chat line, signed by its author."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class KnockNote:
    """Somebody stands at the door, or does no more."""

    peer: PeerId
    state: KnockState
    name: str = ""


LineId = tuple[bytes, int, int]
"""(short key of the author, incarnation, number) of a chat line."""


@dataclass(frozen=True, slots=True)
class Has:
    """Chat lines that the sender keeps."""

    lines: tuple[LineId, ...]


@dataclass(frozen=True, slots=True)
class Wants:
    """Chat lines that the sender lacks."""

    lines: tuple[LineId, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """Chat lines that the receiver asked for."""

    lines: tuple[tuple[int, bytes], ...]
    """(milliseconds since it was said, line)."""


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A kind of a newer version."""

    kind: int


Sayable = Beat | Sync | SaidLine | KnockNote | Has | Wants | Missed
LinkMessage = Sayable | UnknownMessage

_ENTRY_PART, _SETTING_PART, _REMOVAL_PART = 1, 2, 3


def short_key(peer: PeerId) -> bytes:
    """8 octets that stand for a member among those of one room."""
    return peer.key[:SHORT_KEY]


def encode_message(message: Sayable, said: int) -> bytes:
    """The octets of ``message``; ``said``: milliseconds now, of a clock that only goes forward.

    Raises ValueError when there are more than 16,384.
    """
    stamp = (said % 2**32).to_bytes(4, "big")
    match message:
        case Beat(entry, linked, digest):
            keys = sorted(linked)[:255]
            data = (
                b"\x01" + stamp + bytes([len(entry)]) + entry + bytes([len(keys)]) + b"".join(keys) + digest
            )
        case Sync(entries, settings, removals):
            parts = [_part(_ENTRY_PART, _age(age) + entry) for age, entry in entries]
            parts += [_part(_SETTING_PART, setting) for setting in settings]
            parts += [_part(_REMOVAL_PART, removal) for removal in removals]
            data = b"\x02" + stamp + b"".join(parts)
        case SaidLine(octets):
            data = b"\x03" + stamp + octets
        case KnockNote(peer, state, name):
            octets = clean_name(name).encode()
            data = b"\x04" + stamp + bytes([state]) + peer.key + bytes([len(octets)]) + octets
        case Has(ids):
            data = b"\x05" + stamp + b"".join(map(_encode_id, ids))
        case Wants(ids):
            data = b"\x06" + stamp + b"".join(map(_encode_id, ids))
        case Missed(lines):
            data = b"\x07" + stamp + b"".join(_age(age) + _sized(line) for age, line in lines)
    if len(data) > limits.ROOM_MESSAGE_MAX:
        raise ValueError(f"a message has at most {limits.ROOM_MESSAGE_MAX} octets, not {len(data)}")
    return data


def syncs(
    entries: Iterable[tuple[int, bytes]], settings: Iterable[bytes] = (), removals: Iterable[bytes] = ()
) -> list[Sync]:
    """All of that in as many messages as it takes; removals first, for they decide what counts."""
    messages: list[Sync] = []
    batch = Sync()
    size = 0

    def add(more: Sync, octets: int) -> None:
        nonlocal batch, size
        if size + octets > limits.ROOM_BUNDLE:
            messages.append(batch)
            batch, size = Sync(), 0
        size += octets
        batch = Sync(
            batch.entries + more.entries, batch.settings + more.settings, batch.removals + more.removals
        )

    for removal in removals:
        add(Sync(removals=(removal,)), len(removal) + 3)
    for setting in settings:
        add(Sync(settings=(setting,)), len(setting) + 3)
    for age, entry in entries:
        add(Sync(entries=((age, entry),)), len(entry) + 7)
    if batch != Sync():
        messages.append(batch)
    return messages


def decode_message_untrusted(data: bytes) -> tuple[int, LinkMessage]:
    """(said, message) in ``data``; raises :class:`Rejected` ("room-message", "truncated", "peer-id")."""
    if not 0 < len(data) <= limits.ROOM_MESSAGE_MAX:
        raise Rejected("room-message")
    octets = Octets(data)
    kind, said = octets.u8(), octets.u32()
    if not 0x01 <= kind <= 0x07:
        return said, UnknownMessage(kind)
    message = _message_untrusted(kind, octets)
    if octets.left:
        raise Rejected("room-message")
    return said, message


def _message_untrusted(kind: int, octets: Octets) -> LinkMessage:
    if kind == 0x01:
        entry = octets.take(octets.u8())
        count = octets.u8()
        if not ENTRY_MIN <= len(entry) <= ENTRY_MAX or count > limits.ROOM_ENTRIES_MAX:
            raise Rejected("room-message")
        linked = frozenset(octets.take(SHORT_KEY) for _ in range(count))
        return Beat(entry, linked, octets.take(DIGEST))
    if kind == 0x02:
        return _sync_untrusted(octets)
    if kind == 0x03:
        if not SAID_MIN <= octets.left <= SAID_MAX:
            raise Rejected("room-message")
        return SaidLine(octets.take(octets.left))
    if kind == 0x05:
        return Has(_ids_untrusted(octets))
    if kind == 0x06:
        return Wants(_ids_untrusted(octets))
    if kind == 0x07:
        return Missed(_lines_untrusted(octets))
    state = octets.u8()
    if state > KnockState.ADMITTED:
        raise Rejected("room-message")
    peer = PeerId.from_key_untrusted(octets.take(32))
    return KnockNote(peer, KnockState(state), _name_untrusted(octets))


def _sync_untrusted(octets: Octets) -> Sync:
    entries: list[tuple[int, bytes]] = []
    settings: list[bytes] = []
    removals: list[bytes] = []
    while octets.left:
        kind = octets.u8()
        value = octets.take(octets.u16())
        if kind == _ENTRY_PART:
            if not 4 + ENTRY_MIN <= len(value) <= 4 + ENTRY_MAX:
                raise Rejected("room-message")
            entries.append((int.from_bytes(value[:4], "big"), value[4:]))
        elif kind == _SETTING_PART:
            if len(value) != SETTING_LENGTH:
                raise Rejected("room-message")
            settings.append(value)
        elif kind == _REMOVAL_PART:
            if len(value) != REMOVAL_LENGTH:
                raise Rejected("room-message")
            removals.append(value)
    return Sync(tuple(entries), tuple(settings), tuple(removals))


def missed(lines: Iterable[tuple[int, bytes]]) -> list[Missed]:
    """Chat lines, each with its age in ms, in as many messages as it takes."""
    batches: list[list[tuple[int, bytes]]] = []
    size = limits.ROOM_BUNDLE
    for age, line in lines:
        if size + len(line) > limits.ROOM_BUNDLE:
            batches.append([])
            size = 0
        batches[-1].append((age, line))
        size += len(line) + 6
    return [Missed(tuple(batch)) for batch in batches]


def _ids_untrusted(octets: Octets) -> tuple[LineId, ...]:
    count, rest = divmod(octets.left, _ID.size)
    if rest or not 0 < count <= limits.ROOM_CHAT_IDS:
        raise Rejected("room-message")
    return tuple(_ID.iter_unpack(octets.take(octets.left)))


def _lines_untrusted(octets: Octets) -> tuple[tuple[int, bytes], ...]:
    lines: list[tuple[int, bytes]] = []
    while octets.left:
        age = octets.u32()
        line = octets.take(octets.u16())
        if not SAID_MIN <= len(line) <= SAID_MAX:
            raise Rejected("room-message")
        lines.append((age, line))
    if not lines:
        raise Rejected("room-message")
    return tuple(lines)


def _encode_id(line: LineId) -> bytes:
    return _ID.pack(*line)


def _age(age: int) -> bytes:
    return min(max(0, age), _AGE_MAX).to_bytes(4, "big")


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _part(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + _sized(value)
