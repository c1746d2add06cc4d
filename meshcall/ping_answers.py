"""Pings of contacts, answered: an ICE session each, without a call, a ring or a trace.

Law 1: contacts only (:mod:`meshcall.admission`), few at a time, one of each, not too often, for a short time.
Law 2: whatever its sender does, a ping that is answered ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.ice.session import IceSession
from meshcall.aio.ice.trickle import Trickle
from meshcall.errors import MeshcallError, Rejected
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.ice.check import Credentials
from meshcall.ice.events import Broken, Gathered, IceEvent, Noted, Selected
from meshcall.ice.peer_candidates import PeerCandidates
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.post import Post
from meshcall.signaling.messages import (
    Candidates,
    Hangup,
    Message,
    PingAnswer,
    PingOffer,
    Reject,
    RejectReason,
)

MakeIce = Callable[[Callable[[IceEvent], None]], IceSession]
"""Makes an ICE session of this node that carries checks alone; given who is told of its events."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


def trickle(to: Trickle, event: IceEvent) -> None:
    """Tell the peer what there is to tell of ``event``, as in a call."""
    match event:
        case Gathered(candidate):
            to.found(candidate)
        case Noted(note):
            to.noted(note)
        case Broken():
            to.broken()
        case Selected():
            to.whole()
        case _:
            pass


class PingAnswers:
    """The pings that are answered now."""

    def __init__(
        self,
        *,
        post: Post,
        make_ice: MakeIce,
        clock: Clock,
        spawn: Spawn,
        counters: Counter[str],
        allow_loopback: bool,
    ) -> None:
        """``allow_loopback``: whether a peer's candidates may lead to this machine."""
        self._post = post
        self._make_ice = make_ice
        self._clock = clock
        self._spawn = spawn
        self._counters = counters
        self._allow_loopback = allow_loopback
        self._answers: dict[PeerId, _Answer] = {}
        self._purses: dict[PeerId, tuple[float, float]] = {}
        """How many more each contact may send, and as of when; who began longest ago comes first."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._answers)

    def close(self) -> None:
        """End all of them."""
        for answer in self._answers.values():
            answer.end()

    def letter(self, letter: Letter) -> bool:
        """A message; whether it belongs to a ping of a contact."""
        opened = letter.opened
        if isinstance(opened.message, PingOffer):
            self._offer(letter, opened.message)
            return True
        answer = self._answers.get(opened.sender)
        if answer is None or answer.letter.opened.call_id != opened.call_id:
            return False
        if opened.bind == answer.letter.opened.inner_hash:
            answer.told(opened.message)
        return True

    def _offer(self, letter: Letter, offer: PingOffer) -> None:
        sender, now = letter.opened.sender, self._clock.now()
        if letter.is_over:
            self._counters["ping-late"] += 1
            return
        left = self._left(sender, now)
        if left < 1:
            self._counters["ping-too-often"] += 1
            self._refuse(letter)
            return
        old = self._answers.pop(sender, None)
        if old is not None:  # its sender began anew
            old.end()
        if len(self._answers) >= limits.PINGS_ANSWERED_MAX:
            self._counters["ping-too-many"] += 1
            self._refuse(letter)
            return
        self._purses.pop(sender, None)
        self._purses[sender] = left - 1, now
        if len(self._purses) > limits.PINGS_PEERS_MAX:
            del self._purses[next(iter(self._purses))]
        answer = self._answers[sender] = _Answer(letter, self._post, self._spawn)
        self._spawn(self._serve(answer, offer))

    def _left(self, sender: PeerId, now: float) -> float:
        """How many pings of ``sender`` are answered now."""
        left, since = self._purses.get(sender, (float(limits.PINGS_BURST), now))
        return min(left + (now - since) / limits.PING_PAUSE, float(limits.PINGS_BURST))

    async def _serve(self, answer: _Answer, offer: PingOffer) -> None:
        try:
            remote = PeerCandidates(self._counters, allow_loopback=self._allow_loopback)
            session = self._make_ice(answer.ice_event)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.PINGS_ANSWERED_LIFE):
                        await answer.run(session, remote, offer)
            finally:
                await session.close()
        except (Rejected, OSError, MeshcallError, ValueError):
            self._counters["ping-failed"] += 1
        finally:
            if self._answers.get(answer.letter.opened.sender) is answer:
                del self._answers[answer.letter.opened.sender]

    def _refuse(self, letter: Letter) -> None:
        async def refuse() -> None:
            await self._post.tell_caller(letter, Reject(RejectReason.BUSY))

        self._spawn(refuse())


class _Answer:
    """One of them."""

    def __init__(self, letter: Letter, post: Post, spawn: Spawn) -> None:
        self.letter = letter
        self._post = post
        self._spawn = spawn
        self._ended = asyncio.Event()
        self._session: IceSession | None = None
        self._remote: PeerCandidates | None = None
        self._early: list[Candidates] = []
        self._described = False
        self._trickle = Trickle(self._tell, self._current)

    def end(self) -> None:
        """Its sender is done with it."""
        self._ended.set()

    def told(self, message: Message) -> None:
        """A later message of its sender."""
        if isinstance(message, Hangup):
            self.end()
        elif isinstance(message, Candidates):
            if self._session is None or self._remote is None:
                self._early = [*self._early, message][: limits.CALL_EARLY_CANDIDATES_MAX]
            else:
                self._remote.hand_to(self._session, message.candidates)

    def ice_event(self, event: IceEvent) -> None:
        """What its session tells; its end is waited for in :meth:`run`."""
        if self._described:
            trickle(self._trickle, event)

    async def run(self, session: IceSession, remote: PeerCandidates, offer: PingOffer) -> None:
        """Answer, then answer checks until it ends."""
        await session.gather()
        remote.alone(session.candidates)
        self._described = True
        described = encode_candidates(session.candidates, session.notes)
        answer = PingAnswer(session.local.ufrag, session.local.pwd, described)
        remote.hand_to(session, offer.candidates)
        session.start(Credentials(offer.ufrag, offer.pwd))
        self._session, self._remote = session, remote
        for early in self._early:
            self.told(early)
        _, record = await self._post.tell_caller(self.letter, answer)
        waits = [
            asyncio.ensure_future(wait)
            for wait in (self._ended.wait(), session.wait_closed(), self._repeat(session, record))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._trickle.close()
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _repeat(self, session: IceSession, record: bytes) -> None:
        """Send the answer again until there is a path; returns when there will be none."""
        connected = asyncio.ensure_future(session.connected())
        try:
            pause = limits.CALL_RESEND
            for _ in range(limits.CALL_RESENDS_REPLY):
                done, _pending = await asyncio.wait([connected], timeout=pause)
                if done:
                    break
                await self._post.resend_reply(self.letter, record)
                pause *= 2
            with contextlib.suppress(ConnectionError):
                await connected
                await asyncio.Event().wait()  # there is a path: the other two tell the end
        finally:
            connected.cancel()
            await asyncio.gather(connected, return_exceptions=True)

    def _current(self) -> list[Candidate]:
        return [] if self._session is None else self._session.candidates

    def _tell(self, candidates: bytes) -> None:
        async def tell() -> None:
            await self._post.tell_caller(self.letter, Candidates(candidates))

        if not self._ended.is_set():
            self._spawn(tell())
