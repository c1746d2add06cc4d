"""Letters about rooms: out to whoever is found, and back by the way they came.

Law 1: a letter may be lost; who needs it said says it again.
Law 2: who has just written is answered where it waits for the answer, so that a member that can't find a
newcomer (no multicast, no rendezvous) still lets it in.
Law 3: reply boxes are few and short-lived: letters take none from calls.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.errors import MeshcallError, Rejected
from meshcall.finder import Finder, PresenceClock
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, PostReport, SentOffer
from meshcall.post import Post
from meshcall.signaling.messages import Reject, RejectReason, RoomLetter


class RoomLetters:
    """Sends them for all rooms of a node."""

    def __init__(
        self,
        post: Post,
        *,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        counters: Counter[str],
        on_clock: Callable[[PeerId], None],
    ) -> None:
        """``on_clock``: a letter to that peer can't be read, for one of the two clocks is wrong."""
        self._post = post
        self._clock = clock
        self._spawn = spawn
        self._counters = counters
        self._on_clock = on_clock
        self._asked: OrderedDict[PeerId, tuple[float, Letter]] = OrderedDict()
        self._boxes: list[SentOffer] = []
        self._under_way: dict[PeerId, list[asyncio.Task[None]]] = {}

    def came(self, letter: Letter) -> None:
        """Remember where its sender waits for an answer."""
        message = letter.opened.message
        if not isinstance(message, RoomLetter) or not message.reply_key:
            return
        sender = letter.opened.sender
        self._asked.pop(sender, None)
        self._asked[sender] = self._clock.now(), letter
        while len(self._asked) > limits.ROOM_ASKERS_MAX:
            self._asked.popitem(last=False)

    def send(self, peer: PeerId, data: bytes, finder: Finder, *, lan_only: bool = False) -> None:
        """Answer ``peer`` if it has just asked, else find it and write to it."""
        tasks = [task for task in self._under_way.get(peer, ()) if not task.done()]
        if len(tasks) >= limits.ROOM_LETTERS_UNDER_WAY:
            tasks.pop(0).cancel()
        at, letter = self._asked.get(peer, (0.0, None))
        if letter is not None and self._clock.now() - at < limits.ROOM_ANSWER_WITHIN:
            work = self._answer(letter, data)
        else:
            work = self._write(peer, data, finder, lan_only=lan_only)
        self._under_way[peer] = [*tasks, self._spawn(work)]
        for idle in [one for one, tasks in self._under_way.items() if all(task.done() for task in tasks)]:
            del self._under_way[idle]

    async def _answer(self, letter: Letter, data: bytes) -> None:
        try:
            await self._post.tell_caller(letter, RoomLetter(data))
        except (MeshcallError, Rejected, ValueError):
            self._counters["room-letter-unsent"] += 1

    async def _write(self, peer: PeerId, data: bytes, finder: Finder, *, lan_only: bool) -> None:
        try:
            found = await finder.find(peer)
            if found is None:
                self._counters["room-member-not-found"] += 1
                return
            sent = await self._post.room_letter(found, data, life=limits.ROOM_LETTER_LIFE)
        except PresenceClock:
            self._counters["room-letter-unsent"] += 1
            self._on_clock(peer)
            return
        except (MeshcallError, Rejected, ValueError):
            self._counters["room-letter-unsent"] += 1
            return
        self._keep(sent)
        watchers = 0

        def report(how: PostReport) -> None:
            nonlocal watchers
            watchers += how.watchers

        await self._post.deliver_offer(sent, report, lan_only=lan_only)
        if not watchers:
            finder.forget(peer)  # what was known did not help

    def refused(self, letter: Letter) -> bool:
        """Whether a refusal is of a letter of ours, and was taken as such."""
        opened = letter.opened
        ours = any(one.call_id == opened.call_id for one in self._boxes)
        if not ours or not isinstance(opened.message, Reject):
            return False
        if opened.message.reason is RejectReason.CLOCK:
            self._on_clock(opened.sender)
        return True

    def _keep(self, sent: SentOffer) -> None:
        """Wait for answers, for a while."""
        self._boxes.append(sent)
        while len(self._boxes) > limits.ROOM_BOXES_MAX:
            self._post.close_box(self._boxes.pop(0))
        asyncio.get_running_loop().call_later(limits.ROOM_LETTER_LIFE, self._drop, sent)

    def _drop(self, sent: SentOffer) -> None:
        if sent in self._boxes:
            self._boxes.remove(sent)
            self._post.close_box(sent)
