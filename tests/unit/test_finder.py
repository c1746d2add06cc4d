"""Finding a peer among records that anybody may have stored, and what is remembered of it.

The story: Alice looks for Bob.
"""

from __future__ import annotations

import asyncio
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
from meshcall.signaling.rendezvous import (
    Rendezvous,
    Series,
    epoch_of,
    epochs_near,
    inbox,
    next_change_ms,
)
from meshcall.testing.clock import FakeClock, seeded_random
from tests.unit.post_world import FakeFind

RANDOM = seeded_random("finder")
BOB = SigningKey.generate(RANDOM)
BOB_ID = PeerId.from_key(BOB.public)


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


SECRET = b"s" * 32


class SlowDht(FakeDht):
    """The first key that is asked for answers when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.slow: set[bytes] = set()
        self.gate = asyncio.Event()

    def show(self, presence: Presence, place: Rendezvous, seq: int = 1) -> None:
        """Store ``presence`` at ``place``."""
        key = place.storage_key(RecordType.PRESENCE)
        self.records.setdefault(key, []).append(publish_presence(BOB, presence, place, seq).encode())

    def find(
        self, key: bytes, *, at: Sequence[object] = (), only: bool = False, types: Sequence[int] = ()
    ) -> FakeFind:
        self.asked.append(key)
        if key not in self.slow:
            return super().find(key)
        gate, records = self.gate, self.records.get(key, [])

        class Slow(FakeFind):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                await gate.wait()
                for record in records:
                    yield record

        return Slow(records)


class TwoKeys(World):
    """Bob is looked for by his secret, with a head start of ``head_start`` seconds, and by his ID."""

    def __init__(self, head_start: float) -> None:
        super().__init__()
        self.slow = self.dht = SlowDht()
        self.counters: Counter[str] = Counter()
        self.secret = SECRET
        self.finder = Finder(
            cast("DhtNode", self.dht),
            clock=self.clock,
            lan_addresses=lambda peer: (),
            use_dht=True,
            counters=self.counters,
            secret_of=lambda peer: self.secret,
            head_start=head_start,
        )

    def private(self) -> Rendezvous:
        """Bob's contact rendezvous of now."""
        series = Series("contact", self.secret)
        return series.at(series.epoch(self.clock.now_ms()))

    def public(self) -> Rendezvous:
        """Bob's inbox of now."""
        return inbox(BOB_ID, self.now())


def key_of(place: Rendezvous) -> bytes:
    return place.storage_key(RecordType.PRESENCE)


async def test_a_contact_is_found_without_a_look_at_its_inbox() -> None:
    """Within the head start nobody who watches the inbox learns that somebody looks for Bob."""
    world = TwoKeys(60.0)
    world.slow.show(world.presence(), world.private())
    world.slow.show(world.presence(), world.public())
    found = await world.find()
    assert found.by == "contact"
    assert key_of(world.public()) not in world.slow.asked
    assert found.rendezvous_at(world.clock.now_ms()).signer.public == world.private().signer.public
    assert world.counters["found-by-contact"] == 1


async def test_the_inbox_follows_at_once_when_nothing_is_there() -> None:
    """An empty contact rendezvous costs its own look-up and no head start."""
    world = TwoKeys(60.0)
    world.slow.show(world.presence(), world.public())
    async with asyncio.timeout(5):
        found = await world.find()
    assert found.by == "inbox"
    assert found.rendezvous_at(world.clock.now_ms()).signer.public == world.public().signer.public
    assert world.slow.asked.index(key_of(world.private())) < world.slow.asked.index(key_of(world.public()))


async def test_the_inbox_follows_after_the_head_start_and_the_first_good_presence_wins() -> None:
    """Nodes that do not answer at one key keep nobody from calling."""
    world = TwoKeys(0.0)
    world.slow.show(world.presence(), world.public())
    world.slow.show(world.presence(), world.private())
    series = Series("contact", SECRET)
    world.slow.slow = {key_of(series.at(e)) for e in series.near(world.clock.now_ms())}
    async with asyncio.timeout(5):
        assert (await world.find()).by == "inbox"
    world.slow.gate.set()
    assert (await world.find()).by == "contact", "what is remembered is of the second choice"


async def test_what_is_remembered_by_an_old_secret_is_not_used() -> None:
    """A new secret came meanwhile: it is looked for by that."""
    world = TwoKeys(60.0)
    world.slow.show(world.presence(), world.private())
    assert (await world.find()).route == "dht"
    assert (await world.find()).route == "cache"
    world.secret = b"n" * 32
    world.slow.show(world.presence(), world.private())
    found = await world.find()
    assert (found.route, found.by, found.series) == ("dht", "contact", Series("contact", b"n" * 32))


async def test_who_is_told_that_the_secret_did_not_help_looks_by_the_id_alone() -> None:
    """What is left over at a rendezvous that is served no more is not found again."""
    world = TwoKeys(60.0)
    for place in (world.private(), world.public()):
        world.slow.show(world.presence(), place)
    assert (await world.find()).by == "contact"
    found = await world.finder.find(BOB_ID, by_id=True)
    assert found is not None
    assert found.by == "inbox"


async def test_an_invite_leads_to_its_maker_first() -> None:
    """Also to one that has no inbox."""
    world = TwoKeys(60.0)
    world.secret = b""
    invite = Series("invite", b"i" * 16)
    world.slow.show(world.presence(), invite.at(invite.epoch(world.clock.now_ms())))
    found = await world.finder.find(BOB_ID, invite=b"i" * 16)
    assert found is not None
    assert found.by == "invite"
    assert await world.finder.find(BOB_ID) is None, "it is no way to call"


async def test_a_presence_of_somebody_else_at_the_rendezvous_is_refused() -> None:
    """A contact that hands over another's secret, or posts there itself, is not taken for its owner."""
    world = TwoKeys(60.0)
    mallory = SigningKey.generate(RANDOM)
    made_ms = world.clock.now_ms()
    presence = renew_presence(
        None, PeerId.from_key(mallory.public), PrekeyRing().current(made_ms, RANDOM), made_ms
    )
    record = publish_presence(mallory, presence, world.private(), 1)
    world.slow.records[key_of(world.private())] = [record.encode()]
    assert await world.finder.find(BOB_ID) is None
    assert world.counters["presence-signature"] == 1
