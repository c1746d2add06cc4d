"""Who wants to be told of records under which key: the watches that others keep at this node.

Law 1: a watch lives at most one lease after its last renewal.
Law 2: caps per key, per IP address and in all; a full table refuses, it never evicts a live watch.
"""

from __future__ import annotations

from collections import Counter

from meshcall.address import Address
from meshcall.limits import (
    DHT_WATCH_LEASE,
    DHT_WATCHERS_PER_KEY,
    DHT_WATCHES_MAX,
    DHT_WATCHES_PER_IP,
)


class WatchBook:
    """Watches by key and address of the watcher."""

    __slots__ = ("_per_ip", "_total", "_watches")

    def __init__(self) -> None:
        self._watches: dict[bytes, dict[Address, float]] = {}
        self._per_ip: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def add(self, key: bytes, watcher: Address, lease: float, now: float) -> bool | None:
        """Whether it is a new watch; None when there is no room."""
        watchers = self._watches.get(key, {})
        known = watcher in watchers
        if known and watchers[watcher] <= now:
            self.remove(key, watcher)
            known = False
        if not known:
            self._drop_ended(key, now)
            watchers = self._watches.get(key, {})
            if (
                len(watchers) >= DHT_WATCHERS_PER_KEY
                or self._per_ip[watcher[0]] >= DHT_WATCHES_PER_IP
                or self._total >= DHT_WATCHES_MAX
            ):
                return None
            watchers = self._watches.setdefault(key, {})
            self._per_ip[watcher[0]] += 1
            self._total += 1
        watchers[watcher] = now + min(lease, DHT_WATCH_LEASE)
        return not known

    def remove(self, key: bytes, watcher: Address) -> None:
        """The watch ends now."""
        watchers = self._watches.get(key)
        if watchers is None or watchers.pop(watcher, None) is None:
            return
        if not watchers:
            del self._watches[key]
        self._total -= 1
        self._per_ip[watcher[0]] -= 1
        if not self._per_ip[watcher[0]]:
            del self._per_ip[watcher[0]]

    def watchers(self, key: bytes, now: float) -> list[Address]:
        """Whose watch of ``key`` is alive."""
        return [watcher for watcher, until in self._watches.get(key, {}).items() if until > now]

    def expire(self, now: float) -> None:
        """Forget the watches whose lease has ended."""
        for key in list(self._watches):
            self._drop_ended(key, now)

    def _drop_ended(self, key: bytes, now: float) -> None:
        for watcher, until in list(self._watches.get(key, {}).items()):
            if until <= now:
                self.remove(key, watcher)
