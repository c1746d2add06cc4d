"""Finding a peer: its presence, from the LAN, from what we asked before, or from the DHT.

Law 1: every way is tried at once; the first presence that the peer signed is taken. Anybody who knows an ID
can store an old one again, so one that its owner must have replaced by now is the last resort.
Law 2: a peer on the LAN is asked with the same frames as a storage node.
Law 3: what is refused is counted by reason.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.errors import Rejected
from meshcall.identity.peer_id import PeerId
from meshcall.record.codec import RecordType, decode_record_untrusted
from meshcall.signaling.presence import Presence, read_presence_untrusted
from meshcall.signaling.rendezvous import Rendezvous, epoch_of, epochs_near, inbox

Route = Literal["lan", "dht", "cache"]


@dataclass(frozen=True, slots=True)
class Found:
    """A peer that can be written to."""

    presence: Presence
    epoch: int
    """Whose inbox key leads to it."""
    route: Route
    addresses: tuple[Address, ...] = ()
    """Of the peer itself, on the LAN; empty: it is reached through the DHT."""
    at: float = 0.0
    """Monotonic seconds."""
    in_time: bool = False
    """Whether it was found where a peer with the right time is; else only its own epoch leads to it."""

    def inbox_at(self, now_ms: int) -> Rendezvous:
        """The inbox that the peer reads at ``now_ms``: epochs go on while a presence or a call lives.

        Our current epoch is served by every peer whose clock differs by no more than is allowed.
        """
        peer = self.presence.peer_id
        return inbox(peer, epoch_of(peer, now_ms) if self.in_time else self.epoch)


class PresenceClock(Exception):
    """The peer's presence is authentic but dated far in the future: one of the clocks is wrong."""


class Finder:
    """Finds presences, and remembers them for the next call."""

    def __init__(
        self,
        dht: DhtNode,
        *,
        clock: Clock,
        lan_addresses: Callable[[PeerId], Sequence[Address]],
        use_dht: bool,
        counters: Counter[str],
    ) -> None:
        """``lan_addresses``: where a peer may be on the LAN. ``counters``: where refusals are counted."""
        self._dht = dht
        self._clock = clock
        self._lan_addresses = lan_addresses
        self._use_dht = use_dht
        self._counters = counters
        self._cache: OrderedDict[PeerId, Found] = OrderedDict()

    def presence(self, peer: PeerId) -> Literal["dht", "unknown"]:
        """What we know of ``peer`` without asking anybody."""
        found = self._cache.get(peer)
        fresh = found is not None and self._clock.now() - found.at < limits.PRESENCE_CACHE
        return "dht" if fresh else "unknown"

    def forget(self, peer: PeerId) -> None:
        """Drop what is cached about ``peer``: it did not help."""
        self._cache.pop(peer, None)

    async def find(self, peer: PeerId) -> Found | None:
        """The peer's presence: from the LAN, the cache or the DHT, whichever answers first.

        Raises :class:`PresenceClock` when it has one from the future, by our clock.
        """
        cached = self._cache.get(peer)
        lan = tuple(self._lan_addresses(peer))
        if cached is not None and self._clock.now() - cached.at < limits.PRESENCE_CACHE:
            if lan and cached.addresses and set(cached.addresses) & set(lan):
                return _again(cached, lan)
            if not lan and not cached.addresses and self._use_dht:
                return _again(cached, ())
        near = epochs_near(peer, self._clock.now_ms())
        found = await self._race(peer, lan, near)
        if found is None:
            # Nobody there. If one of the two clocks is wrong, the peer is in a neighbouring epoch.
            wide = epochs_near(peer, self._clock.now_ms(), limits.EPOCH)
            return await self._race(peer, lan, [epoch for epoch in wide if epoch not in near])
        if found.epoch != near[0]:
            return found  # only there: perhaps a wrong clock again
        found = self._cache[peer] = replace(found, in_time=True)
        self._cache.move_to_end(peer)
        while len(self._cache) > limits.PRESENCE_CACHE_MAX:
            self._cache.popitem(last=False)
        return found

    async def _race(self, peer: PeerId, lan: tuple[Address, ...], epochs: Sequence[int]) -> Found | None:
        """The newest presence that any of the ways brings.

        A young one of the first of ``epochs`` is taken at once, and the other ways are cancelled.
        """
        searches = [self._search(peer, epoch, lan) for epoch in epochs if lan]
        if self._use_dht:
            searches += [self._search(peer, epoch, ()) for epoch in epochs]
        tasks = [asyncio.ensure_future(search) for search in searches]
        clock: PresenceClock | None = None
        others: list[Found] = []
        try:
            for finished in asyncio.as_completed(tasks):
                try:
                    found = await finished
                except PresenceClock as error:
                    clock = error
                    continue
                if found is None:
                    continue
                if found.epoch == epochs[0] and self._is_young(found):
                    return found
                others.append(found)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if clock is not None and not others:
            raise clock
        newest = sorted(others, key=lambda found: (found.presence.created_ms, found.epoch == epochs[0]))
        return newest[-1] if newest else None

    async def _search(self, peer: PeerId, epoch: int, lan: tuple[Address, ...]) -> Found | None:
        key = inbox(peer, epoch).storage_key(RecordType.PRESENCE)
        clock_wrong = False
        old: Found | None = None
        async with self._dht.find(key, at=lan, only=bool(lan), types=(RecordType.PRESENCE,)) as records:
            async for data in records:
                try:
                    record = decode_record_untrusted(data)
                    presence = read_presence_untrusted(record, peer, epoch, self._clock.now_ms())
                except Rejected as error:
                    self._counters[f"presence-{error.reason}"] += 1
                    clock_wrong = clock_wrong or error.reason == "clock"
                    continue
                found = Found(presence, epoch, "lan" if lan else "dht", lan, self._clock.now())
                if self._is_young(found):
                    return found
                if old is None or presence.created_ms > old.presence.created_ms:
                    old = found
        if old is None and clock_wrong:
            raise PresenceClock()
        return old

    def _is_young(self, found: Found) -> bool:
        """Whether the peer has had no reason to make a new one: it does so after half the ttl."""
        age_ms = self._clock.now_ms() - found.presence.created_ms
        return age_ms < found.presence.ttl_s * 500 + limits.CLOCK_SKEW_MAX * 1000


def _again(found: Found, lan: tuple[Address, ...]) -> Found:
    return replace(found, route="lan" if lan else "cache", addresses=lan)
