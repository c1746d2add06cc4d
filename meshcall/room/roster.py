"""Who is in the room and what holds in it, as all members come to agree on it.

Law 1: merging is commutative, associative and idempotent: whoever has seen the same lines, settings and
removals has the same roster, in whatever order and however often they came (a CRDT).
Law 2: a member is here while its line grows newer: its newest line is at most ``ROOM_SILENCE`` old, wherever
that line came from. A line that is passed on comes with its age, so an old one brings nobody back.
Law 3: what is said of us by our own older self is answered with a higher incarnation: no clock, no lost state
and no replay keeps a member out.
Law 4: whom the creator has removed has no line, and what it signed is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from meshcall import limits
from meshcall.errors import LocalProtocolError, Rejected
from meshcall.identity.keys import sha256
from meshcall.identity.peer_id import PeerId
from meshcall.room.descriptor import Room
from meshcall.room.entry import Entry, peek_entry_untrusted, read_entry_untrusted
from meshcall.room.messages import DIGEST
from meshcall.room.statements import Setting, read_removal_untrusted, read_setting_untrusted


class Merged(Enum):
    """What a line was."""

    STALE = auto()
    """Older than what is known."""
    KNOWN = auto()
    """The one that is known."""
    NEWER = auto()
    """A sign of life, or a change."""
    ARRIVED = auto()
    """Of a member that was not known, or of a new stay of it."""
    OURS = auto()
    """Our own, and newer than we are: an older self of ours wrote it."""


@dataclass(slots=True)
class Known:
    """A member's newest line."""

    entry: Entry
    heard: float
    """When it was new, by our clock."""
    since: float
    """When we first heard of its present stay, or of the one before if that ended by this one's beginning."""
    first: int
    """The incarnation that we first heard of."""


