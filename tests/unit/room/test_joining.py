"""The ways into a room: by name, by code, by link, by knocking; and out of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from meshcall import limits
from meshcall.errors import LocalProtocolError
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.codes import new_code
from meshcall.room.joiner import ByCode, ByInvite, ByName, Joiner, Way
from meshcall.room.machine import RoomMachine
from meshcall.room.uri import RoomInvite
from tests.unit.room.room_world import KEYS, World, make_room

CODE = "7-acorn-zebra"


class Guest:
    """Somebody who wants to come into the room of a world."""

    def __init__(self, world: World, number: int, way: Way, *, found: tuple[int, ...] = ()) -> None:
        self.world, self.number = world, number
        self.me = KEYS[number].peer_id
        self.joiner = Joiner(self.me, way, f"guest {number}", random.Random(number).randbytes)
        self.told: list[c.JoinerCommand] = []
        self.lose = 0
        """Letters of ours that get lost from now on."""
        tag = world.room.tag(world.now_ms)
        seen = [e.Found(KEYS[one].peer_id, tag) for one in found]
        self.do(self.joiner.start(world.now, world.now_ms, seen))

    def do(self, commands: list[c.JoinerCommand]) -> None:
        for command in commands:
            self.told.append(command)
            if isinstance(command, c.SendLetter):
                if self.lose:
                    self.lose -= 1
                    continue
                self.deliver(command.peer, command.data)

    def deliver(self, to: PeerId, data: bytes) -> None:
        """A letter of ours arrives, and all answers to it."""
        world = self.world
        machine = world.machines.get(to)
        if machine is None:
            return
        world.carry_out(to, machine.handle(e.LetterReceived(self.me, data), world.now, world.now_ms))
        self.hear()

    def hear(self) -> None:
        """The letters that members have written to us."""
        world = self.world
        mine = [
            (who, command.data)
            for who, told in world.told.items()
            for command in told
            if isinstance(command, c.SendLetter) and command.peer == self.me
        ]
        for told in world.told.values():
            told[:] = [one for one in told if not (isinstance(one, c.SendLetter) and one.peer == self.me)]
        for who, data in mine:
            self.do(self.joiner.handle(e.LetterReceived(who, data), world.now, world.now_ms))
        world.queue = [item for item in world.queue if item[0] != self.me]
        world.drain()

    def wait(self, seconds: float) -> None:
        """Time goes by for all."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run(0.05)
            self.do(self.joiner.handle_timer(self.world.now, self.world.now_ms))
            self.hear()

    @property
    def end(self) -> c.JoinerCommand | None:
        """How it ended."""
        last = [one for one in self.told if isinstance(one, c.Admitted | c.NotAdmitted)]
        assert len(last) <= 1
        return last[0] if last else None

    def reason(self) -> str:
        assert isinstance(self.end, c.NotAdmitted), self.end
        return self.end.reason

    def comes_in(self) -> RoomMachine:
        """With what it was given."""
        assert isinstance(self.end, c.Admitted), self.end
        assert self.end.room == self.world.room
        numbers = [next(n for n, k in enumerate(KEYS) if k.peer_id == one) for one in self.end.members]
        return self.world.add(self.number, *numbers, name=self.joiner._name)


def two() -> World:
    world = World()
    world.add(0)
    world.add(1, 0)
    world.run(1)
    return world


def test_an_open_room_is_joined_by_its_name() -> None:
    """And whoever lets us in names the others: we have links with all."""
    world = two()
    guest = Guest(world, 2, ByName("Deck 7"), found=(1,))
    guest.comes_in()
    world.run(1)
    assert [world.seen_by(n) for n in range(3)] == [["member 0", "member 1", "guest 2"]] * 3
    assert len(world.links) == 3


def test_a_crowd_that_claims_the_name_keeps_nobody_out() -> None:
    """They are asked in turns, a few at a time, each again and again; who is real is asked within seconds."""
    guest = Guest(two(), 2, ByName("Deck 7"))
    world = guest.world
    crowd = [SigningKey.from_seed(bytes([100 + n]) * 32).peer_id for n in range(100)]
    for number, peer in enumerate(crowd):
        found = e.Found(peer, bytes([number]) * 8)
        guest.do(guest.joiner.handle(found, world.now, world.now_ms))
    real = e.Found(KEYS[1].peer_id, world.room.tag(world.now_ms))
    guest.do(guest.joiner.handle(real, world.now, world.now_ms))
    guest.wait(9)
    guest.comes_in()
    asked = [one.peer for one in guest.told if isinstance(one, c.SendLetter)]
    assert set(crowd) < set(asked)
    assert len(asked) < 16 * 9


