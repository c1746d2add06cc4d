"""What a node and its media workers tell each other, and its octets (MessagePack).

Law 1: a worker may have been taken over by what a peer sent: the node reads it by ``*_untrusted``, which
raise :class:`Rejected` and nothing else, for whatever is longer, of another type or not printable.
Law 2: no key, address book or TURN credential is in any message to a worker.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta, Struct

from meshcall import errors, limits
from meshcall.errors import MeshcallError, Rejected
from meshcall.ice import events as ice
from meshcall.ice.candidate import Candidate, decode_items_untrusted, encode_candidates, flaw
from meshcall.ice.check import Credentials
from meshcall.ice.notes import Note
from meshcall.media import endpoint as m
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.views import LayerKind

Number = Annotated[int, Meta(ge=0, lt=2**32)]
Text = Annotated[str, Meta(max_length=limits.WORKER_TEXT_MAX)]
Word = Annotated[str, Meta(max_length=64)]
Octets = Annotated[bytes, Meta(max_length=limits.WORKER_MESSAGE_MAX)]
Candidates = Annotated[list[Candidate], Meta(max_length=limits.WORKER_CANDIDATES_MAX)]


class Failure(Struct, frozen=True, array_like=True):
    """Why something was not done."""

    code: Word
    """``rejected``, or the code of a :class:`MeshcallError`."""
    message: Text
    hint: Text = ""


# --- a process ------------------------------------------------------------------------------------


class Open(Struct, frozen=True, tag=True, array_like=True):
    """Make an endpoint; two sockets come with it: for messages, and for datagrams."""

    plan: bytes
    ufrag: str
    pwd: str
    resolves: bool
    """Browsers' names can be asked for."""


class Probe(Struct, frozen=True, tag=True, array_like=True):
    """Can this be sent?"""

    number: Number
    source: bytes


class Ping(Struct, frozen=True, tag=True, array_like=True):
    """Is the loop alive?"""


class Pong(Struct, frozen=True, tag=True, array_like=True):
    """It is."""


class Probed(Struct, frozen=True, tag=True, array_like=True):
    """It can, or not."""

    number: Number
    failure: Failure | None = None


# --- an endpoint: what the node wants -------------------------------------------------------------


class Do(Struct, frozen=True, tag=True, array_like=True):
    """Call a coroutine of the endpoint's; answered by :class:`Done`."""

    number: Number
    verb: Word
    data: bytes = b""


class Change(Struct, frozen=True, tag=True, array_like=True):
    """See :class:`MediaEndpoint`."""

    data: bytes


class Muted(Struct, frozen=True, tag=True, array_like=True):
    """Send nothing of a kind, or send it again."""

    kind: MediaKind
    muted: bool


class Layer(Struct, frozen=True, tag=True, array_like=True):
    """What pictures the peer can show."""

    kind: LayerKind
    height: int
    fps: int


class Control(Struct, frozen=True, tag=True, array_like=True):
    """Send on the control channel."""

    data: bytes


class IceState(Struct, frozen=True, tag=True, array_like=True):
    """What the session has now."""

    candidates: list[Candidate]
    expects_more: bool
    notes: bytes


class IceGathered(Struct, frozen=True, tag=True, array_like=True):
    """Gathering is done; ``error``: no port could be opened."""

    error: str = ""


class IceHappened(Struct, frozen=True, tag=True, array_like=True):
    """One of :data:`meshcall.ice.events.IceEvent`."""

    name: str
    body: bytes


class IceOutcome(Struct, frozen=True, tag=True, array_like=True):
    """There is a path (empty), or never."""

    reason: str


class IceSilence(Struct, frozen=True, tag=True, array_like=True):
    """The selected pair owes an answer for so many seconds."""

    seconds: float


class IceClosed(Struct, frozen=True, tag=True, array_like=True):
    """It is over."""


class Resolved(Struct, frozen=True, tag=True, array_like=True):
    """What a browser's name stands for."""

    number: Number
    addresses: list[str]


# --- an endpoint: what it says --------------------------------------------------------------------


class Done(Struct, frozen=True, tag=True, array_like=True):
    """What came of a :class:`Do`."""

    number: Number
    data: Octets = b""
    failure: Failure | None = None


class Happened(Struct, frozen=True, tag=True, array_like=True):
    """One of :data:`meshcall.media.endpoint.EndpointEvent`."""

    name: Word
    body: Octets


