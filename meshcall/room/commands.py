"""What a room's machines want done. All of it is carried out before their next input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from meshcall.identity.peer_id import PeerId
from meshcall.room.descriptor import Room

EndReason = Literal["left", "removed"]
"""Why we are not in the room any more."""

JoinReason = Literal[
    "no-answer", "declined", "full", "removed", "code", "busy", "clock", "gone", "not-found", "given-up"
]  # fmt: skip
"""Why we were not let in: nobody answered, a member said no, the room is full, the creator has removed us,
the code is wrong, too many wait, the clocks differ, who was asked has left, nobody announces it, we gave
up."""

REMOVED: Final = "its creator has removed this machine from the room"
"""What our user is told then."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Offer this member a link (with :meth:`RoomMachine.offer_tag`); tell LinkUp, or LinkDown if it fails."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Drop:
    """End the link with this peer, whatever its state; no LinkDown is waited for."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class SendLink:
    """Send on a link's control channel, reliably and in order."""

    peer: PeerId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendLetter:
    """Deliver a sealed letter; may be lost."""

    peer: PeerId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Announce:
    """What the LAN is told of the room now."""

    count: int
    """Members here, we included."""
    nameplate: int
    """Number of a code that works; 0: none."""
    locked: bool


@dataclass(frozen=True, slots=True)
class RosterChanged:
    """Members, their states, knocks, the lock or the code: something that is shown is new."""


@dataclass(frozen=True, slots=True)
class SaveRoom:
    """:meth:`RoomMachine.memory` is new, and worth keeping over a restart."""


@dataclass(frozen=True, slots=True)
class Chatted:
    """A member's chat line. (Our own are not told.)"""

    peer: PeerId
    text: str
    age: float = 0.0
    """Seconds since it was said: one that was missed comes late."""


@dataclass(frozen=True, slots=True)
class Knocked:
    """Somebody wants to be let in."""

    peer: PeerId
    name: str
    """What it calls itself; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The creator has removed us; Ended comes next."""


@dataclass(frozen=True, slots=True)
class Ended:
    """We are not in the room any more."""

    reason: EndReason


# --- of Joiner ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnockWaits:
    """We have knocked: the members are being asked."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """We are let in: make a RoomMachine of it, and Enter with these members."""

    room: Room
    members: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """It is over: we are not let in."""

    reason: JoinReason


RoomCommand = (
    Connect | Drop | SendLink | SendLetter | Announce | RosterChanged | SaveRoom
    | Chatted | Knocked | Removed | Ended
)  # fmt: skip
JoinerCommand = SendLetter | KnockWaits | Admitted | NotAdmitted