def test_whom_the_crowd_pushed_aside_is_heard_when_it_answers() -> None:
    """Late, when others are being asked."""
    guest = Guest(two(), 2, ByName("Deck 7"))
    world = guest.world
    guest.lose = 10_000
    found = e.Found(KEYS[1].peer_id, world.room.tag(world.now_ms))
    guest.do(guest.joiner.handle(found, world.now, world.now_ms))
    for number in range(20):
        peer = SigningKey.from_seed(bytes([100 + number]) * 32).peer_id
        guest.do(guest.joiner.handle(e.Found(peer, bytes([number]) * 8), world.now, world.now_ms))
    guest.wait(1)
    letter = next(one for one in guest.told if isinstance(one, c.SendLetter) and one.peer == KEYS[1].peer_id)
    guest.deliver(letter.peer, letter.data)
    guest.comes_in()


def test_a_lost_letter_is_written_again() -> None:
    """Twice as late each time."""
    guest = Guest(two(), 2, ByName("deck 7"))
    guest.lose = 2
    guest.do(
        guest.joiner.handle(
            e.Found(KEYS[0].peer_id, make_room().tag(guest.world.now_ms)), 100, guest.world.now_ms
        )
    )
    assert guest.end is None
    guest.wait(2)
    guest.comes_in()


def test_a_link_opens_a_locked_room() -> None:
    """Who has the secret does not knock."""
    world = two()
    world.do(1, e.Lock(True))
    invite = RoomInvite.of(world.room, KEYS[1].peer_id, [KEYS[0].peer_id])
    Guest(world, 2, ByInvite(RoomInvite.parse(invite.format()))).comes_in()


def test_a_link_works_when_its_maker_has_left() -> None:
    """The others that it names are asked, too."""
    world = two()
    invite = RoomInvite.of(world.room, KEYS[1].peer_id, [KEYS[0].peer_id])
    world.do(1, e.Leave())
    del world.machines[KEYS[1].peer_id]
    guest = Guest(world, 2, ByInvite(invite))
    guest.wait(1)
    guest.comes_in()


def test_a_link_with_another_secret_opens_nothing() -> None:
    """Nobody answers, for it is the link of another room."""
    world = two()
    other = make_room(seed=2)
    guest = Guest(world, 2, ByInvite(RoomInvite.of(other, KEYS[0].peer_id)))
    guest.wait(limits.ROOM_JOIN_PATIENCE + 1)
    assert guest.reason() == "no-answer"


@pytest.mark.parametrize("hidden", [False, True])
def test_who_comes_without_the_secret_knocks_and_any_member_opens(hidden: bool) -> None:
    """Here the one that was not asked."""
    world = World(make_room(hidden=hidden))
    world.add(0)
    world.add(1, 0)
    world.run(1)
    if not hidden:
        world.do(0, e.Lock(True))
    guest = Guest(world, 2, ByName("deck 7"), found=(0,))
    assert guest.end is None
    assert [type(one) for one in guest.told if not isinstance(one, c.SendLetter)] == [c.KnockWaits]
    for number in (0, 1):
        assert world.all_told(number, c.Knocked) == [c.Knocked(guest.me, "guest 2")]
        assert [knock.peer for knock in world.machines[KEYS[number].peer_id].knocks()] == [guest.me]
    world.do(1, e.Admit(guest.me))
    guest.hear()
    guest.comes_in()
    assert [world.machines[KEYS[n].peer_id].knocks() for n in (0, 1)] == [(), ()]


def test_a_welcome_that_was_lost_is_given_again_without_asking_anybody() -> None:
    """By the member that was asked first, which heard that another let us in."""
    world = two()
    world.do(0, e.Lock(True))
    guest = Guest(world, 2, ByName("deck 7"), found=(0,))
    world.do(1, e.Admit(guest.me))
    world.told[KEYS[1].peer_id].clear()  # the letter is lost
    guest.wait(limits.ROOM_KNOCK_REPEAT + 1)
    guest.comes_in()
    assert len(world.all_told(0, c.Knocked)) == 1


def test_who_was_refused_is_not_asked_about_again_for_a_while() -> None:
    """By anybody: the others have heard it."""
    world = two()
    world.do(0, e.Lock(True))
    guest = Guest(world, 2, ByName("deck 7"), found=(0,))
    world.do(1, e.Refuse(guest.me))
    guest.hear()
    assert guest.reason() == "declined"
    assert Guest(world, 2, ByName("deck 7"), found=(0,)).reason() == "declined"
    assert len(world.all_told(0, c.Knocked)) == 1
    world.run(limits.ROOM_KNOCK_QUIET)
    Guest(world, 2, ByName("deck 7"), found=(0,))
    assert len(world.all_told(0, c.Knocked)) == 2


