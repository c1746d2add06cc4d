"""A few members, and a network between them that a test decides about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.descriptor import Room
from meshcall.room.machine import RoomMachine

NOON = 1_800_000_000_000
KEYS = sorted((SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 30)), key=lambda key: key.peer_id)
"""Identities, by ID."""


def make_room(creator: int = 0, name: str = "deck 7", *, hidden: bool = False, seed: int = 1) -> Room:
    """A room of one of KEYS."""
    key = KEYS[creator]
    rng = random.Random(seed)
    return Room.create(key.peer_id, key.sign, name, now_ms=NOON, random=rng.randbytes, hidden=hidden)


@dataclass
class World:
    """Machines whose letters and links arrive at once, unless ``cut`` says otherwise."""

    room: Room = field(default_factory=make_room)
    now: float = 100.0
    machines: dict[PeerId, RoomMachine] = field(default_factory=dict)
    links: set[frozenset[PeerId]] = field(default_factory=set)
    cut: Callable[[PeerId, PeerId], bool] = lambda a, b: False
    told: dict[PeerId, list[c.RoomCommand]] = field(default_factory=dict)
    queue: list[tuple[PeerId, e.NetworkEvent]] = field(default_factory=list)

    @property
    def now_ms(self) -> int:
        return NOON + int(self.now * 1000)

    def add(self, number: int, *vouchers: int, name: str = "") -> RoomMachine:
        """A member comes in."""
        key = KEYS[number]
        machine = RoomMachine(
            key.peer_id, self.room, key.sign, name or f"member {number}", random.Random(number).randbytes
        )
        self.machines[key.peer_id] = machine
        self.told.setdefault(key.peer_id, [])
        self.do(number, e.Enter(tuple(KEYS[one].peer_id for one in vouchers)))
        return machine

    def do(self, number: int, event: e.RoomEvent) -> None:
        """Something happens to a member, and all that follows at once."""
        me = KEYS[number].peer_id
        self.carry_out(me, self.machines[me].handle(event, self.now, self.now_ms))
        self.drain()

    def drain(self) -> None:
        while self.queue:
            to, event = self.queue.pop(0)
            machine = self.machines.get(to)
            if machine is not None:
                self.carry_out(to, machine.handle(event, self.now, self.now_ms))

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Time goes by."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += step
            for me, machine in list(self.machines.items()):
                due = machine.deadline()
                if due is not None and due <= self.now:
                    self.carry_out(me, machine.handle_timer(self.now, self.now_ms))
            self.drain()

    def carry_out(self, me: PeerId, commands: list[c.RoomCommand]) -> None:
        for command in commands:
            self.told[me].append(command)
            match command:
                case c.SendLink(peer, data):
                    if frozenset((me, peer)) in self.links and not self.cut(me, peer):
                        self.queue.append((peer, e.LinkMessage(me, data)))
                case c.SendLetter(peer, data):
                    if not self.cut(me, peer):
                        self.queue.append((peer, e.LetterReceived(me, data)))
                case c.Connect(peer):
                    self._connect(me, peer)
                case c.Drop(peer):
                    self.unlink(me, peer)
                case _:
                    pass

    def _connect(self, me: PeerId, peer: PeerId) -> None:
        other, mine = self.machines.get(peer), self.machines[me]
        tag = mine.offer_tag(peer, self.now_ms)
        if other is None or self.cut(me, peer) or not other.takes(me, tag, self.now_ms):
            self.queue.append((me, e.LinkDown(peer)))
            return
        self.links.add(frozenset((me, peer)))
        self.queue += [(peer, e.LinkUp(me)), (me, e.LinkUp(peer))]

    def unlink(self, me: PeerId, peer: PeerId) -> None:
        """A link ends; the other end hears of it unless it is cut off."""
        if frozenset((me, peer)) in self.links:
            self.links.discard(frozenset((me, peer)))
            if not self.cut(me, peer):
                self.queue.append((peer, e.LinkDown(me)))

    def seen_by(self, number: int) -> list[str]:
        """The names that a member sees, by ID."""
        return [member.name for member in self.machines[KEYS[number].peer_id].members()]

    def states(self, number: int) -> list[str]:
        return [member.state for member in self.machines[KEYS[number].peer_id].members()]

    def all_told(self, number: int, kind: type[c.RoomCommand]) -> list[c.RoomCommand]:
        """What a member's shell was told, of one kind."""
        return [command for command in self.told[KEYS[number].peer_id] if isinstance(command, kind)]
