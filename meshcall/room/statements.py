"""What is said about a room as a whole: whether it is locked, and whom its creator has removed.

Law 1: of two settings the one that counts more changes counts; of two with the same count the creator's, then
the one of the higher key. No clock is asked.
Law 2: a removal is for the life of the room, signed by the creator's key, and makes what the removed member
signed void. So a member that takes the highest count is undone with its removal.

::

    setting  = writer(32) count(u64) locked(u8: 0 or 1) signature(64)     domain "meshcall/1/room-setting"
    removal  = target(32) signature(64), by the creator                   domain "meshcall/1/room-removal"
    said     = author(32) incarnation(u64) number(u32) text signature(64) domain "meshcall/1/room-said"
    signed is each time (roster key, the octets before the signature)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.identity.keys import SIGNATURE_LENGTH, verify_untrusted
from meshcall.identity.peer_id import PeerId
from meshcall.room.descriptor import Room, Sign

SETTING: Final = b"meshcall/1/room-setting"
"""Domain of a change of the lock."""
REMOVAL: Final = b"meshcall/1/room-removal"
"""Domain of the creator's word that somebody is out."""
SAID: Final = b"meshcall/1/room-said"
"""Domain of a chat line, which others may pass on."""

_SETTING: Final = struct.Struct("!32sQB")
_SAID: Final = struct.Struct("!32sQI")
SETTING_LENGTH: Final = _SETTING.size + SIGNATURE_LENGTH
REMOVAL_LENGTH: Final = 32 + SIGNATURE_LENGTH
SAID_MIN: Final = _SAID.size + 1 + SIGNATURE_LENGTH
SAID_MAX: Final = _SAID.size + limits.CHAT_MAX + SIGNATURE_LENGTH


def _split_untrusted(data: bytes, domain: bytes, room: Room, signer: bytes) -> bytes:
    """The octets before the signature, once that holds."""
    body = data[:-SIGNATURE_LENGTH]
    verify_untrusted(signer, data[-SIGNATURE_LENGTH:], domain, room.roster_key + body)
    return body


@dataclass(frozen=True, slots=True)
class Setting:
    """Whether the room is locked, by somebody's word."""

    writer: PeerId
    count: int
    """Of changes so far, this one included."""
    locked: bool
    octets: bytes = field(repr=False)

    def order(self, creator: PeerId) -> tuple[int, bool, bytes]:
        """Of two the one with the higher order counts."""
        return self.count, self.writer == creator, self.octets


def sign_setting(me: PeerId, sign: Sign, room: Room, count: int, *, locked: bool) -> Setting:
    """Our own."""
    body = _SETTING.pack(me.key, count, locked)
    return Setting(me, count, locked, body + sign(SETTING, room.roster_key + body))


def read_setting_untrusted(data: bytes, room: Room) -> Setting:
    """Somebody's; raises :class:`Rejected` ("setting", "signature", "peer-id")."""
    if len(data) != SETTING_LENGTH:
        raise Rejected("setting")
    writer = PeerId.from_key_untrusted(data[:32])
    _, count, locked = _SETTING.unpack(_split_untrusted(data, SETTING, room, writer.key))
    if locked > 1 or not 0 < count <= limits.ROOM_COUNTER_MAX:
        raise Rejected("setting")
    return Setting(writer, count, bool(locked), bytes(data))


def sign_removal(sign: Sign, room: Room, target: PeerId) -> bytes:
    """By the room's creator: ``target`` is out."""
    return target.key + sign(REMOVAL, room.roster_key + target.key)


def read_removal_untrusted(data: bytes, room: Room) -> PeerId:
    """Who is out; raises :class:`Rejected` ("removal", "signature", "peer-id")."""
    if len(data) != REMOVAL_LENGTH:
        raise Rejected("removal")
    target = PeerId.from_key_untrusted(_split_untrusted(data, REMOVAL, room, room.creator.key))
    if target == room.creator:
        raise Rejected("removal")
    return target


@dataclass(frozen=True, slots=True)
class Said:
    """A chat line."""

    author: PeerId
    incarnation: int
    number: int
    """Counts the author's lines of one stay."""
    text: str
    octets: bytes = field(repr=False)


def sign_said(me: PeerId, sign: Sign, room: Room, incarnation: int, number: int, text: str) -> bytes:
    """Our own; ``text`` as it was checked by :func:`chat_octets`."""
    body = _SAID.pack(me.key, incarnation, number) + chat_octets(text)
    return body + sign(SAID, room.roster_key + body)


def chat_octets(text: str) -> bytes:
    """``text`` in UTF-8; raises ValueError unless it has 1 to CHAT_MAX octets."""
    octets = text.encode("utf-8", "replace")
    if not 0 < len(octets) <= limits.CHAT_MAX:
        raise ValueError(f"a chat text has 1 to {limits.CHAT_MAX} octets, not {len(octets)}")
    return octets


def peek_said_untrusted(data: bytes) -> tuple[bytes, int, int]:
    """(author's key, incarnation, number) that a line claims; raises :class:`Rejected` ("said")."""
    if not SAID_MIN <= len(data) <= SAID_MAX:
        raise Rejected("said")
    key, incarnation, number = _SAID.unpack_from(data)
    return key, incarnation, number


def read_said_untrusted(data: bytes, room: Room) -> Said:
    """Somebody's; raises :class:`Rejected` ("said", "signature", "peer-id")."""
    key, incarnation, number = peek_said_untrusted(data)
    author = PeerId.from_key_untrusted(key)
    body = _split_untrusted(data, SAID, room, key)
    try:
        text = body[_SAID.size :].decode()
    except UnicodeDecodeError:
        raise Rejected("said") from None
    return Said(author, incarnation, number, text, bytes(data))
