"""Somebody who knows an ID, has a DHT node, and writes what it likes."""

from __future__ import annotations

import os
from collections import Counter

from meshcall.aio.clock import Clock, SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.finder import Finder, Found
from meshcall.identity.keys import AgreementKey, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.record.codec import RecordType
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import seal_message
from meshcall.signaling.presence import presence_hash


async def find(dht: DhtNode, peer: PeerId, clock: Clock | None = None) -> Found:
    """The presence of ``peer``, as anybody with its ID finds it."""
    finder = Finder(
        dht, clock=clock or SystemClock(), lan_addresses=lambda _: (), use_dht=True, counters=Counter()
    )
    found = await finder.find(peer)
    assert found is not None, "the peer is not in the DHT"
    return found


class Stranger:
    """An identity that nobody knows."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.identity = SigningKey.generate(system_random)
        self._clock = clock or SystemClock()
        self._seq = 0

    @property
    def id(self) -> str:
        """Its ID."""
        return PeerId.from_key(self.identity.public).text

    def offer(self, found: Found, description: bytes = b"d", *, call_id: bytes = b"") -> tuple[bytes, bytes]:
        """A record with a valid offer to whom ``found`` leads to, and the hash that later messages name."""
        reply_key = AgreementKey.generate(system_random)
        message = m.Offer(description, reply_key.public, "", m.Wants.AUDIO)
        return self.message(found, message, presence_hash(found.presence), call_id or os.urandom(16))

    def message(self, found: Found, message: m.Message, bind: bytes, call_id: bytes) -> tuple[bytes, bytes]:
        """The same for any message."""
        self._seq += 1
        now_ms = self._clock.now_ms()
        record, inner_hash = seal_message(
            identity=self.identity,
            to=found.presence.peer_id,
            prekey_id=found.presence.prekey_id,
            prekey=found.presence.prekey,
            rendezvous=found.rendezvous_at(now_ms),
            type=RecordType.INBOX,
            call_id=call_id,
            message=message,
            bind=bind,
            now_ms=now_ms,
            seq=now_ms + self._seq,
            ttl=60,
        )
        return record.encode(), inner_hash
