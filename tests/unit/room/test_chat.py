"""Chat that somebody missed: who is told of it, who is given it, and what a flood costs."""

from __future__ import annotations

from meshcall import limits
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.chat import Chat
from meshcall.room.machine import RoomMachine
from meshcall.room.messages import (
    Has,
    LineId,
    Missed,
    SaidLine,
    Wants,
    decode_message_untrusted,
    short_key,
)
from meshcall.room.statements import sign_said
from tests.unit.room.room_world import KEYS, World
from tests.unit.room.test_machine import PEERS, machine, meeting, say, world_incarnation

MOST = limits.ROOM_CHAT_BURST + limits.ROOM_CHAT_KEPT
"""Lines of one member that are shown at once, those that were missed included."""


def shown(world: World, number: int) -> list[str]:
    return [command.text for command in world.all_told(number, c.Chatted) if isinstance(command, c.Chatted)]


def split(world: World, *half: int) -> None:
    """These are cut off from the others."""
    inside = {PEERS[number] for number in half}
    world.cut = lambda a, b: (a in inside) != (b in inside)
    for link in [one for one in world.links if len(one & inside) == 1]:
        world.links.discard(link)


def told(world: World, frm: int, to: int, kind: type) -> list[object]:
    """What ``frm`` said to ``to`` on their link, of one kind."""
    messages = [
        decode_message_untrusted(command.data)[1]
        for command in world.all_told(frm, c.SendLink)
        if isinstance(command, c.SendLink) and command.peer == PEERS[to]
    ]
    return [message for message in messages if isinstance(message, kind)]


def relink(world: World, a: int, b: int) -> None:
    """Their link ends, and comes back."""
    pair = frozenset((PEERS[a], PEERS[b]))
    world.links.discard(pair)
    for me, other in ((a, b), (b, a)):
        world.do(me, e.LinkDown(PEERS[other]))
    world.links.add(pair)
    world.queue += [(PEERS[a], e.LinkUp(PEERS[b])), (PEERS[b], e.LinkUp(PEERS[a]))]
    world.drain()


def lines_of(
    world: World, number: int, count: int, text: str = "spam", first: int = 1
) -> dict[LineId, bytes]:
    """So many lines that this member signs, by id."""
    key, incarnation = KEYS[number], world_incarnation(world, number)
    return {
        (short_key(key.peer_id), incarnation, one): sign_said(
            key.peer_id, key.sign, world.room, incarnation, one, f"{text} {one}"
        )
        for one in range(first, first + count)
    }


def force_feed(world: World, frm: int, to: int, lines: dict[LineId, bytes], age_ms: int = 0) -> None:
    """Say to have lines, and give all that is asked for, as long as anything is."""
    ids = tuple(lines)
    for start in range(0, len(ids), 100):
        world.told[PEERS[to]] = [
            one for one in world.told[PEERS[to]] if not isinstance(one, c.SendLink)
        ]  # fmt: skip
        say(world, frm, to, Has(ids[start : start + 100]))
        while wanted := told(world, to, frm, Wants):
            world.told[PEERS[to]] = [
                one for one in world.told[PEERS[to]] if not isinstance(one, c.SendLink)
            ]  # fmt: skip
            for message in wanted:
                assert isinstance(message, Wants)
                say(world, frm, to, Missed(tuple((age_ms, lines[line]) for line in message.lines)))


# --- who missed it --------------------------------------------------------------------------------


def test_two_halves_that_meet_again_tell_each_other_what_was_said() -> None:
    """Each line once, in the order of each author, and when it was said."""
    world = meeting(4)
    split(world, 0, 1)
    world.run(5)
    for number, text in ((0, "one"), (0, "two"), (2, "three")):
        world.do(number, e.Say(text))
    world.run(7)
    assert shown(world, 1) == ["one", "two"]
    assert shown(world, 3) == ["three"]
    world.cut = lambda a, b: False
    world.run(3)
    assert shown(world, 0) == ["three"]
    assert shown(world, 1) == ["one", "two", "three"]
    assert shown(world, 2) == ["one", "two"]
    assert shown(world, 3) == ["three", "one", "two"]
    for command in world.all_told(3, c.Chatted)[1:]:
        assert isinstance(command, c.Chatted)
        assert 7 <= command.age < 10


def test_what_was_said_while_one_link_was_down_comes_with_the_next() -> None:
    """Between two members who have nobody else."""
    world = meeting(2)
    pair = frozenset((PEERS[0], PEERS[1]))
    world.links.discard(pair)
    world.do(0, e.Say("are you there?"))
    assert shown(world, 1) == []
    relink(world, 0, 1)
    assert shown(world, 1) == ["are you there?"]
    relink(world, 0, 1)
    assert shown(world, 1) == ["are you there?"]


