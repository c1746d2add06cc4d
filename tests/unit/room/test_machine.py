"""One room, a few members, no network at all."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.errors import LocalProtocolError
from meshcall.identity.keys import SigningKey
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.entry import MediaFlags, read_entry_untrusted, sign_entry
from meshcall.room.machine import RoomMachine
from meshcall.room.messages import (
    Beat,
    Here,
    KnockNote,
    KnockState,
    SaidLine,
    Sync,
    encode_letter,
    encode_message,
)
from meshcall.room.statements import sign_removal, sign_said, sign_setting
from tests.unit.room.room_world import KEYS, World, make_room

PEERS = [key.peer_id for key in KEYS]


def meeting(size: int) -> World:
    """So many members, all linked."""
    world = World()
    for number in range(size):
        world.add(number, *range(number))
        world.run(0.1)
    world.run(1)
    assert len(world.links) == size * (size - 1) // 2
    return world


def machine(world: World, number: int) -> RoomMachine:
    return world.machines[PEERS[number]]


def line(
    number: int, world: World, *, incarnation: int, seq: int = 1, left: bool = False, name: str = "x"
) -> bytes:
    """A line that this member signs."""
    key = KEYS[number]
    entry = sign_entry(
        key.peer_id, key.sign, world.room.roster_key,
        incarnation=incarnation, seq=seq, left=left, flags=MediaFlags(), name=name,
    )  # fmt: skip
    return entry.octets


def say(world: World, frm: int, to: int, message: object) -> None:
    """A message of a member that says what it likes."""
    data = encode_message(message, int(world.now * 1000))  # type: ignore[arg-type]
    world.do(to, e.LinkMessage(PEERS[frm], data))


# --- coming and going -----------------------------------------------------------------------------


def test_members_who_come_one_by_one_all_see_each_other() -> None:
    """Each has a link with each, and all show the same names."""
    world = World()
    world.add(0)
    for number in range(1, 5):
        world.add(number, number - 1)
        world.run(0.5)
    assert len(world.links) == 10
    for number in range(5):
        assert world.seen_by(number) == [f"member {n}" for n in range(5)]
        assert world.states(number) == ["here"] * 5


def test_two_who_come_in_at_once_find_each_other() -> None:
    """Through whoever was there."""
    world = World()
    world.add(0)
    world.add(1, 0)
    world.add(2, 0)
    world.run(1)
    assert world.seen_by(1) == world.seen_by(2) == ["member 0", "member 1", "member 2"]
    assert len(world.links) == 3


def test_who_leaves_is_gone_at_once_and_the_others_go_on() -> None:
    """Without a host there is nobody whom a room needs: here its creator goes."""
    world = meeting(3)
    world.do(0, e.Leave())
    assert world.seen_by(1) == world.seen_by(2) == ["member 1", "member 2"]
    world.add(3, 2)
    world.run(1)
    assert world.seen_by(3) == ["member 1", "member 2", "member 3"] == world.seen_by(1)


def test_who_leaves_by_a_link_that_has_just_broken_is_not_lost() -> None:
    """Nobody has noticed yet: a browser closes its connections before its daemon knows that it leaves."""
    world = meeting(3)
    world.links.clear()  # nothing arrives on them any more, and nobody is told
    world.do(0, e.Leave())
    for number in (1, 2):
        assert "member 0" not in world.seen_by(number)
        assert machine(world, number).lost() == ()
    world.run(3)
    assert [one.name for one in machine(world, 1).lost()] == []
    assert world.seen_by(1) == ["member 1", "member 2"]


def test_who_dies_is_gone_within_three_seconds() -> None:
    """For all at once, and shown as lost for a while."""
    world = meeting(3)
    dead = world.machines.pop(PEERS[0])
    world.links = {pair for pair in world.links if PEERS[0] not in pair}
    assert dead.inside
    world.run(3)
    for number in (1, 2):
        assert world.seen_by(number) == ["member 1", "member 2"]
        assert [(one.name, one.state) for one in machine(world, number).lost()] == [("member 0", "lost")]
    world.run(limits.ROOM_LOST_SHOWN)
    assert machine(world, 1).lost() == ()
    assert world.all_told(1, c.Announce)[-1] == c.Announce(2, 0, locked=False)


def test_a_switch_that_is_unplugged_for_20_seconds() -> None:
    """Both halves go on by themselves, and are one again within three seconds, without any announcement."""
    world = meeting(5)
    halves = ({0, 1, 3}, {2, 4})
    world.cut = lambda a, b: (PEERS.index(a) in halves[0]) != (PEERS.index(b) in halves[0])
    world.run(20)
    for half in halves:
        for number in half:
            assert world.seen_by(number) == [f"member {n}" for n in sorted(half)]
    world.do(0, e.SetState(hand=True))
    world.do(4, e.Lock(True))
    world.cut = lambda a, b: False
    world.run(3)
    for number in range(5):
        assert world.seen_by(number) == [f"member {n}" for n in range(5)]
        assert world.states(number) == ["here"] * 5
        assert machine(world, number).members()[0].flags.hand
        assert machine(world, number).locked


def test_a_silent_link_is_made_anew_once_letters_come_through() -> None:
    """SCTP may wake much later."""
    world = meeting(2)
    silent = {PEERS[0], PEERS[1]}
    world.links.clear()  # messages vanish, and nobody is told
    world.cut = lambda a, b: {a, b} == silent
    world.run(10)
    assert world.seen_by(0) == ["member 0"]
    world.cut = lambda a, b: False
    world.run(3)
    assert world.states(0) == world.states(1) == ["here", "here"]
    assert [one.peer for one in world.all_told(0, c.Drop)] == [PEERS[1]]  # type: ignore[union-attr]


def test_halves_that_never_met_merge_by_one_sighting() -> None:
    """One announcement that one member sees is enough."""
    world = World()
    for number, voucher in ((0, ()), (1, (0,)), (2, ()), (3, (2,))):
        world.add(number, *voucher)
    world.run(2)
    world.do(1, e.Sighted(PEERS[2]))
    world.run(3)
    for number in range(4):
        assert world.seen_by(number) == [f"member {n}" for n in range(4)]


def test_a_pair_without_a_path_sees_each_other_through_the_others() -> None:
    """Their lines are passed on, and so is what they say."""
    world = World()
    world.cut = lambda a, b: {a, b} == {PEERS[0], PEERS[2]}
    for number in range(3):
        world.add(number, *range(number))
    world.run(10)
    assert world.states(0) == ["here", "here", "connecting"]
    world.do(2, e.SetState(video=True))
    world.do(2, e.Say("hello"))
    assert machine(world, 0).members()[2].flags.video
    assert world.all_told(0, c.Chatted) == [c.Chatted(PEERS[2], "hello")]
    before = len(world.all_told(0, c.SendLetter))
    world.run(60)
    assert len(world.all_told(0, c.SendLetter)) - before <= 7  # it is not lost, so it is not looked for


def test_an_empty_room_sleeps() -> None:
    """One member alone needs no timer."""
    world = World()
    world.add(0)
    assert machine(world, 0).deadline() is None
    assert machine(world, 0).handle_timer(world.now, world.now_ms) == []


def test_a_member_without_a_link_is_looked_for_ever_less() -> None:
    """A letter a second at first, and none after an hour."""
    world = meeting(2)
    world.machines.pop(PEERS[1])
    world.links.clear()
    world.do(0, e.LinkDown(PEERS[1]))
    world.told[PEERS[0]].clear()
    world.run(60, step=0.25)
    first = len(world.all_told(0, c.SendLetter))
    assert 40 <= first <= 61
    world.run(540, step=0.25)
    assert len(world.all_told(0, c.SendLetter)) - first <= 271
    world.run(3600, step=5)
    world.told[PEERS[0]].clear()
    world.run(600, step=5)
    assert world.all_told(0, c.SendLetter) == []
    world.do(0, e.Sighted(PEERS[1]))
    world.run(1)
    assert world.all_told(0, c.SendLetter) != []


def test_misuse_raises_and_changes_nothing() -> None:
    """Of our own user only."""
    world = World()
    member = world.add(0)
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Enter())
    misuse: list[e.RoomEvent] = [
        e.Say(""), e.Say("x" * (limits.CHAT_MAX + 1)), e.Admit(PEERS[1]), e.Refuse(PEERS[1]),
        e.Remove(PEERS[0]), e.Block(PEERS[0]),
    ]  # fmt: skip
    for event in misuse:
        with pytest.raises(LocalProtocolError):
            world.do(0, event)
    world.do(0, e.Leave())
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Say("late"))
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Enter())
    world.do(0, e.LinkUp(PEERS[1]))
    assert member.statistics() == {"not in": 1}
    assert member.members() == member.lost() == ()
    assert "ended" in repr(member)


# --- names ----------------------------------------------------------------------------------------


def test_a_name_that_is_taken_twice_is_told_apart_alike_by_all() -> None:
    """The lowest ID keeps it; case makes no difference; whoever has none goes by its ID."""
    world = World()
    for number, name in enumerate(("Ann", "ann", "ann (2)", "", "ANN")):
        world.add(number, *range(number), name=name or "\u202e")
    world.run(1)
    shown = ["Ann", "ann (2)", "ann (2) (2)", PEERS[3].short, "ANN (3)"]
    for number in range(5):
        assert world.seen_by(number) == shown
    world.do(0, e.Leave())
    assert world.seen_by(2) == ["ann", "ann (2)", PEERS[3].short, "ANN (3)"]


def test_names_are_cleaned_and_cut() -> None:
    """Of whatever Unicode and length."""
    world = World()
    world.add(0, name="\x1b[2J" + "é" * 100)
    assert world.seen_by(0) == ["[2J" + "é" * 30]


# --- clocks, lost state, replay -------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [10**13, -(10**12)])
def test_a_clock_that_was_wrong_keeps_nobody_out(wrong: int) -> None:
    """It came in with a clock 300 years ahead, or 30 behind, died, and comes back with the right one."""
    world = meeting(2)
    early = RoomMachine(PEERS[2], world.room, KEYS[2].sign, "early", bytes)
    world.machines[PEERS[2]], world.told[PEERS[2]] = early, []
    world.carry_out(PEERS[2], early.handle(e.Enter((PEERS[0],)), world.now, world.now_ms + wrong))
    world.drain()
    world.run(1)
    assert len(world.seen_by(0)) == 3
    world.machines.pop(PEERS[2])
    world.links = {pair for pair in world.links if PEERS[2] not in pair}
    for number in (0, 1):
        world.do(number, e.LinkDown(PEERS[2]))
    world.add(2, 0, name="back")
    world.run(1)
    for number in range(3):
        assert world.seen_by(number) == ["member 0", "member 1", "back"]


def test_an_older_line_brings_nobody_back() -> None:
    """Neither of who left nor of who is here; nor does one with an old age of somebody unknown."""
    world = meeting(3)
    old = machine(world, 1)._own_octets()
    world.run(2)
    world.do(1, e.Leave())
    say(world, 2, 0, Sync(entries=((0, old),)))
    world.do(0, e.LetterReceived(PEERS[1], encode_letter(Here(world.room.tag(world.now_ms), old))))
    stranger = line(9, world, incarnation=5)
    say(world, 2, 0, Sync(entries=((3000, stranger),)))
    assert world.seen_by(0) == ["member 0", "member 2"]


def test_what_a_broken_path_held_back_brings_nobody_back() -> None:
    """A line that was new when it was said, and is not when it comes."""
    world = meeting(3)
    fresh = line(9, world, incarnation=5)
    held = encode_message(Sync(entries=((0, fresh),)), int(world.now * 1000))
    world.run(4)
    world.do(0, e.LinkMessage(PEERS[2], held))
    assert world.seen_by(0) == ["member 0", "member 1", "member 2"]


# --- what members can't do ------------------------------------------------------------------------


def test_forged_lines_change_nothing() -> None:
    """Another's line, one of another room, one with a changed octet, one with an impossible number."""
    world = meeting(2)
    mine = machine(world, 1)._own_octets()
    forged = bytearray(line(1, world, incarnation=2**50))
    forged[:32] = PEERS[0].key
    other = World(make_room(seed=5))
    changed = bytearray(line(1, world, incarnation=2**50))
    changed[45] ^= 1
    for octets in (bytes(forged), line(1, other, incarnation=2**50), bytes(changed)):
        say(world, 1, 0, Sync(entries=((0, octets),)))
    say(world, 1, 0, Sync(entries=((0, line(1, world, incarnation=2**63)),)))
    assert world.seen_by(0) == ["member 0", "member 1"]
    assert machine(world, 0).statistics() == {"signature": 3, "entry": 1}
    known = machine(world, 0)._roster.known(PEERS[1])
    assert known is not None
    assert known.entry.octets == mine