def test_a_knock_ends_when_who_knocks_falls_silent() -> None:
    """At every member."""
    world = two()
    world.do(0, e.Lock(True))
    Guest(world, 2, ByName("deck 7"), found=(0,))
    world.run(5 * limits.ROOM_KNOCK_REPEAT)
    assert [world.machines[KEYS[n].peer_id].knocks() for n in (0, 1)] == [(), ()]
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Admit(KEYS[2].peer_id))


def test_knocks_are_few() -> None:
    """Strangers without number are told that too many wait."""
    world = two()
    world.do(0, e.Lock(True))
    guests = [Guest(world, n, ByName("deck 7"), found=(0,)) for n in range(2, 5 + limits.ROOM_KNOCKS_MAX)]
    assert len(world.machines[KEYS[0].peer_id].knocks()) == limits.ROOM_KNOCKS_MAX
    assert [guest.reason() for guest in guests[limits.ROOM_KNOCKS_MAX :]] == ["busy"] * 3


def test_a_spoken_code_opens_the_room() -> None:
    """A secret and locked one, too; and for more than one guest."""
    world = World(make_room(hidden=True))
    world.add(0)
    world.do(0, e.Lock(True))
    world.do(0, e.NewCode(CODE))
    assert world.all_told(0, c.Announce)[-1] == c.Announce(1, 7, locked=True)
    Guest(world, 1, ByCode(" 7 Acorn zebra "), found=(0,)).comes_in()
    Guest(world, 2, ByCode(CODE), found=(0,)).comes_in()
    assert world.all_told(0, c.Knocked) == []


def test_a_wrong_code_five_times_burns_it() -> None:
    """Also for who knows it. Each wrong try is refused."""
    world = two()
    world.do(0, e.NewCode(CODE))
    for number in range(2, 2 + limits.ROOM_CODE_TRIES):
        assert world.machines[KEYS[0].peer_id].code == CODE
        assert Guest(world, number, ByCode("7-acorn-yogurt"), found=(0,)).reason() == "code"
        world.run(1)
    assert world.machines[KEYS[0].peer_id].code == ""
    assert Guest(world, 20, ByCode(CODE), found=(0,)).reason() == "code"


def test_the_number_of_another_code_is_no_try() -> None:
    """Duplicate and mistyped numbers cost nobody a code."""
    world = two()
    world.do(0, e.NewCode(CODE))
    for number in range(2, 4 + limits.ROOM_CODE_TRIES):
        assert Guest(world, number, ByCode("8-acorn-zebra"), found=(0,)).reason() == "code"
        world.run(1)
    Guest(world, 20, ByCode(CODE), found=(0,)).comes_in()


def test_two_rooms_with_one_number() -> None:
    """Both members are tried; the one whose code it is lets us in."""
    world = two()
    world.do(0, e.NewCode("7-otter-violin"))
    world.do(1, e.NewCode(CODE))
    guest = Guest(world, 2, ByCode(CODE), found=(0, 1))
    guest.wait(1)
    guest.comes_in()


def test_a_code_ends_after_ten_minutes() -> None:
    """And is announced no more."""
    world = two()
    world.do(0, e.NewCode(CODE))
    world.run(limits.ROOM_CODE_LIFE + 1, step=0.5)
    assert world.machines[KEYS[0].peer_id].code == ""
    assert world.all_told(0, c.Announce)[-1] == c.Announce(2, 0, locked=False)
    assert Guest(world, 2, ByCode(CODE), found=(0,)).reason() == "code"


def test_letters_of_a_code_can_be_lost() -> None:
    """Each step may be sent again."""
    world = two()
    world.do(0, e.NewCode(CODE))
    for lost in range(3):
        guest = Guest(world, 2 + lost, ByCode(CODE))
        guest.lose = lost
        tag = world.room.tag(world.now_ms)
        guest.do(guest.joiner.handle(e.Found(KEYS[0].peer_id, tag), world.now, world.now_ms))
        guest.wait(4)
        assert isinstance(guest.end, c.Admitted)


