"""What wakes a call machine: its user, the network (signaling and media), its timer. Nothing else does.

Law 1: an event is a frozen value; descriptions and candidates in it are opaque octets to the machine.
Law 2: a signaling event is fed only after every gate of the envelope has passed (seal, signature, time,
replay) and only to the machine of the peer that signed it.
Law 3: a media event comes from the machine's present endpoint; after ``CloseMedia`` was run the old
endpoint's events are dropped by the shell.
Law 4: a user's event in a state that has no use for it raises
:class:`meshcall.errors.LocalProtocolError`; no other event ever raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from meshcall.call.timeline import Path


class EndReason(StrEnum):
    """Why a call ended."""

    HANGUP = "hangup"
    """Somebody hung up an answered call."""
    CANCELLED = "cancelled"
    """The caller gave up before the answer."""
    DECLINED = "declined"
    """The callee declined."""
    BUSY = "busy"
    """The callee is in another call."""
    NO_ANSWER = "no-answer"
    """It rang and nobody answered in time."""
    OFFLINE = "offline"
    """The callee was never reached."""
    NO_PATH = "no-path"
    """Answered, but ICE found no pair in time."""
    PEER_GONE = "peer-gone"
    """The path died, or the peer began anew."""
    CONFIRM_FAILED = "confirm-failed"
    """DTLS or the signed confirms did not complete, or did not verify."""
    CLOCK = "clock"
    """The clocks differ too much."""
    UNSUPPORTED = "unsupported"
    """No common version or codec."""
    SOURCE = "source"
    """What was to be sent can't be read."""
    RECORD = "record"
    """The file to record to can't be made."""
    ANSWERED_ELSEWHERE = "answered-elsewhere"
    """Another call between the same two took its place."""
    SHUTDOWN = "shutdown"
    """Our node stops."""
    MEDIA_FAILED = "media-failed"
    """The process that had our media hung, crashed or was killed."""
    FAILED = "failed"
    """Something else broke."""


class Event:
    """Base of all events."""

    __slots__ = ()
    group: ClassVar[str] = ""
    """Who sends it: user, signaling, media or timer."""


# --- user -----------------------------------------------------------------------------------------


class UserEvent(Event):
    """Our own user's wish."""

    __slots__ = ()
    group = "user"


@dataclass(frozen=True, slots=True)
class Dial(UserEvent):
    """Call the peer. In ``incoming`` it answers: both want the call."""

    ring_timeout: float = 60.0
    """Seconds the peer may ring."""
    wait: float = 0.0
    """Seconds to keep trying while the peer is offline."""


@dataclass(frozen=True, slots=True)
class Answer(UserEvent):
    """Accept the incoming call."""


@dataclass(frozen=True, slots=True)
class Decline(UserEvent):
    """Refuse the incoming call."""

    reason: Literal["declined", "busy"] = "declined"
    """What the caller is told."""
    words: str = ""
    """What it is told besides, by a person."""


@dataclass(frozen=True, slots=True)
class Hangup(UserEvent):
    """End the call in whatever state it is."""

    reason: EndReason | None = None
    """Given when the node stops (``SHUTDOWN``); None: hangup or cancelled, as the state tells."""


@dataclass(frozen=True, slots=True)
class Chat(UserEvent):
    """Send a line of chat."""

    text: str
    """1 to CHAT_MAX octets of UTF-8."""


@dataclass(frozen=True, slots=True)
class ContactsChanged(UserEvent):
    """Who is a contact, or what contacts find us by, may be another now. Makes sense in every state."""


# --- signaling ------------------------------------------------------------------------------------


class SignalingEvent(Event):
    """Something about our own look-ups and deliveries, or a message of the peer."""

    __slots__ = ()
    group = "signaling"


@dataclass(frozen=True, slots=True)
class PresenceFound(SignalingEvent):
    """The peer's presence is known: an offer can be sealed and delivered."""

    source: str = ""
    """lan, dht, cache or invite; for the timeline only."""


@dataclass(frozen=True, slots=True)
class PresenceMissing(SignalingEvent):
    """The look-up ended without a presence."""


