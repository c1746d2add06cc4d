"""Calls that were missed while a daemon was off: what waited for it, and what its contacts tell it later.

The story: Alice calls Bob, who is away.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from meshcall import limits
from meshcall.aio.files import CallRow, NoteRow
from meshcall.contacts import ContactBook
from meshcall.errors import StateUnwritable
from meshcall.finder import Finder, Found, PresenceClock
from meshcall.history import History
from meshcall.identity.peer_id import PeerId
from meshcall.missed import MissedNotes
from meshcall.record.codec import Record, RecordType
from meshcall.signaling import messages as m
from meshcall.signaling.rendezvous import epoch_of, inbox
from meshcall.testing.clock import FakeClock
from meshcall.views import MissedCall
from tests.unit.post_world import CALL, FakeDht, Peer

OTHER = bytes(16)


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[tuple[Peer, Peer]]:
    """Alice and Bob, each with a presence, by one clock."""
    network: list[FakeDht] = []
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        made = Peer("alice", tmp_path, network, clock), Peer("bob", tmp_path, network, clock)
        for peer in made:
            await peer.start()
            stack.push_async_callback(peer.stop)
            await peer.post.refresh()
            await peer.settle()
        yield made


async def stored(alice: Peer, bob: Peer, message: m.Message | None = None) -> Record:
    """What Alice sent while nobody listened."""
    found = bob.found_by(alice)
    keys, bob.dht.keys = bob.dht.keys, []
    sent = await alice.call(bob, found=found)
    if message is not None:
        await alice.post.tell_callee(sent, message)
    bob.dht.keys = keys
    return alice.dht.delivered[-1]


# --- what the nodes kept --------------------------------------------------------------------------


async def test_an_offer_that_waited_too_long_is_told_and_rings_not(peers: tuple[Peer, Peer]) -> None:
    """Its date and the time that the holder kept it agree: no clock is wrong, and nobody is answered."""
    alice, bob = peers
    offer = await stored(alice, bob)
    assert offer.ttl == limits.MESSAGE_TTL_MAX, "as long as nodes keep anything of the kind"
    bob.clock.advance(400)
    answers = len(bob.dht.delivered)
    for _ in range(3):
        bob.hears(offer, age=400)
    await bob.settle()
    (letter,) = bob.letters
    assert (letter.late, letter.is_over, letter.opened.call_id) == (True, True, CALL)
    assert bob.counters["letter-clock"] == 0
    assert len(bob.dht.delivered) == answers


@pytest.mark.parametrize(("passed", "age"), [(600, 0), (600, 400), (601, 601), (300, 590)])
async def test_a_date_that_does_not_fit_is_a_wrong_clock(
    peers: tuple[Peer, Peer], passed: int, age: int
) -> None:
    """Ten minutes old and just pushed, older than kept, kept for longer than anybody may, and the reverse."""
    alice, bob = peers
    offer = await stored(alice, bob)
    bob.clock.advance(passed)
    bob.hears(offer, age=age)
    await bob.settle()
    assert bob.letters == []
    assert bob.counters["letter-clock"] == 1


async def test_an_offer_that_nobody_waits_for_any_more_is_over(peers: tuple[Peer, Peer]) -> None:
    """Clocks may differ, so the gates let it pass; how long it was kept says that its life has ended."""
    alice, bob = peers
    offer = await stored(alice, bob)
    bob.clock.advance(100)
    bob.hears(offer, age=100)
    await bob.settle()
    assert [(letter.late, letter.is_over) for letter in bob.letters] == [(False, True)]


@pytest.mark.parametrize(("passed", "age"), [(0, 91), (0, 65_535), (80, 600)])
async def test_a_holder_that_lies_about_the_age_ends_no_call(
    peers: tuple[Peer, Peer], passed: int, age: int
) -> None:
    """One of the nodes near the key is first, and says that it has kept a fresh offer for long: it rings."""
    alice, bob = peers
    offer = await stored(alice, bob)
    bob.clock.advance(passed)
    bob.hears(offer, age=age)
    bob.hears(offer)  # what the others push is a copy
    await bob.settle()
    assert [(letter.late, letter.is_over) for letter in bob.letters] == [(False, False)]


async def test_a_late_offer_to_an_unknown_presence_is_refused(peers: tuple[Peer, Peer]) -> None:
    """Only the time window is forgiven."""
    alice, bob = peers
    offer = await stored(alice, bob)
    bob.post._where._presences.clear()
    bob.clock.advance(400)
    bob.hears(offer, age=400)
    assert (bob.letters, bob.counters["letter-late"]) == ([], 1)


async def test_a_late_offer_of_who_is_not_admitted_is_refused(peers: tuple[Peer, Peer]) -> None:
    """Policy stands before the time window."""
    alice, bob = peers
    offer = await stored(alice, bob)
    bob.admits = lambda sender, kind: False
    bob.clock.advance(400)
    bob.hears(offer, age=400)
    assert (bob.letters, bob.counters["letter-policy"]) == ([], 1)


async def test_who_comes_back_in_another_epoch_looks_into_the_last_one(peers: tuple[Peer, Peer]) -> None:
    """What waits lies under the key of then; after two minutes nobody pushes anything old any more."""
    _alice, bob = peers
    now_ms = bob.clock.now_ms()
    while epoch_of(bob.me, now_ms - 500_000) == epoch_of(bob.me, now_ms):
        bob.clock.advance(30)
        now_ms = bob.clock.now_ms()
    last = inbox(bob.me, epoch_of(bob.me, now_ms) - 1).storage_key(RecordType.INBOX)
    await bob.restart()
    assert last in bob.dht.keys
    bob.clock.advance(limits.INBOX_LOOK_BACK - 1)
    await bob.post.refresh()
    bob.clock.advance(2)
    await bob.post.refresh()
    assert last not in bob.dht.keys


# --- the history ----------------------------------------------------------------------------------


class Desk:
    """Bob's history."""

    def __init__(self, bob: Peer) -> None:
        self.bob = bob
        self.told: list[MissedCall] = []
        self.contacts = ContactBook(bob.me, bob.state, bob.clock.now_ms, lambda: None)
        self.history = History(
            bob.state,
            self.contacts,
            clock=bob.clock,
            spawn=cast("Any", bob)._spawn,
            publish=self.told.append,
            counters=bob.counters,
        )

    async def rows(self) -> list[tuple[str, str, bool]]:
        """Call id, reason and whether it was missed, newest first."""
        await self.bob.settle()
        calls = await self.history.calls(limit=100, missed=False)
        return [(call.id, call.reason, call.missed) for call in calls]


