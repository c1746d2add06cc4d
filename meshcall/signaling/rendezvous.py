"""Where records of a peer or of a call are found: keys that change each epoch.

Law 1: everything about an inbox is derived from (ID, epoch), so only who knows the ID can find it, read the
presence in it or post to it; keys of two epochs can't be linked without the ID.
Law 2: the same holds for a contact rendezvous and who has its owner's secret, and for an invite rendezvous
and who has the invite. Storage nodes can't tell the three apart.
Law 3: everything about a reply box is derived from the hash of an offer, which only its two peers know.
Law 4: an epoch is 900 s long and begins at another time for each secret, so that not all change at once.

    okm  = HKDF-SHA256(secret = ID key, info = "meshcall/1/inbox" 0 epoch(u64), 64 octets)
    okm  = HKDF-SHA256(secret = 32 octets, info = "meshcall/1/contact" 0 epoch(u64), 64 octets)
    okm  = HKDF-SHA256(secret = invite's 16 octets, info = "meshcall/1/invite" 0 epoch(u64), 64 octets)
    okm  = HKDF-SHA256(secret = offer hash, info = "meshcall/1/reply" 0, 64 octets)
    seed of the outer Ed25519 key = okm[:32]        mask key = okm[32:]
    shift = u32(SHA-256("meshcall/1/epoch" 0 secret)[:4]) mod 900,000 ms

    rendezvous secret, as it is handed to a contact: generation(u32) secret(32)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, Literal

from meshcall.errors import Rejected
from meshcall.identity.keys import Random, SigningKey, hkdf, sha256
from meshcall.identity.peer_id import PeerId
from meshcall.limits import EPOCH, EPOCH_OVERLAP
from meshcall.record.codec import RecordType, storage_key

Kind = Literal["inbox", "contact", "invite"]
"""By what a peer is found: its ID, its rendezvous secret, or an invite of it."""

_LABELS: Final[dict[Kind, bytes]] = {
    "inbox": b"meshcall/1/inbox\0",
    "contact": b"meshcall/1/contact\0",
    "invite": b"meshcall/1/invite\0",
}
_REPLY: Final = b"meshcall/1/reply\0"
_EPOCH: Final = b"meshcall/1/epoch\0"
_EPOCH_MS: Final = EPOCH * 1000
_SECRET: Final = struct.Struct("!I32s")


@dataclass(frozen=True, slots=True)
class RendezvousSecret:
    """What a peer hands to its contacts, so that they find it where nobody else can."""

    secret: bytes = field(repr=False)
    """32 random octets."""

    generation: int
    """u32; of two secrets of one peer the higher one counts."""

    @classmethod
    def after(cls, last: int, now_ms: int, random: Random) -> RendezvousSecret:
        """A new one that replaces generation ``last``; dated, so that it counts even if ``last`` was lost."""
        return cls(random(32), min(max(last + 1, now_ms // 1000), 2**32 - 1))

    def encode(self) -> bytes:
        """36 octets."""
        return _SECRET.pack(self.generation, self.secret)

    @classmethod
    def decode_untrusted(cls, data: bytes) -> RendezvousSecret:
        """The secret in ``data``; raises :class:`Rejected` (``rendezvous-secret``)."""
        if len(data) != _SECRET.size:
            raise Rejected("rendezvous-secret")
        generation, secret = _SECRET.unpack(data)
        if not generation:
            raise Rejected("rendezvous-secret")
        return cls(secret, generation)


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """One place of meeting: who holds it can post there and read what is masked."""

    signer: SigningKey
    """Outer key; its public half is what storage nodes see."""

    mask_key: bytes = field(repr=False)
    """32 octets: hides the presence and prekey ids from storage nodes."""

    offer_hash: bytes | None = None
    """Of a reply box: the hash of the offer that every message in it must be bound to."""

    def storage_key(self, type: RecordType) -> bytes:  # noqa: A002 - the layout's word
        """Where records of ``type`` are stored, 20 octets."""
        return storage_key(type, self.signer.public)


@dataclass(frozen=True, slots=True)
class Series:
    """The rendezvous of one secret, epoch after epoch."""

    kind: Kind

    secret: bytes = field(repr=False)
    """The ID key, a rendezvous secret (32 octets each) or an invite's secret (16)."""

    @classmethod
    def of(cls, peer_id: PeerId) -> Series:
        """The inboxes of ``peer_id``."""
        return cls("inbox", peer_id.key)

    def at(self, epoch: int) -> Rendezvous:
        """The one of ``epoch``."""
        return _derive(self.secret, _LABELS[self.kind] + struct.pack("!Q", epoch), None)

    def epoch(self, now_ms: int) -> int:
        """The epoch at ``now_ms`` (unix milliseconds)."""
        return max(0, now_ms + self._shift_ms()) // _EPOCH_MS

    def near(self, now_ms: int, slack_s: float = EPOCH_OVERLAP) -> tuple[int, ...]:
        """The current epoch first, then those whose boundary is less than ``slack_s`` seconds away.

        With the default a peer is found although the two clocks differ by two minutes. With more slack one
        recognises messages of peers whose clock is further off, to tell them so.
        """
        slack_ms = int(slack_s * 1000)
        current = self.epoch(now_ms)
        first, last = self.epoch(now_ms - slack_ms), self.epoch(now_ms + slack_ms)
        return (current, *(epoch for epoch in range(first, last + 1) if epoch != current))

    def next_change_ms(self, now_ms: int) -> int:
        """When :meth:`near` changes next, unix milliseconds, always after ``now_ms``."""
        begin = self.epoch(now_ms) * _EPOCH_MS - self._shift_ms()
        slack = EPOCH_OVERLAP * 1000
        changes = (begin + slack, begin + _EPOCH_MS - slack, begin + _EPOCH_MS)
        return next(change for change in changes if change > now_ms)

    def _shift_ms(self) -> int:
        return int.from_bytes(sha256(_EPOCH, self.secret)[:4], "big") % _EPOCH_MS


