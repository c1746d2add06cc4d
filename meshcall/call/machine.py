"""THE call machine: one transition table, and the few lines that walk it.

Law 1: every (state, event) pair is in exactly one of TABLE, IGNORED and MISUSE.
Law 2: three things wake it: its user, the network, its timer. Time is an argument.
Law 3: only a user's event can raise (:class:`meshcall.errors.LocalProtocolError`, pairs in MISUSE), and
then nothing has changed. What peers send never raises.
Law 4: a message about another attempt of the same peer never moves the state, unless it is an offer.
Law 5: every state but ``idle``, ``connected`` and ``ended`` has a timer running.

``docs/call-machine.md`` is printed from TABLE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshcall.call import actions as a
from meshcall.call import events as e
from meshcall.call.commands import Command
from meshcall.call.state import CallData, Role, State
from meshcall.call.timeline import Path, Timeline
from meshcall.errors import LocalProtocolError
from meshcall.identity.peer_id import PeerId

S = State
Action = Callable[[CallData, Any, float], None]


@dataclass(frozen=True, slots=True)
class Transition:
    """A row of the table."""

    action: Action
    """Does it, and chooses among ``to``."""
    to: dict[State, str]
    """Possible next states, each with its condition ("" for the usual one)."""


T = Transition
Key = tuple[State, type[e.Event]]

TABLE: Final[dict[Key, Transition]] = {
    # idle
    (S.IDLE, e.Dial): T(a.dial, {S.LOOKING_UP: ""}),
    (S.IDLE, e.OfferReceived): T(
        a.offer_received, {S.INCOMING: "", S.CONNECTING: "auto-answer", S.ENDED: "busy"}
    ),
    (S.IDLE, e.HangupReceived): T(a.hung_up_before_offer, {S.ENDED: "the offer comes later, if at all"}),
    # looking-up
    (S.LOOKING_UP, e.Hangup): T(a.cancel, {S.ENDED: ""}),
    (S.LOOKING_UP, e.PresenceFound): T(a.presence_found, {S.CALLING: ""}),
    (S.LOOKING_UP, e.PresenceMissing): T(a.presence_missing, {S.ENDED: "", S.LOOKING_UP: "wait"}),
    (S.LOOKING_UP, e.OfferReceived): T(
        a.offer_while_calling, {S.CONNECTING: "ours not sent, or theirs wins", S.LOOKING_UP: "ours wins"}
    ),
    (S.LOOKING_UP, e.RingingReceived): T(a.ringing, {S.RINGING: "an offer sent before was found"}),
    (S.LOOKING_UP, e.AnswerReceived): T(a.answer_received, {S.CONNECTING: "an offer sent before was found"}),
    (S.LOOKING_UP, e.CandidatesReceived): T(a.early_candidates, {S.LOOKING_UP: ""}),
    (S.LOOKING_UP, e.RejectReceived): T(a.rejected, {S.ENDED: ""}),
    (S.LOOKING_UP, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.LOOKING_UP, e.EndpointReady): T(a.endpoint_ready, {S.LOOKING_UP: ""}),
    (S.LOOKING_UP, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.LOOKING_UP, e.RecordFailed): T(a.record_failed, {S.LOOKING_UP: ""}),
    (S.LOOKING_UP, e.SourceEnded): T(a.source_ended, {S.LOOKING_UP: ""}),
    (S.LOOKING_UP, e.LookupTimeout): T(a.presence_missing, {S.ENDED: "", S.LOOKING_UP: "wait"}),
    (S.LOOKING_UP, e.RetryTimeout): T(a.look_up, {S.LOOKING_UP: "", S.ENDED: "the wait is over"}),
    (S.LOOKING_UP, e.EndpointTimeout): T(a.endpoint_hangs, {S.ENDED: ""}),
    # calling
    (S.CALLING, e.Hangup): T(a.cancel, {S.ENDED: ""}),
    (S.CALLING, e.Delivered): T(a.delivered, {S.CALLING: ""}),
    (S.CALLING, e.Reached): T(a.reached, {S.CALLING: ""}),
    (S.CALLING, e.OfferReceived): T(
        a.offer_while_calling, {S.CONNECTING: "ours not sent, or theirs wins", S.CALLING: "ours wins"}
    ),
    (S.CALLING, e.RingingReceived): T(a.ringing, {S.RINGING: ""}),
    (S.CALLING, e.AnswerReceived): T(a.answer_received, {S.CONNECTING: ""}),
    (S.CALLING, e.CandidatesReceived): T(a.early_candidates, {S.CALLING: ""}),
    (S.CALLING, e.RejectReceived): T(a.rejected, {S.ENDED: ""}),
    (S.CALLING, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.CALLING, e.EndpointReady): T(a.endpoint_ready, {S.CALLING: ""}),
    (S.CALLING, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.CALLING, e.RecordFailed): T(a.record_failed, {S.CALLING: ""}),
    (S.CALLING, e.SourceEnded): T(a.source_ended, {S.CALLING: ""}),
    (S.CALLING, e.ResendTimeout): T(a.resend_offer, {S.CALLING: ""}),
    (S.CALLING, e.OfflineTimeout): T(
        a.not_reached, {S.ENDED: "", S.CALLING: "wait, offer stored", S.LOOKING_UP: "wait, offer not stored"}
    ),
    (S.CALLING, e.RingTimeout): T(a.offline, {S.ENDED: ""}),
    (S.CALLING, e.EndpointTimeout): T(a.endpoint_hangs, {S.ENDED: ""}),
    # ringing
    (S.RINGING, e.Hangup): T(a.cancel, {S.ENDED: ""}),
    (S.RINGING, e.OfferReceived): T(
        a.offer_while_calling, {S.CONNECTING: "theirs wins", S.RINGING: "ours wins"}
    ),
    (S.RINGING, e.AnswerReceived): T(a.answer_received, {S.CONNECTING: ""}),
    (S.RINGING, e.CandidatesReceived): T(a.early_candidates, {S.RINGING: ""}),
    (S.RINGING, e.RejectReceived): T(a.rejected, {S.ENDED: ""}),
    (S.RINGING, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.RINGING, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.RINGING, e.RecordFailed): T(a.record_failed, {S.RINGING: ""}),
    (S.RINGING, e.SourceEnded): T(a.source_ended, {S.RINGING: ""}),
    (S.RINGING, e.ResendTimeout): T(a.resend_offer, {S.RINGING: ""}),
    (S.RINGING, e.RingTimeout): T(a.no_answer, {S.ENDED: ""}),
    # incoming
    (S.INCOMING, e.Dial): T(a.answer, {S.CONNECTING: "both want the call"}),
    (S.INCOMING, e.Answer): T(a.answer, {S.CONNECTING: ""}),
    (S.INCOMING, e.Decline): T(a.decline, {S.ENDED: ""}),
    (S.INCOMING, e.Hangup): T(a.hangup_incoming, {S.ENDED: ""}),
    (S.INCOMING, e.OfferReceived): T(
        a.offer_while_incoming, {S.INCOMING: "a copy", S.ENDED: "a newer attempt takes its place"}
    ),
    (S.INCOMING, e.CandidatesReceived): T(a.early_candidates, {S.INCOMING: ""}),
    (S.INCOMING, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.INCOMING, e.ResendTimeout): T(a.resend_ringing, {S.INCOMING: ""}),
    (S.INCOMING, e.RingTimeout): T(a.no_answer, {S.ENDED: ""}),
    # connecting
    (S.CONNECTING, e.Hangup): T(a.hang_up, {S.ENDED: ""}),
    (S.CONNECTING, e.OfferReceived): T(
        a.offer_while_connecting, {S.CONNECTING: "a copy", S.ENDED: "a newer attempt takes its place"}
    ),
    (S.CONNECTING, e.CandidatesReceived): T(a.candidates, {S.CONNECTING: ""}),
    (S.CONNECTING, e.RejectReceived): T(a.rejected, {S.ENDED: "", S.CONNECTING: "we are the callee"}),
    (S.CONNECTING, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.CONNECTING, e.AnswerReady): T(a.answer_ready, {S.CONNECTING: ""}),
    (S.CONNECTING, e.IceConnected): T(a.ice_connected, {S.CONNECTING: ""}),
    (S.CONNECTING, e.Secured): T(a.secured, {S.CONFIRMING: ""}),
    (S.CONNECTING, e.ControlOpen): T(a.control_open, {S.CONNECTING: ""}),
    (S.CONNECTING, e.ConfirmReceived): T(a.confirm_received, {S.CONNECTING: "", S.ENDED: "not valid"}),
    (S.CONNECTING, e.Bye): T(a.bye, {S.ENDED: ""}),
    (S.CONNECTING, e.TransportLost): T(a.no_path, {S.ENDED: ""}),
    (S.CONNECTING, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.CONNECTING, e.RecordFailed): T(a.record_failed, {S.CONNECTING: ""}),
    (S.CONNECTING, e.SourceEnded): T(a.source_ended, {S.CONNECTING: ""}),
    (S.CONNECTING, e.ResendTimeout): T(a.resend_answer, {S.CONNECTING: ""}),
    (S.CONNECTING, e.EndpointTimeout): T(a.endpoint_hangs, {S.ENDED: ""}),
    (S.CONNECTING, e.PathTimeout): T(a.no_path, {S.ENDED: ""}),
    (S.CONNECTING, e.ConfirmTimeout): T(a.confirm_failed, {S.ENDED: "no DTLS"}),
    # confirming
    (S.CONFIRMING, e.Hangup): T(a.hang_up, {S.ENDED: ""}),
    (S.CONFIRMING, e.OfferReceived): T(
        a.offer_while_talking, {S.CONFIRMING: "a copy", S.ENDED: "a newer attempt takes its place"}
    ),
    (S.CONFIRMING, e.CandidatesReceived): T(a.candidates, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.CONFIRMING, e.IceConnected): T(a.path_changed, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.PathQuality): T(a.path_quality, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.ControlOpen): T(a.control_open, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.ConfirmReceived): T(
        a.confirm_received, {S.CONFIRMING: "", S.CONNECTED: "both confirmed", S.ENDED: "not valid"}
    ),
    (S.CONFIRMING, e.ConfirmedReceived): T(
        a.confirmed_received, {S.CONFIRMING: "", S.CONNECTED: "both confirmed"}
    ),
    (S.CONFIRMING, e.FirstMedia): T(a.first_media, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.Bye): T(a.bye, {S.ENDED: ""}),
    (S.CONFIRMING, e.TransportLost): T(a.transport_lost, {S.ENDED: ""}),
    (S.CONFIRMING, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.CONFIRMING, e.RecordFailed): T(a.record_failed, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.SourceEnded): T(a.source_ended, {S.CONFIRMING: ""}),
    (S.CONFIRMING, e.ConfirmTimeout): T(a.confirm_failed, {S.ENDED: ""}),
    # connected
    (S.CONNECTED, e.Hangup): T(a.hang_up, {S.ENDED: ""}),
    (S.CONNECTED, e.Chat): T(a.chat, {S.CONNECTED: ""}),
    (S.CONNECTED, e.OfferReceived): T(
        a.offer_while_talking, {S.CONNECTED: "a copy", S.ENDED: "a newer attempt takes its place"}
    ),
    (S.CONNECTED, e.CandidatesReceived): T(a.candidates, {S.CONNECTED: ""}),
    (S.CONNECTED, e.HangupReceived): T(a.hung_up, {S.ENDED: ""}),
    (S.CONNECTED, e.IceConnected): T(a.path_changed, {S.CONNECTED: ""}),
    (S.CONNECTED, e.PathQuality): T(a.path_quality, {S.CONNECTED: ""}),
    (S.CONNECTED, e.ChatReceived): T(a.chat_received, {S.CONNECTED: ""}),
    (S.CONNECTED, e.ContactsChanged): T(a.hand_over, {S.CONNECTED: ""}),
    (S.CONNECTED, e.RendezvousReceived): T(a.rendezvous_received, {S.CONNECTED: ""}),
    (S.CONNECTED, e.RendezvousHeld): T(a.rendezvous_held, {S.CONNECTED: ""}),
    (S.CONNECTED, e.FirstMedia): T(a.first_media, {S.CONNECTED: ""}),
    (S.CONNECTED, e.Bye): T(a.bye, {S.ENDED: ""}),
    (S.CONNECTED, e.TransportLost): T(a.transport_lost, {S.ENDED: ""}),
    (S.CONNECTED, e.MediaFailed): T(a.media_failed, {S.ENDED: ""}),
    (S.CONNECTED, e.RecordFailed): T(a.record_failed, {S.CONNECTED: ""}),
    (S.CONNECTED, e.SourceEnded): T(a.source_ended, {S.CONNECTED: ""}),
}
"""What happens. Anything that is not here, in IGNORED or in MISUSE is a bug, and a test says so."""


def _pairs(state: State, *groups: tuple[type[e.Event], ...]) -> frozenset[Key]:
    return frozenset((state, event) for group in groups for event in group)


_CALLER_LATE = (e.PresenceFound, e.PresenceMissing, e.Delivered, e.Reached)
"""Reports about our look-ups and deliveries that the call no longer waits for."""
_DESCRIPTIONS = (e.EndpointReady, e.AnswerReady)
"""Descriptions of an endpoint that was closed meanwhile, or copies."""
_TRANSPORT = (e.IceConnected, e.PathQuality, e.Secured, e.ControlOpen, e.Bye, e.TransportLost)
"""Before an answer no transport can come up; only a closed endpoint's late event says so."""
_RENDEZVOUS = (e.RendezvousReceived, e.RendezvousHeld)
"""What the peer says of secrets before it has proved who it is."""
_PROOF = (e.ConfirmReceived, e.ConfirmedReceived, e.ChatReceived, e.FirstMedia, *_RENDEZVOUS)
"""Control messages and media that come before the call can have any, or again."""
_NO_CALL = (e.CandidatesReceived, e.RejectReceived, e.RingingReceived, e.AnswerReceived)
"""Messages that belong to no call of ours."""
_MEDIA_NOTES = (e.MediaFailed, e.RecordFailed, e.SourceEnded)
"""Of an endpoint, when there is none."""

