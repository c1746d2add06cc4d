"""Rendezvous secrets between three peers, over a DHT that delivers at once: who has them, who finds whom.

The story: Alice has the contacts Bob and Carol. Everything is carried out at once; only clocks are played.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from meshcall import limits
from meshcall.aio.dht import DhtNode
from meshcall.aio.files import ContactRow
from meshcall.contacts import ContactBook
from meshcall.errors import StateUnwritable
from meshcall.finder import Finder, Found
from meshcall.handover import Handover
from meshcall.identity.peer_id import PeerId
from meshcall.introductions import Introductions
from meshcall.letters import Letter
from meshcall.record.codec import RecordType
from meshcall.signaling import messages as m
from meshcall.signaling.rendezvous import Series
from meshcall.testing.clock import FakeClock
from meshcall.views import ContactView
from tests.unit.post_world import CALL, FakeDht, Peer

OFFER = m.MessageKind.OFFER


class Person(Peer):
    """A peer with a contact book, a finder and what hands secrets over."""

    async def start(self) -> None:
        await super().start()
        self.contacts = ContactBook(
            self.me,
            self.state,
            self.clock.now_ms,
            lambda: None,
            before_leaving=lambda row: self.handover.leaves(row),
        )
        self.trusts = self.contacts.is_contact
        self.admits = lambda sender, kind: not self.contacts.is_blocked(sender)
        self.finder = Finder(
            cast("DhtNode", self.dht),
            clock=self.clock,
            lan_addresses=lambda peer: (),
            use_dht=True,
            counters=self.counters,
            secret_of=self.contacts.secret,
        )
        self.handover = Handover(
            self.keys,
            self.contacts,
            name=lambda: "",
            post=self.post,
            finder=self.finder,
            clock=self.clock,
            spawn=self._spawn,
            counters=self.counters,
        )
        self.made: list[ContactView] = []
        self.introductions = Introductions(
            self.me,
            lambda: "",
            contacts=self.contacts,
            state=self.state,
            post=self.post,
            handover=self.handover,
            clock=self.clock,
            random=self._random,
            spawn=self._spawn,
            bootstrap=lambda nodes: self.nothing(),
            on_contact=self.made.append,
            on_warning=lambda text: None,
        )
        self.on_letter = self._request

    async def nothing(self) -> None:
        """There is nobody to join through."""

    def _request(self, letter: Letter) -> None:
        if isinstance(letter.opened.message, m.ContactRequest):
            self.introductions.requested(letter.opened.sender, letter.opened.message)

    def row(self, other: Person) -> ContactRow:
        """The entry of ``other``."""
        row = self.contacts.get(other.me)
        assert row is not None
        return row

    def holds(self, other: Person) -> bool:
        """Whether ``other``'s present secret is here, and it knows."""
        current = other.keys.current
        row = self.row(other)
        known = other.row(self).known
        return (row.secret, row.generation, known) == (current.secret, current.generation, current.generation)

    async def gives(self, other: Person) -> None:
        """What a confirmed call does, one way."""
        ours = await self.handover.ours(other.me)
        assert ours is not None
        assert await other.handover.keep(self.me, ours)
        await self.handover.held(other.me, ours.generation)
        await self.post.refresh()
        await self.settle()

    async def finds(self, other: Person) -> Found | None:
        """What a call of ``other`` begins with."""
        self.finder.forget(other.me)
        return await self.finder.find(other.me)


async def quiet(*people: Person) -> None:
    """Until nobody has anything to do, and what is due is served."""
    for _ in range(6):
        for person in people:
            person.handover.work_off()
            await person.post.refresh()
            await person.settle()


