"""Letters about rooms: where an answer goes, and how many are under way."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from meshcall import limits
from meshcall.finder import PresenceClock
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, PostReport
from meshcall.room_letters import RoomLetters
from meshcall.signaling.envelope import Opened
from meshcall.signaling.messages import (
    Message,
    MessageKind,
    Reject,
    RejectReason,
    RoomLetter,
    kind_of,
)
from meshcall.testing.clock import FakeClock, seeded_random

if TYPE_CHECKING:
    from meshcall.finder import Finder
    from meshcall.post import Post

RANDOM = seeded_random("room letters")
ANN, BEN = (PeerId.from_key(SigningKey.generate(RANDOM).public) for _ in range(2))
KEY = b"k" * 32


def letter_of(sender: PeerId, key: bytes = KEY) -> Letter:
    """A letter that waits for an answer, if it has a key."""
    message = RoomLetter(b"question", key)
    opened = Opened(sender, bytes(16), MessageKind.ROOM, 0, 30, bytes(32), message, bytes(32))
    return Letter(opened, ("192.0.2.1", 4000))


def reply_of(sender: PeerId, message: Message, call_id: bytes = bytes(16)) -> Letter:
    """A reply to a letter of ours."""
    opened = Opened(sender, call_id, kind_of(message), 0, 30, bytes(32), message, bytes(32))
    return Letter(opened, ("192.0.2.1", 4000))


class PlayedPost:
    """Delivers at once, to whom a test wants."""

    def __init__(self) -> None:
        self.answered: list[tuple[PeerId, bytes]] = []
        self.sent: list[bytes] = []
        self.closed: list[Any] = []
        self.watchers = 1
        self.gate = asyncio.Event()
        self.gate.set()
        self.lan_only: list[bool] = []

    async def tell_caller(self, letter: Letter, message: RoomLetter) -> None:
        self.answered.append((letter.opened.sender, message.data))

    async def room_letter(self, found: object, data: bytes, *, life: float) -> object:
        self.sent.append(data)
        return SimpleNamespace(data=data, call_id=bytes(16))

    async def deliver_offer(self, sent: object, report: Any, *, lan_only: bool) -> None:
        self.lan_only.append(lan_only)
        await self.gate.wait()
        report(PostReport(self.watchers, 0))

    def close_box(self, sent: object) -> None:
        self.closed.append(sent)


class PlayedFinder:
    """Finds everybody, or not."""

    def __init__(self) -> None:
        self.found: object | None = object()
        self.clock = False
        self.forgotten: list[PeerId] = []

    async def find(self, peer: PeerId) -> object | None:
        if self.clock:
            raise PresenceClock
        return self.found

    def forget(self, peer: PeerId) -> None:
        self.forgotten.append(peer)


class World:
    """Letters with played parts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.post, self.finder = PlayedPost(), PlayedFinder()
        self.counters: Counter[str] = Counter()
        self.clocks: list[PeerId] = []
        self.letters = RoomLetters(
            cast("Post", self.post),
            clock=self.clock,
            spawn=asyncio.ensure_future,
            counters=self.counters,
            on_clock=self.clocks.append,
        )

    def send(self, peer: PeerId, data: bytes, *, lan_only: bool = False) -> None:
        self.letters.send(peer, data, cast("Finder", self.finder), lan_only=lan_only)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_who_has_just_asked_is_answered_where_it_waits() -> None:
    """For a while; then, and everybody else, is looked for."""
    world = World()
    world.letters.came(letter_of(ANN))
    world.send(ANN, b"welcome")
    world.send(BEN, b"hello", lan_only=True)
    await world.settle()
    assert (world.post.answered, world.post.sent) == ([(ANN, b"welcome")], [b"hello"])
    assert world.post.lan_only == [True]
    world.clock.advance(limits.ROOM_ANSWER_WITHIN)
    world.send(ANN, b"later")
    await world.settle()
    assert world.post.sent == [b"hello", b"later"]


async def test_a_reply_asks_for_no_answer() -> None:
    """It has no key to seal one to."""
    world = World()
    world.letters.came(letter_of(ANN, b""))
    world.send(ANN, b"hello")
    await world.settle()
    assert (world.post.answered, world.post.sent) == ([], [b"hello"])


async def test_askers_are_remembered_up_to_a_number() -> None:
    """Strangers who ask and ask drive out each other."""
    world = World()
    peers = [PeerId.from_key(SigningKey.generate(RANDOM).public) for _ in range(limits.ROOM_ASKERS_MAX + 1)]
    for peer in peers:
        world.letters.came(letter_of(peer))
    world.send(peers[0], b"too late")
    world.send(peers[-1], b"welcome")
    await world.settle()
    assert world.post.answered == [(peers[-1], b"welcome")]


@pytest.mark.parametrize("clock", [True, False])
async def test_who_is_not_found_is_counted(clock: bool) -> None:
    """A letter may be lost; whoever needs it said says it again."""
    world = World()
    world.finder.found, world.finder.clock = None, clock
    world.send(ANN, b"hello")
    await world.settle()
    counted = "room-letter-unsent" if clock else "room-member-not-found"
    assert world.counters == {counted: 1}
    assert world.post.sent == []
    assert world.clocks == ([ANN] if clock else [])


async def test_a_refusal_of_a_letter_is_known_as_such() -> None:
    """It tells that the clocks differ; one of something else is not ours."""
    world = World()
    clock, failed = Reject(RejectReason.CLOCK), Reject(RejectReason.FAILED)
    assert not world.letters.refused(reply_of(ANN, clock))
    world.send(ANN, b"hello")
    await world.settle()
    assert world.letters.refused(reply_of(ANN, failed))
    assert world.clocks == []
    assert world.letters.refused(reply_of(ANN, clock))
    assert world.clocks == [ANN]
    assert not world.letters.refused(reply_of(ANN, RoomLetter(b"answer")))
    assert not world.letters.refused(reply_of(ANN, clock, b"another call id."))


async def test_what_did_not_help_is_forgotten() -> None:
    """Nobody took the letter there: the next one looks anew."""
    world = World()
    world.post.watchers = 0
    world.send(ANN, b"hello")
    await world.settle()
    assert world.finder.forgotten == [ANN]


async def test_few_letters_are_under_way_and_few_boxes_open() -> None:
    """A peer that is hard to reach holds neither tasks nor places where calls wait for answers."""
    world = World()
    world.post.gate.clear()
    for number in range(limits.ROOM_LETTERS_UNDER_WAY + 3):
        world.send(ANN, bytes([number]))
        await world.settle()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert len(tasks) == limits.ROOM_LETTERS_UNDER_WAY
    world.post.gate.set()
    for number in range(limits.ROOM_BOXES_MAX):
        world.send(BEN, bytes([number]))
        await world.settle()
    assert len(world.post.sent) - len(world.post.closed) == limits.ROOM_BOXES_MAX
