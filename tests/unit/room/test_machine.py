"""One room, a few members, no network at all."""

from __future__ import annotations

from meshcall.room import events as e
from tests.unit.room.room_world import World


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


def test_who_leaves_is_gone_at_once_and_the_others_go_on() -> None:
    """Without a host there is nobody whom a room needs: here its creator goes."""
    world = World()
    world.add(0)
    world.add(1, 0)
    world.add(2, 1)
    world.run(1)
    world.do(0, e.Leave())
    assert world.seen_by(1) == world.seen_by(2) == ["member 1", "member 2"]
    world.add(3, 2)
    world.run(1)
    assert world.seen_by(3) == ["member 1", "member 2", "member 3"] == world.seen_by(1)