def test_a_line_that_its_author_could_not_bring_comes_through_the_others() -> None:
    """Though nobody knew yet that their link was broken, and it never comes back."""
    world = meeting(3)
    dead = {PEERS[0], PEERS[1]}
    world.cut = lambda a, b: {a, b} == dead
    world.do(0, e.Say("hello"))
    assert shown(world, 1) == []
    world.run(5)
    assert shown(world, 1) == ["hello"]
    assert shown(world, 2) == ["hello"]


def test_in_a_whole_room_nobody_tells_what_it_has() -> None:
    """Chat costs what it did."""
    world = meeting(4)
    world.do(0, e.Say("hello"))
    world.run(10)
    assert [told(world, frm, to, Has) for frm in range(4) for to in range(4)] == [[]] * 16


def test_who_comes_later_is_not_told_what_was_said_before() -> None:
    """Nor is it given that if it asks; nor does it show it if somebody gives it."""
    world = meeting(3)
    world.do(0, e.Say("between us"))
    world.run(1)
    world.add(3, 0)
    world.run(5)
    line = (short_key(PEERS[0]), world_incarnation(world, 0), 1)
    for member in range(3):
        say(world, 3, member, Wants((line,)))
        assert told(world, member, 3, Missed) == []
        assert machine(world, member).statistics()["line not kept"] == 1
    octets = machine(world, 1)._chat.get(line)
    assert octets is not None
    force_feed(world, 1, 3, {line: octets.octets}, age_ms=6_100)
    assert shown(world, 3) == []
    assert machine(world, 3).statistics()["said before we came"] == 1
    world.do(0, e.Say("welcome"))
    assert shown(world, 3) == ["welcome"]


def test_who_came_into_the_other_half_hears_what_was_said_since() -> None:
    """From those who knew it then; of what was said before it came nothing, in either half."""
    world = meeting(4)
    split(world, 0, 1)
    world.run(5)
    world.do(0, e.Say("before"))
    world.run(3)
    world.add(4, 2)
    world.run(3)
    world.do(1, e.Say("after"))
    world.run(3)
    world.cut = lambda a, b: False
    world.run(5)
    assert world.seen_by(4) == [f"member {number}" for number in range(5)]
    assert shown(world, 4) == ["after"]
    assert shown(world, 2) == ["before", "after"]


def test_who_says_to_have_a_line_and_gives_none_delays_it_only() -> None:
    """Somebody else is asked soon."""
    world = meeting(3)
    line, octets = next(iter(lines_of(world, 1, 1).items()))
    say(world, 2, 0, Has((line,)))
    say(world, 1, 0, Has((line,)))
    assert told(world, 0, 2, Wants) == [Wants((line,))]
    assert told(world, 0, 1, Wants) == []
    world.run(limits.ROOM_CHAT_PATIENCE + 1.1)
    assert told(world, 0, 1, Wants) == [Wants((line,))]
    say(world, 1, 0, Missed(((4000, octets),)))
    assert shown(world, 0) == ["spam 1"]


def test_what_a_removed_member_said_is_told_to_nobody() -> None:
    """What it signed is void."""
    world = meeting(4)
    split(world, 3)
    world.do(2, e.Say("hi"))
    world.run(1)
    world.do(0, e.Remove(PEERS[2]))
    world.cut = lambda a, b: PEERS[2] in (a, b)
    world.run(10)
    assert world.states(3) == ["here"] * 3
    assert shown(world, 0) == ["hi"]
    assert shown(world, 3) == []
    assert told(world, 0, 3, Has) == told(world, 1, 3, Has) == []


# --- who floods -----------------------------------------------------------------------------------


def test_catching_up_shows_no_more_of_a_flood_than_chat_would() -> None:
    """However many lines a member signs, and whatever age it says they have."""
    world = meeting(3)
    world.run(2)
    force_feed(world, 2, 0, lines_of(world, 2, 290), age_ms=2_000)
    assert len(shown(world, 0)) <= MOST
    assert machine(world, 0).statistics()["chat flood"] > 100
    world.run(10)
    force_feed(world, 2, 0, lines_of(world, 2, 290, first=300), age_ms=1_000)
    assert len(shown(world, 0)) <= MOST + limits.ROOM_CHAT_PER_SECOND * 10 + 1
    world.do(1, e.Say("hello"))
    assert shown(world, 0)[-1] == "hello"