@dataclass(frozen=True, slots=True)
class Delivered(SignalingEvent):
    """How far the offer got; may be reported again as more nodes answer (the latest report counts)."""

    watchers: int
    """Watches of the callee, or the callee itself, that the offer was pushed to."""
    stored: int
    """Nodes that keep the offer for a callee that comes back."""


@dataclass(frozen=True, slots=True)
class Reached(SignalingEvent):
    """A node says that the offer is on the callee's machine; that it rings only the callee can say."""


@dataclass(frozen=True, slots=True)
class PeerMessage(SignalingEvent):
    """Base of what the peer signed for one call."""

    call_id: bytes
    """16 octets, the caller's choice."""


@dataclass(frozen=True, slots=True)
class OfferReceived(PeerMessage):
    """The peer calls."""

    offer: bytes
    """Encoded description."""
    created_ms: int = 0
    """When the peer sealed it, by the peer's clock."""
    life: float = 90.0
    """Seconds for which the offer is still valid."""
    auto_answer: bool = False
    """Policy: answer without asking."""
    busy: bool = False
    """Policy: we are in another call and take no second one."""


@dataclass(frozen=True, slots=True)
class RingingReceived(PeerMessage):
    """The peer's machine rings."""


@dataclass(frozen=True, slots=True)
class AnswerReceived(PeerMessage):
    """The peer accepts."""

    answer: bytes
    """Encoded description."""
    created_ms: int = 0
    """When the peer sealed it, by the peer's clock."""


@dataclass(frozen=True, slots=True)
class CandidatesReceived(PeerMessage):
    """More of the peer's ICE candidates."""

    candidates: bytes
    """Encoded candidates."""


@dataclass(frozen=True, slots=True)
class RejectReceived(PeerMessage):
    """The callee refuses."""

    reason: str
    """declined, busy, unsupported, clock or failed; anything else counts as failed."""
    words: str = ""
    """What the callee says to it."""


@dataclass(frozen=True, slots=True)
class HangupReceived(PeerMessage):
    """The peer ended the call, by sealed message."""

    reason: str
    """hangup, cancelled, failed, timeout or answered-elsewhere; anything else counts as failed."""


# --- media ----------------------------------------------------------------------------------------


class MediaEvent(Event):
    """Something about the media endpoint or the control channel it carries."""

    __slots__ = ()
    group = "media"


@dataclass(frozen=True, slots=True)
class EndpointReady(MediaEvent):
    """The endpoint made its offer."""

    offer: bytes
    """Encoded description."""


@dataclass(frozen=True, slots=True)
class AnswerReady(MediaEvent):
    """The endpoint made its answer."""

    answer: bytes
    """Encoded description."""


@dataclass(frozen=True, slots=True)
class IceConnected(MediaEvent):
    """ICE selected a pair, or another one than before."""

    path: Path = ""
    """lan, direct or relay; empty: no pair answers now, and the endpoint tries all again."""
    why: str = ""
    """first, better, nominated, failover, named or revived."""
    local: str = ""
    """Kind of our candidate: host, srflx, prflx or relay."""
    remote: str = ""
    """Kind of the peer's."""
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class PathQuality(MediaEvent):
    """The path is a poor one now, or a good one again."""

    trouble: Literal["", "silent", "loss", "slow", "narrow", "cpu"] = ""
    """Empty: it is good."""


@dataclass(frozen=True, slots=True)
class Secured(MediaEvent):
    """DTLS is up and the peer's certificate has the fingerprint of its description."""


@dataclass(frozen=True, slots=True)
class ControlOpen(MediaEvent):
    """The control channel is open."""


@dataclass(frozen=True, slots=True)
class ConfirmReceived(MediaEvent):
    """The peer's signed confirm came, and was checked by the shell."""

    valid: bool
    """Whether the signature covers this call's transcript."""


@dataclass(frozen=True, slots=True)
class ConfirmedReceived(MediaEvent):
    """The peer says that our confirm verified."""


@dataclass(frozen=True, slots=True)
class ChatReceived(MediaEvent):
    """A line of chat from the peer."""

    text: str
    """As the peer sent it; not for a terminal before control characters are removed."""


@dataclass(frozen=True, slots=True)
class RendezvousReceived(MediaEvent):
    """The peer tells by which secret it is found from now on."""

    secret: bytes = field(repr=False)
    """32 octets."""
    generation: int
    """The newest counts."""


