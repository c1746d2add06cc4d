"""One call, as the user of a node sees it.

Law 1: what happened is told as events; the events of a call are kept, so who comes late misses none.
Law 2: ``Ended`` is the last event and comes once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.broadcast import Broadcast
from meshcall.call import control
from meshcall.call import events as e
from meshcall.call.explanation import Explanation, explain
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.call.summary import reason_error
from meshcall.call.timeline import Timeline
from meshcall.driver import CallDriver, MakeEndpoint, Outcome, Secrets, Spawn
from meshcall.errors import LocalProtocolError, MeshcallError, NotVerifiable, UsageError
from meshcall.finder import Finder
from meshcall.ice.network import Network
from meshcall.ice.verdict import hint_of
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.media.quality import Trouble
from meshcall.media_paths import check_record, check_source
from meshcall.post import Post
from meshcall.views import (
    CallDirection,
    CallEvent,
    Calling,
    CallState,
    CallSummary,
    CallView,
    Chat,
    Connected,
    Connecting,
    Degraded,
    EmojiView,
    Ended,
    ErrorView,
    Incoming,
    LayerKind,
    LookingUp,
    Media,
    MediaTotals,
    PathChanged,
    PathKind,
    PathStep,
    PeerMedia,
    RecordFailed,
    Ringing,
    SourceEnded,
    VerificationView,
)

_STATES: Final[dict[State, CallState]] = {
    State.IDLE: "calling",
    State.LOOKING_UP: "calling",
    State.CALLING: "calling",
    State.RINGING: "ringing",
    State.INCOMING: "incoming",
    State.CONNECTING: "connecting",
    State.CONFIRMING: "connecting",
    State.CONNECTED: "connected",
    State.ENDED: "ended",
}
_TROUBLES: Final[tuple[Trouble, ...]] = ("silent", "loss", "slow", "narrow", "cpu")
_AUDIO_FRAME: Final = 0.02
"""Seconds in one audio frame (RFC 7587: 20 ms)."""


class Surroundings(Protocol):
    """What a call needs of its node."""

    def now_ms(self) -> int:
        """Unix milliseconds."""

    def contact_name(self, peer_id: PeerId) -> str:
        """Our name for a peer; empty: none."""

    def is_contact(self, peer_id: PeerId) -> bool:
        """Whether a peer is in the contact book."""

    def tell(self, event: CallEvent) -> None:
        """Tell an event of a call to the node's listeners."""

    def over(self, call: Call) -> None:
        """The call is over; what it held open is being closed."""

    def ended(self, call: Call) -> None:
        """The call is over, and all that it held open is closed."""

    def connected(self, call: Call) -> None:
        """Both sides are confirmed."""

    def adopted(self, call: Call) -> None:
        """The call has another id now."""

    def start_incoming(self, event: e.OfferReceived, letter: Letter) -> None:
        """The peer began anew."""

    def network(self) -> Network:
        """What is known of the network that we are in."""

    def spoke(self, call: Call, *, speaking: bool) -> None:
        """Somebody begins to speak into what the call sends, or ends to."""

    def share_failed(self, call: Call, message: str) -> None:
        """What was to be shared in a room can't be opened: that link shows nothing of it."""

    def room_message(self, call: Call, body: bytes) -> None:
        """The peer says this about the room whose link the call is; never for a call without a room."""


