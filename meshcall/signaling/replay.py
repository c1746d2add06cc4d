"""Remembers the messages that were taken, so that none is taken twice.

Law 1: an entry stays until its message could not pass the time window any more; nothing is forgotten
early. A full cache refuses instead (a flood must not flush out what it wants to replay).
Law 2: the same octets are a replay; so is a second, different offer with the call id of an earlier one.
Law 3: a clock that goes back reopens nothing: what ended before the last entry that was dropped is refused.
Law 4: the state survives restarts; the caller persists it before anything rings.
"""

from __future__ import annotations

from typing import Any, Final

from meshcall.errors import Rejected, StateCorrupt
from meshcall.identity.peer_id import PeerId
from meshcall.limits import REPLAY_PER_SENDER, REPLAY_TOTAL
from meshcall.signaling.messages import MessageKind

_STATE_VERSION: Final = 1

_Entry = tuple[bytes, int, bytes]
"""(call id, kind, inner hash)"""


class ReplayCache:
    """Taken messages by sender, until they expire. Times are unix milliseconds."""

    def __init__(self, *, per_sender: int = REPLAY_PER_SENDER, total: int = REPLAY_TOTAL) -> None:
        """An empty cache; the caps are those of :mod:`meshcall.limits` unless given."""
        self._per_sender = per_sender
        self._total = total
        self._entries: dict[bytes, dict[_Entry, int]] = {}
        self._count = 0
        self._forgotten_ms = 0
        self.revision = 0
        """Grows with each entry: persist :meth:`to_state` when it changed."""

    def __len__(self) -> int:
        """How many messages are remembered."""
        return self._count

    def seen(self, sender: PeerId, call_id: bytes, kind: int, digest: bytes) -> bool:
        """Whether the message is a replay, or a second offer of one call."""
        entries = self._entries.get(sender.key, {})
        if (call_id, kind, digest) in entries:
            return True
        return kind in (MessageKind.OFFER, MessageKind.PING_OFFER) and any(
            held_call == call_id and held_kind == kind for held_call, held_kind, _ in entries
        )

    def check_untrusted(
        self, sender: PeerId, call_id: bytes, kind: int, digest: bytes, expires_ms: int, now_ms: int
    ) -> None:
        """Raise :class:`Rejected`: ``replay`` if seen, ``replay-full`` if there is no room to remember it."""
        if expires_ms <= self._forgotten_ms or self.seen(sender, call_id, kind, digest):
            raise Rejected("replay")
        if self._is_full(sender):
            self.expire(now_ms)
            if self._is_full(sender):
                raise Rejected("replay-full")

    def _is_full(self, sender: PeerId) -> bool:
        return self._count >= self._total or len(self._entries.get(sender.key, ())) >= self._per_sender

    def add(self, sender: PeerId, call_id: bytes, kind: int, digest: bytes, expires_ms: int) -> None:
        """Remember a message until ``expires_ms``; :meth:`check_untrusted` said that there is room."""
        entries = self._entries.setdefault(sender.key, {})
        entry = (bytes(call_id), int(kind), bytes(digest))
        self._count += entry not in entries
        entries[entry] = max(expires_ms, entries.get(entry, 0))
        self.revision += 1

    def expire(self, now_ms: int) -> int:
        """Drop what can't pass the time window any more; returns how many entries went."""
        before = self._count
        for key in list(self._entries):
            entries = self._entries[key]
            for entry in [entry for entry, expires_ms in entries.items() if expires_ms < now_ms]:
                self._forgotten_ms = max(self._forgotten_ms, entries.pop(entry))
                self._count -= 1
            if not entries:
                del self._entries[key]
        return before - self._count

    def to_state(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {
            "version": _STATE_VERSION,
            "forgotten_ms": self._forgotten_ms,
            "entries": [
                [sender.hex(), call_id.hex(), kind, digest.hex(), expires_ms]
                for sender, entries in self._entries.items()
                for (call_id, kind, digest), expires_ms in entries.items()
            ],
        }

    @classmethod
    def from_state(
        cls, state: object, *, per_sender: int = REPLAY_PER_SENDER, total: int = REPLAY_TOTAL
    ) -> ReplayCache:
        """The cache that ``state`` was made of; raises :class:`StateCorrupt` when it is damaged.

        Entries above the caps are kept: they were taken under other caps, and forgetting reopens a door.
        """
        cache = cls(per_sender=per_sender, total=total)
        try:
            if not isinstance(state, dict) or state["version"] != _STATE_VERSION:
                raise ValueError("not a replay cache")
            cache._forgotten_ms = _whole(state["forgotten_ms"])
            for sender, call_id, kind, digest, expires_ms in state["entries"]:
                entry = (bytes.fromhex(call_id), _whole(kind), bytes.fromhex(digest))
                cache._entries.setdefault(bytes.fromhex(sender), {})[entry] = _whole(expires_ms)
        except (KeyError, TypeError, ValueError) as error:
            raise StateCorrupt("the replay cache is damaged") from error
        cache._count = sum(len(entries) for entries in cache._entries.values())
        return cache


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a whole number")
    return value
