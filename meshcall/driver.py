"""Carries out what a call machine decides: one driver a call.

Law 1: an event is handled, and every command of it carried out, before the next event is looked at.
Law 2: no command waits here: what takes time is a task, and tells its result as an event.
Law 3: whatever happens to a call, its endpoint is closed and ``Ended`` is told, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.call import commands as c
from meshcall.call import control
from meshcall.call import events as e
from meshcall.call.asides import Asides
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.errors import (
    FileError,
    LocalProtocolError,
    MediaFailed,
    MeshcallError,
    PeerGone,
    Rejected,
    SourceUnusable,
)
from meshcall.finder import Finder, Found, PresenceClock
from meshcall.identity.confirm import Role
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.sas import SasView
from meshcall.letters import Letter, PostReport, SentOffer
from meshcall.media import endpoint as m
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.post import Post
from meshcall.signaling import messages as s
from meshcall.signaling.rendezvous import RendezvousSecret
from meshcall.transcript import Transcript

_log = logging.getLogger("meshcall.call")

MakeEndpoint = Callable[[MediaPlan], Awaitable[m.MediaEndpoint]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

_HANGUP_WORDS: Final[dict[c.HangupWord, s.HangupReason]] = {
    "hangup": s.HangupReason.HANGUP,
    "cancelled": s.HangupReason.CANCELLED,
    "failed": s.HangupReason.FAILED,
    "timeout": s.HangupReason.TIMEOUT,
    "answered-elsewhere": s.HangupReason.ANSWERED_ELSEWHERE,
}
_HANGUP_REASONS: Final = {reason: word for word, reason in _HANGUP_WORDS.items()}
_REJECT_WORDS: Final[dict[c.RejectWord, s.RejectReason]] = {
    "declined": s.RejectReason.DECLINED,
    "busy": s.RejectReason.BUSY,
    "unsupported": s.RejectReason.UNSUPPORTED,
    "clock": s.RejectReason.CLOCK,
    "failed": s.RejectReason.FAILED,
}
_REJECT_REASONS: Final = {reason: word for word, reason in _REJECT_WORDS.items()}
_MEDIA_REASONS: Final = {
    "no-path": e.EndReason.NO_PATH,
    "dtls": e.EndReason.CONFIRM_FAILED,
    "fingerprint": e.EndReason.CONFIRM_FAILED,
    "no-control": e.EndReason.CONFIRM_FAILED,
    "media-failed": e.EndReason.MEDIA_FAILED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call that is over, with what its endpoint counted."""

    command: c.Ended
    statistics: m.EndpointStats


class Secrets(Protocol):
    """Who keeps the rendezvous secrets, ours and our contacts'."""

    async def ours(self, peer: PeerId) -> RendezvousSecret | None:
        """What to give ``peer``; None: nothing."""

    async def keep(self, peer: PeerId, theirs: RendezvousSecret) -> bool:
        """Find ``peer`` by ``theirs`` from now on; whether that is what we hold then."""

    async def held(self, peer: PeerId, generation: int) -> None:
        """``peer`` says which of ours it holds."""


class Listener(Protocol):
    """Who is told what happens in a call."""

    def on_state(self, state: State, via: str, by: str) -> None:
        """The call is in another state; ``via``: lan, dht or cache once the peer is found.

        ``by``: inbox or contact, what led to it.
        """

    def on_ring(self, ringing: bool) -> None:
        """Start or stop ringing."""

    def on_notify(self, kind: str, detail: str) -> None:
        """Chat, first media, path, source-ended, record-failed, waiting."""

    def on_speaking(self, speaking: bool) -> None:
        """Somebody begins to speak into our source, or ends to."""

    def on_share_failed(self, message: str) -> None:
        """What was to be shared can't be; nothing is shared."""

    def on_room(self, body: bytes) -> None:
        """The peer says this about the room whose link it is."""

    def on_adopt(self, old_id: bytes, new_id: bytes) -> None:
        """Both called at once, and the peer's offer won."""

    def on_start_incoming(self, event: e.OfferReceived, letter: Letter) -> None:
        """The peer began anew: a call of its own."""

    def on_over(self) -> None:
        """It is over; what it held open is being closed."""

    def on_ended(self, outcome: Outcome) -> None:
        """Everything is closed. The last call of a listener."""