def test_a_member_that_invents_members_drives_nobody_out() -> None:
    """Whoever is here stays; of those who left some are forgotten."""
    world = meeting(3)
    for number in range(200):
        world.run(0.03, step=0.03)
        key = SigningKey.from_seed(bytes([5]) * 30 + number.to_bytes(2, "big"))
        entry = sign_entry(
            key.peer_id, key.sign, world.room.roster_key,
            incarnation=1, seq=1, left=False, flags=MediaFlags(), name="x",
        )  # fmt: skip
        say(world, 2, 0, Sync(entries=((0, entry.octets),)))
    assert len(machine(world, 0)._roster.all()) <= limits.ROOM_ENTRIES_MAX
    assert machine(world, 0).statistics()["roster-full"] > 20
    assert {"member 0", "member 1", "member 2"} <= set(world.seen_by(0))
    world.run(10)
    assert world.seen_by(0) == ["member 0", "member 1", "member 2"]
    assert len(machine(world, 0)._peers) <= limits.ROOM_ENTRIES_MAX


def test_a_member_that_floods_is_not_listened_to() -> None:
    """Its link, its letters and its chat are bounded; the others are heard."""
    world = meeting(3)
    before = sum(machine(world, 0).statistics().values())
    for number in range(1000):
        said = sign_said(PEERS[2], KEYS[2].sign, world.room, world_incarnation(world, 2), number + 1, "spam")
        say(world, 2, 0, SaidLine(said))
    shown = world.all_told(0, c.Chatted)
    assert len(shown) == limits.ROOM_CHAT_BURST
    refused = machine(world, 0).statistics()
    assert refused["chat flood"] > 200
    assert refused["link flood"] > 600
    assert before == 0
    world.do(1, e.Say("hello"))
    assert world.all_told(0, c.Chatted)[-1] == c.Chatted(PEERS[1], "hello")
    letter = encode_letter(Here(world.room.tag(world.now_ms), line(9, world, incarnation=5), asks=True))
    world.told[PEERS[0]].clear()
    for _ in range(200):
        world.do(0, e.LetterReceived(PEERS[9], letter))
    assert machine(world, 0).statistics()["letter flood"] >= 188
    assert len(world.all_told(0, c.SendLetter)) <= limits.ROOM_ANSWERS_BURST + 1


