"""Finding a peer: its presence, from the LAN, from what we asked before, or from the DHT.

Law 1: every way is tried at once; the first presence that the peer signed is taken. Anybody who knows an ID
can store an old one again, so one that its owner must have replaced by now is the last resort.
Law 2: where only contacts look (or who holds an invite) is looked first. The inbox, which everybody who knows
the ID can flood, follows after a head start, or as soon as nothing was found there.
Law 3: a peer on the LAN is asked with the same frames as a storage node.
Law 4: what is refused is counted by reason.
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
from meshcall.signaling.rendezvous import Kind, Rendezvous, Series

Route = Literal["lan", "dht", "cache"]
_Way = tuple[Series, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A peer that can be written to."""

    presence: Presence
    epoch: int
    """Whose rendezvous leads to it."""
    route: Route
    addresses: tuple[Address, ...] = ()
    """Of the peer itself, on the LAN; empty: it is reached through the DHT."""
    at: float = 0.0
    """Monotonic seconds."""
    in_time: bool = False
    """Whether it was found where a peer with the right time is; else only its own epoch leads to it."""
    series: Series | None = None
    """By which secret it was found; None: by its ID."""

    @property
    def by(self) -> Kind:
        """What led to it."""
        return self.series.kind if self.series else "inbox"

    def rendezvous_at(self, now_ms: int) -> Rendezvous:
        """What the peer reads at ``now_ms``: epochs go on while a presence or a call lives.

        Our current epoch is served by every peer whose clock differs by no more than is allowed.
        """
        series = self.series or Series.of(self.presence.peer_id)
        return series.at(series.epoch(now_ms) if self.in_time else self.epoch)


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
        secret_of: Callable[[PeerId], bytes] = lambda peer: b"",
        head_start: float = limits.RENDEZVOUS_HEAD_START,
    ) -> None:
        """``lan_addresses``: where a peer may be on the LAN. ``counters``: where refusals are counted.

        ``secret_of``: what a contact gave us to find it by; empty: nothing. ``head_start``: in seconds, of
        that over the inbox.
        """
        self._dht = dht
        self._clock = clock
        self._lan_addresses = lan_addresses
        self._use_dht = use_dht
        self._counters = counters
        self._secret_of = secret_of
        self._head_start = head_start
        self._cache: OrderedDict[PeerId, Found] = OrderedDict()

    def presence(self, peer: PeerId) -> Literal["dht", "unknown"]:
        """What we know of ``peer`` without asking anybody."""
        found = self._cache.get(peer)
        fresh = found is not None and self._clock.now() - found.at < limits.PRESENCE_CACHE
        return "dht" if fresh else "unknown"

    def forget(self, peer: PeerId) -> None:
        """Drop what is cached about ``peer``: it did not help."""
        self._cache.pop(peer, None)

    def network_changed(self) -> None:
        """Drop what was found on the LAN: it may be another one now."""
        for peer in [peer for peer, found in self._cache.items() if found.addresses]:
            del self._cache[peer]

    async def find(self, peer: PeerId, *, invite: bytes = b"", by_id: bool = False) -> Found | None:
        """The peer's presence: from the LAN, the cache or the DHT, whichever answers first.

        ``invite``: the secret of an invite of the peer, as one more way. ``by_id``: at its inbox alone; what
        we were given to find it by did not help. Raises :class:`PresenceClock` when it has one from the
        future, by our clock.
        """
        secret = self._secret_of(peer)
        private = [Series("contact", secret)] if secret and not by_id else []
        private += [Series("invite", invite)] if invite else []
        cached = self._cache.get(peer)
        lan = tuple(self._lan_addresses(peer))
        if cached is not None and self._is_best(cached, private):
            if lan and cached.addresses and set(cached.addresses) & set(lan):
                return _again(cached, lan)
            if not lan and not cached.addresses and self._use_dht:
                return _again(cached, ())
        lanes = [lane for lane in (private, [Series.of(peer)]) if lane]
        now_ms = self._clock.now_ms()
        found = await self._look(peer, lan, [_ways(lane, now_ms) for lane in lanes], self._head_start)
        if found is None:
            # Nobody there. If one of the two clocks is wrong, the peer is in a neighbouring epoch.
            return await self._look(peer, lan, [_ways(lane, now_ms, wide=True) for lane in lanes], 0.0)
        self._counters[f"found-by-{found.by}"] += 1
        if not self._is_current(found):
            return found  # only there: perhaps a wrong clock again
        found = self._cache[peer] = replace(found, in_time=True)
        self._cache.move_to_end(peer)
        while len(self._cache) > limits.PRESENCE_CACHE_MAX:
            self._cache.popitem(last=False)
        return found

    def _is_best(self, cached: Found, private: list[Series]) -> bool:
        """Whether what we remember is fresh, and no better way to the peer is known now."""
        if self._clock.now() - cached.at >= limits.PRESENCE_CACHE:
            return False
        return cached.series == private[0] if private else cached.by == "inbox"

    async def _look(
        self, peer: PeerId, lan: tuple[Address, ...], lanes: list[list[_Way]], head_start: float
    ) -> Found | None:
        """What the first lane brings or, with a head start for it, the second (happy eyeballs, RFC 8305)."""
        tasks = [asyncio.ensure_future(self._race(peer, lan, lanes[0]))]
        try:
            if len(lanes) > 1:
                await asyncio.wait(tasks, timeout=head_start)
                if not (tasks[0].done() and self._is_good(_result(tasks[0]))):
                    tasks.append(asyncio.ensure_future(self._race(peer, lan, lanes[1])))
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task in done and self._is_good(found := _result(task)):
                        return found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        others = [found for found in map(_result, tasks) if found is not None]
        if not others:
            for task in tasks:
                task.result()  # raises that the peer has a presence from the future
            return None
        return max(others, key=lambda found: (found.presence.created_ms, self._is_current(found)))

    async def _race(self, peer: PeerId, lan: tuple[Address, ...], ways: Sequence[_Way]) -> Found | None:
        """The newest presence that any of the ways brings.

        A young one of a present epoch is taken at once, and the other ways are cancelled.
        """
        searches = [self._search(peer, way, lan) for way in ways if lan]
        if self._use_dht:
            searches += [self._search(peer, way, ()) for way in ways]
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
                if self._is_good(found):
                    return found
                others.append(found)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if clock is not None and not others:
            raise clock
        newest = sorted(others, key=lambda found: (found.presence.created_ms, self._is_current(found)))
        return newest[-1] if newest else None

    async def _search(self, peer: PeerId, way: _Way, lan: tuple[Address, ...]) -> Found | None:
        series, epoch = way
        rendezvous = series.at(epoch)
        key = rendezvous.storage_key(RecordType.PRESENCE)
        clock_wrong = False
        old: Found | None = None
        async with self._dht.find(key, at=lan, only=bool(lan), types=(RecordType.PRESENCE,)) as records:
            async for data in records:
                try:
                    record = decode_record_untrusted(data)
                    presence = read_presence_untrusted(record, peer, rendezvous, self._clock.now_ms())
                except Rejected as error:
                    self._counters[f"presence-{error.reason}"] += 1
                    clock_wrong = clock_wrong or error.reason == "clock"
                    continue
                found = Found(presence, epoch, "lan" if lan else "dht", lan, self._clock.now(), series=series)
                if self._is_young(found):
                    return found
                if old is None or presence.created_ms > old.presence.created_ms:
                    old = found
        if old is None and clock_wrong:
            raise PresenceClock()
        return old

    def _is_good(self, found: Found | None) -> bool:
        """Whether nothing better can come."""
        return found is not None and self._is_current(found) and self._is_young(found)

    def _is_current(self, found: Found) -> bool:
        """Whether it was found where a peer is whose clock shows our time."""
        series = found.series or Series.of(found.presence.peer_id)
        return found.epoch == series.epoch(self._clock.now_ms())

    def _is_young(self, found: Found) -> bool:
        """Whether the peer has had no reason to make a new one: it does so after half the ttl."""
        age_ms = self._clock.now_ms() - found.presence.created_ms
        return age_ms < found.presence.ttl_s * 500 + limits.CLOCK_SKEW_MAX * 1000


def _ways(lane: list[Series], now_ms: int, *, wide: bool = False) -> list[_Way]:
    """Where to look: in the epochs near, or (``wide``) in those beyond, where wrong clocks are."""
    ways: list[_Way] = []
    for series in lane:
        near = series.near(now_ms)
        epochs = [e for e in series.near(now_ms, limits.EPOCH) if e not in near] if wide else near
        ways += [(series, epoch) for epoch in epochs]
    return ways


def _result(task: asyncio.Task[Found | None]) -> Found | None:
    """What a lane has brought; None also if it is not done, or found a presence from the future."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def _again(found: Found, lan: tuple[Address, ...]) -> Found:
    return replace(found, route="lan" if lan else "cache", addresses=lan)