class Call:
    """A call, from its first moment to long after its end."""

    def __init__(self, machine: CallMachine, direction: CallDirection, node: Surroundings) -> None:
        self.machine = machine
        self.direction: CallDirection = direction
        self.since_ms = node.now_ms()
        self.connected_ms: int | None = None
        self.ended_ms: int | None = None
        self.self_name = ""
        self.missed = False
        self._via, self._by = "", ""
        self.driver: CallDriver
        """Set right after the making: driver and call know each other."""
        self._node = node
        self._history: list[CallEvent] = []
        self._events: Broadcast[CallEvent] = Broadcast(limits.EVENTS_UNREAD_MAX)
        self._summary: CallSummary | None = None

    # --- what it is -------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""
        return self.machine.call_id.hex()

    @property
    def peer_id(self) -> PeerId:
        """The other end."""
        return self.machine.peer

    @property
    def state(self) -> CallState:
        """Where it stands."""
        if self.machine.state is State.CONNECTED and self.machine.reconnecting:
            return "reconnecting"
        if self.machine.state is State.CONNECTED and self.machine.trouble:
            return "degraded"
        return _STATES[self.machine.state]

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.machine.ended

    @property
    def peer(self) -> PeerId:
        """The other end, as routing asks for it."""
        return self.machine.peer

    def owns(self, call_id: bytes) -> bool:
        """Whether a message about ``call_id`` belongs here."""
        return self.machine.owns(call_id)

    @property
    def was_unheard(self) -> bool:
        """Whether it was over before the peer said that it rings, and the peer may not know of it."""
        marks = self.machine.timeline.marks()
        if "ringing" in marks or "answer" in marks:
            return False
        given_up = self.machine.reason in (e.EndReason.CANCELLED, e.EndReason.SHUTDOWN)
        unheard = self.machine.reason in (e.EndReason.OFFLINE, e.EndReason.NO_ANSWER)
        return unheard or (given_up and "delivered" in marks)

    @property
    def summary(self) -> CallSummary | None:
        """Its last event, once it is over."""
        return self._summary

    def _explanation(self) -> Explanation:
        if self._summary is not None:
            return Explanation(self._summary.explanation, tuple(self._summary.better))
        return explain(self.machine.timeline.steps, self._node.network())

    def view(self) -> CallView:
        """The call as it is now."""
        explanation = self._explanation()
        return CallView(
            id=self.id,
            peer_id=self.peer_id.text,
            name=self._node.contact_name(self.peer_id),
            direction=self.direction,
            state=self.state,
            since_ms=self.since_ms,
            path=self.machine.path,
            timeline=self.machine.timeline.marks(),
            reason=str(self.machine.reason or ""),
            stranger=not self._node.is_contact(self.peer_id),
            paths=_path_steps(self.machine.timeline),
            explanation=explanation.path,
            better=list(explanation.better),
        )

    # --- what a user does -------------------------------------------------------------------------

    def dial(self, timeout: float, wait: float) -> None:
        """Begin; in a call that rings here: answer."""
        # The offer's sockets stay open while an answer to it may come
        patience = limits.CALL_LOOKUP + max(wait, 0.0) + 2 * min(timeout, limits.CALL_RING_MAX)
        plan = self.driver.plan
        self.driver.plan = replace(plan, offer_timeout=max(plan.offer_timeout, patience))
        self._user(e.Dial(timeout, wait))

    async def answer(
        self,
        *,
        source: str | None = None,
        record: Path | None = None,
        page: str = "",
        video: bool = True,
    ) -> None:
        """Answer an incoming call; raises :class:`UsageError` when there is nothing to answer.

        ``page``: the open page whose browser carries the media; ``video``: pictures, too.
        """
        self.set_media(source, record, page=page, video=video)
        self._user(e.Answer())

    async def decline(self, words: str = "") -> None:
        """Decline an incoming call; ``words``: a line that the caller is shown."""
        self._user(e.Decline(words=words))

    async def hangup(self) -> None:
        """End the call in any state; one that is over stays as it is."""
        if not self.ended:
            self._user(e.Hangup())

    async def shut_down(self) -> None:
        """End the call because the node stops."""
        if not self.ended:
            self._user(e.Hangup(e.EndReason.SHUTDOWN))

    async def chat(self, text: str) -> None:
        """Send a line of chat; the call must be connected."""
        size = len(text.encode("utf-8", "replace"))
        if not 0 < size <= limits.CHAT_MAX:
            raise UsageError(f"a chat line has 1 to {limits.CHAT_MAX} octets, this one has {size}")
        self._user(e.Chat(text))
        self._tell(Chat(call=self.id, at_ms=self._node.now_ms(), text=text, sender="me"))

    def tell_media(self, *, audio: bool, video: bool, screen: bool) -> None:
        """Tell the peer what is muted and what is shown. Nothing happens unless the call is connected."""
        self.driver.send_aside(control.MediaState(audio, video, screen))

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Send nothing of this kind from now on, or send it again."""
        self.driver.set_muted(kind, muted=muted)

    def share(self, source: str) -> None:
        """Show the pictures of another source beside ours, as a screen; empty: no more."""
        self.driver.share(source)

    def tell_room(self, body: bytes) -> None:
        """Say this about the room to its other member. Nothing happens unless the link is connected."""
        self.driver.send_aside(control.Room(body))

    def ask_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """Tell the peer how large its pictures are shown here. Nothing happens unless it is connected."""
        self.driver.send_aside(control.Layer(kind, height, fps))

    def verification(self) -> VerificationView:
        """The words that both people compare; raises :class:`NotVerifiable` until they are known."""
        words = self.driver.asides.words
        if words is None:
            raise NotVerifiable
        return VerificationView(
            emoji=[EmojiView(symbol=symbol, word=word) for symbol, word in words.emoji],
            digits=" ".join(map(str, words.digits)),
        )

    def set_media(
        self, source: str | None, record: Path | None, *, page: str = "", video: bool = True
    ) -> None:
        """Change what is sent and where to record, before the endpoint is made; raises for what can't be."""
        if source is not None:
            check_source(source)
        if record is not None:
            check_record(record)
        plan = self.driver.plan
        self.driver.plan = replace(
            plan,
            source=plan.source if source is None else source,
            record=record or plan.record,
            page=page,
            video=video or bool(page),
            camera=video,
        )

    def record_to(self, record: Path | None) -> None:
        """Record to ``record`` (None: not at all), before the endpoint is made."""
        self.driver.plan = replace(self.driver.plan, record=record)

    def contacts_changed(self) -> None:
        """The peer may be a contact now, or what contacts find us by may be another."""
        self.driver.feed(e.ContactsChanged())

    def _user(self, event: e.UserEvent) -> None:
        try:
            self.driver.feed(event)
        except LocalProtocolError:
            verb = type(event).__name__.lower()
            raise UsageError(f"can't {verb}: the call is {self.state}") from None

    # --- what happened ----------------------------------------------------------------------------

    def events(self) -> AsyncIterator[CallEvent]:
        """Every event since the call's start, then each as it comes; ends after ``Ended``."""
        return self._events.subscribe(self._history)

    async def wait_connected(self) -> None:
        """Return when both sides are confirmed; raises the end's exception if it ends before."""
        async for event in self.events():
            if isinstance(event, Connected):
                return
            if isinstance(event, Ended):
                raise self._error() or MeshcallError(f"the call ended before it began: {event.reason}")

    async def wait_ended(self) -> CallSummary:
        """The call's summary, when it is over."""
        async for event in self.events():
            if isinstance(event, Ended):
                return event
        assert self._summary is not None, "the events of a call end with its summary"
        return self._summary

    def raise_for_end(self) -> None:
        """Raise the exception of the reason why the call ended, unless somebody wanted it to end."""
        error = self._error()
        if error is not None:
            raise error

    def _error(self) -> MeshcallError | None:
        if self._summary is None or self._summary.error is None:
            return None
        reason = self.machine.reason
        kind = reason_error(reason) if reason is not None else None
        return (kind or MeshcallError)(self._summary.error.message, hint=self._summary.error.hint)

    def _tell(self, event: CallEvent) -> None:
        if len(self._history) < limits.CALL_EVENTS_MAX or isinstance(event, Ended):
            self._history.append(event)
        self._events.publish(event)
        self._node.tell(event)

    # --- what the driver tells (driver.Listener) --------------------------------------------------

    def on_state(self, state: State, via: str, by: str) -> None:
        """Tell the new state."""
        call, at_ms = self.id, self._node.now_ms()
        match state:
            case State.LOOKING_UP:
                name = self._node.contact_name(self.peer_id)
                self._tell(LookingUp(call=call, at_ms=at_ms, peer_id=self.peer_id.text, name=name))
            case State.CALLING:
                self._via, self._by = via, by
                self._tell(Calling(call=call, at_ms=at_ms, via=via, by=by))
            case State.RINGING:
                self._tell(Ringing(call=call, at_ms=at_ms))
            case State.INCOMING:
                self._tell(
                    Incoming(
                        call=call,
                        at_ms=at_ms,
                        peer_id=self.peer_id.text,
                        name=self._node.contact_name(self.peer_id),
                        self_name=self.self_name,
                        stranger=not self._node.is_contact(self.peer_id),
                    )
                )
            case State.CONNECTING:
                self._tell(Connecting(call=call, at_ms=at_ms))
            case State.CONNECTED:
                self.connected_ms = at_ms
                timeline = self.machine.timeline
                self._tell(
                    Connected(
                        call=call,
                        at_ms=at_ms,
                        path=self.machine.path,
                        setup_ms=timeline.setup_ms(),
                        timeline=timeline.marks(),
                    )
                )
                self._node.connected(self)
            case State.IDLE | State.CONFIRMING | State.ENDED:
                pass  # no news: it has not begun, it is still connecting, or on_ended says more

    def on_ring(self, ringing: bool) -> None:
        """Ringing is told by ``Incoming``, and stops with whatever event comes next."""

    def on_notify(self, kind: str, detail: str) -> None:
        """Tell what the call's end does not depend on."""
        call, at_ms = self.id, self._node.now_ms()
        match kind:
            case "chat":
                self._tell(Chat(call=call, at_ms=at_ms, text=detail))
            case "peer-media":
                now = self.driver.asides.peer_media
                self._tell(
                    PeerMedia(call=call, at_ms=at_ms, audio=now.audio, video=now.video, screen=now.screen)
                )
            case "media":
                self._tell(Media(call=call, at_ms=at_ms, kind="audio" if detail == "audio" else "video"))
            case "path":
                path: PathKind = self.machine.path if detail else ""
                last = next((step for step in reversed(self.machine.timeline.steps) if step.local), None)
                why = last.why if path and last is not None else "lost"
                self._tell(PathChanged(call=call, at_ms=at_ms, path=path, why=why))
            case "quality":
                trouble: Trouble = next((one for one in _TROUBLES if one == detail), "")
                self._tell(Degraded(call=call, at_ms=at_ms, why=trouble))
            case "source-ended":
                self._tell(SourceEnded(call=call, at_ms=at_ms, kind=detail))
            case "record-failed":
                self._tell(RecordFailed(call=call, at_ms=at_ms, message=detail))
            case "waiting":
                self._tell(Calling(call=call, at_ms=at_ms, via="waiting"))
            case "reached":
                self._tell(Calling(call=call, at_ms=at_ms, via=self._via, by=self._by, reached=True))

    def on_speaking(self, speaking: bool) -> None:
        """Somebody speaks here, or does so no more."""
        self._node.spoke(self, speaking=speaking)

    def on_share_failed(self, message: str) -> None:
        """What was to be shared can't be."""
        self._node.share_failed(self, message)

    def on_room(self, body: bytes) -> None:
        """The peer says something about the room."""
        self._node.room_message(self, body)

    def on_adopt(self, old_id: bytes, new_id: bytes) -> None:
        """Both called at once: the call goes on under the peer's id."""
        self._node.adopted(self)

    def on_start_incoming(self, event: e.OfferReceived, letter: Letter) -> None:
        """The peer began anew."""
        self._node.start_incoming(event, letter)

    def on_over(self) -> None:
        """The next event is the end, as soon as everything is closed."""
        self._node.over(self)

    def on_ended(self, outcome: Outcome) -> None:
        """Tell the end."""
        command, statistics = outcome.command, outcome.statistics
        summary = command.summary
        self.ended_ms = self._node.now_ms()
        self.missed = command.missed
        explanation = self._explanation()
        self._summary = Ended(
            call=self.id,
            at_ms=self.ended_ms,
            peer_id=self.peer_id.text,
            name=self._node.contact_name(self.peer_id),
            direction=self.direction,
            reason=str(command.reason),
            path=summary.path,
            setup_ms=summary.setup_ms,
            timeline=summary.timeline,
            received=MediaTotals(
                video_frames=statistics.video.frames_received,
                screen_frames=statistics.screen.frames_received,
                audio_seconds=statistics.audio_seconds_received,
            ),
            sent=MediaTotals(
                video_frames=statistics.video.frames_sent,
                screen_frames=statistics.screen.frames_sent,
                audio_seconds=round(statistics.audio.frames_sent * _AUDIO_FRAME, 3),
            ),
            codecs={
                kind: stats.codec
                for kind, stats in (("audio", statistics.audio), ("video", statistics.video))
                if stats.codec
            },
            record=statistics.recorded,
            paths=_path_steps(self.machine.timeline),
            explanation=explanation.path,
            better=list(explanation.better),
            error=_error_view(command.reason, command.detail, command.cause, self._who()),
        )
        self._tell(self._summary)
        self._events.close()
        self._node.ended(self)

    def _who(self) -> str:
        return self._node.contact_name(self.peer_id) or self.peer_id.short


