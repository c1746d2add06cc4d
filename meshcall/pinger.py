"""Pings of our own, on real parts: found, offered, checked, told.

Law 1: a ping ends, whatever the peer does, and then nothing of it is left.
Law 2: nothing rings and nothing is written down, on either side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.ice.session import IceSession
from meshcall.aio.ice.trickle import Trickle
from meshcall.broadcast import Broadcast
from meshcall.call.explanation import explain
from meshcall.call.ping import PingMachine, PingOver, PingPlan, PingReason, Probe, Resend, check_plan
from meshcall.errors import (
    Busy,
    ClockWrong,
    MeshcallError,
    NoAnswer,
    NoPath,
    NotDirect,
    OwnId,
    PeerGone,
    PeerOffline,
    Rejected,
    UsageError,
)
from meshcall.finder import Finder, Found, PresenceClock
from meshcall.ice import events as ice
from meshcall.ice.candidate import Candidate, encode_candidates
from meshcall.ice.check import Credentials
from meshcall.ice.network import Network
from meshcall.ice.peer_candidates import PeerCandidates
from meshcall.ice.verdict import hint_of
from meshcall.identity.keys import Random
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, PostReport, SentOffer
from meshcall.ping_answers import MakeIce, PingAnswers, Spawn, trickle
from meshcall.ping_views import PingEnded, PingEvent
from meshcall.post import Post
from meshcall.signaling.messages import (
    Candidates,
    Hangup,
    HangupReason,
    Message,
    PingAnswer,
    Reject,
    RejectReason,
)
from meshcall.views import ErrorView


def error_of(over: PingOver, who: str) -> MeshcallError | None:
    """What a ping that ended without what was asked for raises; None: it has it, or was stopped."""
    match over.reason:
        case "done" | "direct" | "stopped":
            return None
        case "offline":
            return PeerOffline(f"{who} is offline", hint="`meshcall peers` shows who is here")
        case "no-answer":
            return NoAnswer(
                f"{who} is online, but does not answer the ping",
                hint="only contacts are answered: are you one there, and not blocked?",
            )
        case "busy":
            return Busy(f"{who} answers no more pings now", hint="wait a few seconds, and try again")
        case "no-path":
            detail = f" ({over.detail})" if over.detail else ""
            hint = hint_of(over.cause) or "`meshcall netcheck` on both machines shows what networks allow"
            return NoPath(f"no network path to {who} could be made{detail}", hint=hint)
        case "not-direct":
            return NotDirect(f"there was no direct path to {who}: a relay carried all replies")
        case "peer-gone":
            return PeerGone(f"{who} does not answer any more")
        case "clock":
            return ClockWrong(f"the clocks of this machine and of {who} differ too much")
        case "failed":
            return MeshcallError(over.detail or f"the ping of {who} failed")


class Pinger:
    """The pings of a node: those that it sends, and those that it answers."""

    def __init__(
        self,
        me: PeerId,
        *,
        post: Post,
        finder: Finder,
        make_ice: MakeIce,
        name_of: Callable[[PeerId], str],
        network: Callable[[], Network],
        clock: Clock,
        random: Random,
        spawn: Spawn,
        counters: Counter[str],
        allow_loopback: bool,
    ) -> None:
        """``name_of``: our name for a peer, or nothing. ``network``: what is known of ours now."""
        self._me = me
        self._post = post
        self._finder = finder
        self._make_ice = make_ice
        self._name_of = name_of
        self._network = network
        self._clock = clock
        self._random = random
        self._spawn = spawn
        self._counters = counters
        self._allow_loopback = allow_loopback
        self._pings: list[Ping] = []
        self.answers = PingAnswers(
            post=post,
            make_ice=make_ice,
            clock=clock,
            spawn=spawn,
            counters=counters,
            allow_loopback=allow_loopback,
        )

    def ping(self, peer: PeerId, plan: PingPlan) -> Ping:
        """Begin one; raises :class:`UsageError` for what can't be, :class:`OwnId`."""
        if peer == self._me:
            raise OwnId()
        check_plan(plan.count, plan.interval)
        if len(self._pings) >= limits.PINGS_SENT_MAX:
            raise UsageError(f"{limits.PINGS_SENT_MAX} pings run already: wait for one to end")
        ping = Ping(
            peer,
            self._name_of(peer),
            plan,
            call_id=self._random(16),
            post=self._post,
            finder=self._finder,
            make_ice=self._make_ice,
            network=self._network,
            remote=PeerCandidates(self._counters, allow_loopback=self._allow_loopback),
            clock=self._clock,
            spawn=self._spawn,
        )
        self._pings.append(ping)
        self._spawn(self._run(ping))
        return ping

    async def _run(self, ping: Ping) -> None:
        try:
            await ping.run()
        finally:
            self._pings.remove(ping)

    async def close(self) -> None:
        """End all of them, because the node stops."""
        for ping in self._pings:
            await ping.stop()
        self.answers.close()

    def letter(self, letter: Letter) -> bool:
        """A message; whether it belongs to a ping."""
        opened = letter.opened
        message = opened.message
        for ping in self._pings:
            if ping.peer == opened.sender and opened.call_id in ping.call_ids:
                ping.told(message, opened.bind)
                return True
        ended = isinstance(message, Hangup) and message.reason is HangupReason.PING
        return self.answers.letter(letter) or ended