class World:
    """Three people."""

    def __init__(self, folder: Path, *, contacts_only: bool = False) -> None:
        network: list[FakeDht] = []
        self.clock = FakeClock()
        self.alice, self.bob, self.carol = (
            Person(name, folder, network, self.clock) for name in ("alice", "bob", "carol")
        )
        self.alice.contacts_only = contacts_only

    @property
    def people(self) -> tuple[Person, Person, Person]:
        return self.alice, self.bob, self.carol

    async def start(self, stack: AsyncExitStack) -> None:
        for person in self.people:
            await person.start()
            stack.push_async_callback(person.stop)
        for other, name in ((self.bob, "bob"), (self.carol, "carol")):
            self.alice.contacts.put(other.me, name)
            other.contacts.put(self.alice.me, "alice")
        await quiet(*self.people)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(tmp_path)
        await made.start(stack)
        yield made


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[World]:
    """Alice takes contacts only."""
    async with AsyncExitStack() as stack:
        made = World(tmp_path, contacts_only=True)
        await made.start(stack)
        yield made


def kinds(person: Person) -> set[str]:
    """What leads to ``person``."""
    return {place.series.kind for place in person.post._where._places.values()}


async def test_an_offer_by_the_secret_arrives(world: World) -> None:
    """One rendezvous for all contacts: two keys that storage nodes can't tell from inboxes, no more."""
    alice, bob, carol = world.people
    before = len(alice.dht.keys)
    for friend in (bob, carol):
        await alice.gives(friend)
        found = await friend.finds(alice)
        assert found is not None
        assert found.by == "contact"
        await friend.call(alice, bytes([len(alice.letters)]) * 16, found)
    assert alice.kinds() == [OFFER, OFFER]
    assert 1 <= len(alice.dht.keys) - before <= 2, "one watch for each near epoch serves all"
    sizes = {len(record.encode()) for record in (*bob.dht.delivered, *carol.dht.delivered)}
    assert sizes == {677}
    assert {len(record.encode()) for record in alice.dht.local} == {308}


async def test_nobody_is_served_before_somebody_has_the_secret(world: World) -> None:
    """A node without contacts watches its inbox and nothing else."""
    assert kinds(world.alice) == {"inbox"}
    await world.alice.gives(world.bob)
    assert kinds(world.alice) == {"inbox", "contact"}


async def test_a_stranger_at_the_contact_rendezvous_is_refused(world: World) -> None:
    """Who was shown the secret by a contact does not get by the policy with it."""
    alice, bob, carol = world.people
    await alice.gives(bob)
    alice.contacts.remove("carol")
    assert alice.counters["rendezvous-replaced"] == 0, "Carol never had it"
    series = Series("contact", alice.keys.current.secret)
    await carol.call(alice, CALL, alice.found_by(carol, series))
    assert alice.letters == []
    assert alice.counters["letter-policy"] == alice.counters["letter-contact-key-by-stranger"] == 1
    await bob.call(alice, bytes(16), alice.found_by(bob, series))
    assert alice.kinds() == [OFFER]


async def test_an_invite_rendezvous_is_for_requests_only(world: World) -> None:
    """Nothing rings by an invite, not even for a contact."""
    alice, bob, _ = world.people
    invite = alice.introductions.invite(once=False, expires=600, nodes=())
    await alice.post.refresh()
    await bob.call(alice, CALL, alice.found_by(bob, Series("invite", invite.secret)))
    assert alice.letters == []
    assert alice.counters["letter-invite-key-misused"] == 1


async def test_only_the_newest_open_invites_are_served(world: World) -> None:
    """Invites cost leases at other nodes, so there is a cap; one that expired is served no more."""
    alice = world.alice
    for _ in range(limits.INVITES_SERVED_MAX + 3):
        alice.introductions.invite(once=False, expires=600, nodes=())
        world.clock.advance(1)
    await alice.post.refresh()
    served = {p.series for p in alice.post._where._places.values() if p.series.kind == "invite"}
    assert len(served) == limits.INVITES_SERVED_MAX
    world.clock.advance(700)
    await alice.post.refresh()
    assert kinds(alice) == {"inbox"}