def world_incarnation(world: World, number: int) -> int:
    return read_entry_untrusted(machine(world, number)._own_octets(), world.room.roster_key).incarnation


def test_a_chat_line_is_shown_once_and_only_of_members() -> None:
    """Copies, lines of strangers, and lines that somebody else signed are not."""
    world = meeting(3)
    inc = world_incarnation(world, 2)
    line1 = sign_said(PEERS[2], KEYS[2].sign, world.room, inc, 1, "once")
    for _ in range(3):
        say(world, 1, 0, SaidLine(line1))
    say(world, 1, 0, SaidLine(sign_said(PEERS[9], KEYS[9].sign, world.room, 1, 1, "stranger")))
    forged = bytearray(sign_said(PEERS[1], KEYS[1].sign, world.room, inc, 2, "forged"))
    forged[:32] = PEERS[2].key
    say(world, 1, 0, SaidLine(bytes(forged)))
    assert world.all_told(0, c.Chatted) == [c.Chatted(PEERS[2], "once")]


def test_we_may_not_flood_either() -> None:
    """Nothing that we say is lost silently."""
    world = meeting(2)
    for _ in range(int(limits.ROOM_CHAT_BURST)):
        world.do(0, e.Say("x"))
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Say("x"))
    assert len(world.all_told(1, c.Chatted)) == limits.ROOM_CHAT_BURST


