"""What a call machine asks of its shell.

Law 1: the shell runs the commands of one event in their order, and all of them before the next event.
Law 2: a command never fails back into the machine by exception; what goes wrong comes as an event
(``MediaFailed``, ``PresenceMissing``, ``Delivered(0, 0)``).
Law 3: no ``AddCandidates`` comes before the ``CreateAnswer`` or ``AcceptAnswer`` it belongs to.
Law 4: ``Ended`` comes once, after ``CloseMedia`` if media was begun; only a ``StartIncoming`` may follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from meshcall.call.events import EndReason, OfferReceived
    from meshcall.call.state import State
    from meshcall.call.summary import CallSummary

RejectWord = Literal["declined", "busy", "unsupported", "clock", "failed"]
"""Reasons in a reject message, as on the wire."""

HangupWord = Literal["hangup", "cancelled", "failed", "timeout", "answered-elsewhere"]
"""Reasons in a hangup message, as on the wire."""


class Command:
    """Base of all commands."""

    __slots__ = ()


# --- signaling ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindPresence(Command):
    """Find the peer (directory, LAN, DHT); ends in PresenceFound or PresenceMissing."""

    attempt: int = 1
    """Counts from 1."""


@dataclass(frozen=True, slots=True)
class SendOffer(Command):
    """Deliver the offer; then report Delivered."""

    call_id: bytes
    """16 octets."""
    offer: bytes
    """Encoded description."""
    life: float
    """Seconds for which the sealed offer is valid."""
    fresh: bool = True
    """Seal it anew; False: deliver the same octets again."""


@dataclass(frozen=True, slots=True)
class SendRinging(Command):
    """Tell the caller that we ring."""

    call_id: bytes
    """16 octets."""


@dataclass(frozen=True, slots=True)
class SendAnswer(Command):
    """Deliver the answer, by the way that the offer came."""

    call_id: bytes
    """16 octets."""
    answer: bytes
    """Encoded description."""
    fresh: bool = True
    """Seal it anew; False: deliver the same octets again."""


@dataclass(frozen=True, slots=True)
class SendReject(Command):
    """Tell the caller that we refuse."""

    call_id: bytes
    """16 octets; may be an attempt other than the machine's own."""
    reason: RejectWord
    """As on the wire."""
    words: str = ""
    """What our user says to it."""


@dataclass(frozen=True, slots=True)
class SendHangup(Command):
    """Tell the peer, by sealed message, that the call is over; stored for a callee that comes back."""

    call_id: bytes
    """16 octets; may be an attempt other than the machine's own."""
    reason: HangupWord
    """As on the wire."""


@dataclass(frozen=True, slots=True)
class AdoptCall(Command):
    """Both called at once and the peer's offer won: this machine is now that call, as its callee."""

    old_id: bytes
    """Our attempt: replies to it are still the machine's (it ignores them)."""
    new_id: bytes
    """The peer's."""


@dataclass(frozen=True, slots=True)
class StartIncoming(Command):
    """The peer began anew: feed this offer to a machine of its own."""

    event: OfferReceived
    """As it came."""


# --- media ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateOffer(Command):
    """Open an endpoint and make an offer; ends in EndpointReady or MediaFailed."""


@dataclass(frozen=True, slots=True)
class CreateAnswer(Command):
    """Open an endpoint and answer; ends in AnswerReady or MediaFailed."""

    offer: bytes
    """The peer's encoded description."""


@dataclass(frozen=True, slots=True)
class AcceptAnswer(Command):
    """Give the peer's answer to the endpoint."""

    answer: bytes
    """Encoded description."""


@dataclass(frozen=True, slots=True)
class AddCandidates(Command):
    """Give candidates to the endpoint."""

    candidates: bytes
    """Encoded candidates."""


@dataclass(frozen=True, slots=True)
class SendConfirm(Command):
    """Sign the transcript and send it on the control channel."""

    role: Literal["caller", "callee"]
    """Our role in the call whose offer won."""


@dataclass(frozen=True, slots=True)
class SendConfirmed(Command):
    """Say on the control channel that the peer's confirm verified."""


@dataclass(frozen=True, slots=True)
class OpenGate(Command):
    """The peer is proved: media may flow."""


@dataclass(frozen=True, slots=True)
class SendChat(Command):
    """Send a line of chat on the control channel."""

    text: str
    """1 to CHAT_MAX octets of UTF-8."""


@dataclass(frozen=True, slots=True)
class HandOver(Command):
    """The peer is proved: give it our rendezvous secret, if it is a contact and has not got it in this call.

    What the peer gave and could not be kept, because it was no contact, is kept now if it is one.
    """


@dataclass(frozen=True, slots=True)
class KeepRendezvous(Command):
    """Find the peer by this secret from now on, if it is a contact; then say so to it."""

    secret: bytes = field(repr=False)
    """32 octets."""
    generation: int
    """The newest counts."""


@dataclass(frozen=True, slots=True)
class NoteHeld(Command):
    """The peer holds our rendezvous secret."""

    generation: int
    """Which one."""


@dataclass(frozen=True, slots=True)
class SendBye(Command):
    """Say on the control channel that the call is over."""

    failure: bool = False
    """Whether something broke."""


@dataclass(frozen=True, slots=True)
class CloseMedia(Command):
    """Close the endpoint (what was sent on the control channel leaves first) and drop its events."""


# --- to the user ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ring(Command):
    """Ring until StopRing."""


@dataclass(frozen=True, slots=True)
class StopRing(Command):
    """Stop ringing."""


@dataclass(frozen=True, slots=True)
class StateChanged(Command):
    """The call is in another state now; not sent for ``ended`` (see Ended)."""

    state: State
    """The new one."""


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """Something the user may want to know; the call goes on."""

    kind: Literal["chat", "media", "path", "quality", "reached", "record-failed", "source-ended", "waiting"]
    """What."""
    detail: str = ""
    """The text, the kind of media, the path, or what makes it a poor one."""


@dataclass(frozen=True, slots=True)
class Ended(Command):
    """The call is over."""

    reason: EndReason
    """Why."""
    summary: CallSummary
    """The timeline; what was received and sent is for the shell to add."""
    missed: bool = False
    """It rang here, or would have, and nobody took it."""
    by_peer: bool = False
    """The peer ended it."""
    detail: str = ""
    """More, for the user; never text that a peer wrote."""
    cause: str = ""
    """A stable word for why there is no path."""


__all__ = [
    "AcceptAnswer",
    "AddCandidates",
    "AdoptCall",
    "CloseMedia",
    "Command",
    "CreateAnswer",
    "CreateOffer",
    "Ended",
    "FindPresence",
    "HandOver",
    "HangupWord",
    "KeepRendezvous",
    "NoteHeld",
    "Notify",
    "OpenGate",
    "RejectWord",
    "Ring",
    "SendAnswer",
    "SendBye",
    "SendChat",
    "SendConfirm",
    "SendConfirmed",
    "SendHangup",
    "SendOffer",
    "SendReject",
    "SendRinging",
    "StartIncoming",
    "StateChanged",
    "StopRing",
]
