"""What wakes a room's machines: their user, the network (their timer comes by ``handle_timer``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.identity.peer_id import PeerId

# --- of the user, to RoomMachine ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enter:
    """Take part from now on."""

    vouchers: tuple[PeerId, ...] = ()
    """Members that were here lately, or were named in the welcome; empty: we are first, or mDNS tells."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Go, and say so."""


@dataclass(frozen=True, slots=True)
class SetState:
    """What we let be heard and seen now. None: as before."""

    audio: bool | None = None
    video: bool | None = None
    screen: bool | None = None
    hand: bool | None = None
    speaking: bool | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """A chat line of ours."""

    text: str


@dataclass(frozen=True, slots=True)
class Lock:
    """Have who comes without the secret knock, or not."""

    locked: bool


@dataclass(frozen=True, slots=True)
class Admit:
    """Let in who knocks."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not let in who knocks."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Remove:
    """Put a member out for good; only the creator may."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Block:
    """See and hear nothing more of a member; the others go on with it."""

    peer: PeerId
    blocked: bool = True


@dataclass(frozen=True, slots=True)
class NewCode:
    """Let in who knows this code, for ten minutes (:func:`meshcall.room.codes.new_code`)."""

    code: str = field(repr=False)


# --- of the network, to RoomMachine ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link with a peer is confirmed: it is who it says."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link ended, or did not come about."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class LinkMessage:
    """Octets of a link's peer, as it sent them."""

    peer: PeerId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LetterReceived:
    """A letter; its sender has signed it."""

    peer: PeerId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sighted:
    """mDNS shows that a peer is in this room. A hint."""

    peer: PeerId


# --- to Joiner ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody on the LAN who says to be in the room that is looked for."""

    peer: PeerId
    tag: bytes
    """8 octets, as announced."""


@dataclass(frozen=True, slots=True)
class ClockDiffers:
    """Whom we wrote to can't read it, or we can't read its answer: one of the two clocks is wrong."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not come in after all."""


UserEvent = Enter | Leave | SetState | Say | Lock | Admit | Refuse | Remove | Block | NewCode
NetworkEvent = LinkUp | LinkDown | LinkMessage | LetterReceived | Sighted
RoomEvent = UserEvent | NetworkEvent
JoinerEvent = Found | LetterReceived | ClockDiffers | GiveUp
