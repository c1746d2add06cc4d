"""Messages on the control channel (negotiated data channel id 0), between the two ends of one call.

Law 1: until the peer's confirm is verified nothing that it says is shown: a Confirm is checked, a Confirmed
is noted, a Bye ends the call, everything else is dropped.
Law 2: a message about rooms or layers means something between two members of a room alone.
Law 3: a message type that is not known is ignored, so that newer peers can say more; a known one that is
malformed ends the call.

``docs/protocol/control.md`` has the rest.

    0        1
    +--------+------------------------------+
    |  type  | body                         |
    +--------+------------------------------+
    0x01 Confirm    64  Ed25519 signature over the transcript
    0x02 Confirmed   0  "your confirm is verified"
    0x03 Bye         1  reason: 0 hang-up, 1 failure
    0x04 Chat       1.. UTF-8 text
    0x05 Rendezvous 36  the sender's rendezvous secret: generation(u32) secret(32)
    0x06 Held        4  generation(u32) of the receiver's rendezvous secret that the sender keeps
    0x07 Candidates 1.. more of the sender's ICE candidates, as in a Candidates message
    0x08 MediaState  1  bits: 1 microphone on, 2 camera on, 4 screen shared
    0x09 SasCommit  32  commitment to the sender's nonce
    0x0A SasNonce   16  the nonce
    0x0B Room       1.. what the room says, on a room's link
    0x0C Layer       4  kind(u8: 1 camera, 2 screen) height(u16, 0: nothing) fps(u8): what the sender can show
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.signaling.rendezvous import RendezvousSecret
from meshcall.views import LayerKind

_CONFIRM: Final = 0x01
_CONFIRMED: Final = 0x02
_BYE: Final = 0x03
_CHAT: Final = 0x04
_RENDEZVOUS: Final = 0x05
_HELD: Final = 0x06
_CANDIDATES: Final = 0x07
_MEDIA_STATE: Final = 0x08
_SAS_COMMIT: Final = 0x09
_SAS_NONCE: Final = 0x0A
_ROOM: Final = 0x0B
_LAYER: Final = 0x0C
_LAYER_KINDS: Final[dict[int, LayerKind]] = {1: "camera", 2: "screen"}


@dataclass(frozen=True, slots=True)
class Confirm:
    """Proof that the sender's identity signed both descriptions and both DTLS fingerprints."""

    signature: bytes
    """64 octets."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The receiver's confirm was verified."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender ends the call."""

    failure: bool = False
    """Whether something broke, rather than somebody hanging up."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A line of chat."""

    text: str


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """By which secret the sender is found from now on; said to contacts only."""

    secret: RendezvousSecret


@dataclass(frozen=True, slots=True)
class Held:
    """The receiver's rendezvous secret of ``generation`` is kept; said by contacts only."""

    generation: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """More of the sender's ICE candidates; the sealed message of that name says the same elsewhere."""

    candidates: bytes
    """Encoded; opaque here."""


@dataclass(frozen=True, slots=True)
class MediaState:
    """What the sender lets be heard and seen now; only for showing it."""

    audio: bool = True
    video: bool = True
    screen: bool = False


@dataclass(frozen=True, slots=True)
class SasCommit:
    """The sender's commitment to its nonce, for the verification words."""

    commitment: bytes
    """32 octets."""


@dataclass(frozen=True, slots=True)
class SasNonce:
    """The sender's nonce; said only after the receiver's commitment is there."""

    nonce: bytes = field(repr=False)
    """16 octets."""


@dataclass(frozen=True, slots=True)
class Room:
    """What one member of a room tells another."""

    body: bytes = field(repr=False)
    """Opaque here; at most CONTROL_ROOM_MAX octets."""


@dataclass(frozen=True, slots=True)
class Layer:
    """How large a picture of the receiver the sender can show."""

    kind: LayerKind
    height: int
    """Pixels; 0: none at all."""
    fps: int
    """Pictures a second, at most; 0: as many as there are."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message type of a newer version; ignored."""

    type: int


