"""Peers with a disk and a post, over a DHT that delivers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from meshcall.address import Address
from meshcall.aio.dht import DhtNode, Notify
from meshcall.aio.files import StateDb
from meshcall.finder import Found
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, SentOffer
from meshcall.post import Post
from meshcall.record.codec import Record, decode_record_untrusted
from meshcall.rendezvous_keys import RendezvousKeys
from meshcall.signaling import messages as m
from meshcall.signaling.presence import read_presence_untrusted
from meshcall.signaling.rendezvous import Series
from meshcall.testing.clock import FakeClock, seeded_random

CALL = bytes(range(16))
VIA: Address = ("192.0.2.1", 4000)


@dataclass
class Receipt:
    """What the network tells of a delivery."""

    watchers: int
    stored: int = 0

    def close(self) -> None:
        """Nothing is held."""


@dataclass(eq=False)
class Key:
    """A watched key."""

    dht: FakeDht
    key: bytes

    def addresses(self) -> list[Address]:
        """Who holds the watch."""
        return [VIA]

    def close(self) -> None:
        """Give it back."""
        self.dht.keys.remove(self.key)


class FakeFind:
    """The records under one key."""

    def __init__(self, records: Sequence[bytes]) -> None:
        self._records = records

    async def __aenter__(self) -> FakeFind:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for record in self._records:
            yield record


class FakeDht:
    """One peer's end of a network in which every delivery reaches every watcher at once."""

    def __init__(self, everybody: list[FakeDht]) -> None:
        self.keys: list[bytes] = []
        self.local: list[Record] = []
        self.stored: list[Record] = []
        self.delivered: list[Record] = []
        self.before_leaving: Callable[[Record], None] = lambda record: None
        self.on_notify: Callable[[Notify], bool] = lambda notify: False
        self._everybody = everybody
        everybody.append(self)

    def watch(self, key: bytes) -> Key:
        self.keys.append(key)
        return Key(self, key)

    def local_remove(self, record: Record) -> bool:
        if record not in self.local:
            return False
        self.local.remove(record)
        return True

    def local_put(self, data: bytes) -> None:
        record = decode_record_untrusted(data)
        self.before_leaving(record)
        self.local.append(record)

    async def store(self, data: bytes) -> int:
        self.stored.append(decode_record_untrusted(data))
        return 1

    def find(
        self, key: bytes, *, at: Sequence[Address] = (), only: bool = False, types: Sequence[int] = ()
    ) -> FakeFind:
        """What the others show there now."""
        shown = [record for one in self._everybody if one is not self for record in one.local]
        return FakeFind([record.encode() for record in shown if record.storage_key == key])

    async def deliver(
        self,
        data: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        reply_watch: bytes | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> Receipt:
        record = decode_record_untrusted(data)
        self.before_leaving(record)
        self.delivered.append(record)
        if reply_watch is not None:
            self.keys.append(reply_watch)
        watchers = [one for one in self._everybody if one is not self and record.storage_key in one.keys]
        for one in watchers:
            one.on_notify(Notify(data, record.storage_key, VIA))
        if watchers and on_reached is not None:
            on_reached()
        return Receipt(len(watchers))


class Peer:
    """A peer with a disk, which can be started again."""

    def __init__(self, name: str, folder: Path, network: list[FakeDht], clock: FakeClock) -> None:
        self.path = folder / f"{name}.db"
        self.identity = SigningKey.generate(seeded_random(name))
        self.me = PeerId.from_key(self.identity.public)
        self.clock = clock
        self.letters: list[Letter] = []
        self.on_letter: Callable[[Letter], None] = lambda letter: None
        self.admits: Callable[[PeerId, m.MessageKind], bool] = lambda sender, kind: True
        self.trusts: Callable[[PeerId], bool] = lambda sender: False
        self.contacts_only = False
        self._network = network
        self._random = seeded_random(name + "!")
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin, or begin again with what is on the disk."""
        self.state = StateDb.open(self.path, now_ms=self.clock.now_ms())
        self.dht = FakeDht(self._network)
        self.counters: Counter[str] = Counter()
        self.keys = RendezvousKeys(
            self.me,
            self.state,
            clock=self.clock,
            random=self._random,
            contacts_only=self.contacts_only,
        )
        self.post = Post(
            self.identity,
            cast("DhtNode", self.dht),
            self.state,
            self.keys,
            clock=self.clock,
            random=self._random,
            use_dht=True,
            admit=lambda sender, kind: self.admits(sender, kind),
            on_letter=self._take,
            on_warning=lambda text: None,
            spawn=self._spawn,
            counters=self.counters,
            trusts=lambda sender: self.trusts(sender),
        )
        self.dht.on_notify = self.post.on_notify

    async def stop(self) -> None:
        """What ``kill -9`` leaves: nothing is said to anybody."""
        await self.settle()
        self._network.remove(self.dht)
        await self.state.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start()
        await self.post.refresh()
        await self.settle()

    async def settle(self) -> None:
        """Until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def found_by(self, other: Peer, series: Series | None = None) -> Found:
        """What ``other`` finds of this peer, at its inbox unless told otherwise."""
        where = series or Series.of(self.me)
        for epoch in where.near(other.clock.now_ms()):
            place = where.at(epoch)
            for record in reversed(self.dht.local):
                if record.key == place.signer.public:
                    presence = read_presence_untrusted(record, self.me, place, self.clock.now_ms())
                    return Found(presence, epoch, "dht", series=series)
        raise AssertionError("there is no presence")

    async def call(self, other: Peer, call_id: bytes = CALL, found: Found | None = None) -> SentOffer:
        """Send an offer."""
        found = found or other.found_by(self)
        sent = await self.post.offer(found, call_id, b"d", name="", wants=m.Wants.AUDIO, life=90)
        await self.post.deliver_offer(sent, lambda report: None)
        await other.settle()
        await self.settle()
        return sent

    def hears(self, record: Record, *, age: int = 0) -> None:
        """A node pushes a record, perhaps once more, which it has kept for ``age`` seconds."""
        self.post.on_notify(Notify(record.encode(), record.storage_key, VIA, age))

    def kinds(self) -> list[m.MessageKind]:
        """What was handed on."""
        return [letter.opened.kind for letter in self.letters]

    def _take(self, letter: Letter) -> None:
        self.on_letter(letter)
        self.letters.append(letter)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
