"""What one member does about one other: whose turn it is to offer a link, when to try again, when to seek.

Law 1: a link that is late is as good as none: its member is looked for by letter, whatever the link says.
Law 2: of two members the one with the lower ID offers, at once; the other waits, and then offers, too. One
that has just come in offers to all, for they may not know of it yet.
Law 3: looking never stops within an hour, and is never more than one letter a second to one member.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from meshcall import limits
from meshcall.dht.limiter import Bucket
from meshcall.identity.peer_id import PeerId
from meshcall.room.messages import LineId

_NEVER = float("inf")


class Link(Enum):
    """How far a link is."""

    NONE = auto()
    CONNECTING = auto()
    UP = auto()


@dataclass(slots=True)
class Peering:
    """One other member, or somebody who may be one."""

    peer: PeerId
    messages: Bucket
    """What its link may say."""
    given: Bucket
    """Octets of chat lines that it may have of us."""
    offered: dict[LineId, None] = field(default_factory=dict)
    """Chat lines that it says to have, and that it was not asked for yet."""
    link: Link = Link.NONE
    changed: float = 0.0
    """When ``link`` did."""
    heard: float = 0.0
    """When the link last said anything."""
    linked: frozenset[bytes] = field(default_factory=frozenset)
    """Short keys of whom the peer has links with, by its last sign of life."""
    offset: int | None = None
    """The least difference between our clock and the peer's at a message of this link, ms modulo 2^32."""
    named: bool = False
    """Whether a welcome or our own memory names it a member, though it has not been heard of."""
    sighted: bool = False
    """Whether mDNS showed it as a member."""
    remembered: bool = False
    """Whether that is all that speaks for it: it may have left long ago."""
    arrived: float = -_NEVER
    """When its present stay was first heard of."""
    connect_at: float = _NEVER
    pause: float = limits.ROOM_CONNECT_RETRY
    seek_at: float = _NEVER
    missing: float | None = None
    """Since when no link is healthy; None: one is."""
    tries: int = 0
    """Letters since it was last heard of."""
    here: bool = False
    """Whether its lines came when that was looked at last."""
    by_letter: bool = False
    """Whether its newest line came by letter: then nobody passes its lines on to us."""
    revived: float = _NEVER
    """When a letter came through while the link was silent."""
    synced: float = -_NEVER
    """When its digest last differed and everything was said."""

    def healthy(self, now: float) -> bool:
        """Whether its link works."""
        return self.link is Link.UP and now < self.heard + limits.ROOM_LATE

    def up(self, now: float) -> None:
        """A link is there."""
        self.link, self.changed, self.heard = Link.UP, now, now
        self.pause = limits.ROOM_CONNECT_RETRY
        self.linked = frozenset()
        self.offered = {}
        self.offset = None
        self.rest()

    def held_back(self, said: int, now: float) -> float:
        """Seconds that a message took longer than the fastest of this link: a broken path held it back."""
        offset = (int(now * 1000) - said) % 2**32
        if self.offset is None or (self.offset - offset) % 2**32 < 2**31:
            self.offset = offset
        return (offset - self.offset) % 2**32 / 1000

    def rest(self) -> None:
        """The link works: there is nothing to do."""
        self.connect_at = self.seek_at = self.revived = _NEVER
        self.missing = None
        self.tries = 0

    def down(self, now: float) -> None:
        """The link ended, or did not come about; the next try comes later each time."""
        failed = self.link is Link.CONNECTING
        self.link, self.changed, self.revived = Link.NONE, now, _NEVER
        # Who has only been named, and never heard of, is offered a link once; then letters look for it
        self.connect_at = now + self.pause if failed and not self.named else _NEVER
        if failed:
            self.pause = min(2 * self.pause, limits.ROOM_CONNECT_RETRY_MAX)

    def connecting(self, now: float) -> None:
        """We offer."""
        self.link, self.changed, self.connect_at = Link.CONNECTING, now, _NEVER

    def want(self, now: float, wait: float) -> None:
        """It is here and has no link: offer after ``wait`` seconds, unless that is settled already."""
        if self.link is Link.NONE and self.connect_at == _NEVER:
            self.connect_at = now + wait

    def miss(self, now: float, *, here: bool) -> None:
        """No link is healthy. ``here``: its lines come, by letter or through others."""
        if self.missing is None:
            self.missing = now
            # A link that has just begun gets its chance; a broken one is looked for at once
            fresh = self.link is not Link.UP and self.changed == 0.0
            self.seek_at = now + (limits.ROOM_SEEK if fresh else 0.0)
        elif not here and self.seek_at != _NEVER:
            # Whoever passed its lines on may have gone
            self.seek_at = min(self.seek_at, now if self.here else now + self._seek_pause(now))
        self.here = here

    def sought(self, now: float, *, here: bool) -> None:
        """A letter was sent."""
        self.tries += 1
        gone = now - self.missing if self.missing is not None else 0.0
        if gone >= limits.ROOM_SEEK_END:
            self.seek_at = _NEVER
        elif here and not self.by_letter:
            self.seek_at = now + limits.ROOM_SEEK_RARE  # others pass its lines on
        else:
            self.seek_at = now + self._seek_pause(now)

    def _seek_pause(self, now: float) -> float:
        gone = now - self.missing if self.missing is not None else 0.0
        if self.remembered and self.tries >= limits.ROOM_REMEMBERED_TRIES:
            return limits.ROOM_SEEK_RARE
        if gone < limits.ROOM_SEEK_SOON:
            return limits.ROOM_SEEK
        return limits.ROOM_SEEK_LATE if gone < limits.ROOM_SEEK_LONG else limits.ROOM_SEEK_RARE

    def due(self) -> float:
        """When something is to be done about it."""
        patience = self.changed + limits.ROOM_CONNECT_PATIENCE if self.link is Link.CONNECTING else _NEVER
        silent = self.heard + limits.ROOM_LATE if self.link is Link.UP and self.missing is None else _NEVER
        anew = self.revived + limits.ROOM_LINK_PATIENCE
        return min(self.connect_at, self.seek_at, patience, silent, anew)
