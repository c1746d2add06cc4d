"""Prekeys: the X25519 keys that others seal to, so that what they sealed can't be opened later.

Law 1: a prekey is published for 24 hours, then the next one is.
Law 2: 48 hours after its birth its private half is gone from the ring, and the caller writes that to disk.
Law 3: a key whose age is unknown because the clock was wrong is given up rather than kept.
Python can't wipe memory: "gone" means that nothing refers to it any more and that no disk holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meshcall import limits
from meshcall.identity.keys import AgreementKey, Random

_ROTATION_MS: Final = limits.PREKEY_ROTATION * 1000
_LIFETIME_MS: Final = limits.PREKEY_LIFETIME * 1000
_SKEW_MS: Final = limits.CLOCK_SKEW_MAX * 1000


@dataclass(frozen=True, slots=True)
class Prekey:
    """One prekey with its private half."""

    id: int
    """Names it in sealed messages: 1 to 2^32 - 1."""

    key: AgreementKey = field(compare=False)
    """Its repr hides the private half."""

    created_ms: int
    """Unix milliseconds."""


class PrekeyRing:
    """The prekeys of one identity.

    ``revision`` grows with every change: write :meth:`to_state` to disk before a new key is published.
    """

    def __init__(self, prekeys: Iterable[Prekey] = ()) -> None:
        self._prekeys = {prekey.id: prekey for prekey in prekeys}
        self.revision = 0

    def current(self, now_ms: int, random: Random) -> Prekey:
        """The prekey to publish now; makes a new one if there is none younger than 24 hours."""
        self.expire(now_ms)
        newest = max(
            (p for p in self._prekeys.values() if -_SKEW_MS <= now_ms - p.created_ms < _ROTATION_MS),
            key=lambda p: p.created_ms,
            default=None,
        )
        return newest or self._make(now_ms, random)

    def find(self, prekey_id: int) -> Prekey | None:
        """The prekey of that id, if we still have it."""
        return self._prekeys.get(prekey_id)

    def expire(self, now_ms: int) -> bool:
        """Drop private halves older than 48 hours, or dated further in the future; whether any was."""
        dead = [p.id for p in self._prekeys.values() if abs(now_ms - p.created_ms) >= _LIFETIME_MS]
        for prekey_id in dead:
            del self._prekeys[prekey_id]
        self.revision += bool(dead)
        return bool(dead)

    def to_state(self) -> list[dict[str, Any]]:
        """All prekeys, **private halves included**, as values that JSON and SQLite can hold; oldest first."""
        return [
            {"id": p.id, "private": p.key.private.hex(), "created_ms": p.created_ms}
            for p in sorted(self._prekeys.values(), key=lambda p: p.created_ms)
        ]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> PrekeyRing:
        """The ring that :meth:`to_state` wrote; entries that are damaged are left out."""
        found = (_read(entry) for entry in state)
        newest = sorted((p for p in found if p is not None), key=lambda p: p.created_ms)
        return cls(newest[-limits.PREKEYS_MAX :])

    def _make(self, now_ms: int, random: Random) -> Prekey:
        prekey_id = 0
        while prekey_id == 0 or prekey_id in self._prekeys:
            prekey_id = int.from_bytes(random(4), "big")
        prekey = Prekey(prekey_id, AgreementKey.generate(random), now_ms)
        self._prekeys[prekey_id] = prekey
        while len(self._prekeys) > limits.PREKEYS_MAX:
            oldest = min(self._prekeys.values(), key=lambda p: (p is prekey, p.created_ms))
            del self._prekeys[oldest.id]
        self.revision += 1
        return prekey

    def __len__(self) -> int:
        return len(self._prekeys)

    def __repr__(self) -> str:
        return f"PrekeyRing({len(self._prekeys)} keys, revision {self.revision})"


def _read(entry: Mapping[str, Any]) -> Prekey | None:
    try:
        prekey_id, private, created_ms = entry["id"], entry["private"], entry["created_ms"]
        key = AgreementKey.from_private(bytes.fromhex(private))
    except (KeyError, TypeError, ValueError):
        return None
    if not (isinstance(prekey_id, int) and 0 < prekey_id < 2**32 and isinstance(created_ms, int)):
        return None
    return Prekey(prekey_id, key, created_ms)