@dataclass(frozen=True, slots=True)
class RendezvousHeld(MediaEvent):
    """The peer says that it holds our rendezvous secret."""

    generation: int
    """Which one."""


@dataclass(frozen=True, slots=True)
class FirstMedia(MediaEvent):
    """The first decoded media of a kind."""

    kind: Literal["audio", "video"]
    """Which."""


@dataclass(frozen=True, slots=True)
class Bye(MediaEvent):
    """The peer said on the control channel that it ends the call."""

    failure: bool = False
    """Whether something broke there."""


@dataclass(frozen=True, slots=True)
class TransportLost(MediaEvent):
    """The path or the DTLS association is gone."""

    clean: bool = False
    """The peer closed DTLS properly, which is what a hang-up looks like when its message was lost."""
    detail: str = ""
    """For the user."""


@dataclass(frozen=True, slots=True)
class MediaFailed(MediaEvent):
    """The endpoint can't go on."""

    reason: EndReason = EndReason.FAILED
    """SOURCE, RECORD, NO_PATH, CONFIRM_FAILED, UNSUPPORTED, MEDIA_FAILED or FAILED."""
    detail: str = ""
    """For the user."""
    cause: str = ""
    """A stable word for why there is no path, of :data:`meshcall.ice.verdict.Cause`."""


@dataclass(frozen=True, slots=True)
class RecordFailed(MediaEvent):
    """The recording broke off; never ends a call."""

    detail: str = ""
    """For the user."""


@dataclass(frozen=True, slots=True)
class SourceEnded(MediaEvent):
    """What we send has come to its end; never ends a call."""

    kind: str = ""
    """audio, video, or empty for both."""


# --- timer ----------------------------------------------------------------------------------------


class Timeout(Event):
    """Base of the timer's events; made by ``CallMachine.handle_timer`` alone."""

    __slots__ = ()
    group = "timer"


@dataclass(frozen=True, slots=True)
class LookupTimeout(Timeout):
    """The look-up never reported."""


@dataclass(frozen=True, slots=True)
class RetryTimeout(Timeout):
    """It is time to look the peer up again, or to give up waiting for it."""


@dataclass(frozen=True, slots=True)
class OfflineTimeout(Timeout):
    """Nobody delivers to the callee, and it does not ring."""


@dataclass(frozen=True, slots=True)
class ResendTimeout(Timeout):
    """The last message had no effect yet: send it again."""


@dataclass(frozen=True, slots=True)
class RingTimeout(Timeout):
    """It rang for long enough."""


@dataclass(frozen=True, slots=True)
class EndpointTimeout(Timeout):
    """Our endpoint made no description in time."""


@dataclass(frozen=True, slots=True)
class PathTimeout(Timeout):
    """ICE found no pair in time."""


@dataclass(frozen=True, slots=True)
class ConfirmTimeout(Timeout):
    """DTLS or the confirms did not complete in time."""


USER_EVENTS: tuple[type[Event], ...] = (Dial, Answer, Decline, Hangup, Chat, ContactsChanged)
SIGNALING_EVENTS: tuple[type[Event], ...] = (
    PresenceFound,
    PresenceMissing,
    Delivered,
    Reached,
    OfferReceived,
    RingingReceived,
    AnswerReceived,
    CandidatesReceived,
    RejectReceived,
    HangupReceived,
)
MEDIA_EVENTS: tuple[type[Event], ...] = (
    EndpointReady,
    AnswerReady,
    IceConnected,
    PathQuality,
    Secured,
    ControlOpen,
    ConfirmReceived,
    ConfirmedReceived,
    ChatReceived,
    RendezvousReceived,
    RendezvousHeld,
    FirstMedia,
    Bye,
    TransportLost,
    MediaFailed,
    RecordFailed,
    SourceEnded,
)
TIMER_EVENTS: tuple[type[Event], ...] = (
    LookupTimeout,
    RetryTimeout,
    OfflineTimeout,
    ResendTimeout,
    RingTimeout,
    EndpointTimeout,
    PathTimeout,
    ConfirmTimeout,
)
EVENTS: tuple[type[Event], ...] = USER_EVENTS + SIGNALING_EVENTS + MEDIA_EVENTS + TIMER_EVENTS
"""Every event type, in the order of the printed table."""
