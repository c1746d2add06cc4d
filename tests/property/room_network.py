"""Rooms on a simulated network in virtual time: lost letters, links that come, hang, break and cross,
partitions, crashes, restarts, clocks that jump.

What stands for what: a letter travels alone and may be lost. A link takes set-up time, carries its messages
in order, holds them back while its path is broken (SCTP), and ends at each side some seconds after that.
An offer is sent again until it is taken or given up. Of two crossing offers the one of the lower ID counts. A
new link takes an old one's place.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from meshcall import limits
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.room import commands as c
from meshcall.room import events as e
from meshcall.room.descriptor import Room
from meshcall.room.machine import RoomMachine

EVENING = 20_834 * 86_400_000 - 115_000
"""Unix ms at 0 of the network's clock: all comes in at 15 s to midnight UTC, when tags change."""
KEYS = [SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 10)]
NUMBER = {key.peer_id: number for number, key in enumerate(KEYS)}
ROOM = Room.create(
    KEYS[0].peer_id, KEYS[0].sign, "deck 7", now_ms=EVENING, random=random.Random(1).randbytes
)  # fmt: skip

Pair = frozenset[int]


@dataclass
class Side:
    """One end of a link."""

    up: bool = False
    held: list[bytes] = field(default_factory=list)
    """Messages to this end that wait for the path."""


@dataclass
class Link:
    """A link between two, from its offer on."""

    offerer: int
    answerer: int
    offered: float
    sides: dict[int, Side]
    established: bool = False
    broken: float | None = None
    """Since when its path is broken."""
    free: float = 0.0
    """When what was held back may travel."""
    carried: set[int] = field(default_factory=set)
    """The ends at which a message has arrived: they know how fast one can be."""
    last: dict[int, float] = field(default_factory=dict)
    """When the last message to each end arrives: they keep their order."""