async def test_a_removed_contact_finds_nothing_at_the_old_key(world: World) -> None:
    """The presence is taken back, locally and where it was stored, and nobody watches there any more."""
    alice, bob, carol = world.people
    for friend in (bob, carol):
        await alice.gives(friend)
    found = await carol.finds(alice)
    assert found is not None
    old = Series("contact", alice.keys.current.secret)
    alice.dht.stored.clear()
    alice.contacts.remove("carol")
    await quiet(*world.people)
    assert bob.holds(alice), "who stays was told"
    await carol.call(alice, CALL, found)
    assert OFFER not in alice.kinds()
    assert alice.counters["notify-unknown-key"] == 0, "not even a copy reaches us"
    left = await carol.finds(alice)
    assert left is not None
    assert left.by == "inbox", "where policy decides, as for every stranger"
    keys = {old.at(epoch).signer.public for epoch in old.near(world.clock.now_ms())}
    assert [record.ttl for record in alice.dht.stored if record.key in keys] == [1] * len(keys)


async def test_blocking_replaces_the_secret_too(world: World) -> None:
    """And who is let in again is given the new one, as if it had never had one."""
    alice, bob, carol = world.people
    for friend in (bob, carol):
        await alice.gives(friend)
    before = alice.keys.current
    alice.contacts.block(carol.me.text)
    assert alice.keys.current.generation > before.generation
    await quiet(*world.people)
    assert bob.holds(alice)
    assert alice.row(carol).given == 0
    alice.contacts.unblock("carol")
    await alice.gives(carol)
    assert carol.holds(alice)


async def test_who_is_offline_is_told_later_with_growing_pauses(world: World) -> None:
    """The number of tries is bounded, survives a restart, and ends with the week."""
    alice, bob, carol = world.people
    for friend in (bob, carol):
        await alice.gives(friend)
    shown, bob.dht.local = bob.dht.local, []
    alice.contacts.remove("carol")
    began, tries = world.clock.now(), 0
    while world.clock.now() < began + limits.RENDEZVOUS_GRACE + 3600:
        pause = alice.handover.work_off()
        tries += len(alice.handover._telling)
        await alice.settle()
        world.clock.advance(max(pause, 1.0))
        if tries == 5:
            await alice.restart()
            assert list(alice.contacts.owed(world.clock.now_ms())) == [bob.me]
    assert 30 <= tries <= 50
    assert list(alice.contacts.owed(world.clock.now_ms())) == []
    bob.dht.local = shown
    await quiet(*world.people)
    assert not bob.holds(alice), "from now on only a call tells"


async def test_only_the_newest_secret_is_kept(world: World) -> None:
    """A late copy of an older message changes nothing; the same one again is confirmed again."""
    alice, bob, _ = world.people
    first = await alice.handover.ours(bob.me)
    assert first is not None
    alice.keys.rotate()
    second = await alice.handover.ours(bob.me)
    assert second is not None
    assert await bob.handover.keep(alice.me, second)
    assert not await bob.handover.keep(alice.me, first)
    assert await bob.handover.keep(alice.me, second)
    assert bob.contacts.secret(alice.me) == second.secret


async def test_nobody_holds_what_it_was_not_given(world: World) -> None:
    """A contact can't say that it has a secret of the future, or one that another has."""
    alice, bob, _ = world.people
    for generation in (1, alice.keys.current.generation, 2**32 - 1):
        await alice.handover.held(bob.me, generation)
    assert alice.row(bob).known == 0


async def test_of_two_secrets_that_come_at_once_the_newer_is_kept(world: World) -> None:
    """A node that held the older one back and lets it follow at once takes nobody back to it."""
    alice, bob, _ = world.people
    older = await alice.handover.ours(bob.me)
    assert older is not None
    alice.keys.rotate()
    newer = alice.keys.current
    await asyncio.gather(bob.handover.keep(alice.me, newer), bob.handover.keep(alice.me, older))
    assert (bob.row(alice).secret, bob.row(alice).generation) == (newer.secret, newer.generation)
    await bob.restart()
    assert (bob.row(alice).secret, bob.row(alice).generation) == (newer.secret, newer.generation)