class Ping:
    """One ping that we began."""

    def __init__(
        self,
        peer: PeerId,
        name: str,
        plan: PingPlan,
        *,
        call_id: bytes,
        post: Post,
        finder: Finder,
        make_ice: MakeIce,
        network: Callable[[], Network],
        remote: PeerCandidates,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self.peer = peer
        self.call_ids = [call_id]
        self._name = name
        self._post = post
        self._finder = finder
        self._make_ice = make_ice
        self._network = network
        self._remote = remote
        self._clock = clock
        self._spawn = spawn
        self._machine = PingMachine(plan, clock.now())
        self._history: list[PingEvent] = []
        self._events: Broadcast[PingEvent] = Broadcast(limits.EVENTS_UNREAD_MAX)
        self._session: IceSession | None = None
        self._offers: dict[bytes, SentOffer] = {}
        self._trickle = Trickle(self._tell_candidates, self._current)
        self._early: list[bytes] = []
        self._described = False
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()

    def events(self) -> AsyncIterator[PingEvent]:
        """Every event since the start, then each as it comes; ends after ``PingEnded``."""
        return self._events.subscribe(self._history)

    async def stop(self) -> None:
        """End it; one that is over stays as it is."""
        self._machine.stop(self._clock.now())
        self._drain()

    # --- its work ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the look-up to the end; returns when nothing is left of it."""
        self._drain()
        working = asyncio.ensure_future(self._begin())
        try:
            await self._over.wait()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await self._close()

    async def _begin(self) -> None:
        try:
            session = self._session = self._make_ice(self._ice_event)
            session.agent.controlling = True
            await session.gather()
            self._described = True
            self._remote.alone(session.candidates)
            found = await self._finder.find(self.peer)
            if found is None:
                self._fail("offline")
                return
            await self._offer(found)
        except PresenceClock:
            self._fail("clock")
        except (OSError, ValueError, Rejected, MeshcallError) as error:
            self._fail("failed", str(error))

    async def _offer(self, found: Found) -> None:
        session = self._session
        assert session is not None, "made before anybody was looked for"
        sent = await self._post.ping_offer(
            found,
            self.call_ids[-1],
            session.local,
            encode_candidates(session.candidates, session.notes),
            life=limits.PING_OFFER_LIFE,
        )
        self._offers[sent.inner_hash] = sent
        self._machine.offered(found.route, self._clock.now())
        self._drain()
        if found.by == "inbox":
            await self._deliver(sent)
            return
        # What led to it may be a secret that the peer has replaced: then its inbox does
        delivery = asyncio.ensure_future(self._deliver(sent))
        try:
            await asyncio.wait([delivery], timeout=limits.RENDEZVOUS_HEAD_START)
            if not any(one.watchers for one in sent.deliveries):
                other = await self._finder.find(self.peer, by_id=True)
                if other is not None:
                    await self._offer_again(other)
            await delivery
        finally:
            delivery.cancel()

    async def _offer_again(self, found: Found) -> None:
        """By the peer's ID; as another ping, for one that has seen the first takes no second offer of it."""
        first = self.call_ids[0]
        self.call_ids.append(first[:15] + bytes([first[15] ^ 1]))
        await self._offer(found)

    async def _deliver(self, sent: SentOffer) -> None:
        await self._post.deliver_offer(sent, _ignore, on_reached=self._reached)

    def _reached(self) -> None:
        self._machine.reached(self._clock.now())
        self._drain()

    def told(self, message: Message, bind: bytes) -> None:
        """A reply of the peer's."""
        if bind not in self._offers or self._session is None:
            return
        if isinstance(message, PingAnswer):
            if self._session.agent.remote is None:
                self._machine.answered(self._clock.now())
                self._remote.hand_to(self._session, message.candidates)
                self._session.start(Credentials(message.ufrag, message.pwd))
                for early in self._early:
                    self._remote.hand_to(self._session, early)
        elif isinstance(message, Candidates):
            if self._session.agent.remote is not None:
                self._remote.hand_to(self._session, message.candidates)
            elif len(self._early) < limits.CALL_EARLY_CANDIDATES_MAX:
                self._early.append(message.candidates)
        elif isinstance(message, Reject):
            reason: PingReason = "clock" if message.reason is RejectReason.CLOCK else "busy"
            self._machine.fail(reason, self._clock.now())
        self._drain()

    def _ice_event(self, event: ice.IceEvent) -> None:
        now = self._clock.now()
        match event:
            case ice.Selected(local, remote, _):
                self._machine.selected(local, remote, now)
            case ice.Measured(rtt):
                self._machine.measured(rtt, now)
            case ice.NoPath(reason, cause):
                self._machine.fail("no-path", now, reason, cause)
            case ice.Lost():
                self._machine.fail("peer-gone", now)
            case _:
                pass
        if self._described:
            trickle(self._trickle, event)
        self._drain()

    def _current(self) -> list[Candidate]:
        return [] if self._session is None else self._session.candidates

    def _tell_candidates(self, candidates: bytes) -> None:
        for sent in self._offers.values():
            self._spawn(self._tell(sent, Candidates(candidates)))

    async def _tell(self, sent: SentOffer, message: Message) -> None:
        await self._post.tell_callee(sent, message, life=limits.PING_OFFER_LIFE)

    # --- the machine ------------------------------------------------------------------------------

    def _fail(self, reason: PingReason, detail: str = "") -> None:
        self._machine.fail(reason, self._clock.now(), detail)
        self._drain()

    def _drain(self) -> None:
        for output in self._machine.drain():
            match output:
                case Probe():
                    if self._session is not None:
                        self._session.probe()
                case Resend():
                    for sent in self._offers.values():
                        self._spawn(self._deliver(sent))
                case PingOver():
                    self._publish(self._summary(output))
                    self._events.close()
                    self._over.set()
                case _:
                    self._publish(output)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._machine.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._machine.timer(self._clock.now())
        self._drain()

    def _publish(self, event: PingEvent) -> None:
        self._history.append(event)
        self._events.publish(event)

    def _summary(self, over: PingOver) -> PingEnded:
        error = error_of(over, self._name or self.peer.short)
        explanation = explain([] if over.last is None else [over.last], self._network())
        rtts = over.rtts
        return PingEnded(
            after_ms=over.after_ms,
            peer_id=self.peer.text,
            name=self._name,
            reason=over.reason,
            sent=over.sent,
            received=len(rtts),
            rtt_min_ms=min(rtts, default=None),
            rtt_mean_ms=round(sum(rtts) / len(rtts), 2) if rtts else None,
            rtt_max_ms=max(rtts, default=None),
            path="" if over.last is None else over.last.path,
            explanation=explanation.path,
            better=list(explanation.better),
            first_reply_ms=over.first_reply_ms,
            direct_ms=over.direct_ms,
            error=None if error is None else _view_of(error, over.cause),
        )

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._trickle.close()
        for sent in self._offers.values():
            self._post.close_box(sent)
        if self._session is not None:
            await self._session.close()
        if self._machine.reason in ("offline", "no-answer"):
            self._finder.forget(self.peer)  # what was known of it did not help
        if self._session is None or self._session.agent.remote is None:
            return  # who has not answered has nothing to end, and may be of a release that knows no pings
        for sent in self._offers.values():
            with contextlib.suppress(MeshcallError, ValueError, Rejected):
                await self._tell(sent, Hangup(HangupReason.PING))


def _ignore(report: PostReport) -> None:
    """How many nodes took it; the machine waits for the peer's own word."""


def _view_of(error: MeshcallError, cause: str) -> ErrorView:
    return ErrorView(
        code=error.code, message=str(error), hint=error.hint, exit_code=error.exit_code, cause=cause
    )
