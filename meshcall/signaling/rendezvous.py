"""Where records of a peer or of a call are found: keys that change each epoch.

Law 1: everything about an inbox is derived from (ID, epoch), so only who knows the ID can find it, read the
presence in it or post to it; keys of two epochs can't be linked without the ID.
Law 2: everything about a reply box is derived from the hash of an offer, which only its two peers know.
Law 3: an epoch is 900 s long and begins at another time for each ID, so that not all change at once.

    okm  = HKDF-SHA256(secret = ID key, info = "meshcall/1/inbox" 0 epoch(u64), 64 octets)
    okm  = HKDF-SHA256(secret = offer hash, info = "meshcall/1/reply" 0, 64 octets)
    seed of the outer Ed25519 key = okm[:32]        mask key = okm[32:]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from meshcall.identity.keys import SigningKey, hkdf, sha256
from meshcall.identity.peer_id import PeerId
from meshcall.limits import EPOCH, EPOCH_OVERLAP
from meshcall.record.codec import RecordType, storage_key

_INBOX: Final = b"meshcall/1/inbox\0"
_REPLY: Final = b"meshcall/1/reply\0"
_EPOCH: Final = b"meshcall/1/epoch\0"
_EPOCH_MS: Final = EPOCH * 1000


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


def _shift_ms(peer_id: PeerId) -> int:
    return int.from_bytes(sha256(_EPOCH, peer_id.key)[:4], "big") % _EPOCH_MS


def epoch_of(peer_id: PeerId, now_ms: int) -> int:
    """The epoch of ``peer_id`` at ``now_ms`` (unix milliseconds)."""
    return max(0, now_ms + _shift_ms(peer_id)) // _EPOCH_MS


def epochs_near(peer_id: PeerId, now_ms: int, slack_s: float = EPOCH_OVERLAP) -> tuple[int, ...]:
    """The current epoch first, then those whose boundary is less than ``slack_s`` seconds away.

    With the default a peer is found although the two clocks differ by two minutes. With more slack one
    recognises messages of peers whose clock is further off, to tell them so.
    """
    slack_ms = int(slack_s * 1000)
    current = epoch_of(peer_id, now_ms)
    first, last = epoch_of(peer_id, now_ms - slack_ms), epoch_of(peer_id, now_ms + slack_ms)
    return (current, *(epoch for epoch in range(first, last + 1) if epoch != current))


def next_change_ms(peer_id: PeerId, now_ms: int) -> int:
    """When :func:`epochs_near` changes next, unix milliseconds, always after ``now_ms``."""
    begin = epoch_of(peer_id, now_ms) * _EPOCH_MS - _shift_ms(peer_id)
    slack = EPOCH_OVERLAP * 1000
    changes = (begin + slack, begin + _EPOCH_MS - slack, begin + _EPOCH_MS)
    return next(change for change in changes if change > now_ms)


def _derive(secret: bytes, info: bytes, offer_hash: bytes | None) -> Rendezvous:
    okm = hkdf(secret, info, 64)
    return Rendezvous(SigningKey.from_seed(okm[:32]), okm[32:], offer_hash)


def inbox(peer_id: PeerId, epoch: int) -> Rendezvous:
    """Where ``peer_id`` puts its presence and takes offers during ``epoch``."""
    return _derive(peer_id.key, _INBOX + struct.pack("!Q", epoch), None)


def reply_box(offer_hash: bytes) -> Rendezvous:
    """Where the callee answers the offer whose inner has ``offer_hash`` (32 octets)."""
    if len(offer_hash) != 32:
        raise ValueError("an offer hash has 32 octets")
    return _derive(offer_hash, _REPLY, offer_hash)