async def test_who_knows_the_secret_already_is_told_once_more_only(world: World) -> None:
    """A contact that shows an invite again, or any secret, makes us send one message, not forty in a week."""
    alice, bob, _ = world.people
    await alice.gives(bob)
    await bob.gives(alice)
    sent = len(alice.dht.delivered)
    alice.introductions.requested(bob.me, m.ContactRequest("", b"anything"))
    await alice.settle()
    await quiet(alice, bob)
    assert list(alice.contacts.owed(world.clock.now_ms())) == []
    world.clock.advance(3600)
    await quiet(alice, bob)
    assert len(alice.dht.delivered) == sent + 1


async def test_a_kill_between_the_new_secret_and_the_debt_costs_nobody_its_way_to_us(private: World) -> None:
    """The new secret is on the disk, that Bob is owed it is not: after the start he is told all the same."""
    alice, bob, carol = private.people
    for friend in (bob, carol):
        await alice.gives(friend)
    alice.keys.rotate()  # and here it was killed
    await alice.restart()
    shown, bob.dht.local = bob.dht.local, []  # Bob is away
    await quiet(alice)
    assert alice.keys.serves_replaced, "what Bob has still leads to us"
    bob.dht.local = shown
    private.clock.advance(60)
    await quiet(*private.people)
    assert bob.holds(alice)
    assert carol.holds(alice)
    assert not alice.keys.serves_replaced


async def test_a_removal_while_a_confirmation_is_written_leaves_the_debt(world: World) -> None:
    """Bob confirms the old secret in the moment in which Carol's removal replaces it."""
    alice, bob, carol = world.people
    await alice.gives(carol)
    old = await alice.handover.ours(bob.me)
    assert old is not None
    assert await bob.handover.keep(alice.me, old)
    confirming = asyncio.ensure_future(alice.handover.held(bob.me, old.generation))
    await asyncio.sleep(0)  # the write is under way
    alice.contacts.remove("carol")
    await confirming
    await quiet(*world.people)
    assert bob.holds(alice)


async def test_who_leaves_during_the_look_up_is_sent_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up takes seconds; what was true before it is asked again."""
    alice, bob, _ = world.people
    find = alice.finder.find

    async def find_slowly(peer: PeerId, *, invite: bytes = b"", by_id: bool = False) -> Found | None:
        found = await find(peer, invite=invite, by_id=by_id)
        if alice.contacts.is_contact(bob.me):
            alice.contacts.block("bob")
        return found

    monkeypatch.setattr(alice.finder, "find", find_slowly)
    await alice.handover.owe(bob.me)
    await quiet(*world.people)
    assert alice.contacts.is_blocked(bob.me), "it was looked for"
    assert bob.letters == []


async def test_an_inviter_that_is_removed_is_asked_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is asked again and again, while the invite is open."""
    alice, bob, _ = world.people
    bob.contacts.remove("alice")
    invite = alice.introductions.invite(once=False, expires=600, nodes=())
    alice.dht.local.clear()  # nobody finds Alice
    monkeypatch.setattr(limits, "CONTACT_ACK", 0.01)
    monkeypatch.setattr(limits, "INVITE_RETRY", 0.01)
    await bob.introductions.accept(invite.format())
    bob.contacts.remove(alice.me.text)
    async with asyncio.timeout(2):
        await bob.settle()
    assert bob.introductions._pending == {}


async def test_strangers_get_and_leave_nothing(world: World) -> None:
    """Neither is a secret given to who is no contact, nor one kept of it."""
    alice, bob, carol = world.people
    theirs = await alice.handover.ours(carol.me)
    assert theirs is not None
    assert await bob.handover.ours(carol.me) is None
    assert not await bob.handover.keep(carol.me, theirs)
    alice.contacts.block("carol")
    assert await alice.handover.ours(carol.me) is None
    assert not await alice.handover.keep(carol.me, theirs)


