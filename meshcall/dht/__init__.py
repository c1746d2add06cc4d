"""The DHT: Kademlia on the kademlia package's Node, KBucket and RoutingTable, with typed frames and push.

:class:`~meshcall.dht.engine.DhtEngine` is the whole of it; the other modules are its parts.
"""

from __future__ import annotations

from meshcall.dht.engine import DhtEngine
from meshcall.dht.events import (
    BootstrapDone,
    DeliverDone,
    DeliverProgress,
    Event,
    FindDone,
    LookupDone,
    Notified,
    PingDone,
    StoreDone,
    ValueFound,
    WatchChanged,
)
from meshcall.dht.statistics import DhtStatistics

__all__ = [
    "BootstrapDone",
    "DeliverDone",
    "DeliverProgress",
    "DhtEngine",
    "DhtStatistics",
    "Event",
    "FindDone",
    "LookupDone",
    "Notified",
    "PingDone",
    "StoreDone",
    "ValueFound",
    "WatchChanged",
]