class Network:
    """Members, and what is between them."""

    def __init__(self, seed: int, *, loss: float, mdns: bool, apart: set[Pair]) -> None:
        """``loss``: of letters; ``apart``: pairs that never have a direct path."""
        self.rng = random.Random(seed)
        self.loss, self.mdns, self.apart = loss, mdns, apart
        self.now = 100.0
        self.machines: dict[int, RoomMachine] = {}
        self.lives: dict[int, int] = {}
        """Counts the lives of each: what was meant for an earlier one is dropped."""
        self.memories: dict[int, bytes] = {}
        self.skew = {number: self.rng.randrange(-60_000, 60_000) for number in range(len(KEYS))}
        """Milliseconds by which each clock is ahead."""
        self.groups: dict[int, int] = {}
        self.links: dict[Pair, list[Link]] = {}
        self.said: dict[str, tuple[int, float]] = {}
        """Who said each line, and when; no two lines are alike."""
        self.chats: dict[tuple[int, int], dict[str, float]] = {}
        """What each member was shown in each of its lives, and when it was told that it was said."""
        self.came: dict[int, float] = {}
        self.timed = True
        """Whether no link broke before its first message arrived: else nobody can tell how late that was."""
        self.log: list[str] = []
        self._due: dict[int, float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # --- time -------------------------------------------------------------------------------------

    def at(self, delay: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, do))

    def run(self, seconds: float) -> None:
        """Everything that happens in that time, machines' timers included."""
        end = self.now + seconds
        while True:
            timer = min(((at, n) for n, at in self._due.items()), default=(float("inf"), -1))
            event = self._queue[0][0] if self._queue else float("inf")
            if min(timer[0], event) > end:
                break
            if event <= timer[0]:
                self.now = max(self.now, event)
                heapq.heappop(self._queue)[2]()
            else:
                self.now = max(self.now, timer[0])
                number = timer[1]
                self._carry_out(number, self.machines[number].handle_timer(self.now, self.ms(number)))
                assert self._due.get(number, self.now + 1) > self.now, f"member {number} is never done"
        self.now = end

    def ms(self, number: int) -> int:
        return EVENING + int(self.now * 1000) + self.skew[number]

    def delay(self) -> float:
        return self.rng.uniform(0.001, 0.08)

    # --- what a schedule does ---------------------------------------------------------------------

    def enter(self, number: int, vouchers: tuple[int, ...] = (), *, clock: int = 0, name: str = "") -> None:
        """Comes in, or comes back; ``clock``: ms by which its clock is wrong at that moment."""
        if number in self.machines:
            return
        key = KEYS[number]
        self.came[number] = self.now
        self.lives[number] = self.lives.get(number, 0) + 1
        self.groups.setdefault(number, 0)
        machine = RoomMachine(
            key.peer_id, ROOM, key.sign, name or f"m{number}", random.Random(number).randbytes,
            memory=self.memories.get(number, b""),
        )  # fmt: skip
        self.machines[number] = machine
        peers = tuple(KEYS[one].peer_id for one in vouchers)
        self._carry_out(number, machine.handle(e.Enter(peers), self.now, self.ms(number) + clock))
        if self.mdns:
            for other in list(self.machines):
                if other != number and self.whole(number, other, letter=True):
                    self.at(self.delay(), self._sighting(other, number))
                    self.at(self.delay(), self._sighting(number, other))

    def remove(self, number: int) -> None:
        """By the creator, if it is there."""
        if number and 0 in self.machines:
            self.tell(0, e.Remove(KEYS[number].peer_id))

    def say(self, number: int) -> None:
        """A line of its own, if it is there."""
        if number in self.machines:
            text = f"line {len(self.said)}"
            self.said[text] = number, self.now
            self.tell(number, e.Say(text))

    def leave(self, number: int) -> None:
        if number in self.machines:
            self.tell(number, e.Leave())

    def crash(self, number: int, *, forget: bool = False) -> None:
        """Dies without a word; ``forget``: its disk, too."""
        machine = self.machines.pop(number, None)
        if machine is not None:
            self.memories[number] = b"" if forget else machine.memory()
            self.lives[number] += 1
            self._due.pop(number, None)
            for pair, links in self.links.items():
                if number in pair:
                    for link in links:
                        for end, side in link.sides.items():
                            side.up = side.up and end != number
                            side.held.clear()
                            if side.up:
                                self.at(self.rng.uniform(3, 12), self._orphan(link, end, number))

    def split(self, numbers: set[int]) -> None:
        """These are cut off from the others."""
        before = {pair: self._joined(pair) for pair in self.links}
        for number in range(len(KEYS)):
            self.groups[number] = int(number in numbers)
        for pair, links in self.links.items():
            if before[pair] and not self._joined(pair):
                for link in links:
                    self._break(link)

    def heal(self) -> None:
        """The network is whole again."""
        self.groups = dict.fromkeys(range(len(KEYS)), 0)
        for links in self.links.values():
            for link in links:
                if link.broken is not None:
                    # SCTP has doubled its pauses meanwhile
                    outage = self.now - link.broken
                    link.free = self.now + self.rng.uniform(0.05, min(outage, 16.0) + 0.1)
                    link.broken = None
                    self.at(link.free - self.now, self._flush(link))

    def tell(self, number: int, event: e.RoomEvent) -> None:
        """An event for a member, and what follows from it."""
        machine = self.machines.get(number)
        if machine is not None:
            self._carry_out(number, machine.handle(event, self.now, self.ms(number)))

    def whole(self, a: int, b: int, *, letter: bool = False) -> bool:
        """Whether there is a path."""
        same = self.groups.get(a, 0) == self.groups.get(b, 0)
        return same and (letter or frozenset((a, b)) not in self.apart)

    def _joined(self, pair: Pair) -> bool:
        a, b = pair
        return self.whole(a, b)

    # --- what members want ------------------------------------------------------------------------

    def _carry_out(self, me: int, commands: list[c.RoomCommand]) -> None:
        for command in commands:
            match command:
                case c.SendLink(peer, data):
                    self._send(me, NUMBER[peer], data)
                case c.SendLetter(peer, data):
                    self._write(me, NUMBER[peer], data)
                case c.Connect(peer):
                    self._offer(me, NUMBER[peer])
                case c.Drop(peer):
                    self._drop(me, NUMBER[peer])
                case c.Ended(reason):
                    self.log.append(f"{self.now:.2f} {me} ended: {reason}")
                    self.memories[me] = self.machines.pop(me).memory()
                    self.lives[me] += 1
                case c.Chatted(peer, text, age):
                    assert self.said[text][0] == NUMBER[peer]
                    shown = self.chats.setdefault((me, self.lives[me]), {})
                    assert text not in shown, f"{me} is shown {text!r} twice"
                    shown[text] = self.now - age
                case _:
                    pass
        due = self.machines[me].deadline() if me in self.machines else None
        if due is None:
            self._due.pop(me, None)
        else:
            self._due[me] = due

    def _write(self, me: int, to: int, data: bytes) -> None:
        if not self.whole(me, to, letter=True) or self.rng.random() < self.loss:
            return

        def arrive() -> None:
            if self.whole(me, to, letter=True):
                self.tell(to, e.LetterReceived(KEYS[me].peer_id, data))

        self.at(self.delay(), arrive)

    def _sighting(self, who: int, whom: int) -> Callable[[], None]:
        def seen() -> None:
            if self.whole(who, whom, letter=True) and whom in self.machines:
                self.tell(who, e.Sighted(KEYS[whom].peer_id))

        return seen

    # --- links ------------------------------------------------------------------------------------

    def _live(self, me: int, to: int) -> Link | None:
        for link in self.links.get(frozenset((me, to)), ()):
            if link.established and link.sides[me].up:
                return link
        return None

    def _offer(self, me: int, to: int) -> None:
        link = Link(me, to, self.now, {me: Side(), to: Side()})
        self.links.setdefault(frozenset((me, to)), []).append(link)
        self.log.append(f"{self.now:.2f} {me} offers {to}")
        life = self.lives[me]

        def attempt() -> None:
            links = self.links.get(frozenset((me, to)), [])
            if link not in links or link.established or self.lives[me] != life:
                return
            if self.now > link.offered + 10:
                links.remove(link)
                self.tell(me, e.LinkDown(KEYS[to].peer_id))
                return
            if self.whole(me, to) and to in self.machines and me in self.machines:
                tag = self.machines[me].offer_tag(KEYS[to].peer_id, self.ms(me))
                if not self.machines[to].takes(KEYS[me].peer_id, tag, self.ms(to)):
                    links.remove(link)
                    self.tell(me, e.LinkDown(KEYS[to].peer_id))
                    return
                crossing = [one for one in links if not one.established and one.offerer == to]
                if crossing and KEYS[to].peer_id < KEYS[me].peer_id:
                    links.remove(link)  # theirs counts, and links us both
                    return
                self._establish(link)
                return
            self.at(0.5, attempt)

        self.at(self.delay(), attempt)

    def _establish(self, link: Link) -> None:
        me, to = link.offerer, link.answerer
        pair = frozenset((me, to))
        lives = self.lives[me], self.lives[to]

        def up() -> None:
            if (self.lives[me], self.lives[to]) != lives or link not in self.links.get(pair, []):
                return
            if not self.whole(me, to):
                self.links[pair].remove(link)
                self.at(5.0, lambda: self.tell(me, e.LinkDown(KEYS[to].peer_id)))
                return
            for old in [one for one in self.links[pair] if one is not link]:
                self.links[pair].remove(old)
                for side in (me, to):
                    if old.sides[side].up:
                        self.tell(side, e.LinkDown(KEYS[to if side == me else me].peer_id))
            self.log.append(f"{self.now:.2f} link {me} {to}")
            for side in (me, to):
                link.sides[side].up = True
            for side in (me, to):
                self.tell(side, e.LinkUp(KEYS[to if side == me else me].peer_id))

        link.established = True
        self.at(self.rng.uniform(0.05, 0.4), up)

    def _send(self, me: int, to: int, data: bytes) -> None:
        link = self._live(me, to)
        if link is None:
            return
        link.sides[to].held.append(data)
        if link.broken is None and self.now >= link.free:
            self._flush(link)()

    def _flush(self, link: Link) -> Callable[[], None]:
        """What was held back travels."""

        def flush() -> None:
            if link.broken is not None or self.now < link.free:
                return
            for to, side in link.sides.items():
                messages, side.held = side.held, []
                for data in messages:
                    arrival = max(self.now + self.delay(), link.last.get(to, 0.0))
                    link.last[to] = arrival
                    self.at(arrival - self.now, self._arrival(link, to, data))

        return flush

    def _arrival(self, link: Link, to: int, data: bytes) -> Callable[[], None]:
        me = link.answerer if to == link.offerer else link.offerer

        def arrive() -> None:
            if link.broken is not None:
                link.sides[to].held.append(data)  # lost on the way, and sent again when the path is back
                self.timed = self.timed and to in link.carried
            elif link.sides[to].up and link in self.links.get(frozenset((me, to)), []):
                link.carried.add(to)
                self.tell(to, e.LinkMessage(KEYS[me].peer_id, data))

        return arrive

    def _break(self, link: Link) -> None:
        link.broken = began = self.now
        for side in (link.offerer, link.answerer):
            self.at(self.rng.uniform(3, 12), self._timeout(link, side, began))

    def _timeout(self, link: Link, side: int, began: float) -> Callable[[], None]:
        """Consent fails, if the path has not come back."""
        other = link.answerer if side == link.offerer else link.offerer

        def over() -> None:
            if link.broken == began and link.sides[side].up:
                link.sides[side].up = False
                self.tell(side, e.LinkDown(KEYS[other].peer_id))

        return over

    def _orphan(self, link: Link, side: int, dead: int) -> Callable[[], None]:
        """Consent fails for good: the other end has died."""

        def over() -> None:
            links = self.links.get(frozenset((side, dead)), [])
            if link in links and link.sides[side].up:
                links.remove(link)
                self.tell(side, e.LinkDown(KEYS[dead].peer_id))

        return over

    def _drop(self, me: int, to: int) -> None:
        pair = frozenset((me, to))
        for link in list(self.links.get(pair, ())):
            if link.sides[me].up or link.offerer == me or link.established:
                self.log.append(f"{self.now:.2f} {me} drops {to}")
                link.sides[me].up = False
                if link.sides[to].up and link.broken is None:
                    self.at(self.delay(), self._bye(link, to, me))
                elif not link.sides[to].up:
                    self.links[pair].remove(link)

    def _bye(self, link: Link, to: int, me: int) -> Callable[[], None]:
        def bye() -> None:
            links = self.links.get(frozenset((me, to)), [])
            if link in links and link.sides[to].up:
                if link.broken is None:
                    link.sides[to].up = False
                    links.remove(link)
                    self.tell(to, e.LinkDown(KEYS[me].peer_id))
                else:
                    self._timeout(link, to, link.broken)

        return bye

    # --- what is right ----------------------------------------------------------------------------

    def present(self) -> set[int]:
        """Who is in the room, and may be."""
        inside = {number: machine for number, machine in self.machines.items() if machine.inside}
        # A removal that only its creator knew, which died, is none
        removed = {NUMBER[peer] for machine in inside.values() for peer in machine.removed}
        return set(inside) - removed

    def seen_by(self, number: int) -> list[tuple[PeerId, str, object]]:
        return [(member.peer, member.name, member.flags) for member in self.machines[number].members()]

    def known_to(self, number: int) -> list[int]:
        """The others whom a member sees."""
        seen = [NUMBER[row[0]] for row in self.seen_by(number)]
        return [one for one in seen if one != number][: limits.ROOM_WELCOME_MEMBERS]

    def disagreement(self) -> str:
        """What is wrong with anybody's list; empty: all agree, and are right."""
        right = sorted(KEYS[number].peer_id for number in self.present())
        views = {number: self.seen_by(number) for number in self.present()}
        wrong = [
            f"{number} sees {[NUMBER[row[0]] for row in view]}"
            for number, view in views.items()
            if [row[0] for row in view] != right
        ]
        if wrong:
            return f"{sorted(self.present())} are here: " + "; ".join(wrong)
        if len({self.machines[number].locked for number in views}) > 1:
            return "the lock differs"
        if any(view != next(iter(views.values())) for view in views.values()):
            return f"names or states differ: {views}"
        return ""

    def heard(self, number: int) -> set[str]:
        """All lines that a member has in this life, its own and those of others."""
        own = {
            text for text, (author, at) in self.said.items() if author == number and at >= self.came[number]
        }
        return own | self.chats.get((number, self.lives[number]), {}).keys()

    def chat_disagreement(self, members: set[int]) -> str:
        """What of the chat these have not all alike; empty: nothing."""
        removed = {NUMBER[peer] for machine in self.machines.values() for peer in machine.removed}
        heard = {number: self.heard(number) for number in members}
        lines = {text for texts in heard.values() for text in texts if self.said[text][0] not in removed}
        missing = {number: sorted(lines - texts) for number, texts in heard.items() if lines - texts}
        return f"missing: {missing}, said: {self.said}" if missing else ""
