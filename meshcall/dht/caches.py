"""Small memories with a cap: the oldest entry goes first.

Law 1: whatever strangers send, a cache never holds more than its cap.
Law 2: an empty cache costs next to nothing: an engine has a dozen, and a process may have many engines.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_EMPTY: Final[dict[Any, Any]] = {}
"""What every empty cache holds; never written to."""


class ExpiringCache(Generic[K, V]):
    """At most ``cap`` entries, each for at most ``lifetime`` seconds."""

    __slots__ = ("_cap", "_entries", "_lifetime")

    def __init__(self, cap: int, lifetime: float) -> None:
        self._cap = cap
        self._lifetime = lifetime
        self._entries: dict[K, tuple[float, V]] = _EMPTY
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K, now: float) -> V | None:
        """The value, if it is not too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        return entry[1]

    def items(self, now: float) -> list[tuple[K, V]]:
        """All entries that are not too old, oldest first."""
        return [(key, value) for key, (expires, value) in self._entries.items() if expires > now]

    def put(self, key: K, value: V, now: float) -> None:
        """Remember ``value`` from now on; the oldest makes room."""
        self._entries.pop(key, None)
        for _ in range(2):  # the oldest are first: what has expired costs no memory for long
            oldest = next(iter(self._entries), None)
            if oldest is None or self._entries[oldest][0] > now:
                break
            del self._entries[oldest]
        if not self._entries:
            self._entries = {}
        self._entries[key] = (now + self._lifetime, value)
        if len(self._entries) > self._cap:
            del self._entries[next(iter(self._entries))]

    def discard(self, key: K) -> None:
        """Forget ``key``."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries = _EMPTY
