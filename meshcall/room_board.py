"""What our node tells who asks it directly about a room: the announcement, where no mDNS reaches.

Law 1: it tells what the LAN would be told, and only who can say the room's name or the number of a code.
Law 2: it lies in our own node alone, never at others': a room is found at a machine that is in it.

::

    key        = name key; of a code the nameplate key           (:mod:`meshcall.discovery.rooms`)
    rendezvous = that of an invite with the secret HKDF-SHA256(key, "meshcall/1/room-board" 0)[:16]
    record     = of type presence, signed by the rendezvous; value:
                 ChaCha20-Poly1305(mask key, nonce = 0(u32) seq(u64), n(u8) announcement(n) zeros to 180,
                 aad = the record's 48 header octets)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.discovery.rooms import (
    RoomAnnouncement,
    decode_announcement_untrusted,
    name_key,
    nameplate_key,
)
from meshcall.errors import Rejected
from meshcall.identity.keys import Random, aead_open_untrusted, aead_seal, hkdf
from meshcall.record.codec import (
    PRESENCE_VALUE,
    Record,
    RecordType,
    decode_record_untrusted,
    sign_record,
)
from meshcall.record.validation import verify_record_untrusted
from meshcall.signaling.rendezvous import Rendezvous, Series

_BOARD: Final = b"meshcall/1/room-board\0"
_PLAIN: Final = PRESENCE_VALUE - 16
_TTL: Final = 2 * limits.EPOCH
_CHANCE_BITS: Final = 20
"""Of a sequence number: members share the key, and no two of them may use a number twice."""


def board_of(key: bytes) -> Series:
    """Where the room is told of, to who knows ``key``."""
    return Series("invite", hkdf(key, _BOARD, 16))


def write_board(announcement: RoomAnnouncement, rendezvous: Rendezvous, seq: int) -> Record:
    """The record; ``seq`` must never have been used before with this rendezvous."""
    octets = announcement.encode()
    plain = (bytes([len(octets)]) + octets).ljust(_PLAIN, b"\0")
    header = Record(
        RecordType.PRESENCE, rendezvous.signer.public, seq, _TTL, bytes(PRESENCE_VALUE), b""
    ).header
    value = aead_seal(rendezvous.mask_key, _nonce(seq), plain, header)
    return sign_record(rendezvous.signer, RecordType.PRESENCE, seq, _TTL, value)


def read_board_untrusted(data: bytes, rendezvous: Rendezvous) -> RoomAnnouncement:
    """What a record says; raises :class:`Rejected`. Who knows the name can write anything: it is a hint."""
    record = decode_record_untrusted(data)
    if record.type is not RecordType.PRESENCE or record.key != rendezvous.signer.public:
        raise Rejected("rendezvous")
    verify_record_untrusted(record)
    plain = aead_open_untrusted(rendezvous.mask_key, _nonce(record.seq), record.value, record.header)
    if len(plain) != _PLAIN or any(plain[1 + plain[0] :]):
        raise Rejected("room")
    return decode_announcement_untrusted(plain[1 : 1 + plain[0]])


def _nonce(seq: int) -> bytes:
    return bytes(4) + seq.to_bytes(8, "big")


class RoomBoard:
    """Of one node: what it tells, and what it asks others."""

    def __init__(self, dht: DhtNode, clock: Clock, random: Random) -> None:
        self._dht = dht
        self._clock = clock
        self._random = random
        self._shown: dict[bytes, Record] = {}
        self._seq = 0

    def show(self, rooms: Iterable[tuple[str, RoomAnnouncement]]) -> None:
        """Tell of these, each with its name, and of no others."""
        now_ms = self._clock.now_ms()
        wanted: dict[bytes, tuple[Rendezvous, RoomAnnouncement]] = {}
        for name, announcement in rooms:
            keys = [name_key(name)]
            keys += [nameplate_key(announcement.nameplate)] if announcement.nameplate else []
            for series in map(board_of, keys):
                for epoch in series.near(now_ms):
                    place = series.at(epoch)
                    wanted[place.storage_key(RecordType.PRESENCE)] = place, announcement
        for key in self._shown.keys() - wanted.keys():
            self._dht.local_remove(self._shown.pop(key))
        for key, (place, announcement) in wanted.items():
            chance = int.from_bytes(self._random(4), "big") >> 32 - _CHANCE_BITS
            self._seq = max(self._seq + 1, now_ms << _CHANCE_BITS | chance)
            record = self._shown[key] = write_board(announcement, place, self._seq)
            self._dht.local_put(record.encode())

    async def ask(self, place: Address, key: bytes) -> RoomAnnouncement | None:
        """What the node at ``place`` tells who knows ``key``; None: nothing, or nobody is there."""
        series, now_ms = board_of(key), self._clock.now_ms()
        for epoch in series.near(now_ms):
            rendezvous = series.at(epoch)
            storage_key = rendezvous.storage_key(RecordType.PRESENCE)
            async with self._dht.find(
                storage_key, at=(place,), only=True, types=(RecordType.PRESENCE,)
            ) as records:
                async for data in records:
                    try:
                        return read_board_untrusted(data, rendezvous)
                    except Rejected:
                        continue
        return None
