"""A member's own line in the roster, signed by itself.

Law 1: nobody writes another's line; who has the room's secret can check each.
Law 2: of two lines of one member the one with the higher (incarnation, seq) counts, and no clock is asked.
Of two with the same numbers (a member that signs two) all take the same one.
Law 3: verify first, parse after.

::

    0        32            40      48      50     51       51 + n
    +--------+-------------+-------+-------+------+--------+-----------+
    | peer   | incarnation | seq   | flags | n    | name   | signature |
    | 32     | u64         | u64   | u16   | u8   | n      | 64        |
    +--------+-------------+-------+-------+------+--------+-----------+
    incarnation  of one stay in the room: its beginning in ms by the member's clock, or one more than any seen
    seq          raised by every sign of life and every change
    flags        1 left   2 audio   4 video   8 screen   16 hand   32 speaking; others are ignored
    signature    = Ed25519 of the member over (roster key, the octets before), domain "meshcall/1/room-entry"
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.identity.keys import SIGNATURE_LENGTH, verify_untrusted
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name
from meshcall.room.descriptor import Sign

ENTRY: Final = b"meshcall/1/room-entry"
"""Domain of a member's line in a roster."""

_HEAD: Final = struct.Struct("!32sQQHB")
ENTRY_MIN: Final = _HEAD.size + SIGNATURE_LENGTH
ENTRY_MAX: Final = ENTRY_MIN + limits.NAME_MAX

Version = tuple[int, int, bytes]
"""(incarnation, seq, all octets): the higher one counts."""


@dataclass(frozen=True, slots=True)
class MediaFlags:
    """What a member lets be heard and seen, and whether it wants to speak."""

    audio: bool = False
    video: bool = False
    screen: bool = False
    hand: bool = False
    speaking: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A member's line."""

    peer: PeerId
    incarnation: int
    seq: int
    left: bool
    """Whether the member has gone, by its own word."""
    flags: MediaFlags
    name: str
    """Clean; empty: none."""
    octets: bytes = field(repr=False)
    """All of it, as it was signed."""

    @property
    def version(self) -> Version:
        """What decides which of two counts."""
        return self.incarnation, self.seq, self.octets


def sign_entry(
    me: PeerId, sign: Sign, roster_key: bytes, *,
    incarnation: int, seq: int, left: bool, flags: MediaFlags, name: str,
) -> Entry:  # fmt: skip
    """Our own line."""
    octets = clean_name(name).encode()
    bits = sum(
        flag << place
        for place, flag in enumerate(
            (left, flags.audio, flags.video, flags.screen, flags.hand, flags.speaking)
        )
    )  # fmt: skip
    body = _HEAD.pack(me.key, incarnation, seq, bits, len(octets)) + octets
    signature = sign(ENTRY, roster_key + body)
    return Entry(me, incarnation, seq, left, flags, octets.decode(), body + signature)


def peek_entry_untrusted(data: bytes) -> tuple[bytes, Version]:
    """(member's key, version) that a line claims, to see whether it is worth checking.

    Raises :class:`Rejected` ("entry").
    """
    if not ENTRY_MIN <= len(data) <= ENTRY_MAX:
        raise Rejected("entry")
    key, incarnation, seq, _, _ = _HEAD.unpack_from(data)
    return key, (incarnation, seq, data)


def read_entry_untrusted(data: bytes, roster_key: bytes) -> Entry:
    """A member's line; raises :class:`Rejected` ("entry", "signature", "peer-id"). About 140 us."""
    if not ENTRY_MIN <= len(data) <= ENTRY_MAX:
        raise Rejected("entry")
    body, signature = data[:-SIGNATURE_LENGTH], data[-SIGNATURE_LENGTH:]
    key, incarnation, seq, bits, size = _HEAD.unpack_from(body)
    if max(incarnation, seq) >= limits.ROOM_COUNTER_MAX:
        raise Rejected("entry")
    peer = PeerId.from_key_untrusted(key)
    verify_untrusted(key, signature, ENTRY, roster_key + body)
    name = body[_HEAD.size :]
    try:
        if len(name) != size or clean_name(name.decode()).encode() != name:
            raise Rejected("entry")
    except UnicodeDecodeError:
        raise Rejected("entry") from None
    left, audio, video, screen, hand, speaking = (bool(bits & 1 << place) for place in range(6))
    flags = MediaFlags(audio, video, screen, hand, speaking)
    return Entry(peer, incarnation, seq, left, flags, name.decode(), bytes(data))
