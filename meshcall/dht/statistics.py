"""What an engine tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from meshcall.address import Address
from meshcall.dht.limiter import LimiterStatistics
from meshcall.record.store import StoreStatistics


@dataclass(frozen=True, slots=True)
class DhtStatistics:
    """A snapshot of an engine."""

    node_id: bytes
    routes: bool
    """Whether others may put this node into their tables."""
    decides: bool
    """Whether it finds out itself if it is to route; otherwise it was told."""
    proofs: int
    """Networks that have reached it; ``DHT_DIAL_PROOFS`` make a router."""
    since: float
    """Since when it is at its address, monotonic seconds."""
    contacts: int
    contacts_by_family: dict[int, int]
    buckets: int
    restored: int
    """Contacts that the saved table had."""
    operations: int
    """Lookups, stores, delivers and own watches under way."""
    open_requests: int
    own_watches: dict[bytes, int]
    """Keys that we watch, with how many nodes hold the watch."""
    watch_holders: dict[bytes, tuple[Address, ...]]
    """Where these nodes are."""
    watches_held: int
    """Watches kept for others."""
    records: StoreStatistics
    limiter: LimiterStatistics
    observed4: Address | None
    """Our IPv4 address as most nodes see it."""
    observed6: Address | None
    counters: dict[str, int]
    """How often what happened, by reason."""