def test_changes_of_our_state_are_bundled() -> None:
    """Somebody who speaks and stops, and speaks."""
    world = meeting(2)
    world.told[PEERS[0]].clear()
    for number in range(100):
        world.do(0, e.SetState(speaking=number % 2 == 0))
    assert len(world.all_told(0, c.SendLink)) <= 2
    world.do(0, e.SetState(speaking=True, audio=True))
    world.run(0.2)
    assert machine(world, 1).members()[0].flags == MediaFlags(audio=True, speaking=True)


# --- the lock -------------------------------------------------------------------------------------


def test_the_last_word_about_the_lock_counts_for_all() -> None:
    """Also of two that said so at once in two halves; the creator's counts among equals."""
    world = meeting(4)
    world.do(1, e.Lock(True))
    assert all(machine(world, n).locked for n in range(4))
    halves = {0, 1}
    world.cut = lambda a, b: (PEERS.index(a) in halves) != (PEERS.index(b) in halves)
    world.run(5)
    world.do(0, e.Lock(False))
    world.do(3, e.Lock(False))
    world.do(3, e.Lock(True))
    world.do(3, e.Lock(False))
    world.cut = lambda a, b: False
    world.run(3)
    assert not any(machine(world, n).locked for n in range(4))
    settings = {machine(world, n)._roster.setting.octets for n in range(4)}  # type: ignore[union-attr]
    assert len(settings) == 1


