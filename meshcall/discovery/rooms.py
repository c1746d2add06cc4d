"""What a machine says on its LAN about the rooms it is in, and which rooms are heard of there.

Law 1: who does not know a room's name (or its secret) learns that a room is here and how many are in it,
nothing else: not its name unless the room is open, never who is in it.
Law 2: what marks a room changes each day, so two days can't be linked without the room's id.
Law 3: mDNS is not authenticated. What is read here says whom to ask, never who anybody is.
Law 4: however many rooms are announced, those that we are in keep their place.

One string of the TXT record for each room, ``r=``, ``r1=``, ``r2=``, ``r3=``, base64url of::

    0       1          9         10          12        16         28            76
    +-------+----------+---------+-----------+---------+----------+-------------+-----------+
    | flags | tag      | members | nameplate | hint    | nonce    | sealed      | name      |
    | u8    | 8        | u8      | u16       | 4       | 12       | 48          | 0 to 64   |
    +-------+----------+---------+-----------+---------+----------+-------------+-----------+
    flags      1 secret (its name is not shown)   2 locked (who comes without the secret knocks); others: 0
    nameplate  the number in a code that works now, 1 to 99; 0: none

    tag      = HMAC-SHA256(room id, "meshcall/1/room-tag" 0 day(u32))[:8]     day = unix seconds div 86400
    name key = HKDF-SHA256(name in UTF-8, NFC and case-folded; "meshcall/1/room-name" 0)
    hint     = HMAC-SHA256(name key, "hint" tag)[:4]
    key      = name key; while a code works HKDF-SHA256(nameplate as u16; "meshcall/1/room-nameplate" 0)
    nonce    = HMAC-SHA256(key, "nonce" tag announcer's ID key)[:12]
    sealed   = ChaCha20-Poly1305(key, nonce, announcer's ID key, associated data = tag)
"""

from __future__ import annotations

import base64
import binascii
import struct
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.identity.keys import aead_open_untrusted, aead_seal, hkdf, mac
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name

TAG: Final = 8
"""Octets of a room's tag."""

NAMEPLATE_MAX: Final = 99
"""The highest number of a code."""

KEYS: Final = tuple(f"r{n or ''}" for n in range(limits.ROOM_ANNOUNCED_MAX))
"""The keys of the TXT record's strings: RFC 6763 section 6.4 lets each occur once."""

_DAY_MS: Final = 86_400_000
_TAG: Final = b"meshcall/1/room-tag\0"
_NAME: Final = b"meshcall/1/room-name\0"
_NAMEPLATE: Final = b"meshcall/1/room-nameplate\0"
_FIXED: Final = struct.Struct("!B8sBH4s12s48s")
_SECRET: Final = 1
_LOCKED: Final = 2