async def test_contacts_only_has_no_inbox(private: World) -> None:
    """No watch and no presence there; who knows the ID finds nobody, who has the secret does."""
    alice, bob, carol = private.people
    assert kinds(alice) == set()
    assert alice.dht.local == []
    assert await carol.finds(alice) is None
    await alice.gives(bob)
    found = await bob.finds(alice)
    assert found is not None
    await bob.call(alice, CALL, found)
    assert alice.kinds() == [OFFER]
    inboxes = Series.of(alice.me)
    keys = {inboxes.at(e).storage_key(RecordType.INBOX) for e in inboxes.near(private.clock.now_ms())}
    assert not keys & {*alice.dht.keys, *(record.storage_key for record in alice.dht.stored)}


async def test_contacts_only_serves_the_old_secret_until_all_have_the_new_one(private: World) -> None:
    """A remaining contact that was away reaches us by the old one; the removed one is refused there."""
    alice, bob, carol = private.people
    for friend in (bob, carol):
        await alice.gives(friend)
    shown, bob.dht.local = bob.dht.local, []  # Bob is away
    old = Series("contact", alice.keys.current.secret)
    alice.contacts.remove("carol")
    await quiet(alice, carol)
    assert alice.keys.serves_replaced
    await carol.call(alice, CALL, alice.found_by(carol, old))
    assert alice.letters == []
    assert alice.counters["letter-contact-key-by-stranger"] == 1
    found = await bob.finds(alice)
    assert found is not None
    assert found.series == old
    await bob.call(alice, bytes(16), found)
    assert alice.kinds() == [OFFER]
    bob.dht.local = shown  # Bob is back
    private.clock.advance(60)
    await quiet(*private.people)
    assert bob.holds(alice)
    assert not alice.keys.serves_replaced
    assert old not in {place.series for place in alice.post._where._places.values()}


async def test_contacts_only_gives_the_old_secret_up_after_a_week(private: World) -> None:
    """Whoever does not come back does not keep the removed contact's key alive for ever."""
    alice, bob, carol = private.people
    for friend in (bob, carol):
        await alice.gives(friend)
    bob.dht.local = []
    alice.contacts.remove("carol")
    old = {s.secret for s in await alice.keys.series(private.clock.now_ms())}
    assert len(old) == 1, "nobody has the new one yet"
    private.clock.advance(limits.RENDEZVOUS_GRACE + 1)
    assert await alice.keys.series(private.clock.now_ms()) == []
    alice.handover.work_off()
    assert not alice.keys.serves_replaced


async def test_replaced_secrets_are_few(private: World) -> None:
    """Removing contacts one by one does not pile up keys to serve."""
    alice, bob, _ = private.people
    await alice.gives(bob)
    for _ in range(limits.RENDEZVOUS_REPLACED_MAX + 3):
        alice.keys.rotate()
    assert len(await alice.keys.series(private.clock.now_ms())) == limits.RENDEZVOUS_REPLACED_MAX


async def test_a_damaged_secret_is_replaced_by_one_that_counts_more(world: World) -> None:
    """The next start goes on; contacts take the new one although the old number is lost."""
    alice, bob, _ = world.people
    await alice.gives(bob)
    before = alice.keys.current
    world.clock.advance(10)
    for damage in (
        b"",
        b"{}",
        b'{"current": "00", "replaced": []}',
        b"\xff",
        b'{"current": 1, "replaced": 2}',
    ):
        alice.state.set_blob("rendezvous-secrets", damage)
        await alice.restart()
        assert alice.keys.current.generation > before.generation
    await alice.gives(bob)
    assert bob.holds(alice)


async def test_a_secret_that_can_not_be_replaced_keeps_the_contact(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: nothing has changed, and the user is told."""
    alice, bob, _ = world.people
    await alice.gives(bob)
    before = alice.keys.current

    def full(*_: object) -> None:
        raise StateUnwritable("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(alice.state, "set_blob", full)
        with pytest.raises(StateUnwritable):
            alice.contacts.remove("bob")
    assert alice.contacts.is_contact(bob.me)
    assert alice.keys.current == before