IGNORED: Final[frozenset[Key]] = (
    _pairs(S.IDLE, _CALLER_LATE, _NO_CALL, e.MEDIA_EVENTS, e.TIMER_EVENTS)
    | _pairs(S.LOOKING_UP, (e.Delivered, e.Reached, e.AnswerReady), _TRANSPORT, _PROOF)
    | _pairs(
        S.LOOKING_UP, (e.OfflineTimeout, e.ResendTimeout, e.RingTimeout, e.PathTimeout, e.ConfirmTimeout)
    )
    | _pairs(S.CALLING, (e.PresenceFound, e.PresenceMissing, e.AnswerReady), _TRANSPORT, _PROOF)
    | _pairs(S.CALLING, (e.LookupTimeout, e.RetryTimeout, e.PathTimeout, e.ConfirmTimeout))
    | _pairs(S.RINGING, _CALLER_LATE, (e.RingingReceived,), _DESCRIPTIONS, _TRANSPORT, _PROOF)
    | _pairs(S.RINGING, (e.LookupTimeout, e.RetryTimeout, e.OfflineTimeout, e.EndpointTimeout))
    | _pairs(S.RINGING, (e.PathTimeout, e.ConfirmTimeout))
    | _pairs(S.INCOMING, _CALLER_LATE, (e.RingingReceived, e.AnswerReceived, e.RejectReceived))
    | _pairs(S.INCOMING, _DESCRIPTIONS, _TRANSPORT, _PROOF, _MEDIA_NOTES)
    | _pairs(S.INCOMING, (e.LookupTimeout, e.RetryTimeout, e.OfflineTimeout, e.EndpointTimeout))
    | _pairs(S.INCOMING, (e.PathTimeout, e.ConfirmTimeout))
    | _pairs(S.CONNECTING, _CALLER_LATE, (e.RingingReceived, e.AnswerReceived, e.EndpointReady))
    | _pairs(S.CONNECTING, (e.PathQuality, e.ConfirmedReceived, e.ChatReceived, e.FirstMedia), _RENDEZVOUS)
    | _pairs(S.CONNECTING, (e.LookupTimeout, e.RetryTimeout, e.OfflineTimeout, e.RingTimeout))
    | _pairs(S.CONFIRMING, _CALLER_LATE, (e.RingingReceived, e.AnswerReceived, e.RejectReceived))
    | _pairs(S.CONFIRMING, _DESCRIPTIONS, (e.Secured, e.ChatReceived), _RENDEZVOUS)
    | _pairs(
        S.CONFIRMING, (e.LookupTimeout, e.RetryTimeout, e.OfflineTimeout, e.ResendTimeout, e.RingTimeout)
    )
    | _pairs(S.CONFIRMING, (e.EndpointTimeout, e.PathTimeout))
    | _pairs(S.CONNECTED, _CALLER_LATE, (e.RingingReceived, e.AnswerReceived, e.RejectReceived))
    | _pairs(S.CONNECTED, _DESCRIPTIONS, (e.Secured, e.ControlOpen, e.ConfirmReceived, e.ConfirmedReceived))
    | _pairs(S.CONNECTED, e.TIMER_EVENTS)
    | frozenset((state, e.ContactsChanged) for state in State if state is not S.CONNECTED)
    | _pairs(S.ENDED, (e.Hangup, e.Decline), e.SIGNALING_EVENTS, e.MEDIA_EVENTS, e.TIMER_EVENTS)
)
"""Pairs that change nothing: late reports, copies, and messages that mean nothing here."""