Sendable = (
    Confirm
    | Confirmed
    | Bye
    | Chat
    | Rendezvous
    | Held
    | Candidates
    | MediaState
    | SasCommit
    | SasNonce
    | Room
    | Layer
)
ControlMessage = Sendable | Unknown


def encode_control(message: Sendable) -> bytes:
    """The octets of ``message``; raises ValueError for what is too long or out of bounds."""
    match message:
        case Confirm(signature):
            return bytes([_CONFIRM]) + signature
        case Confirmed():
            return bytes([_CONFIRMED])
        case Bye(failure):
            return bytes([_BYE, int(failure)])
        case Chat(text):
            body = text.encode("utf-8", "replace")
            if not 0 < len(body) <= limits.CHAT_MAX:
                raise ValueError(f"a chat text has 1 to {limits.CHAT_MAX} octets, not {len(body)}")
            return bytes([_CHAT]) + body
        case Rendezvous(secret):
            return bytes([_RENDEZVOUS]) + secret.encode()
        case Held(generation):
            return bytes([_HELD]) + generation.to_bytes(4, "big")
        case MediaState(audio, video, screen):
            return bytes([_MEDIA_STATE, audio | video << 1 | screen << 2])
        case SasCommit(commitment):
            return bytes([_SAS_COMMIT]) + commitment
        case SasNonce(nonce):
            return bytes([_SAS_NONCE]) + nonce
        case Room(body):
            if not 0 < len(body) <= limits.CONTROL_ROOM_MAX:
                raise ValueError(f"a room's message has 1 to {limits.CONTROL_ROOM_MAX} octets")
            return bytes([_ROOM]) + body
        case Layer(kind, height, fps):
            number = next(number for number, name in _LAYER_KINDS.items() if name == kind)
            if not (0 <= height < 1 << 16 and 0 <= fps < 1 << 8):
                raise ValueError("a layer has a height of 16 bits and a rate of 8")
            return bytes([_LAYER, number]) + height.to_bytes(2, "big") + bytes([fps])
        case Candidates(candidates):
            return bytes([_CANDIDATES]) + candidates


def decode_control_untrusted(data: bytes) -> ControlMessage:
    """The message in ``data``; raises :class:`Rejected` ("control")."""
    if not data:
        raise Rejected("control")
    body = data[1:]
    match data[0]:
        case 0x01:
            if len(body) != 64:
                raise Rejected("control")
            return Confirm(body)
        case 0x02:
            return Confirmed()
        case 0x03:
            if not body:
                raise Rejected("control")
            return Bye(failure=body[0] != 0)
        case 0x04:
            if not 0 < len(body) <= limits.CHAT_MAX:
                raise Rejected("control")
            try:
                return Chat(body.decode("utf-8"))
            except UnicodeDecodeError:
                raise Rejected("control") from None
        case 0x05:
            try:
                return Rendezvous(RendezvousSecret.decode_untrusted(body))
            except Rejected:
                raise Rejected("control") from None
        case 0x06:
            if len(body) != 4:
                raise Rejected("control")
            return Held(int.from_bytes(body, "big"))
        case 0x07:
            if not 0 < len(body) <= limits.CONTROL_CANDIDATES_MAX:
                raise Rejected("control")
            return Candidates(body)
        case 0x08:
            if len(body) != 1:
                raise Rejected("control")
            return MediaState(audio=bool(body[0] & 1), video=bool(body[0] & 2), screen=bool(body[0] & 4))
        case 0x09:
            if len(body) != 32:
                raise Rejected("control")
            return SasCommit(body)
        case 0x0A:
            if len(body) != limits.SAS_NONCE:
                raise Rejected("control")
            return SasNonce(body)
        case 0x0B:
            if not 0 < len(body) <= limits.CONTROL_ROOM_MAX:
                raise Rejected("control")
            return Room(body)
        case 0x0C:
            if len(body) != 4:
                raise Rejected("control")
            kind = _LAYER_KINDS.get(body[0])
            return Unknown(0x0C) if kind is None else Layer(kind, int.from_bytes(body[1:3], "big"), body[3])
        case other:
            return Unknown(other)