class Counted(Struct, frozen=True, tag=True, array_like=True):
    """The statistics."""

    body: Octets


class Ended(Struct, frozen=True, tag=True, array_like=True):
    """The endpoint has closed; its last statistics came before."""


class Gather(Struct, frozen=True, tag=True, array_like=True):
    """Open ports."""


class Lead(Struct, frozen=True, tag=True, array_like=True):
    """Whether this end decides."""

    controlling: bool


class Start(Struct, frozen=True, tag=True, array_like=True):
    """The peer's credentials; ``anew``: it has others than before."""

    ufrag: Annotated[str, Meta(max_length=256, pattern=r"^[A-Za-z0-9+/]{4,256}$")]
    pwd: Annotated[str, Meta(max_length=256, pattern=r"^[A-Za-z0-9+/]{22,256}$")]
    anew: bool


class Remote(Struct, frozen=True, tag=True, array_like=True):
    """Candidates and notes of the peer's."""

    candidates: Candidates
    notes: Octets


class CloseIce(Struct, frozen=True, tag=True, array_like=True):
    """The path is not needed any more."""


class Resolve(Struct, frozen=True, tag=True, array_like=True):
    """What does a browser's name stand for?"""

    number: Number
    name: Word


ToWorker = Open | Probe | Ping
FromWorker = Pong | Probed
ToSeat = (
    Do
    | Change
    | Muted
    | Layer
    | Control
    | IceState
    | IceGathered
    | IceHappened
    | IceOutcome
    | IceSilence
    | IceClosed
    | Resolved
)
FromSeat = Done | Happened | Counted | Ended | Gather | Lead | Start | Remote | CloseIce | Resolve

_encoder: Final = msgspec.msgpack.Encoder()
_to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
_from_worker: Final = msgspec.msgpack.Decoder(FromWorker)
_to_seat: Final = msgspec.msgpack.Decoder(ToSeat)
_from_seat: Final = msgspec.msgpack.Decoder(FromSeat)

encode = _encoder.encode
"""Octets of any message here."""


def decode_to_worker(data: bytes) -> ToWorker:
    """What the node says to a process."""
    message: ToWorker = _to_worker.decode(data)
    return message


def decode_to_seat(data: bytes) -> ToSeat:
    """What the node says to an endpoint."""
    message: ToSeat = _to_seat.decode(data)
    return message


def decode_from_worker_untrusted(data: bytes) -> FromWorker:
    """What a process says; raises :class:`Rejected`."""
    message: FromWorker = _decode_untrusted(_from_worker, data)
    return message


def decode_from_seat_untrusted(data: bytes) -> FromSeat:
    """What an endpoint says; raises :class:`Rejected`."""
    message: FromSeat = _decode_untrusted(_from_seat, data)
    return message