def test_who_locks_for_good_is_undone_with_its_removal() -> None:
    """It took the highest count there is."""
    world = meeting(3)
    last = sign_setting(PEERS[2], KEYS[2].sign, world.room, limits.ROOM_COUNTER_MAX, locked=True)
    say(world, 2, 1, Sync(settings=(last.octets,)))
    assert machine(world, 0).locked
    with pytest.raises(LocalProtocolError):
        world.do(0, e.Lock(False))
    world.do(0, e.Remove(PEERS[2]))
    assert not machine(world, 0).locked
    assert not machine(world, 1).locked
    world.do(1, e.Lock(True))
    assert machine(world, 0).locked


def test_what_a_link_did_not_carry_is_said_again() -> None:
    """A digest that differs has both say what lasts."""
    world = meeting(2)
    setting = sign_setting(PEERS[1], KEYS[1].sign, world.room, 1, locked=True)
    machine(world, 1)._roster.set(setting)
    assert not machine(world, 0).locked
    world.run(2.5)
    assert machine(world, 0).locked


# --- removal and block ----------------------------------------------------------------------------


def test_only_the_creators_key_removes() -> None:
    """Nobody else's, and nobody the creator."""
    world = meeting(3)
    with pytest.raises(LocalProtocolError):
        world.do(1, e.Remove(PEERS[2]))
    say(world, 1, 2, Sync(removals=(sign_removal(KEYS[1].sign, world.room, PEERS[0]),)))
    say(world, 1, 2, Sync(removals=(sign_removal(KEYS[0].sign, world.room, PEERS[0]),)))
    assert len(world.seen_by(2)) == 3


def test_who_is_removed_is_out_and_stays_out() -> None:
    """Told so, kept out by all, also by members that come later or were away, and over restarts."""
    world = meeting(4)
    away = world.machines.pop(PEERS[3])
    world.links = {pair for pair in world.links if PEERS[3] not in pair}
    world.do(0, e.Remove(PEERS[2]))
    assert world.all_told(2, c.Removed) == [c.Removed()]
    assert world.all_told(2, c.Ended) == [c.Ended("removed")]
    assert not machine(world, 2).inside
    world.run(3)
    assert world.seen_by(0) == world.seen_by(1) == ["member 0", "member 1"]
    assert c.SaveRoom() in world.told[PEERS[0]]
    # It comes back as if nothing had been, and is told again
    for voucher in (0, 1):
        world.told[PEERS[2]].clear()
        world.add(2, voucher)
        world.run(1)
        assert world.all_told(2, c.Ended) == [c.Ended("removed")]
    # The creator leaves; whoever was away learns it from the others
    world.do(0, e.Leave())
    world.machines[PEERS[3]] = away
    for number in (1, 3):
        world.do(number, e.LinkDown(PEERS[4 - number]))
    world.run(3)
    assert not away.takes(PEERS[2], offer(world, 2, 3), world.now_ms)
    again = RoomMachine(
        PEERS[1], world.room, KEYS[1].sign, "", bytes, memory=machine(world, 1).memory()
    )  # fmt: skip
    again.handle(e.Enter(), world.now, world.now_ms)
    assert not again.takes(PEERS[2], offer(world, 2, 1), world.now_ms)


