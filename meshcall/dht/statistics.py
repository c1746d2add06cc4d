"""What an engine tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from meshcall.address import Address
from meshcall.record.store import StoreStatistics


@dataclass(frozen=True, slots=True)
class DhtStatistics:
    """A snapshot of an engine."""

    node_id: bytes
    routes: bool
    """Whether others may put this node into their tables."""
    contacts: int
    buckets: int
    operations: int
    """Lookups, stores, delivers and own watches under way."""
    open_requests: int
    own_watches: dict[bytes, int]
    """Keys that we watch, with how many nodes hold the watch."""
    watches_held: int
    """Watches kept for others."""
    records: StoreStatistics
    observed4: Address | None
    """Our IPv4 address as most nodes see it."""
    observed6: Address | None
    counters: dict[str, int]
    """How often what happened, by reason."""
