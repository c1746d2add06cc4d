"""What this node keeps for others, and its own records, until they expire.

Law 1: only validated :class:`Record` values come in (``check_record_untrusted``).
Law 2: a value's place is (storage key, type, source network). Whoever knows an ID can sign for its inbox,
so a newer number replaces only what came from the same network, and never anybody else's value.
Law 3: lives are counted on the monotonic clock from the first store of these octets; storing the same
octets again lengthens nothing (else old records could be kept alive for ever).
Law 4: a copy that a reader brings (``age``) lives no longer than the original, takes a place only if nobody
has brought the same octets, and leaves half of the places of its key to those that own records.
Law 5: a full key or source refuses; a full store drops what would expire first, but never an own value.

A network is an IPv4 /24 or an IPv6 /48; on a LAN it is the single address, since all peers share one.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from meshcall import limits
from meshcall.address import is_lan
from meshcall.record.codec import TTL_MAX, Record, RecordType

_OWN: Final = ""
"""The network of pinned values; :func:`_source` never returns it."""


class StoreResult(StrEnum):
    """What became of a record. The first three mean that the octets are kept."""

    STORED = "stored"
    REPLACED = "replaced"
    """An older one of the same place went."""
    UNCHANGED = "unchanged"
    """The same octets were there already; their life is not lengthened."""
    STALE = "stale"
    """The place holds a higher number."""
    CONFLICT = "conflict"
    """The place holds other octets with the same number."""
    KEY_FULL = "key-full"
    SOURCE_FULL = "source-full"
    STORE_FULL = "store-full"
    EXPIRED = "too-old"
    """Its life was over when it came."""

    @property
    def kept(self) -> bool:
        """Whether the octets are in the store now."""
        return self in (StoreResult.STORED, StoreResult.REPLACED, StoreResult.UNCHANGED)


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """A snapshot of a :class:`RecordStore`."""

    values: int
    octets: int
    keys: int
    sources: int
    """Hosts (IPv4 address or IPv6 /64) that have values here."""
    results: dict[str, int]
    """How many puts ended how, by the text of :class:`StoreResult`; ``expired`` and ``evicted`` too."""


@dataclass(slots=True)
class _Value:
    """One value, without its fields: they would hold every octet a second time."""

    data: bytes
    seq: int
    life: float
    """Seconds that it lives in all."""
    expires: float
    host: str
    network: str
    order: int
    """Rank of the place by age: it is kept when the value is replaced."""


@dataclass(frozen=True, slots=True)
class _Place:
    key: bytes
    type: RecordType
    network: str


def _source(ip: str) -> tuple[str, str]:
    """(host, network) that ``ip`` is counted under. Cannot fail: what is no address stands for itself."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return f"?{ip}", f"?{ip}"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if is_lan(str(address)):
        return str(address), str(address)
    host, network = (4, 3) if address.version == 4 else (8, 6)
    return address.packed[:host].hex(), address.packed[:network].hex()