def test_a_line_that_nobody_asked_for_is_not_shown() -> None:
    """Nor does it undo what somebody else was asked for."""
    world = meeting(3)
    line, octets = next(iter(lines_of(world, 1, 1).items()))
    say(world, 2, 0, Missed(((0, octets),)))
    assert machine(world, 0).statistics()["said unasked"] == 1
    say(world, 1, 0, Has((line,)))
    say(world, 2, 0, Missed(((0, octets),)))
    assert shown(world, 0) == []
    say(world, 1, 0, Missed(((0, octets),)))
    assert shown(world, 0) == ["spam 1"]


def test_a_forged_line_empties_nobodys_purse() -> None:
    """Its signature is looked at first."""
    world = meeting(3)
    for octets in lines_of(world, 1, 40).values():
        say(world, 2, 0, SaidLine(octets[:-1] + bytes([octets[-1] ^ 1])))
    assert machine(world, 0).statistics()["signature"] == 40
    world.do(1, e.Say("hello"))
    assert shown(world, 0) == ["hello"]


def test_invented_lines_cost_a_few_questions() -> None:
    """However many a member says to have."""
    world = meeting(2)
    for start in range(0, 4000, 400):
        say(world, 1, 0, Has(tuple((b"nobody..", 1, start + one) for one in range(400))))
    peering = machine(world, 0)._peers[PEERS[1]]
    assert len(peering.offered) <= limits.ROOM_CHAT_OFFERED
    assert machine(world, 0).statistics()["too many lines"] == 9
    world.run(20)
    asked = sum(len(message.lines) for message in told(world, 0, 1, Wants) if isinstance(message, Wants))
    assert asked <= limits.ROOM_CHAT_ASKED * (1 + 20 / limits.ROOM_CHAT_PATIENCE)


def test_who_asks_for_ever_is_given_little() -> None:
    """What is kept, once, and some octets a second: never more than a control channel holds."""
    world = meeting(2)
    world.do(0, e.Say("x" * limits.CHAT_MAX))
    line = (short_key(PEERS[0]), world_incarnation(world, 0), 1)
    for _ in range(200):
        say(world, 1, 0, Wants((line,) * 8))
    given = sum(
        len(octets)
        for message in told(world, 0, 1, Missed)
        if isinstance(message, Missed)
        for _, octets in message.lines
    )
    assert 100_000 < given <= limits.ROOM_CHAT_GIVEN_BURST < limits.CONTROL_BUFFER_MAX
    assert machine(world, 0).statistics()["wants flood"] > 1000


def test_long_lines_drive_nobody_elses_out() -> None:
    """Who said most loses its oldest; few octets and lines are kept of all."""
    chat = Chat()
    chat.keep((b"bob.....", 1, 1), bytes(120), PEERS[1], 0.0, 0.0)
    for number in range(200):
        chat.keep((b"eve.....", 1, number), bytes(8000), PEERS[2], 0.0, 0.0)
    for number in range(200):
        chat.keep((b"mallory.", 1, number), bytes(110), PEERS[3], 0.0, 0.0)
    kept = chat.kept()
    assert sum(len(line.octets) for line in kept) <= limits.ROOM_CHAT_KEPT_OCTETS
    assert chat.get((b"bob.....", 1, 1)) is not None
    assert sum(line.id[0] == b"mallory." for line in kept) == limits.ROOM_CHAT_KEPT
    # What is not kept any more is not shown again either
    assert not chat.lacks((b"eve.....", 1, 0))
    assert chat.get((b"eve.....", 1, 0)) is None


def test_invented_authors_cost_little_memory() -> None:
    """The longest silent is forgotten."""
    chat = Chat()
    for number in range(1000):
        chat.keep((number.to_bytes(8, "big"), 1, 1), bytes(110), PEERS[2], 0.0, 0.0)
    assert len(chat.kept()) == 2 * limits.ROOM_ENTRIES_MAX


def test_a_member_of_an_older_version_is_not_disturbed() -> None:
    """Of what it does not know it takes no notice, and a newer one's newest kinds disturb us as little."""
    world = meeting(2)
    world.do(1, e.LinkMessage(PEERS[0], bytes([8, 0, 0, 0, 0]) + b"?" * 40))
    assert machine(world, 1).statistics() == {"message kind": 1}
    assert world.states(1) == ["here"] * 2


def test_statistics_name_only_what_was_refused() -> None:
    """An ordinary split and merge refuses nothing but copies."""
    world = meeting(4)
    split(world, 0, 1)
    world.run(4)
    world.do(0, e.Say("one"))
    world.do(2, e.Say("two"))
    world.cut = lambda a, b: False
    world.run(6)
    members: list[RoomMachine] = [machine(world, number) for number in range(4)]
    assert {reason for one in members for reason in one.statistics()} <= {"said twice"}