MISUSE: Final[frozenset[Key]] = (
    _pairs(S.IDLE, (e.Answer, e.Decline, e.Hangup, e.Chat))
    | _pairs(S.LOOKING_UP, (e.Dial, e.Answer, e.Decline, e.Chat))
    | _pairs(S.CALLING, (e.Dial, e.Answer, e.Decline, e.Chat))
    | _pairs(S.RINGING, (e.Dial, e.Answer, e.Decline, e.Chat))
    | _pairs(S.INCOMING, (e.Chat,))
    | _pairs(S.CONNECTING, (e.Dial, e.Answer, e.Decline, e.Chat))
    | _pairs(S.CONFIRMING, (e.Dial, e.Answer, e.Decline, e.Chat))
    | _pairs(S.CONNECTED, (e.Dial, e.Answer, e.Decline))
    | _pairs(S.ENDED, (e.Dial, e.Answer, e.Chat))
)
"""Pairs that our own caller must not make. (Hanging up or declining what has just ended is no mistake.)"""


class CallMachine:
    """One call. Feed it events, run what it returns, and wake it at ``deadline()``."""

    def __init__(self, me: PeerId, peer: PeerId, call_id: bytes) -> None:
        """``call_id``: 16 random octets for a call of ours, or the id in the peer's offer."""
        if me == peer:
            raise LocalProtocolError("a call needs two peers")
        if len(call_id) != 16:
            raise LocalProtocolError("a call id has 16 octets")
        self._data = CallData(me, peer, call_id)

    def handle(self, event: e.Event, now: float) -> list[Command]:
        """What to do about ``event`` at ``now`` (monotonic seconds).

        Raises :class:`LocalProtocolError` for a user's event that makes no sense now; nothing has changed
        then. Nothing else raises.
        """
        data = self._data
        if isinstance(event, e.PeerMessage) and not self._concerns(event):
            return []
        key = (data.state, type(event))
        if key in IGNORED:
            data.counters[f"{type(event).__name__} in {data.state}"] += 1
            return []
        if key in MISUSE:
            raise LocalProtocolError(f"can't {type(event).__name__.lower()}: the call is {data.state}")
        row = TABLE[key]
        row.action(data, event, now)
        assert data.state in row.to, f"{row.action.__name__} led from {key[0]} to {data.state}"
        output, data.output = data.output, []
        return output

    def handle_timer(self, now: float) -> list[Command]:
        """Fire what is due at ``now``; too early a call does nothing."""
        due = sorted((at, timer.__name__, timer) for timer, at in self._data.timers.items() if at <= now)
        output: list[Command] = []
        for at, _, timer in due:
            if self._data.timers.get(timer) == at:  # else an earlier one of this round has reset it
                self._data.drop_timer(timer)
                output += self.handle(timer(), now)
        return output

    def deadline(self) -> float | None:
        """When ``handle_timer`` is to be called next; None: the timer need not run."""
        return min(self._data.timers.values(), default=None)

    def owns(self, call_id: bytes) -> bool:
        """Whether ``call_id`` is this call, or an attempt that this call replaced or overruled."""
        return call_id == self._data.call_id or call_id in self._data.other_ids

    def _concerns(self, event: e.PeerMessage) -> bool:
        """Whether a message is about this call, or an offer that this state has to judge."""
        data = self._data
        if event.call_id == data.call_id:
            if data.role == "callee" or data.state is S.IDLE:
                return True
            if data.offer_sent and not isinstance(event, e.OfferReceived):
                return True
            data.counters["reply to nothing"] += 1
            return False
        if isinstance(event, e.OfferReceived) and data.state is not S.IDLE:
            over = data.other_ids.get(event.call_id) is False
            data.counters["late offer"] += over
            return not over
        if isinstance(event, e.HangupReceived):
            data.remember(event.call_id, offered=False)
        data.counters["other attempt"] += 1
        return False

    @property
    def peer(self) -> PeerId:
        """The other end."""
        return self._data.peer

    @property
    def call_id(self) -> bytes:
        """16 octets; changes once when both called at once and the peer's offer won."""
        return self._data.call_id

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self._data.state

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self._data.state is S.ENDED

    @property
    def role(self) -> Role:
        """Whose offer counts."""
        return self._data.role

    @property
    def path(self) -> Path:
        """How the media travels."""
        return self._data.path

    @property
    def reconnecting(self) -> bool:
        """Whether no path answers now."""
        return self._data.reconnecting

    @property
    def trouble(self) -> str:
        """What makes the path a poor one: silent, loss or slow; empty: it is a good one."""
        return self._data.trouble

    @property
    def reason(self) -> e.EndReason | None:
        """Why it ended; None: it has not."""
        return self._data.reason

    @property
    def timeline(self) -> Timeline:
        """What happened when; read only."""
        return self._data.timeline

    def statistics(self) -> dict[str, int]:
        """How often what was ignored, by reason."""
        return dict(self._data.counters)

    def __repr__(self) -> str:
        data = self._data
        return f"<CallMachine {data.call_id.hex()[:8]} {data.role} {data.state} with {data.peer.short}>"
