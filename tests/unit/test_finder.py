"""Finding a peer among records that anybody may have stored, and what is remembered of it.

The story: Alice looks for Bob.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import cast

from meshcall import limits
from meshcall.aio.dht import DhtNode
from meshcall.finder import Finder, Found
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import PrekeyRing
from meshcall.record.codec import RecordType
from meshcall.signaling.presence import Presence, publish_presence, renew_presence
from meshcall.signaling.rendezvous import epoch_of, epochs_near, inbox, next_change_ms
from meshcall.testing.clock import FakeClock, seeded_random

RANDOM = seeded_random("finder")
BOB = SigningKey.generate(RANDOM)
BOB_ID = PeerId.from_key(BOB.public)


class FakeFind:
    """Records under one key."""

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
    """A network that anybody stores in."""

    def __init__(self) -> None:
        self.records: dict[bytes, list[bytes]] = {}
        self.finds = 0

    def put(self, presence: Presence, epoch: int, seq: int) -> None:
        """Store ``presence`` under the key of ``epoch``, behind what is there."""
        key = inbox(BOB_ID, epoch).storage_key(RecordType.PRESENCE)
        self.records.setdefault(key, []).append(
            publish_presence(BOB, presence, inbox(BOB_ID, epoch), seq).encode()
        )

    def find(
        self, key: bytes, *, at: Sequence[object] = (), only: bool = False, types: Sequence[int] = ()
    ) -> FakeFind:
        self.finds += 1
        return FakeFind(self.records.get(key, []))


class World:
    """Alice's finder, and Bob's presence."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dht = FakeDht()
        # Begin right after a boundary, with the whole epoch ahead
        while (self._boundary() - self.clock.now_ms()) / 1000 < limits.EPOCH - 200:
            self.clock.advance((next_change_ms(BOB_ID, self.clock.now_ms()) - self.clock.now_ms()) / 1000)
        self.finder = Finder(
            cast("DhtNode", self.dht),
            clock=self.clock,
            lan_addresses=lambda peer: (),
            use_dht=True,
            counters=Counter(),
        )

    def _boundary(self) -> int:
        """When Bob's epoch ends."""
        now_ms = self.clock.now_ms()
        epoch, end = epoch_of(BOB_ID, now_ms), now_ms
        while epoch_of(BOB_ID, end) == epoch:
            end += 1000
        return end

    def presence(self, age: float = 0.0) -> Presence:
        """Bob's, made ``age`` seconds ago."""
        made_ms = self.clock.now_ms() - int(age * 1000)
        return renew_presence(None, BOB_ID, PrekeyRing().current(made_ms, RANDOM), made_ms)

    def now(self) -> int:
        """Bob's epoch."""
        return epoch_of(BOB_ID, self.clock.now_ms())

    async def find(self) -> Found:
        found = await self.finder.find(BOB_ID)
        assert found is not None
        return found


async def test_a_presence_of_the_last_epoch_leads_to_the_inbox_of_this_one() -> None:
    """What is remembered outlives the epoch that it was found in; the peer reads another inbox then."""
    world = World()
    world.dht.put(world.presence(), world.now(), 1)
    world.clock.advance(limits.EPOCH - limits.PRESENCE_CACHE / 2 - 150)
    before = await world.find()
    first = world.now()
    world.clock.advance(limits.PRESENCE_CACHE - 1)
    assert world.now() == first + 1
    found = await world.find()
    assert found.route == "cache"
    assert found.presence == before.presence
    assert found.rendezvous_at(world.clock.now_ms()).signer.public == inbox(BOB_ID, first + 1).signer.public
    # A call that was begun with it goes on in the same way
    assert before.rendezvous_at(world.clock.now_ms()).signer.public == inbox(BOB_ID, first + 1).signer.public


async def test_an_old_presence_that_somebody_stored_again_does_not_win() -> None:
    """It is signed by the peer and still in time, but an offer bound to it is refused."""
    world = World()
    for age in (5400, 4000):
        world.dht.put(world.presence(age), world.now(), 1)
    new = world.presence(60)
    world.dht.put(new, world.now(), 2)
    assert (await world.find()).presence == new


async def test_an_old_presence_is_better_than_none() -> None:
    """A peer that is offline left one: the newest is taken, and the offer waits there."""
    world = World()
    ages = (6000, 4000, 5000)
    made = {age: world.presence(age) for age in ages}
    for age in ages:
        world.dht.put(made[age], world.now(), 1)
    assert (await world.find()).presence == made[4000]


async def test_near_a_boundary_the_current_epoch_counts() -> None:
    """A peer with the right time tells both; one that is found in the other one only reads only that."""
    world = World()
    world.clock.advance(2 * limits.EPOCH_OVERLAP)
    world.clock.advance((next_change_ms(BOB_ID, world.clock.now_ms()) - world.clock.now_ms()) / 1000 + 1)
    now, presence = world.now(), world.presence()
    assert epochs_near(BOB_ID, world.clock.now_ms()) == (now, now + 1)
    world.dht.put(presence, now + 1, 1)
    for epoch in (now + 1, now):
        world.dht.put(presence, epoch, 2)
        found = await world.find()
        assert found.rendezvous_at(world.clock.now_ms()).signer.public == inbox(BOB_ID, epoch).signer.public


async def test_a_peer_in_another_epoch_is_found_and_not_remembered() -> None:
    """One of the clocks is wrong; the offer goes where the peer reads, and the next call looks again."""
    world = World()
    world.clock.advance(2 * limits.EPOCH_OVERLAP)
    world.dht.put(world.presence(), world.now() - 1, 1)
    their_inbox = inbox(BOB_ID, world.now() - 1)
    for _ in range(2):
        asked = world.dht.finds
        found = await world.find()
        assert world.dht.finds > asked
        assert found.rendezvous_at(world.clock.now_ms()).signer.public == their_inbox.signer.public