async def test_a_late_offer_and_its_end_are_one_missed_call(peers: tuple[Peer, Peer]) -> None:
    """Caller, time, and that it was cancelled; counted until somebody has looked at it."""
    alice, bob = peers
    desk = Desk(bob)
    desk.contacts.put(alice.me, "alice")
    began = bob.clock.now_ms()
    offer = await stored(alice, bob)
    hangup = await stored(alice, bob, m.Hangup(m.HangupReason.CANCELLED))
    bob.clock.advance(500)
    for record in (offer, hangup, offer):
        bob.hears(record, age=500)
        for letter in bob.letters:
            desk.history.late(letter)
        await bob.settle()
    assert await desk.rows() == [(CALL.hex(), "cancelled", True)]
    (event,) = desk.told
    assert (event.missed.name, event.missed.started_ms) == ("alice", began)
    assert desk.history.unseen == 1
    await desk.history.see([CALL.hex()])
    assert desk.history.unseen == 0
    (seen,) = await desk.history.calls(limit=1, missed=True)
    assert seen.seen


async def test_what_was_kept_never_changes_a_call_that_was_taken(peers: tuple[Peer, Peer]) -> None:
    """A holder pushes the offer of an answered call once more."""
    alice, bob = peers
    desk = Desk(bob)
    now_ms = bob.clock.now_ms()
    desk.history.note(CallRow(CALL.hex(), alice.me, "in", now_ms, now_ms, now_ms, "hangup"))
    offer = await stored(alice, bob)
    bob.clock.advance(500)
    bob.hears(offer, age=500)
    desk.history.late(bob.letters[0])
    assert await desk.rows() == [(CALL.hex(), "hangup", False)]
    assert desk.told == []