def _path_steps(timeline: Timeline) -> list[PathStep]:
    return [
        PathStep(
            at=step.at_ms,
            path=step.path,
            why=step.why,
            local=step.local,
            remote=step.remote,
            ipv6=step.ipv6,
        )
        for step in timeline.steps
    ]


def open_call(
    node: Surroundings,
    *,
    peer: PeerId,
    call_id: bytes,
    direction: CallDirection,
    plan: MediaPlan,
    identity: SigningKey,
    name: str,
    post: Post,
    finder: Finder,
    secrets: Secrets,
    make_endpoint: MakeEndpoint,
    clock: Clock,
    spawn: Spawn,
    random: Random,
    room: bytes = b"",
) -> Call:
    """A call with its driver, or a link of the room with the tag ``room``; nothing has happened in it yet."""
    machine = CallMachine(post.me, peer, call_id)
    call = Call(machine, direction, node)
    call.driver = CallDriver(
        machine,
        plan,
        identity=identity,
        name=name,
        post=post,
        finder=finder,
        secrets=secrets,
        make_endpoint=make_endpoint,
        clock=clock,
        spawn=spawn,
        listener=call,
        random=random,
        room=room,
    )
    return call


_SENTENCES: Final[dict[e.EndReason, Callable[[str], str]]] = {
    e.EndReason.DECLINED: lambda who: f"{who} declined the call",
    e.EndReason.BUSY: lambda who: f"{who} is in another call",
    e.EndReason.NO_ANSWER: lambda who: f"{who} did not answer",
    e.EndReason.OFFLINE: lambda who: f"{who} is offline, or takes no calls from you",
    e.EndReason.NO_PATH: lambda who: f"no network path to {who} could be made",
    e.EndReason.PEER_GONE: lambda who: f"{who} disappeared during the call",
    e.EndReason.CONFIRM_FAILED: lambda who: f"the other end could not prove that it is {who}",
    e.EndReason.CLOCK: lambda who: f"the clocks of this machine and of {who} differ too much",
    e.EndReason.UNSUPPORTED: lambda who: f"this version and that of {who} have no call in common",
    e.EndReason.MEDIA_FAILED: lambda who: f"the call with {who} ended",
    e.EndReason.FAILED: lambda who: f"the call with {who} failed",
}


def _error_view(reason: e.EndReason, detail: str, cause: str, who: str) -> ErrorView | None:
    kind = reason_error(reason)
    if kind is None:
        return None
    sentence = _SENTENCES.get(reason)
    message = sentence(who) if sentence else detail or kind.sentence()
    if sentence and detail:
        message = f"{message} ({detail})"
    error = kind(message, hint=hint_of(cause) or None)
    return ErrorView(
        code=error.code, message=str(error), hint=error.hint, exit_code=error.exit_code, cause=cause
    )