def offer(world: World, frm: int, to: int) -> bytes:
    """A right offer's tag."""
    proof = world.room.proof(b"link", PEERS[frm], PEERS[to])[:8]
    return world.room.tag(world.now_ms) + proof


def test_a_block_is_for_ourselves() -> None:
    """We see and hear nothing of it, and it nothing of us; the others go on with both."""
    world = meeting(3)
    world.do(0, e.Block(PEERS[2]))
    assert world.seen_by(0) == ["member 0", "member 1"]
    assert world.seen_by(1) == ["member 0", "member 1", "member 2"]
    assert machine(world, 0).blocked() == {PEERS[2]: "member 2"}
    world.run(5)
    assert frozenset((PEERS[0], PEERS[2])) not in world.links
    world.do(2, e.Say("can you hear me"))
    assert world.all_told(0, c.Chatted) == []
    assert not machine(world, 0).takes(PEERS[2], offer(world, 2, 0), world.now_ms)
    world.do(0, e.Block(PEERS[2], blocked=False))
    world.run(12)
    assert world.seen_by(0) == ["member 0", "member 1", "member 2"]
    assert frozenset((PEERS[0], PEERS[2])) in world.links


def test_who_is_blocked_is_shown_until_it_is_not() -> None:
    """Also one that has left: both changes are told, though the members stay the same."""
    world = meeting(3)
    world.do(2, e.Leave())
    for blocked in (True, False):
        told = len(world.all_told(0, c.RosterChanged))
        world.do(0, e.Block(PEERS[2], blocked))
        assert (PEERS[2] in machine(world, 0).blocked()) is blocked
        assert len(world.all_told(0, c.RosterChanged)) == told + 1


def test_what_is_remembered_brings_us_back_in() -> None:
    """Whom we blocked, who was here, the lock. Damage costs what is damaged."""
    world = meeting(3)
    world.do(1, e.Lock(True))
    world.do(1, e.Block(PEERS[2]))
    memory = machine(world, 1).memory()
    world.do(1, e.Leave())
    back = RoomMachine(PEERS[1], world.room, KEYS[1].sign, "back", bytes, memory=memory)
    assert back.blocked() == {PEERS[2]: ""}
    assert back.locked
    world.machines[PEERS[1]] = back
    world.do(1, e.Enter())
    world.run(1)
    assert world.seen_by(0) == ["member 0", "back", "member 2"]
    assert back.blocked() == {PEERS[2]: "member 2"}, "what it calls itself is learned again"
    for cut in range(len(memory)):
        RoomMachine(PEERS[1], world.room, KEYS[1].sign, "back", bytes, memory=memory[:cut])


# --- offers ---------------------------------------------------------------------------------------


def test_an_offer_without_the_secret_is_not_taken() -> None:
    """Nor one of another sender, another day, another room, or of any octets."""
    world = meeting(2)
    member, good = machine(world, 0), offer(world, 5, 0)
    assert member.takes(PEERS[5], good, world.now_ms)
    assert not member.takes(PEERS[6], good, world.now_ms)
    assert not member.takes(PEERS[5], good, world.now_ms + 3 * 86_400_000)
    for bad in (b"", good[:8], good[:15], good + b"x", bytes(16), good[:8] + bytes(8), bytes(8) + good[8:]):
        assert not member.takes(PEERS[5], bad, world.now_ms)