class RecordStore:
    """Values by storage key, with caps per key, host, network and in total."""

    def __init__(
        self,
        *,
        max_values: int = limits.RECORD_STORE_VALUES,
        max_octets: int = limits.RECORD_STORE_OCTETS,
        per_source: int = limits.RECORDS_PER_SOURCE,
        per_network: int = limits.RECORDS_PER_NETWORK,
        per_key_and_type: int = limits.RECORDS_PER_KEY_AND_TYPE,
    ) -> None:
        """An empty store; the caps are those of :mod:`meshcall.limits` unless given."""
        self._max_values = max_values
        self._max_octets = max_octets
        self._per_source = per_source
        self._per_network = per_network
        self._per_key_and_type = per_key_and_type
        self._values: dict[bytes, dict[_Place, _Value]] = {}
        self._count = 0
        self._octets = 0
        self._hosts: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()
        self._heap: list[tuple[float, int, _Place]] = []
        self._order = 0
        self._results: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many values are kept."""
        return self._count

    def put(
        self, record: Record, source: str, now: float, *, pinned: bool = False, age: float = 0.0
    ) -> StoreResult:
        """Keep a validated ``record`` that came from IP address ``source``; ``now`` in monotonic seconds.

        ``pinned`` is for our own records: no cap but the total stands against them, and nothing evicts them.
        ``age``: seconds of its ttl that have passed, when somebody brings a copy of another's record.
        """
        result = self._put(record, source, now, pinned, age)
        self._results[result] += 1
        return result

    def _put(self, record: Record, source: str, now: float, pinned: bool, age: float) -> StoreResult:
        self.expire(now)
        host, network = (_OWN, _OWN) if pinned else _source(source)
        place = _Place(record.storage_key, record.type, network)
        data = record.encode()
        life = min(record.ttl, TTL_MAX[record.type])
        expires = now + life - age
        if expires <= now:
            return StoreResult.EXPIRED
        held = self._values.get(place.key, {})
        if age > 0:
            if any(value.data == data for value in held.values()):
                return StoreResult.UNCHANGED
            if sum(p.type is place.type for p in held) >= self._per_key_and_type // 2:
                return StoreResult.KEY_FULL
        old = held.get(place)
        if old is not None:
            if record.seq < old.seq:
                return StoreResult.STALE
            if record.seq == old.seq:
                return StoreResult.UNCHANGED if data == old.data else StoreResult.CONFLICT
        if not pinned:
            refusal = self._refusal(place, host, held, old)
            if refusal is not None:
                return refusal
        if old is not None:
            self._drop(place)
        if not self._make_room(len(data)):
            return StoreResult.STORE_FULL
        self._order += 1
        order = self._order if old is None else old.order
        value = _Value(data, record.seq, life, expires, host, network, order)
        self._values.setdefault(place.key, {})[place] = value
        self._count += 1
        self._octets += len(data)
        if not pinned:
            self._hosts[host] += 1
            self._networks[network] += 1
        heapq.heappush(self._heap, (expires, self._order, place))
        return StoreResult.STORED if old is None else StoreResult.REPLACED

    def _refusal(
        self, place: _Place, host: str, held: dict[_Place, _Value], old: _Value | None
    ) -> StoreResult | None:
        if old is None and sum(p.type is place.type for p in held) >= self._per_key_and_type:
            return StoreResult.KEY_FULL
        of_host = self._hosts[host] - (old is not None and old.host == host)
        of_network = self._networks[place.network] - (old is not None)
        if of_host >= self._per_source or of_network >= self._per_network:
            return StoreResult.SOURCE_FULL
        return None

    def _make_room(self, size: int) -> bool:
        """Evict, earliest expiry first, until a value of ``size`` octets fits; own values stay."""
        pinned: list[tuple[float, int, _Place]] = []
        while self._count >= self._max_values or self._octets + size > self._max_octets:
            if not self._heap:
                break
            entry = heapq.heappop(self._heap)
            if not self._is_live(entry):
                continue
            if entry[2].network == _OWN:
                pinned.append(entry)
                continue
            self._drop(entry[2])
            self._results["evicted"] += 1
        for entry in pinned:
            heapq.heappush(self._heap, entry)
        return self._count < self._max_values and self._octets + size <= self._max_octets

    def _is_live(self, entry: tuple[float, int, _Place]) -> bool:
        value = self._values.get(entry[2].key, {}).get(entry[2])
        return value is not None and value.expires == entry[0]

    def _drop(self, place: _Place) -> None:
        places = self._values[place.key]
        value = places.pop(place)
        if not places:
            del self._values[place.key]
        self._count -= 1
        self._octets -= len(value.data)
        if place.network != _OWN:
            for counter, name in ((self._hosts, value.host), (self._networks, value.network)):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]
        if len(self._heap) > 64 + 4 * self._count:  # stale entries of replaced values
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def get(self, storage_key: bytes, now: float, types: Collection[RecordType] | None = None) -> list[bytes]:
        """The live values under ``storage_key``, distinct, the longest established place first.

        Only those of ``types`` if given. The order favours who was there first, not who signs the highest
        number: everybody who knows an ID can sign any number.
        """
        return [data for data, _ in self.get_aged(storage_key, now, types)]

    def get_aged(
        self, storage_key: bytes, now: float, types: Collection[RecordType] | None = None
    ) -> list[tuple[bytes, float]]:
        """The same, each with the seconds that have passed of its life."""
        values = [
            value
            for place, value in self._values.get(storage_key, {}).items()
            if value.expires > now and (types is None or place.type in types)
        ]
        values.sort(key=lambda value: value.order)
        found: dict[bytes, float] = {}
        for value in values:
            found.setdefault(value.data, max(0.0, value.life - (value.expires - now)))
        return list(found.items())

    def remove_own(self, storage_key: bytes, type: RecordType) -> bool:  # noqa: A002 - the layout's word
        """Forget our own pinned record of ``type``; tells whether there was one."""
        place = _Place(storage_key, type, _OWN)
        if place not in self._values.get(storage_key, {}):
            return False
        self._drop(place)
        return True

    def expire(self, now: float) -> int:
        """Drop everything whose life is over; returns how many values went."""
        gone = 0
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_live(entry):
                self._drop(entry[2])
                gone += 1
        self._results["expired"] += gone
        return gone

    def deadline(self) -> float | None:
        """When :meth:`expire` has something to do next, monotonic seconds; None when empty."""
        while self._heap and not self._is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def statistics(self) -> StoreStatistics:
        """A frozen snapshot."""
        return StoreStatistics(
            self._count, self._octets, len(self._values), len(self._hosts), dict(self._results)
        )