class CallDriver:
    """Runs one call machine on real parts."""

    def __init__(
        self,
        machine: CallMachine,
        plan: MediaPlan,
        *,
        identity: SigningKey,
        name: str,
        post: Post,
        finder: Finder,
        secrets: Secrets,
        make_endpoint: MakeEndpoint,
        clock: Clock,
        spawn: Spawn,
        listener: Listener,
        random: Random,
        room: bytes = b"",
    ) -> None:
        """``room``: the tag of the room whose link it is; empty: it is a call."""
        self.machine = machine
        self.plan = plan
        self.room = room
        self._identity = identity
        self._name = name
        self._post = post
        self._finder = finder
        self._secrets = secrets
        self._make_endpoint = make_endpoint
        self._clock = clock
        self._spawn = spawn
        self._listener = listener
        self._events: deque[e.Event] = deque()
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self.counters: Counter[str] = Counter()
        # the peer and our messages to it
        self._found: Found | None = None
        self._offers: dict[bytes, SentOffer] = {}  # by inner hash, oldest first
        self._letters: dict[bytes, Letter] = {}  # the peer's offers, by call id
        self._offer_task: asyncio.Task[None] | None = None
        self._search_task: asyncio.Task[None] | None = None
        self._reply: tuple[bytes, bytes] | None = None  # our answer: inner hash, record
        # rendezvous secrets
        self._given = 0  # generation of ours that was given in this call
        self._said = 0  # how often the peer told of its own
        self._theirs: RendezvousSecret | None = None  # what could not be kept yet
        self._transcript = Transcript()
        self.asides = Asides(random, self.counters)
        """What is muted, and the verification words."""
        # media
        self._endpoint: m.MediaEndpoint | None = None
        self._endpoint_task: asyncio.Task[None] | None = None
        self._change: s.Candidates | None = None  # what the peer is told while no path answers
        self._media_round = 0
        self._muted: set[MediaKind] = set()
        self._share = ""  # what is shown beside the camera
        self._late: list[bytes] = []  # our candidates that came after our description
        self._closing: asyncio.Task[None] | None = None
        self._statistics = m.EndpointStats()

    # --- events -----------------------------------------------------------------------------------

    def feed(self, event: e.Event) -> None:
        """Handle ``event`` now, or right after the one that is being handled.

        Raises :class:`LocalProtocolError` for a user's event that makes no sense in this state.
        """
        self._events.append(event)
        if not self._draining:
            self._drain()

    def letter(self, letter: Letter, *, auto_answer: bool = False, busy: bool = False) -> None:
        """A sealed message of the peer that belongs to this call."""
        opened = letter.opened
        offer = self._letters.get(opened.call_id)
        if offer is not None and letter.is_from_caller and opened.bind != offer.opened.inner_hash:
            self.counters["bind"] += 1  # said of another offer than the one we have
            return
        match opened.message:
            case s.Offer(description):
                self._keep(letter)
                life = (opened.created_ms - self._clock.now_ms()) / 1000 + opened.valid_s
                self.feed(
                    e.OfferReceived(opened.call_id, description, opened.created_ms, life, auto_answer, busy)
                )
            case s.Answer(description):
                if opened.bind in self._offers and self._transcript.messages is None:
                    self._transcript.messages = opened.bind, opened.inner_hash
                self.feed(e.AnswerReceived(opened.call_id, description, opened.created_ms))
            case s.Candidates(candidates, change=change):
                if change:
                    self._change_received(letter, change)
                else:
                    self.feed(e.CandidatesReceived(opened.call_id, candidates))
            case s.Reject(reason, words):
                self.feed(e.RejectReceived(opened.call_id, _REJECT_REASONS[reason], words))
            case s.Hangup(reason):
                self.feed(e.HangupReceived(opened.call_id, _HANGUP_REASONS.get(reason, "hangup")))
            case s.Ringing():
                self.feed(e.RingingReceived(opened.call_id))
            case s.ContactRequest():
                self.counters["contact request in a call"] += 1
            case s.Missed():
                self.counters["missed-call note in a call"] += 1
            case s.RoomLetter():
                self.counters["letter about a room in a call"] += 1

    def _keep(self, letter: Letter) -> None:
        """An offer of the peer, which is replied to by its call id; of many attempts the last ones."""
        self._letters.setdefault(letter.opened.call_id, letter)
        for call_id in list(self._letters)[: -limits.CALL_OTHER_IDS_MAX]:
            if call_id != self.machine.call_id:
                del self._letters[call_id]

    def statistics(self) -> m.EndpointStats:
        """What the endpoint counted so far."""
        return self._endpoint.statistics() if self._endpoint else self._statistics

    def _drain(self) -> None:
        self._draining = True
        try:
            while self._events:
                event = self._events.popleft()
                for command in self.machine.handle(event, self._clock.now()):
                    self._carry_out(command)
        finally:
            self._draining = False
            self._arm()
            if self._events:  # a user's event was refused while others waited
                asyncio.get_running_loop().call_soon(self._drain)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.machine.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._draining = True
        try:
            for command in self.machine.handle_timer(self._clock.now()):
                self._carry_out(command)
        finally:
            self._draining = False
        self._drain()

    # --- commands ---------------------------------------------------------------------------------

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.FindPresence(attempt):
                if attempt > 1:
                    self._finder.forget(self.machine.peer)  # what is known did not help
                self._search_task = self._spawn(self._find(self.machine.call_id))
            case c.SendOffer(call_id, offer, life, fresh):
                self._offer_task = self._spawn(self._send_offer(call_id, offer, life, fresh=fresh))
            case c.SendRinging(call_id):
                self._reply_to(call_id, s.Ringing())
            case c.SendAnswer(call_id, answer, fresh):
                self._spawn(self._send_answer(call_id, answer, fresh=fresh))
            case c.SendReject(call_id, word, words):
                self._reply_to(call_id, s.Reject(_REJECT_WORDS[word], words))
            case c.SendHangup(call_id, word):
                reason = s.HangupReason.LINK if self.room else _HANGUP_WORDS[word]
                self._send_hangup(call_id, s.Hangup(reason))
            case c.AdoptCall(old_id, new_id):
                self._listener.on_adopt(old_id, new_id)
            case c.StartIncoming(event):
                self._listener.on_start_incoming(event, self._letters[event.call_id])
            case c.CreateOffer():
                self._endpoint_task = self._spawn(self._create_offer(self._media_round))
            case c.CreateAnswer(offer):
                self._endpoint_task = self._spawn(self._create_answer(offer, self._media_round))
            case c.AcceptAnswer(answer):
                self._spawn(self._accept(answer, self._media_round))
            case c.AddCandidates(candidates):
                self._spawn(self._add_candidates(candidates, self._media_round))
            case c.SendConfirm(role):
                self._send_confirm(role)
            case c.SendConfirmed():
                self._send_control(control.Confirmed())
            case c.SendChat(text):
                self._send_control(control.Chat(text))
            case c.SendBye(failure):
                self._send_control(control.Bye(failure))
            case c.HandOver():
                self._spawn(self._hand_over())
            case c.KeepRendezvous(secret, generation):
                self._said += 1
                if self._said <= limits.RENDEZVOUS_PER_CALL_MAX:
                    self._spawn(self._keep_rendezvous(RendezvousSecret(secret, generation)))
                else:
                    self.counters["rendezvous"] += 1
            case c.NoteHeld(generation):
                self._spawn(self._secrets.held(self.machine.peer, generation))
            case c.OpenGate():
                if self._endpoint is not None:
                    self._spawn(self._endpoint.open_gate())
            case c.CloseMedia():
                self._close_media()
            case c.Ring():
                self._listener.on_ring(True)
            case c.StopRing():
                self._listener.on_ring(False)
            case c.StateChanged(state):
                if state is State.CONNECTED:
                    self._begin_asides()
                    if self._share:
                        self.share(self._share)
                found = self._found
                self._listener.on_state(state, found.route if found else "", found.by if found else "")
            case c.Notify(kind, detail):
                self._listener.on_notify(kind, detail)
            case c.Ended():
                self._listener.on_over()
                self._spawn(self._finish(command))
            case _:
                raise AssertionError(f"no way to carry out {command!r}")

    # --- signaling --------------------------------------------------------------------------------

    async def _find(self, call_id: bytes) -> None:
        peer = self.machine.peer
        try:
            found = await self._finder.find(peer)
        except PresenceClock:
            # Said by the peer's own signature: it reads our clock as wrong as we read its.
            self.feed(e.MediaFailed(e.EndReason.CLOCK))
            return
        if found is None:
            self.feed(e.PresenceMissing())
        else:
            self._found = found
            self.feed(e.PresenceFound(found.route))

    async def _send_offer(self, call_id: bytes, offer: bytes, life: float, *, fresh: bool) -> None:
        assert self._found is not None, "an offer is sent to who was found"
        last = next(reversed(self._offers.values()), None)
        if fresh or last is None:
            try:
                last = await self._post.offer(
                    self._found,
                    call_id,
                    offer,
                    name=self._name,
                    wants=self._wants(),
                    life=life,
                    room=self.room,
                )
            except (ValueError, Rejected) as error:
                self.feed(e.MediaFailed(e.EndReason.FAILED, f"the offer can't be sealed: {error}"))
                return
            self._offers[last.inner_hash] = last
            for over in list(self._offers)[: -limits.CALL_OFFERS_MAX]:
                self._post.close_box(self._offers.pop(over))
            for candidates in self._late:
                self._spawn(self._tell_callee(last, s.Candidates(candidates)))
        else:
            # Bound to the presence it was sealed for, but the peer may be elsewhere on the LAN by now
            last.found = replace(last.found, addresses=self._found.addresses)
        if last.found.by == "inbox":
            await self._deliver(last)
        else:
            await self._deliver_or_find_by_id(last, call_id, offer, life)

    async def _deliver_or_find_by_id(
        self, sent: SentOffer, call_id: bytes, offer: bytes, life: float
    ) -> None:
        """Deliver; if nobody takes it soon, offer at the peer's inbox, too.

        The peer has a new secret that did not reach us yet, and what we found was left over.
        """
        delivery = asyncio.ensure_future(self._deliver(sent))
        try:
            await asyncio.wait([delivery], timeout=limits.RENDEZVOUS_HEAD_START)
            if not _has_watchers(sent):
                with contextlib.suppress(PresenceClock):
                    found = await self._finder.find(self.machine.peer, by_id=True)
                    if found is not None and not _has_watchers(sent):
                        self._found = found
                        await self._send_offer(call_id, offer, life, fresh=True)
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(self, sent: SentOffer) -> None:
        await self._post.deliver_offer(sent, self._delivered, on_reached=lambda: self.feed(e.Reached()))

    def _delivered(self, report: PostReport) -> None:
        self.feed(e.Delivered(report.watchers, report.stored))

    def _wants(self) -> s.Wants:
        wants = s.Wants.DATA
        if self.plan.audio:
            wants |= s.Wants.AUDIO
        if self.plan.video and self.plan.camera:
            wants |= s.Wants.VIDEO
        return wants

    async def _send_answer(self, call_id: bytes, answer: bytes, *, fresh: bool) -> None:
        letter = self._letters[call_id]
        if not fresh and self._reply is not None:
            await self._post.resend_reply(letter, self._reply[1])
            return
        try:
            self._reply = await self._post.tell_caller(letter, s.Answer(answer))
        except (ValueError, Rejected) as error:
            self.feed(e.MediaFailed(e.EndReason.FAILED, f"the answer can't be sealed: {error}"))
            return
        self._transcript.messages = letter.opened.inner_hash, self._reply[0]

    def _reply_to(self, call_id: bytes, message: s.Message) -> None:
        letter = self._letters.get(call_id)
        if letter is not None:
            self._spawn(self._tell_caller(letter, message))

    async def _tell_caller(self, letter: Letter, message: s.Message) -> None:
        await self._post.tell_caller(letter, message)

    def _send_hangup(self, call_id: bytes, message: s.Hangup) -> None:
        if call_id in self._letters:
            self._reply_to(call_id, message)
            return
        if self._offer_task is not None:
            self._offer_task.cancel()  # what has not left need not be taken back
        for sent in self._offers.values():
            if sent.call_id == call_id:
                self._spawn(self._tell_callee(sent, message))

    def _tell_candidates(self, late: Sequence[bytes]) -> None:
        """Tell the peer, by whichever way the call was begun; what is too early goes with the offer."""
        call_id = self.machine.call_id
        for candidates in late:
            self._reply_to(call_id, s.Candidates(candidates))
            for sent in self._offers.values():
                if sent.call_id == call_id:
                    self._spawn(self._tell_callee(sent, s.Candidates(candidates)))

    async def _tell_callee(self, sent: SentOffer, message: s.Message) -> None:
        await self._post.tell_callee(sent, message)

    def _change_received(self, letter: Letter, change: bytes) -> None:
        """The peer changes the session by sealed message, for no path answers."""
        call_id = self.machine.call_id
        connected = self.machine.state is State.CONNECTED and self._endpoint is not None
        if not connected or letter.opened.call_id != call_id or letter.is_over:
            self.counters["change"] += 1
            return
        if call_id in self._letters:  # the caller is elsewhere now, and so is the way back
            self._letters[call_id] = replace(self._letters[call_id], via=letter.via)
        assert self._endpoint is not None, "looked at above"
        self._endpoint.change(change)

    def _tell_change(self, change: bytes) -> None:
        """Tell the peer by sealed message, until a path answers; the last change counts."""
        if self.machine.state is State.CONNECTED:
            self._change = s.Candidates(b"", change=change)
            self._spawn(self._send_change(self._change))

    async def _send_change(self, message: s.Candidates) -> None:
        for number, pause in enumerate(limits.CHANGE_RETELL):
            await asyncio.sleep(pause)
            if self._change is not message:
                return
            try:
                await self._send_change_once(message, look=number > 0)
            except (ValueError, MeshcallError):
                self.counters["change-unsent"] += 1

    async def _send_change_once(self, message: s.Candidates, *, look: bool) -> None:
        """``look``: what is known of where the peer is did not help."""
        letter = self._letters.get(self.machine.call_id)
        if letter is not None:
            await self._post.tell_caller(letter, message)
            return
        messages = self._transcript.messages
        sent = None if messages is None else self._offers.get(messages[0])
        if sent is None:
            return
        if look:
            self._finder.forget(self.machine.peer)
            with contextlib.suppress(PresenceClock, TimeoutError):
                async with asyncio.timeout(limits.CHANGE_LOOK):
                    sent.found = await self._finder.find(self.machine.peer) or sent.found
        await self._post.tell_callee_anew(sent, message, life=limits.CHANGE_LIFE)

    # --- media ------------------------------------------------------------------------------------

    async def _open_endpoint(self, media_round: int) -> m.MediaEndpoint:
        endpoint = await self._make_endpoint(self.plan)
        if media_round != self._media_round:
            await endpoint.close()
            raise asyncio.CancelledError  # closed before it was there
        self._endpoint = endpoint
        for kind in self._muted:
            endpoint.set_muted(kind, muted=True)
        self._spawn(self._pump(endpoint))
        return endpoint

    async def _create_offer(self, media_round: int) -> None:
        try:
            endpoint = await self._open_endpoint(media_round)
            offer = await endpoint.offer()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the end of this call's media
            self._media_failed(error, media_round)
        else:
            self._feed_media(e.EndpointReady(offer), media_round)

    async def _create_answer(self, offer: bytes, media_round: int) -> None:
        if self._closing is not None:
            await asyncio.wait([self._closing])  # the endpoint of the attempt that was dropped
        try:
            endpoint = await self._open_endpoint(media_round)
            answer = await endpoint.answer(offer)
        except Exception as error:  # noqa: BLE001 - likewise
            self._media_failed(error, media_round)
        else:
            self._feed_media(e.AnswerReady(answer), media_round)

    async def _accept(self, answer: bytes, media_round: int) -> None:
        if self._endpoint is None:
            return
        try:
            await self._endpoint.accept(answer)
        except Exception as error:  # noqa: BLE001 - likewise
            self._media_failed(error, media_round)

    async def _add_candidates(self, candidates: bytes, media_round: int) -> None:
        if self._endpoint is None and self._endpoint_task is not None:
            await asyncio.wait([self._endpoint_task])  # the answer is being made
        if self._endpoint is None or media_round != self._media_round:
            return
        try:
            await self._endpoint.add_candidates(candidates)
        except Rejected as error:
            self.counters[f"candidates-{error.reason}"] += 1

    def _feed_media(self, event: e.MediaEvent, media_round: int) -> None:
        """Drop what an endpoint says that was closed meanwhile."""
        if media_round == self._media_round:
            self.feed(event)

    def _media_failed(self, error: Exception, media_round: int) -> None:
        if media_round != self._media_round:
            return
        detail = str(error)
        match error:
            case SourceUnusable():
                reason = e.EndReason.SOURCE
            case FileError():
                reason = e.EndReason.RECORD
            case Rejected():
                reason, detail = e.EndReason.UNSUPPORTED, f"the peer's description was refused ({error})"
            case MediaFailed():
                reason = e.EndReason.MEDIA_FAILED
            case MeshcallError():
                reason = e.EndReason.FAILED
            case _:
                _log.error("the media endpoint failed", exc_info=error)
                reason, detail = e.EndReason.FAILED, "the media endpoint failed; the log says more"
        self.feed(e.MediaFailed(reason, detail))

    async def _pump(self, endpoint: m.MediaEndpoint) -> None:
        async for event in endpoint.events():
            if endpoint is not self._endpoint:
                continue
            match event:
                case m.LocalCandidates(candidates):
                    self._late = [*self._late, candidates][-limits.CALL_EARLY_CANDIDATES_MAX :]
                    self._tell_candidates([candidates])
                    if self.machine.state is State.CONNECTED:
                        self._send_control(control.Candidates(candidates))
                case m.Change(data):
                    self._tell_change(data)
                case m.IceConnected(local, remote, path, why):
                    self._change = None
                    v6 = ":" in remote.address
                    self.feed(e.IceConnected(path, why, local.kind, remote.kind, v6))
                case m.PathBroken():
                    self.feed(e.IceConnected(""))
                case m.PathQuality(trouble):
                    self.feed(e.PathQuality(trouble))
                case m.Secured(local_fp, remote_fp):
                    self._transcript.fingerprints = (local_fp, remote_fp)
                    self.feed(e.Secured())
                case m.ControlOpen():
                    self.feed(e.ControlOpen())
                case m.ControlMessage(data):
                    self._control_received(data)
                case m.FirstMedia(kind):
                    self.feed(e.FirstMedia(kind))
                case m.Speaking(speaking):
                    self._listener.on_speaking(speaking)
                case m.SourceEnded(kind):
                    self.feed(e.SourceEnded(kind))
                case m.RecordFailed(message):
                    self.feed(e.RecordFailed(message))
                case m.ShareFailed(message):
                    self._share = ""
                    self._listener.on_share_failed(message)
                case m.TransportLost(reason):
                    self.feed(e.TransportLost(clean=reason == "closed"))
                case m.Failed(reason, detail, cause):
                    why = _MEDIA_REASONS.get(reason, e.EndReason.FAILED)
                    self.feed(e.MediaFailed(why, detail or reason, cause))

    def _control_received(self, data: bytes) -> None:
        try:
            message = control.decode_control_untrusted(data)
        except Rejected:
            self.counters["control"] += 1
            self.feed(e.MediaFailed(e.EndReason.FAILED, "the peer sent a malformed control message"))
            return
        match message:
            case control.Confirm(signature):
                self.feed(e.ConfirmReceived(self._is_proof(signature)))
            case control.Confirmed():
                self.feed(e.ConfirmedReceived())
            case control.Bye(failure):
                self.feed(e.Bye(failure))
            case control.Chat(text):
                self.feed(e.ChatReceived(text))
            case control.Rendezvous(secret):
                self.feed(e.RendezvousReceived(secret.secret, secret.generation))
            case control.Held(generation):
                self.feed(e.RendezvousHeld(generation))
            case control.Candidates(candidates):
                if self.machine.state is State.CONNECTED:  # before that, whoever it is has proved nothing
                    self.feed(e.CandidatesReceived(self.machine.call_id, candidates))
            case control.MediaState() | control.SasCommit() | control.SasNonce():
                before = self.asides.peer_media
                for answer in self.asides.receive_untrusted(message):
                    self._send_control(answer)
                if self.asides.peer_media != before:
                    self._listener.on_notify("peer-media", "")
            case control.Room(body):
                if self._is_room_link():
                    self._listener.on_room(body)
            case control.Layer(kind, height, fps):
                if self._is_room_link() and self._endpoint is not None:
                    self._endpoint.set_layer(kind, height, fps)
            case control.Unknown(type):
                self.counters[f"control type {type}"] += 1

    def _is_room_link(self) -> bool:
        """Whether the peer may speak of rooms now: it has proved who it is, and we are in one with it."""
        if self.room and self.machine.state is State.CONNECTED:
            return True
        self.counters["room message without a room"] += 1
        return False

    def _begin_asides(self) -> None:
        fingerprints, (me, peer) = self._transcript.fingerprints, (self._post.me, self.machine.peer)
        assert fingerprints is not None, "both confirms were about them"
        ours, theirs = fingerprints
        view = (
            SasView(me, peer, ours, theirs)
            if self.machine.role == "caller"
            else SasView(peer, me, theirs, ours)
        )
        for message in self.asides.connect(self.machine.role, view):
            self._send_control(message)

    def send_aside(self, message: control.MediaState | control.Room | control.Layer) -> None:
        """Tell the peer what is muted, or what a room says; it matters only in a connected call."""
        if self.machine.state is State.CONNECTED:
            self._send_control(message)

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Send nothing of this kind from now on, or send it again."""
        (self._muted.add if muted else self._muted.discard)(kind)
        if self._endpoint is not None:
            self._endpoint.set_muted(kind, muted=muted)

    def share(self, source: str) -> None:
        """Show the pictures of another source, too, once the call is connected; empty: no more.

        Not before: who has not verified our confirm yet takes no offer of a screen.
        """
        self._share = source
        if self._endpoint is not None and self.machine.state is State.CONNECTED:
            self._endpoint.share(source)

    def _send_confirm(self, role: Role) -> None:
        if self._transcript.is_whole:
            self._send_control(control.Confirm(self._transcript.sign(self._identity, role)))
        else:
            self.feed(e.MediaFailed(e.EndReason.CONFIRM_FAILED, "the transcript is not complete"))

    def _is_proof(self, confirm: bytes) -> bool:
        if not self._transcript.is_whole:
            return False
        try:
            self._transcript.verify_untrusted(self.machine.peer, confirm, self.machine.role)
        except Rejected as error:
            self.counters[error.reason] += 1
            return False
        return True

    async def _hand_over(self) -> None:
        ours = await self._secrets.ours(self.machine.peer)
        if ours is not None and ours.generation > self._given:
            self._given = ours.generation
            self._send_control(control.Rendezvous(ours))
        if self._theirs is not None:
            await self._keep_rendezvous(self._theirs)

    async def _keep_rendezvous(self, theirs: RendezvousSecret) -> None:
        if await self._secrets.keep(self.machine.peer, theirs):
            self._theirs = None
            self._send_control(control.Held(theirs.generation))
        else:
            self._theirs = theirs

    def _send_control(self, message: control.Sendable) -> None:
        if self._endpoint is None:
            return
        try:
            self._endpoint.send_control(control.encode_control(message))
        except PeerGone:
            self.feed(e.TransportLost(detail="the peer stopped reading"))

    def _close_media(self) -> None:
        self._change = None
        opening, self._endpoint_task = self._endpoint_task, None
        endpoint, self._endpoint = self._endpoint, None
        self._media_round += 1
        self._transcript.fingerprints = None
        self._late.clear()
        if endpoint is not None:
            self._closing = self._spawn(self._close_endpoint(endpoint, opening))

    async def _close_endpoint(self, endpoint: m.MediaEndpoint, opening: asyncio.Task[None] | None) -> None:
        if opening is not None:
            # Gathering that is cut short leaves sockets open (aioice); it takes milliseconds without servers
            await asyncio.wait([opening], timeout=limits.MEDIA_OPENING_GRACE)
        closing = asyncio.ensure_future(endpoint.close())
        try:
            self._statistics = await asyncio.shield(closing)
        except asyncio.CancelledError:
            # The node stops. A recording is still being written, and each step has a deadline of its own
            await asyncio.wait([closing])
            raise

    # --- the end ----------------------------------------------------------------------------------

    async def _finish(self, command: c.Ended) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._search_task, self._offer_task):
            if task is not None:
                task.cancel()
        try:
            if self._closing is not None:
                await asyncio.wait([self._closing])
        except asyncio.CancelledError:
            # The node stops, and stops the closing as well: which ends when everything is closed
            if self._closing is not None:
                await asyncio.wait([self._closing])
            raise
        finally:
            for sent in self._offers.values():
                self._post.close_box(sent)
            if command.reason in (e.EndReason.OFFLINE, e.EndReason.NO_ANSWER):
                self._finder.forget(self.machine.peer)
            self._listener.on_ended(Outcome(command, self._statistics))


def _has_watchers(sent: SentOffer) -> bool:
    return any(delivery.watchers for delivery in sent.deliveries)


__all__ = ["CallDriver", "Listener", "LocalProtocolError", "MakeEndpoint", "Outcome", "Secrets", "Spawn"]