def test_an_offer_around_midnight_is_taken() -> None:
    """Clocks differ by a minute or two."""
    world = meeting(2)
    midnight = (world.now_ms // 86_400_000 + 1) * 86_400_000
    tag = machine(world, 1).offer_tag(PEERS[0], midnight + 60_000)
    assert machine(world, 0).takes(PEERS[1], tag, midnight - 60_000)
    assert tag != machine(world, 1).offer_tag(PEERS[0], midnight - 60_000)


def test_sightings_of_strangers_cost_a_few_letters() -> None:
    """Announcements that name others' IDs."""
    world = World()
    world.add(0)
    for number in range(1, 29):
        for _ in range(20):
            world.do(0, e.Sighted(PEERS[number]))
    world.run(30)
    assert len(machine(world, 0)._peers) == 0
    assert len(world.all_told(0, c.SendLetter)) <= 28 * limits.ROOM_SIGHTED_TRIES


def test_beats_of_somebody_elses_line_are_as_good_as_passing_it_on() -> None:
    """And knocks of a newer kind, and kinds that nobody knows, are skipped."""
    world = meeting(2)
    say(world, 1, 0, Beat(line(9, world, incarnation=5, name="nine"), frozenset(), bytes(8)))
    assert "nine" in world.seen_by(0)
    say(world, 1, 0, KnockNote(PEERS[8], KnockState.GONE))
    world.do(0, e.LinkMessage(PEERS[1], b"\x63" + bytes(20)))
    assert machine(world, 0).statistics() == {"message kind": 1}
    world.do(0, e.LinkMessage(PEERS[1], b"\x01"))
    world.do(0, e.LinkMessage(PEERS[7], b"\x01"))
    assert machine(world, 0).statistics()["no link"] == 1


def test_a_newcomer_offers_and_the_others_wait_for_it() -> None:
    """So that not both do: in a room of five no link is offered twice."""
    world = meeting(5)
    world.run(limits.ROOM_NEWCOMER)
    for told in world.told.values():
        told.clear()
    world.add(5, 2)
    world.run(2)
    assert world.states(5) == ["here"] * 6
    offered = [len(world.all_told(number, c.Connect)) for number in range(6)]
    assert offered == [0, 0, 0, 0, 0, 5]


def test_links_and_letters_to_invented_members_are_few() -> None:
    """Each offer costs us candidates and look-ups."""
    world = meeting(2)
    invented = []
    for number in range(60):
        key = SigningKey.from_seed(bytes([7]) * 30 + number.to_bytes(2, "big"))
        entry = sign_entry(
            key.peer_id, key.sign, world.room.roster_key,
            incarnation=1, seq=1, left=False, flags=MediaFlags(), name="x",
        )  # fmt: skip
        invented.append((0, entry.octets))
    me, now, now_ms = machine(world, 0), world.now, world.now_ms
    world.machines.pop(PEERS[0])
    me.handle(
        e.LinkMessage(PEERS[1], encode_message(Sync(entries=tuple(invented)), int(now * 1000))), now, now_ms
    )
    offers = letters = 0
    while me.deadline() is not None and now < world.now + 20:
        now = max(now + 0.01, me.deadline() or now)
        commands = me.handle_timer(now, now_ms)
        offers += sum(isinstance(one, c.Connect) for one in commands)
        letters += sum(isinstance(one, c.SendLetter) for one in commands)
    assert offers <= limits.ROOM_CONNECTING_MAX
    assert letters <= limits.ROOM_SEEKS_BURST + 21 * limits.ROOM_SEEKS_PER_SECOND


def test_a_twin_with_our_key_makes_no_storm() -> None:
    """Two machines with one key, both in the room: each outdoes the other, once a second."""
    world = meeting(3)
    twin = RoomMachine(PEERS[0], world.room, KEYS[0].sign, "twin", bytes)
    said = 0
    now, start = world.now, world.now
    twin.handle(e.Enter(), now, world.now_ms + 5000)
    twin.handle(e.LinkUp(PEERS[1]), now, world.now_ms)
    while now < start + 5:
        now += 0.05
        for command in twin.handle_timer(now, world.now_ms):
            if isinstance(command, c.SendLink) and command.peer == PEERS[1]:
                world.do(1, e.LinkMessage(PEERS[0], command.data))
        # What member 1 says to its neighbour with that key reaches both
        for one in world.all_told(1, c.SendLink):
            assert isinstance(one, c.SendLink)
            if one.peer == PEERS[0]:
                twin.handle(e.LinkMessage(PEERS[1], one.data), now, world.now_ms)
        world.told[PEERS[1]].clear()
        world.run(0.05)
        said += len(world.all_told(0, c.SendLink))
        world.told[PEERS[0]].clear()
    assert said < 5 * 2 * 10
    assert world.seen_by(2)[1:] == ["member 1", "member 2"]