def epoch_of(peer_id: PeerId, now_ms: int) -> int:
    """The epoch of ``peer_id``'s inbox at ``now_ms`` (unix milliseconds)."""
    return Series.of(peer_id).epoch(now_ms)


def epochs_near(peer_id: PeerId, now_ms: int, slack_s: float = EPOCH_OVERLAP) -> tuple[int, ...]:
    """:meth:`Series.near` of ``peer_id``'s inbox."""
    return Series.of(peer_id).near(now_ms, slack_s)


def next_change_ms(peer_id: PeerId, now_ms: int) -> int:
    """:meth:`Series.next_change_ms` of ``peer_id``'s inbox."""
    return Series.of(peer_id).next_change_ms(now_ms)


def _derive(secret: bytes, info: bytes, offer_hash: bytes | None) -> Rendezvous:
    okm = hkdf(secret, info, 64)
    return Rendezvous(SigningKey.from_seed(okm[:32]), okm[32:], offer_hash)


def inbox(peer_id: PeerId, epoch: int) -> Rendezvous:
    """Where who knows the ID of ``peer_id`` finds it during ``epoch``."""
    return Series.of(peer_id).at(epoch)


def contact_rendezvous(secret: bytes, epoch: int) -> Rendezvous:
    """Where contacts who were handed ``secret`` (32 octets) find its owner during ``epoch``."""
    return Series("contact", secret).at(epoch)


def invite_rendezvous(secret: bytes, epoch: int) -> Rendezvous:
    """Where whoever holds an invite with ``secret`` (16 octets) finds the inviter during ``epoch``."""
    return Series("invite", secret).at(epoch)


def reply_box(offer_hash: bytes) -> Rendezvous:
    """Where the callee answers the offer whose inner has ``offer_hash`` (32 octets)."""
    if len(offer_hash) != 32:
        raise ValueError("an offer hash has 32 octets")
    return _derive(offer_hash, _REPLY, offer_hash)