async def test_a_note_is_believed_for_a_week(peers: tuple[Peer, Peer]) -> None:
    """Neither what is older nor what is still to come; nor twice."""
    alice, bob = peers
    desk = Desk(bob)
    now_ms = bob.clock.now_ms()
    times = [now_ms - 8 * 86_400_000, now_ms - 6 * 86_400_000, now_ms, now_ms + 3_600_000]
    calls = tuple(m.MissedCall(bytes([number]) * 16, at) for number, at in enumerate(times))
    for _ in range(2):
        desk.history.told(alice.me, m.Missed(calls, 9))
    assert [row[0][:2] for row in await desk.rows()] == ["02", "01"]
    assert len(desk.told) == 2
    assert bob.counters["missed-call-time"] == 4


async def test_a_contact_fills_its_own_place_in_the_history_only(peers: tuple[Peer, Peer]) -> None:
    """Invented calls push out older ones of the same peer, and nobody else's."""
    alice, bob = peers
    desk = Desk(bob)
    now_ms = bob.clock.now_ms()
    desk.history.told(bob.me, m.Missed((m.MissedCall(OTHER, now_ms - 5000),), 1))
    for number in range(50):
        call = m.MissedCall(number.to_bytes(16, "big"), now_ms - 1000 + number)
        desk.history.told(alice.me, m.Missed((call,), 1))
    rows = await desk.rows()
    assert len(rows) == limits.MISSED_PER_PEER_MAX + 1
    assert rows[-1][0] == OTHER.hex()


# --- notes ----------------------------------------------------------------------------------------


class Caller:
    """Alice with her notes, and what finding Bob brings."""

    def __init__(self, alice: Peer, bob: Peer) -> None:
        self.peer, self.bob = alice, bob
        self.there = False
        self.clock_wrong = False
        self.searches = 0
        self.forgotten = 0
        self.talking = False
        self.counters: Counter[str] = Counter()
        self.contacts = ContactBook(alice.me, alice.state, alice.clock.now_ms, lambda: None)
        self.notes = self.open()

    def open(self) -> MissedNotes:
        """Her notes, as they are on the disk."""
        self.notes = MissedNotes(
            self.peer.state,
            self.contacts,
            post=self.peer.post,
            finder=cast("Finder", self),
            clock=self.peer.clock,
            in_call=lambda peer: self.talking,
            counters=self.counters,
        )
        return self.notes

    async def find(self, peer: PeerId) -> Found | None:
        """As a Finder."""
        self.searches += 1
        if self.clock_wrong:
            raise PresenceClock
        return self.bob.found_by(self.peer) if self.there else None

    def forget(self, peer: PeerId) -> None:
        """As a Finder."""
        self.forgotten += 1

    async def missed(self, number: int = 0) -> None:
        """Bob did not hear a call."""
        call = m.MissedCall(bytes([number]) * 16, self.peer.clock.now_ms(), cancelled=True)
        await self.notes.add(self.bob.me, call)

    async def passes(self, seconds: float) -> None:
        """Time passes, and whatever is due is done."""
        self.peer.clock.advance(seconds)
        running = asyncio.ensure_future(self.notes.run())
        for _ in range(50):
            await asyncio.sleep(0)
            await self.peer.state.run(lambda: None)  # what waited for the disk goes on
        running.cancel()
        await self.bob.settle()


@pytest.fixture
async def caller(peers: tuple[Peer, Peer]) -> Caller:
    """Alice, who has Bob in her book."""
    made = Caller(*peers)
    made.contacts.put(peers[1].me, "bob")
    return made


async def test_a_contact_who_is_back_is_told(caller: Caller) -> None:
    """All calls in one message, once, and then the note is gone, on the disk too."""
    await caller.missed(1)
    await caller.missed(2)
    await caller.passes(limits.MISSED_FIRST)
    assert (caller.searches, len(caller.notes)) == (1, 1)
    caller.there = True
    caller.notes.sighted(caller.bob.me)
    await caller.passes(0)
    (letter,) = caller.bob.letters
    assert isinstance(letter.opened.message, m.Missed)
    assert [call.call_id[0] for call in letter.opened.message.calls] == [1, 2]
    assert len(caller.notes) == 0
    assert caller.peer.state.notes() == []