def _decode_untrusted(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    if len(data) > limits.WORKER_MESSAGE_MAX:
        raise Rejected("worker-size")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected("worker-message") from error


# --- plans ----------------------------------------------------------------------------------------


def encode_plan(plan: MediaPlan) -> bytes:
    """All of it but the servers: ICE is the node's."""
    values = {one.name: getattr(plan, one.name) for one in fields(plan) if one.name != "ice_servers"}
    # JSON keeps a file name that is no text
    return json.dumps(values, default=str).encode("ascii")


def decode_plan(data: bytes) -> MediaPlan:
    """What the node wants of an endpoint."""
    values = json.loads(data)
    for name in ("record", "mixed"):
        values[name] = None if values[name] is None else Path(values[name])
    values["interfaces"] = tuple(values["interfaces"])
    values["shown"] = None if values["shown"] is None else tuple(values["shown"])
    return MediaPlan(**values)


# --- events and statistics ------------------------------------------------------------------------

_EVENTS: Final = {one.__name__: msgspec.msgpack.Decoder(one) for one in get_args(m.EndpointEvent)}
_ICE_EVENTS: Final = {
    one.__name__: msgspec.msgpack.Decoder(one) for one in get_args(ice.IceEvent) if one is not ice.Noted
}
_statistics: Final = msgspec.msgpack.Decoder(m.EndpointStats)


def event_message(event: m.EndpointEvent) -> Happened:
    """The message that tells an event."""
    if isinstance(event, m.RecordFailed):
        event = replace(event, message=plain(event.message))
    elif isinstance(event, m.Failed):
        event = replace(event, detail=plain(event.detail))
    return Happened(type(event).__name__, encode(event))


def event_untrusted(message: Happened) -> m.EndpointEvent:
    """The event that a worker tells; raises :class:`Rejected`."""
    decoder = _EVENTS.get(message.name)
    if decoder is None:
        raise Rejected("worker-event")
    event: m.EndpointEvent = _decode_untrusted(decoder, message.body)
    _check(msgspec.to_builtins(event, builtin_types=(bytes,)))
    match event:
        case m.ControlMessage(data) | m.Change(data):
            if len(data) > limits.CONTROL_MESSAGE_MAX:
                raise Rejected("worker-event")
        case m.LocalCandidates(candidates):
            decode_items_untrusted(candidates)
        case m.Secured(local_fp, remote_fp):
            if not len(local_fp) == len(remote_fp) == 32:
                raise Rejected("worker-event")
        case _:
            pass
    return event


def statistics_message(statistics: m.EndpointStats) -> Counted:
    """The message that tells a snapshot; where the recording is, the node knows."""
    recorded = None if statistics.recorded is None else "yes"
    return Counted(encode(replace(statistics, recorded=recorded)))


def statistics_untrusted(message: Counted) -> m.EndpointStats:
    """The snapshot that a worker tells; raises :class:`Rejected`."""
    statistics: m.EndpointStats = _decode_untrusted(_statistics, message.body)
    _check(msgspec.to_builtins(statistics))
    return statistics


def _check(value: Any) -> None:
    """Text is short and can be shown anywhere; tables are short."""
    match value:
        case str():
            if len(value) > limits.WORKER_TEXT_MAX or not value.isprintable():
                raise Rejected("worker-text")
        case dict():
            if len(value) > limits.WORKER_COUNTERS_MAX:
                raise Rejected("worker-counters")
            for name, one in value.items():
                _check(name)
                _check(one)
        case _:
            pass


def plain(text: str) -> str:
    """One printable line."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return line[: limits.WORKER_TEXT_MAX]


def ice_message(event: ice.IceEvent) -> IceHappened:
    """The message that tells an ICE event."""
    if isinstance(event, ice.Noted):
        return IceHappened("Noted", encode_candidates([], [event.note]))
    return IceHappened(type(event).__name__, encode(event))


def ice_event(message: IceHappened) -> ice.IceEvent:
    """The ICE event that the node tells."""
    if message.name == "Noted":
        return ice.Noted(decode_items_untrusted(message.body)[1][0])
    decoder: msgspec.msgpack.Decoder[Any] = _ICE_EVENTS[message.name]
    event: ice.IceEvent = decoder.decode(message.body)
    return event


# --- ICE of the worker ----------------------------------------------------------------------------


def remote_untrusted(message: Remote) -> tuple[list[Candidate], tuple[Note, ...]]:
    """Numeric candidates without a flaw, and notes; raises :class:`Rejected`."""
    if any(flaw(one) or one.is_mdns for one in message.candidates):
        raise Rejected("worker-candidate")
    return message.candidates, decode_items_untrusted(message.notes)[1]


def credentials_untrusted(message: Start) -> Credentials:
    """The peer's."""
    return Credentials(message.ufrag, message.pwd)


# --- failures -------------------------------------------------------------------------------------

_FAILURES: Final[dict[str, type[MeshcallError]]] = {
    kind.code: kind
    for kind in (
        errors.SourceUnusable,
        errors.RecordTargetExists,
        errors.RecordFailed,
        errors.FileError,
        errors.NoPath,
        errors.InvalidConfig,
        errors.MeshcallError,
    )
}


def failure_of(error: Exception) -> Failure | None:
    """The message for an exception that the node's side is to raise; None: it is a bug."""
    if isinstance(error, Rejected):
        return Failure("rejected", plain(error.reason))
    if not isinstance(error, MeshcallError):
        return None
    code = error.code if error.code in _FAILURES else MeshcallError.code
    return Failure(code, plain(str(error)), plain(error.hint or ""))


def error_untrusted(failure: Failure) -> Exception:
    """The exception that a worker tells."""
    message, hint = plain(failure.message), plain(failure.hint)
    if failure.code == "rejected":
        return Rejected(message[:64])
    return _FAILURES.get(failure.code, MeshcallError)(message, hint=hint or None)