def test_somebody_else_can_not_let_us_into_a_room_of_theirs() -> None:
    """By code: without the code; by name: with another secret than the announced room's."""
    world = World()
    liar = World(make_room(creator=5, seed=9))
    liar.add(5)
    for way in (ByCode(CODE), ByName("deck 7")):
        guest = Guest(world, 2, way)
        tag = world.room.tag(world.now_ms)
        guest.do(guest.joiner.handle(e.Found(KEYS[5].peer_id, tag), world.now, world.now_ms))
        machine = liar.machines[KEYS[5].peer_id]
        machine._now, machine._now_ms = world.now, world.now_ms
        machine._welcome(guest.me, bytes(32))
        letter = next(one for one in machine._finish() if isinstance(one, c.SendLetter))
        event = e.LetterReceived(KEYS[5].peer_id, letter.data)
        assert guest.joiner.handle(event, world.now, world.now_ms) == []
        guest.wait(limits.ROOM_JOIN_PATIENCE + 1)
        assert guest.reason() == "no-answer"


def test_a_full_room_takes_nobody_more() -> None:
    """Neither by name nor by an offer with the secret."""
    world = World()
    world.add(0)
    for number in range(1, limits.ROOM_MEMBERS_MAX):
        world.add(number, 0)
        world.run(0.05)
    assert len(world.seen_by(0)) == limits.ROOM_MEMBERS_MAX
    assert Guest(world, 20, ByName("deck 7"), found=(3,)).reason() == "full"
    machine = world.machines[KEYS[0].peer_id]
    proof = world.room.proof(b"link", KEYS[20].peer_id, KEYS[0].peer_id)[:8]
    tag = world.room.tag(world.now_ms) + proof
    assert not machine.takes(KEYS[20].peer_id, tag, world.now_ms)


def test_nobody_there_is_told_as_such() -> None:
    """Not found: no announcement; no answer: silence."""
    world = World()
    guest = Guest(world, 2, ByName("deck 7"))
    guest.wait(limits.ROOM_JOIN_PATIENCE + 1)
    assert guest.reason() == "not-found"
    guest = Guest(world, 2, ByName("deck 7"), found=(0,))
    guest.wait(limits.ROOM_JOIN_PATIENCE + 1)
    assert guest.reason() == "no-answer"
    assert guest.joiner.deadline() is None


def test_a_wrong_clock_is_told_when_nobody_can_read_us() -> None:
    """One member with a wrong clock keeps nobody out; when it is ours, all say so."""
    world = World()
    guest = Guest(world, 9, ByName("deck 7"), found=(0, 1))
    guest.wait(0.5)
    early = e.ClockDiffers(KEYS[5].peer_id)
    for event, told in (
        (early, 0),
        (e.ClockDiffers(KEYS[0].peer_id), 0),
        (e.ClockDiffers(KEYS[1].peer_id), 1),
    ):
        guest.do(guest.joiner.handle(event, world.now, world.now_ms))
        assert [one for one in guest.told if isinstance(one, c.NotAdmitted)] == told * [
            c.NotAdmitted("clock")
        ]
    world.add(1)
    other = Guest(world, 8, ByName("deck 7"), found=(0, 1))
    other.do(other.joiner.handle(e.ClockDiffers(KEYS[0].peer_id), world.now, world.now_ms))
    other.wait(0.5)
    assert isinstance(other.told[-1], c.Admitted)


def test_whom_the_crowd_pushed_aside_may_say_that_the_clocks_differ() -> None:
    """It was asked, and answers late; then it is not asked again."""
    world = World()
    crowd = tuple(range(limits.ROOM_JOIN_ASKED + 1))
    guest = Guest(world, 20, ByName("deck 7"), found=crowd)
    guest.wait(limits.ROOM_JOIN_ASKED * limits.ROOM_JOIN_STAGGER + limits.ROOM_JOIN_RETRY)
    late = next(one for one in crowd if KEYS[one].peer_id in guest.joiner._claims)
    guest.do(guest.joiner.handle(e.ClockDiffers(KEYS[late].peer_id), world.now, world.now_ms))
    assert guest.joiner._asked[KEYS[late].peer_id].refused == "clock"
    assert not guest.joiner.ended


def test_giving_up_ends_it() -> None:
    """Once."""
    world = World()
    guest = Guest(world, 2, ByName("deck 7"))
    for _ in range(2):
        guest.do(guest.joiner.handle(e.GiveUp(), world.now, world.now_ms))
    assert guest.reason() == "given-up"


def test_new_codes_avoid_the_numbers_in_use() -> None:
    """Until there is none left."""
    taken = set(range(1, 99))
    code = new_code(random.Random(3).randbytes, taken)
    assert code.startswith("99-")
    with pytest.raises(LocalProtocolError):
        new_code(random.Random(3).randbytes, taken | {99})
    assert replace(ByCode(code), code=CODE).code == CODE