async def test_attempts_grow_rarer(caller: Caller) -> None:
    """A week of absence costs one look-up in ten minutes, of a contact at most."""
    await caller.missed()
    times = []
    for second in range(0, 5400, 60):
        before = caller.searches
        await caller.passes(60)
        if caller.searches > before:
            times.append(second + 60)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[:4] == [60, 120, 240, 480]
    assert all(gap == limits.MISSED_PAUSE_MAX for gap in gaps[4:])
    assert len(gaps) > 5


async def test_a_note_survives_a_restart(caller: Caller) -> None:
    """It is on the disk before anything else; what is damaged there costs itself alone."""
    await caller.missed()
    caller.peer.state.put_note(NoteRow(caller.peer.me, b"damaged", 5))
    assert len(caller.open()) == 1
    caller.there = True
    await caller.passes(limits.MISSED_FIRST)
    assert caller.bob.kinds() == [m.MessageKind.MISSED]


async def test_who_is_not_reached_is_tried_again(caller: Caller) -> None:
    """There is a presence, but nobody acknowledges: what was found is forgotten, the note stays."""
    await caller.missed()
    caller.there = True
    keys, caller.bob.dht.keys = caller.bob.dht.keys, []
    await caller.passes(limits.MISSED_FIRST)
    assert (caller.forgotten, len(caller.notes), caller.bob.letters) == (1, 1, [])
    caller.bob.dht.keys = keys
    caller.clock_wrong = True
    await caller.passes(limits.MISSED_PAUSE)
    caller.clock_wrong = False
    await caller.passes(2 * limits.MISSED_PAUSE)
    assert caller.counters["missed-told"] == 1


async def test_strangers_are_told_nothing(caller: Caller) -> None:
    """They would not believe it; and who is removed from the book is not told any more."""
    await caller.notes.add(caller.peer.me, m.MissedCall(CALL, 0))
    assert len(caller.notes) == 0
    await caller.missed()
    caller.contacts.remove("bob")
    caller.there = True
    await caller.passes(limits.MISSED_FIRST)
    assert (len(caller.notes), caller.bob.letters, caller.searches) == (0, [], 0)


async def test_after_a_week_nobody_is_told(caller: Caller) -> None:
    """The callee would not believe it."""
    await caller.missed()
    await caller.passes(limits.MISSED_LIFE + 1)
    assert (len(caller.notes), caller.searches) == (0, 0)


async def test_no_note_takes_the_place_of_an_offer(caller: Caller) -> None:
    """A node keeps one message of ours for Bob: while we call again that is the offer."""
    await caller.missed()
    caller.there = caller.talking = True
    await caller.passes(limits.MISSED_FIRST)
    assert caller.bob.letters == []
    caller.talking = False
    await caller.passes(limits.MISSED_PAUSE)
    assert caller.bob.kinds() == [m.MessageKind.MISSED]


async def test_a_full_disk_delays_a_note(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves without a number on the disk."""
    await caller.missed()
    caller.there = True

    def full(*_: object) -> None:
        raise StateUnwritable("no space left")

    monkeypatch.setattr(caller.peer.state, "next_sequence", full)
    await caller.passes(limits.MISSED_FIRST)
    assert (caller.counters["missed-not-sent"], len(caller.notes)) == (1, 1)


async def test_notes_are_bounded(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """In calls for one contact, which are counted, and in contacts, of which the newest stay."""
    for number in range(limits.MISSED_CALLS_MAX + 4):
        await caller.missed(number)
    note = caller.notes._notes[caller.bob.me].missed
    assert (len(note.calls), note.count) == (limits.MISSED_CALLS_MAX, limits.MISSED_CALLS_MAX + 4)
    monkeypatch.setattr(limits, "MISSED_NOTES_MAX", 1)
    caller.contacts.put(caller.peer.me, "another")
    await caller.notes.add(caller.peer.me, m.MissedCall(CALL, caller.peer.clock.now_ms() + 1))
    assert list(caller.notes._notes) == [row.peer_id for row in caller.peer.state.notes()]
    assert len(caller.notes) == 1
