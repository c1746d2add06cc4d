"""Who may write to us, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshcall import limits
from meshcall.admission import Admission
from meshcall.aio.files import StateDb
from meshcall.contacts import ContactBook
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.messages import MessageKind
from meshcall.testing.clock import FakeClock, seeded_random

RANDOM = seeded_random("admission")
ME, FRIEND, ENEMY, ANN, BEN = (PeerId.from_key(SigningKey.generate(RANDOM).public) for _ in range(5))
OFFER, HANGUP, REQUEST = MessageKind.OFFER, MessageKind.HANGUP, MessageKind.CONTACT_REQUEST
ROOM, CANDIDATES = MessageKind.ROOM, MessageKind.CANDIDATES


class World:
    """A policy with a friend and an enemy."""

    def __init__(self, folder: Path, *, accept_strangers: bool = True) -> None:
        self.clock = FakeClock()
        self.state = StateDb.open(folder / "state.db", now_ms=0)
        self.contacts = ContactBook(ME, self.state, self.clock.now_ms, lambda: None)
        self.contacts.put(FRIEND, "friend")
        self.contacts.put(ENEMY, "enemy")
        self.contacts.block("enemy")
        self.talking: set[PeerId] = set()
        self.open = True
        self.mates: set[PeerId] = set()
        self.in_room = False
        self.policy = Admission(
            self.contacts,
            accept_strangers=lambda: accept_strangers,
            now=self.clock.now,
            is_open=lambda: self.open,
            in_call=lambda peer: peer in self.talking,
            is_mate=lambda peer: peer in self.mates,
            has_room=lambda: self.in_room,
        )

    def admitted(self, sender: PeerId) -> set[MessageKind]:
        """What ``sender`` may say."""
        return {kind for kind in MessageKind if self.policy.admits(sender, kind)}


@pytest.mark.parametrize("accept_strangers", [True, False])
def test_who_may_say_what(tmp_path: Path, accept_strangers: bool) -> None:
    """Contacts all, blocked nothing; strangers as the user has it, and always an invite."""
    world = World(tmp_path, accept_strangers=accept_strangers)
    assert world.admitted(FRIEND) == set(MessageKind) - {ROOM}
    assert world.admitted(ENEMY) == set()
    ours = {OFFER, HANGUP} if accept_strangers else set()
    assert world.admitted(ANN) & {OFFER, HANGUP, REQUEST, MessageKind.CANDIDATES} == ours | {REQUEST}
    world.open = False
    assert world.admitted(FRIEND) == set()


def test_a_call_that_lives_can_be_ended_by_everybody_in_it(tmp_path: Path) -> None:
    """Also by a stranger when strangers are not let in, and by who was blocked meanwhile."""
    world = World(tmp_path, accept_strangers=False)
    world.talking = {ANN, ENEMY}
    assert HANGUP in world.admitted(ANN)
    assert OFFER not in world.admitted(ANN)
    assert HANGUP in world.admitted(ENEMY)
    assert not world.admitted(ENEMY) & {OFFER, REQUEST}


def test_only_contacts_tell_of_missed_calls(tmp_path: Path) -> None:
    """Strangers never, not even in a call: each note would be lines of history."""
    world = World(tmp_path)
    world.talking = {ANN, ENEMY}
    told = [peer for peer in (FRIEND, ANN, BEN, ENEMY) if MessageKind.MISSED in world.admitted(peer)]
    assert told == [FRIEND]


def test_strangers_share_a_purse(tmp_path: Path) -> None:
    """It is emptied by what was taken, filled by time, and no contact depends on it."""
    world = World(tmp_path)
    for number in range(limits.STRANGERS_BURST):
        sender = (ANN, BEN)[number % 2]
        assert world.policy.admits(sender, OFFER)
        world.policy.spend(sender, OFFER)
    assert not world.policy.admits(ANN, OFFER)
    assert not world.policy.admits(BEN, REQUEST)
    assert world.policy.admits(FRIEND, OFFER)
    world.policy.spend(FRIEND, OFFER)
    world.clock.advance(limits.STRANGERS_PAUSE)
    assert world.policy.admits(BEN, OFFER)
    world.policy.spend(BEN, OFFER)
    assert not world.policy.admits(ANN, OFFER)
    world.clock.advance(10 * limits.STRANGERS_BURST * limits.STRANGERS_PAUSE)
    for _ in range(limits.STRANGERS_BURST):
        world.policy.spend(ANN, OFFER)
    assert not world.policy.admits(ANN, OFFER), "never more than a full one"


def test_asking_costs_nothing(tmp_path: Path) -> None:
    """The question is asked before the signature is verified: anybody can ask in anybody's name."""
    world = World(tmp_path)
    assert all(world.policy.admits(ANN, OFFER) for _ in range(10 * limits.STRANGERS_BURST))


@pytest.mark.parametrize("accept_strangers", [True, False])
def test_who_is_in_a_room_with_us_may_write(tmp_path: Path, accept_strangers: bool) -> None:
    """Whatever strangers may: but what rings is as strangers have it, and who is blocked stays so."""
    world = World(tmp_path, accept_strangers=accept_strangers)
    world.mates, world.in_room = {ANN, ENEMY}, True
    assert world.admitted(ANN) >= {OFFER, CANDIDATES, HANGUP, ROOM}
    assert world.admitted(ENEMY) == set()
    assert world.policy.may_ring(ANN) is accept_strangers
    assert world.policy.may_ring(FRIEND)


def test_strangers_write_about_rooms_while_we_are_in_one(tmp_path: Path) -> None:
    """Also where no stranger may ring; from the purse of all."""
    world = World(tmp_path, accept_strangers=False)
    assert ROOM not in world.admitted(ANN) | world.admitted(FRIEND)
    world.in_room = True
    assert world.admitted(ANN) == {ROOM, REQUEST, OFFER}  # of a link, by a member we have not heard of yet
    assert not world.policy.may_ring(ANN)
    assert ROOM in world.admitted(FRIEND)
    assert ROOM not in world.admitted(ENEMY)
    for _ in range(limits.STRANGERS_BURST):
        world.policy.spend(ANN, ROOM)
    assert world.admitted(BEN) == set()
    assert ROOM in world.admitted(FRIEND)


def test_a_mate_that_floods_empties_its_own_purse(tmp_path: Path) -> None:
    """Other members, and strangers, do not wait for it; time fills it again."""
    world = World(tmp_path)
    world.mates, world.in_room = {ANN, BEN}, True
    for _ in range(limits.MATE_BURST):
        assert OFFER in world.admitted(ANN)
        world.policy.spend(ANN, OFFER)
    assert not world.admitted(ANN) & {OFFER, CANDIDATES, HANGUP, ROOM}
    assert OFFER in world.admitted(BEN)
    world.clock.advance(limits.MATE_PAUSE)
    assert OFFER in world.admitted(ANN)
