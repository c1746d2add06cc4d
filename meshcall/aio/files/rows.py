"""What the state database keeps, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.identity.peer_id import PeerId


@dataclass(frozen=True, slots=True)
class ContactRow:
    """Somebody in the contact book, or somebody who is blocked."""

    peer_id: PeerId
    name: str = ""
    """The name that we gave, unique without regard to case; empty: none (any number may have none)."""
    blocked: bool = False
    verified: bool = False
    """Whether the verification words were compared."""
    secret: bytes = field(default=b"", repr=False)
    """What the contact gave us to reach its contact rendezvous; empty: nothing yet."""
    added_ms: int = 0
    generation: int = 0
    """Of ``secret``."""
    given: int = 0
    """Generation of our own secret that was sent to the contact; 0: none."""
    known: int = 0
    """Generation of our own secret that the contact has said it holds."""
    owed_ms: int = 0
    """Until when to go on telling it of our secret, unix milliseconds; 0: there is no need."""


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A message that was accepted and must not be accepted again before it expires."""

    sender: bytes
    call_id: bytes
    kind: int
    expires_ms: int
    digest: bytes = b""
    """Tells messages of one kind in one call apart; empty where there is only one."""


@dataclass(frozen=True, slots=True)
class InviteRow:
    """An invite that we made."""

    secret: bytes = field(repr=False)
    expires_ms: int
    once: bool = False
    name: str = ""
    """What the contact that it makes shall be called; empty: what it calls itself."""
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call in the history."""

    call_id: str
    peer_id: PeerId
    direction: str
    """``in`` or ``out``."""
    started_ms: int
    connected_ms: int | None = None
    ended_ms: int | None = None
    """None: it lives, or the daemon was killed during it."""
    reason: str = ""
    path: str = ""
    missed: bool = False
    """It was for us, and nobody took it."""
    seen: bool = False
    """Whether somebody has looked at it; says something of missed ones only."""


@dataclass(frozen=True, slots=True)
class NoteRow:
    """What a contact is still to be told of our calls to it."""

    peer_id: PeerId
    body: bytes
    """The body of the message, as it travels."""
    last_ms: int
    """When the last of the calls was."""


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room that we are in, or were in."""

    room_id: bytes
    """16 octets."""
    descriptor: bytes
    secret: bytes = field(repr=False)
    """Who holds it is let in."""
    memory: bytes = field(repr=False)
    """What its machine wants to know after a restart; opaque here."""
    joined: bool
    """Whether we are in it, also after a restart."""
    plan: bytes = b"{}"
    """What is sent and recorded in it, as JSON."""
    last_ms: int = 0
    """When we were in it last, unix milliseconds."""


@dataclass(frozen=True, slots=True)
class AddressRow:
    """Where a peer was last seen."""

    peer_id: PeerId
    address: Address
    source: str
    """``lan``, ``dht`` or ``invite``."""
    seen_ms: int
