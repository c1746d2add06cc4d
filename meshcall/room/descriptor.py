"""What a room is: its name, who made it and its secret, signed by its creator.

Law 1: a room's id comes from its secret, so who shows the one to somebody who has the other can't be lying.
Law 2: who has the secret is a member unless the creator's key says otherwise. The secret travels sealed, in
letters and links, and is never shown.
Law 3: a room is what it was made as; what changes about it stands in the roster.

::

    0         1       2            10         42        58     59        59 + n
    +---------+-------+------------+----------+---------+------+---------+-----------+
    | version | flags | created    | creator  | id      | n    | name    | signature |
    | u8 = 1  | u8    | u64, ms    | 32       | 16      | u8   | n       | 64        |
    +---------+-------+------------+----------+---------+------+---------+-----------+
    flags: 1 secret room (its name is not shown on a LAN); others: 0

    id         = HKDF-SHA256(secret, "meshcall/1/room-id" 0)[:16]
    roster key = HKDF-SHA256(secret, "meshcall/1/room-roster" 0)    in all that members sign
    proof key  = HKDF-SHA256(secret, "meshcall/1/room-proof" 0)     shows that somebody has the secret
    signature  = Ed25519 of the creator over the octets before, domain "meshcall/1/room"
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.discovery.rooms import room_tag, tags_near
from meshcall.errors import InvalidRoom, Rejected
from meshcall.identity.keys import SIGNATURE_LENGTH, Random, hkdf, mac, verify_untrusted
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name

Sign = Callable[[bytes, bytes], bytes]
"""Signs (domain, message) with our identity: :meth:`meshcall.identity.keys.SigningKey.sign`."""

ROOM: Final = b"meshcall/1/room"
"""Domain of a room's descriptor, signed by its creator."""

ID: Final = 16
"""Octets of a room's id."""

PROOF: Final = 16
"""Octets of a proof that somebody has the secret."""

_ID: Final = b"meshcall/1/room-id\0"
_ROSTER: Final = b"meshcall/1/room-roster\0"
_PROOF: Final = b"meshcall/1/room-proof\0"
_HEAD: Final = struct.Struct("!BBQ32s16sB")
_VERSION: Final = 1
_HIDDEN: Final = 1


def room_id(secret: bytes) -> bytes:
    """16 octets."""
    return hkdf(secret, _ID, ID)


def secret_proof(secret: bytes, purpose: bytes, frm: PeerId, to: PeerId) -> bytes:
    """16 octets that only who has the secret can make, for one sender, one receiver and one purpose."""
    return mac(hkdf(secret, _PROOF), purpose, b"\0", frm.key, to.key)[:PROOF]


@dataclass(frozen=True, slots=True)
class Room:
    """A room."""

    creator: PeerId
    """Who made it, and may remove members."""
    name: str
    """Clean, 1 to 64 octets of UTF-8."""
    secret: bytes = field(repr=False)
    """32 octets."""
    created_ms: int
    """When it was made, by its creator's clock."""
    hidden: bool
    """Whether it is a secret room: its name is not shown on a LAN, and who asks by name knocks."""
    signature: bytes = field(repr=False)
    """64 octets, by the creator."""
    id: bytes = field(init=False)
    """16 octets."""
    roster_key: bytes = field(init=False, repr=False)
    """32 octets; part of all that members sign."""

    def __post_init__(self) -> None:
        if not self.name or clean_name(self.name) != self.name:
            raise InvalidRoom("a room's name is one short line of visible characters")
        if len(self.secret) != limits.ROOM_SECRET:
            raise InvalidRoom("a room's secret has 32 octets")
        object.__setattr__(self, "id", room_id(self.secret))
        object.__setattr__(self, "roster_key", hkdf(self.secret, _ROSTER))

    @classmethod
    def create(
        cls, creator: PeerId, sign: Sign, name: str, *, now_ms: int, random: Random, hidden: bool = False
    ) -> Room:
        """A new room with a new secret; ``name`` is cleaned and cut.

        Raises :class:`InvalidRoom` when nothing visible is left of it.
        """
        name = clean_name(name)
        if not name:
            raise InvalidRoom("a room needs a name")
        secret = random(limits.ROOM_SECRET)
        signed = _signed(creator, name, room_id(secret), now_ms, hidden=hidden)
        return cls(creator, name, secret, now_ms, hidden, sign(ROOM, signed))

    @classmethod
    def decode_untrusted(cls, data: bytes, secret: bytes) -> Room:
        """The room in a descriptor, with the secret that came with it.

        Raises :class:`Rejected` ("room", "room-secret", "signature").
        """
        if len(secret) != limits.ROOM_SECRET or data[42:58] != room_id(secret):
            raise Rejected("room-secret")
        if len(data) < _HEAD.size + SIGNATURE_LENGTH:
            raise Rejected("room")
        signed, signature = data[:-SIGNATURE_LENGTH], data[-SIGNATURE_LENGTH:]
        version, flags, created_ms, key, _, size = _HEAD.unpack_from(signed)
        if version != _VERSION or flags > _HIDDEN:
            raise Rejected("room")
        creator = PeerId.from_key_untrusted(key)
        verify_untrusted(key, signature, ROOM, signed)
        try:
            name = signed[_HEAD.size :].decode()
            if len(signed) != _HEAD.size + size:
                raise Rejected("room")
            return cls(creator, name, bytes(secret), created_ms, bool(flags & _HIDDEN), signature)
        except (UnicodeDecodeError, InvalidRoom):
            raise Rejected("room") from None

    def encode(self) -> bytes:
        """The descriptor, up to 187 octets, without the secret."""
        signed = _signed(self.creator, self.name, self.id, self.created_ms, hidden=self.hidden)
        return signed + self.signature

    def tag(self, now_ms: int) -> bytes:
        """8 octets that mark it today."""
        return room_tag(self.id, now_ms)

    def tags_near(self, now_ms: int) -> frozenset[bytes]:
        """Its tags of yesterday, today and tomorrow."""
        return tags_near(self.id, now_ms)

    def proof(self, purpose: bytes, frm: PeerId, to: PeerId) -> bytes:
        """16 octets: ``frm`` has the secret, said to ``to``."""
        return secret_proof(self.secret, purpose, frm, to)

    def __str__(self) -> str:
        """Safe to log."""
        return f"room {self.id.hex()[:8]}"


def _signed(creator: PeerId, name: str, identifier: bytes, created_ms: int, *, hidden: bool) -> bytes:
    octets = name.encode()
    flags = _HIDDEN if hidden else 0
    return _HEAD.pack(_VERSION, flags, created_ms, creator.key, identifier, len(octets)) + octets
