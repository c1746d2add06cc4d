"""What the post remembers over restarts: taken messages, and our last presences.

Law: damage here costs a refused message at most, never the start.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable
from typing import Final

from meshcall import limits
from meshcall.aio.files import StateDb
from meshcall.errors import StateCorrupt
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.presence import Presence, presence_hash
from meshcall.signaling.replay import ReplayCache

_log = logging.getLogger("meshcall.post")

PRESENCES: Final = "presences"
"""Blob: our last presences, which offers may be bound to."""
FORGOTTEN: Final = "replay-forgotten"
"""Blob: until when expired replay entries were dropped, unix milliseconds."""


def load_replay(state: StateDb, now_ms: int) -> ReplayCache:
    forgotten = state.get_blob(FORGOTTEN) or b"0"
    entries = [
        [row.sender.hex(), row.call_id.hex(), row.kind, row.digest.hex(), row.expires_ms]
        for row in state.replay_entries(now_ms)
    ]
    try:
        forgotten_ms = int(forgotten)
        return ReplayCache.from_state({"version": 1, "forgotten_ms": forgotten_ms, "entries": entries})
    except (ValueError, StateCorrupt):
        _log.warning("the note of expired replay entries is damaged; starting from the entries alone")
        return ReplayCache.from_state({"version": 1, "forgotten_ms": 0, "entries": entries})


def dump_presences(presences: Iterable[Presence]) -> bytes:
    return json.dumps(
        [
            {
                "prekey_id": p.prekey_id,
                "prekey": p.prekey.hex(),
                "created_ms": p.created_ms,
                "ttl_s": p.ttl_s,
                "versions": list(p.versions),
                "name": p.name,
            }
            for p in presences
        ]
    ).encode()


def load_presences(state: StateDb, me: PeerId) -> deque[Presence]:
    presences: deque[Presence] = deque(maxlen=limits.PRESENCES_KNOWN_MAX)
    try:
        for entry in json.loads(state.get_blob(PRESENCES) or b"[]"):
            presence = Presence(
                me,
                entry["prekey_id"],
                bytes.fromhex(entry["prekey"]),
                entry["created_ms"],
                entry["ttl_s"],
                tuple(entry["versions"]),
                entry["name"],
            )
            presence_hash(presence)
            presences.append(presence)
    except (KeyError, TypeError, ValueError, AttributeError):
        _log.warning("the note of our last presences is damaged; new ones are made")
        presences.clear()
    return presences