class Roster:
    """The roster of one room, at one member."""

    def __init__(self, room: Room, me: PeerId) -> None:
        self._room = room
        self._me = me
        self._known: dict[bytes, Known] = {}
        self.removed: dict[PeerId, bytes] = {}
        """Whom the creator has removed, with its word."""
        self._settings: dict[PeerId, Setting] = {}
        """Each writer's newest: when one is removed, what another said before counts again, for all alike."""

    # --- what comes -------------------------------------------------------------------------------

    def merge_entry_untrusted(self, data: bytes, age: float, now: float) -> tuple[Merged, PeerId]:
        """A member's line that was new ``age`` seconds ago. Checks a signature only if it may count.

        Raises :class:`Rejected` ("entry", "signature", "peer-id", "removed", "roster-full").
        """
        key, version = peek_entry_untrusted(data)
        known = self._known.get(key)
        if known is not None and version <= known.entry.version:
            same = version == known.entry.version
            return (Merged.KNOWN if same else Merged.STALE), known.entry.peer
        entry = read_entry_untrusted(data, self._room.roster_key)
        if entry.peer in self.removed:
            raise Rejected("removed")
        if entry.peer == self._me:
            return Merged.OURS, entry.peer
        heard = now - max(0.0, age)
        if known is None:
            self._make_room(now)
            self._known[key] = Known(entry, heard, now, entry.incarnation)
            return Merged.ARRIVED, entry.peer
        arrived = entry.incarnation > known.entry.incarnation
        if arrived and not self._lives(known, now):
            known.since = now
        known.entry, known.heard = entry, max(known.heard, heard)
        return (Merged.ARRIVED if arrived else Merged.NEWER), entry.peer

    def merge_setting_untrusted(self, data: bytes) -> bool:
        """Whether that word about the lock is news; raises :class:`Rejected`."""
        if data in self.settings:
            return False
        setting = read_setting_untrusted(data, self._room)
        if setting.writer in self.removed:
            raise Rejected("removed")
        return self.set(setting)

    def merge_removal_untrusted(self, data: bytes) -> PeerId | None:
        """Whom that removes who was not removed before; raises :class:`Rejected`."""
        if data in self.removed.values():
            return None
        target = read_removal_untrusted(data, self._room)
        if target in self.removed:
            return None
        self.remove(target, data)
        return target

    # --- what we say ------------------------------------------------------------------------------

    def put_own(self, entry: Entry, now: float) -> None:
        """Our own line."""
        self._known[entry.peer.key] = Known(entry, now, now, entry.incarnation)

    def set(self, setting: Setting) -> bool:
        """Whether a checked word about the lock is news."""
        creator = self._room.creator
        before = self._settings.get(setting.writer)
        if before is not None and setting.order(creator) <= before.order(creator):
            return False
        self._settings[setting.writer] = setting
        if len(self._settings) > limits.ROOM_SETTINGS_MAX:
            least = min(self._settings.values(), key=lambda one: one.order(creator))
            del self._settings[least.writer]
        return setting.writer in self._settings

    def remove(self, target: PeerId, removal: bytes) -> None:
        """By the creator's checked word; raises :class:`LocalProtocolError` when there are too many."""
        if len(self.removed) >= limits.ROOM_REMOVALS_MAX:
            raise LocalProtocolError("a room keeps no more removals: make a new one")
        self.removed[target] = removal
        self._known.pop(target.key, None)
        self._settings.pop(target, None)

    # --- what holds -------------------------------------------------------------------------------

    @property
    def setting(self) -> Setting | None:
        """The word about the lock that counts; None: nobody has said anything, and it is open."""
        creator = self._room.creator
        return max(self._settings.values(), key=lambda one: one.order(creator), default=None)

    @property
    def settings(self) -> tuple[bytes, ...]:
        """All words about the lock that are kept, as they were signed."""
        return tuple(one.octets for one in self._settings.values())

    @property
    def locked(self) -> bool:
        """Whether who comes without the secret knocks."""
        setting = self.setting
        return setting is not None and setting.locked

    def known(self, peer: PeerId) -> Known | None:
        """Its newest line."""
        return self._known.get(peer.key)

    def all(self) -> list[Known]:
        """Every line."""
        return list(self._known.values())

    def is_here(self, peer: PeerId, now: float) -> bool:
        """Whether it is a member that lives, we included."""
        known = self._known.get(peer.key)
        return known is not None and self._lives(known, now)

    def here(self, now: float) -> list[Entry]:
        """The lines of all who are here, by ID."""
        found = [known.entry for known in self._known.values() if self._lives(known, now)]
        return sorted(found, key=lambda entry: entry.peer)

    def lost(self, now: float) -> list[Known]:
        """Those who fell silent without leaving, by ID."""
        found = [
            known
            for known in self._known.values()
            if not known.entry.left and not self._lives(known, now)
        ]  # fmt: skip
        return sorted(found, key=lambda known: known.entry.peer)

    def falls_silent(self, now: float) -> float | None:
        """When the next of those who are here is here no more, unless it is heard again."""
        return min(
            (
                known.heard + limits.ROOM_SILENCE
                for known in self._known.values()
                if known.entry.peer != self._me and self._lives(known, now)
            ),
            default=None,
        )

    def digest(self) -> bytes:
        """8 octets over what lasts: the words about the lock and all removals."""
        return sha256(*sorted(self.settings), *sorted(self.removed.values()))[:DIGEST]

    def _lives(self, known: Known, now: float) -> bool:
        if known.entry.left:
            return False
        return known.entry.peer == self._me or now < known.heard + limits.ROOM_SILENCE

    def _make_room(self, now: float) -> None:
        """For one line more; raises ``Rejected("roster-full")`` when all who are known are here."""
        if len(self._known) < limits.ROOM_ENTRIES_MAX:
            return
        gone = [known for known in self._known.values() if not self._lives(known, now)]
        if not gone:
            raise Rejected("roster-full")
        oldest = min(gone, key=lambda known: (known.heard, known.entry.peer))
        del self._known[oldest.entry.peer.key]