def room_tag(room_id: bytes, now_ms: int) -> bytes:
    """8 octets that mark the room today, on the LAN and in letters."""
    return _tag(room_id, now_ms // _DAY_MS)


def tags_near(room_id: bytes, now_ms: int) -> frozenset[bytes]:
    """The room's tags of yesterday, today and tomorrow: clocks differ, and midnight comes in a meeting."""
    today = now_ms // _DAY_MS
    return frozenset(_tag(room_id, day) for day in (today - 1, today, today + 1))


def _tag(room_id: bytes, day: int) -> bytes:
    return mac(room_id, _TAG, (day % 2**32).to_bytes(4, "big"))[:TAG]


def name_key(name: str) -> bytes:
    """What who knows a room's name can compute: 32 octets. Case does not matter."""
    folded = unicodedata.normalize("NFC", clean_name(name).casefold())
    return hkdf(folded.encode(), _NAME)


def nameplate_key(nameplate: int) -> bytes:
    """What who knows the number of a code can compute: 32 octets."""
    return hkdf(nameplate.to_bytes(2, "big"), _NAMEPLATE)


@dataclass(frozen=True, slots=True)
class RoomAnnouncement:
    """One room, as one of its members announces it."""

    tag: bytes
    """8 octets."""
    members: int
    """How many are in it, 1 to 255."""
    hint: bytes
    """4 octets: tells a room by its name to who knows that."""
    nonce: bytes
    """12 octets."""
    sealed: bytes
    """48 octets: the announcer's ID key."""
    name: str = ""
    """Shown unless the room is secret."""
    secret: bool = False
    """Whether its name is not shown."""
    locked: bool = False
    """Whether who comes without the secret knocks."""
    nameplate: int = 0
    """The number of a code that works now; 0: none."""

    @classmethod
    def of(
        cls, room_id: bytes, name: str, me: PeerId, now_ms: int, *,
        members: int, secret: bool = False, locked: bool = False, nameplate: int = 0,
    ) -> RoomAnnouncement:  # fmt: skip
        """Our own for today. The same arguments give the same announcement."""
        tag = room_tag(room_id, now_ms)
        by_name = name_key(name)
        key = nameplate_key(nameplate) if nameplate else by_name
        nonce = mac(key, b"nonce", tag, me.key)[:12]
        return cls(
            tag=tag,
            members=max(1, min(members, 255)),
            hint=mac(by_name, b"hint", tag)[:4],
            nonce=nonce,
            sealed=aead_seal(key, nonce, me.key, tag),
            name="" if secret else clean_name(name),
            secret=secret,
            locked=locked,
            nameplate=nameplate,
        )

    def is_called(self, key: bytes) -> bool:
        """Whether this may be the room of that name (``key``: of :func:`name_key`); 4 octets, so a hint."""
        return mac(key, b"hint", self.tag)[:4] == self.hint

    def announcer_untrusted(self, key: bytes = b"") -> PeerId:
        """Who announces it; ``key``: of :func:`name_key`, not needed while a code works or the name is shown.

        Raises :class:`Rejected` ("sealed", "peer-id"). A claim: anybody can seal anybody's ID.
        """
        if self.nameplate:
            key = nameplate_key(self.nameplate)
        elif not key:
            key = name_key(self.name)
        return PeerId.from_key_untrusted(aead_open_untrusted(key, self.nonce, self.sealed, self.tag))

    def encode(self) -> bytes:
        """76 octets and the name."""
        flags = self.secret * _SECRET | self.locked * _LOCKED
        head = (flags, self.tag, self.members, self.nameplate, self.hint, self.nonce, self.sealed)
        return _FIXED.pack(*head) + self.name.encode()


def decode_announcement_untrusted(data: bytes) -> RoomAnnouncement:
    """What a stranger announces; raises :class:`Rejected` ("room")."""
    if not _FIXED.size <= len(data) <= _FIXED.size + limits.NAME_MAX:
        raise Rejected("room")
    flags, tag, members, nameplate, hint, nonce, sealed = _FIXED.unpack_from(data)
    try:
        name = data[_FIXED.size :].decode()
    except UnicodeDecodeError:
        raise Rejected("room") from None
    secret = bool(flags & _SECRET)
    if not members or nameplate > NAMEPLATE_MAX or clean_name(name) != name or secret == bool(name):
        raise Rejected("room")
    if flags > _SECRET | _LOCKED:
        raise Rejected("room")
    return RoomAnnouncement(
        tag, members, hint, nonce, sealed, name, secret, bool(flags & _LOCKED), nameplate
    )  # fmt: skip


def txt_pairs(announcements: Iterable[RoomAnnouncement]) -> list[tuple[str, str]]:
    """Keys and values for the TXT record; more than four rooms are not announced."""
    texts = [base64.urlsafe_b64encode(one.encode()).rstrip(b"=").decode() for one in announcements]
    return list(zip(KEYS, texts, strict=False))


def read_pairs_untrusted(values: Mapping[str, bytes]) -> tuple[RoomAnnouncement, ...]:
    """The rooms in a TXT record's strings. Cannot fail: what is malformed is left out, a tag counts once."""
    found: dict[bytes, RoomAnnouncement] = {}
    for key in KEYS:
        text = values.get(key, b"")
        try:
            data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            announcement = decode_announcement_untrusted(data)
        except (Rejected, binascii.Error):
            continue
        found.setdefault(announcement.tag, announcement)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class SeenRoom:
    """A room on the LAN."""

    tag: bytes
    """Today's, of the announcer's clock."""
    name: str
    """Shown; empty: it is secret."""
    members: int
    """The most that any of its announcers counts."""
    secret: bool
    locked: bool
    code: bool
    """Whether somebody in it has a code that works now."""
    announcements: tuple[tuple[str, RoomAnnouncement], ...]
    """(service instance, what it says)."""


class RoomsSeen:
    """The rooms that are announced on the LAN, bounded.

    The shell says which services are there with which announcements, and which tags are of rooms that we
    are in or know: these are never driven out.
    """

    def __init__(self) -> None:
        self._rooms: dict[bytes, dict[str, RoomAnnouncement]] = {}
        self._known: frozenset[bytes] = frozenset()

    def know(self, tags: Iterable[bytes]) -> None:
        """The tags of the rooms that we are in or know (:func:`tags_near` of each)."""
        self._known = frozenset(tags)

    def seen(self, instance: str, announcements: Iterable[RoomAnnouncement]) -> bool:
        """What the service ``instance`` announces now, all of it; whether anything is new."""
        wanted = {one.tag: one for one in list(announcements)[: limits.ROOM_SIGHTINGS_PER_SERVICE]}
        before = self._of(instance)
        if before == wanted:
            return False
        for tag in before.keys() - wanted.keys():
            self._drop(tag, instance)
        for tag, one in wanted.items():
            self._take(tag, instance, one)
        return self._of(instance) != before

    def gone(self, instance: str) -> bool:
        """The service is not there any more; whether that changes anything."""
        return self.seen(instance, ())

    def matters(self, instance: str) -> bool:
        """Whether a service announces a room that we are in or know."""
        return any(instance in self._rooms.get(tag, ()) for tag in self._known)

    def rooms(self) -> tuple[SeenRoom, ...]:
        """All, by name, those without one last."""
        found = [_summary(tag, by) for tag, by in self._rooms.items()]
        return tuple(sorted(found, key=lambda room: (not room.name, room.name.casefold(), room.tag)))

    def called(self, name: str) -> tuple[SeenRoom, ...]:
        """Those that may be called ``name``; more than one: the name is taken twice."""
        key = name_key(name)
        return tuple(
            room
            for room in self.rooms()
            if any(one.is_called(key) for _, one in room.announcements)
        )  # fmt: skip

    def with_nameplate(self, nameplate: int) -> tuple[tuple[bytes, PeerId], ...]:
        """(tag, announcer) of each code with that number, each announcer once, a few at most."""
        found: dict[PeerId, bytes] = {}
        for tag, by in self._rooms.items():
            for one in by.values():
                if one.nameplate == nameplate:
                    peer = _announcer(one, b"")
                    if peer is not None:
                        found.setdefault(peer, tag)
        return tuple((tag, peer) for peer, tag in found.items())[: limits.ROOM_CODE_MEMBERS]

    def nameplates(self) -> frozenset[int]:
        """The numbers of all codes that work now: a new one is not among them."""
        return frozenset(one.nameplate for by in self._rooms.values() for one in by.values()) - {0}

    def announcers(self, tag: bytes, name: str) -> tuple[PeerId, ...]:
        """Who announces the room of that tag, each once; ``name``: the room's, if that is hidden."""
        key = name_key(name) if name else b""
        peers = (_announcer(one, key) for one in self._rooms.get(tag, {}).values())
        return tuple(dict.fromkeys(peer for peer in peers if peer is not None))

    def _of(self, instance: str) -> dict[bytes, RoomAnnouncement]:
        return {tag: by[instance] for tag, by in self._rooms.items() if instance in by}

    def _take(self, tag: bytes, instance: str, one: RoomAnnouncement) -> None:
        by = self._rooms.get(tag)
        if by is None:
            if not self._room_for(tag):
                return
            by = self._rooms.setdefault(tag, {})
        if instance in by or len(by) < limits.ROOM_SIGHTERS_MAX:
            by[instance] = one

    def _room_for(self, tag: bytes) -> bool:
        """Whether one more may be remembered. The first to come stays: a flood comes later."""
        return tag in self._known or len(self._rooms.keys() - self._known) < limits.ROOM_SIGHTINGS_MAX

    def _drop(self, tag: bytes, instance: str) -> None:
        by = self._rooms[tag]
        del by[instance]
        if not by:
            del self._rooms[tag]


def _announcer(one: RoomAnnouncement, key: bytes) -> PeerId | None:
    try:
        return one.announcer_untrusted(key)
    except Rejected:
        return None


def _summary(tag: bytes, by: Mapping[str, RoomAnnouncement]) -> SeenRoom:
    all_of_it = tuple(by.items())
    rows = [one for _, one in all_of_it]
    return SeenRoom(
        tag=tag,
        name=next((one.name for one in rows if one.name), ""),
        members=max(one.members for one in rows),
        secret=all(one.secret for one in rows),
        locked=any(one.locked for one in rows),
        code=any(one.nameplate for one in rows),
        announcements=all_of_it,
    )
