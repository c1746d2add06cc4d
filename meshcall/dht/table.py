"""The routing table: kademlia's buckets with exact selection and bounded splits.

Law 1: only verified contacts enter.
Law 2: there are never more buckets than an id has bits, whatever ids come.
Law 3: ``closest`` returns the true k closest of all contacts.
Law 4: a contact that answers is never pushed out by a newcomer; only failures make room.
Law 5: one public network has at most ``DHT_PER_NETWORK`` places in a bucket, in its queue and in a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from kademlia.routing import KBucket, RoutingTable

from meshcall.dht.contact import Contact
from meshcall.dht.networks import NetworkCount, network_of
from meshcall.limits import DHT_BUCKETS_MAX, DHT_K, DHT_PER_NETWORK, DHT_SPLIT_DEPTH

ID_SPACE = 1 << 160

_ALWAYS_SPLIT = ID_SPACE >> DHT_SPLIT_DEPTH
"""Buckets larger than this split also far from our own id (Kademlia paper section 4.2)."""


def _last_seen(contact: Contact) -> float:
    return contact.last_seen


_NOBODY: Final[dict[bytes, Contact]] = {}
"""Who waits where nobody does; never written to."""


class Bucket(KBucket):  # type: ignore[misc] # kademlia has no types
    """One range of ids."""

    nodes: dict[bytes, Contact]
    replacement_nodes: dict[bytes, Contact]

    def __init__(
        self, low: int, high: int, ksize: int = DHT_K, *, one_network: bool = False, refreshed: float = 0.0
    ) -> None:
        super().__init__(low, high, ksize, replacementNodeFactor=1)
        self.nodes, self.replacement_nodes = {}, _NOBODY  # half the size of kademlia's ordered ones
        self.one_network = one_network
        """All nodes share a LAN: networks are not counted."""
        self.refreshed = refreshed
        """When a lookup last went through this range; at first, when the table was made."""

    def touch_last_updated(self) -> None:
        """kademlia reads a clock here; this table is told the time (``refreshed``)."""

    def split(self) -> tuple[Bucket, Bucket]:
        """Two halves. A contact that was waiting gets a place if its half has room."""
        low, high = self.range
        middle = (low + high) // 2
        halves = (
            Bucket(low, middle, self.ksize, one_network=self.one_network, refreshed=self.refreshed),
            Bucket(middle + 1, high, self.ksize, one_network=self.one_network, refreshed=self.refreshed),
        )
        for contact in (*self.nodes.values(), *self.replacement_nodes.values()):
            halves[contact.long_id > middle].add_node(contact)
        return halves

    def contacts(self) -> Iterator[Contact]:
        """Longest silent first."""
        return iter(sorted(self.nodes.values(), key=_last_seen))

    def crowded(self, ip: str, among: Iterable[Contact]) -> bool:
        """Whether the network of ``ip`` has all its places ``among`` these contacts."""
        network = None if self.one_network else network_of(ip)
        if network is None:
            return False
        return sum(network_of(contact.address[0]) == network for contact in among) >= DHT_PER_NETWORK

    def add_node(self, node: Contact) -> bool:
        """Whether the contact has a place now; otherwise it waits, unless too many of its network do."""
        others = [contact for contact in self.nodes.values() if contact.id != node.id]
        if len(others) < self.ksize and not self.crowded(node.ip, others):
            self.nodes[node.id] = node
            return True
        self.replacement_nodes.pop(node.id, None)
        waiting = self.replacement_nodes
        if len(waiting) < self.max_replacement_nodes and not self.crowded(node.ip, waiting.values()):
            if not waiting:
                waiting = self.replacement_nodes = {}
            waiting[node.id] = node
        return False

    def remove_node(self, node: Contact) -> None:
        """The contact goes; the newest that waits and may have its place takes it."""
        self.replacement_nodes.pop(node.id, None)
        if self.nodes.pop(node.id, None) is None:
            return
        for waiting in reversed(self.replacement_nodes.values()):
            if not self.crowded(waiting.ip, self.nodes.values()):
                del self.replacement_nodes[waiting.id]
                self.nodes[waiting.id] = waiting
                return


class Table(RoutingTable):  # type: ignore[misc] # kademlia has no types
    """The contacts of one address family, seen from one node id."""

    buckets: list[Bucket]

    def __init__(
        self, own_id: bytes, ksize: int = DHT_K, *, one_network: bool = False, now: float = 0.0
    ) -> None:
        self._one_network = one_network
        self._made = now
        own = Contact(own_id, ("0.0.0.0", 0))  # noqa: S104 - nothing listens; kademlia wants a node
        super().__init__(None, ksize, own)

    def flush(self) -> None:
        """Forget all contacts."""
        self.buckets = [
            Bucket(0, ID_SPACE - 1, self.ksize, one_network=self._one_network, refreshed=self._made)
        ]

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def all_contacts(self) -> Iterator[Contact]:
        """All contacts, in no order that means anything."""
        return chain.from_iterable(bucket.nodes.values() for bucket in self.buckets)

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self.buckets:
            yield from bucket.contacts()

    def get_bucket_for(self, node: Contact) -> int:
        """Index of the bucket whose range has the node's id."""
        return self._index(node.long_id)

    def _index(self, long_id: int) -> int:
        low, high = 0, len(self.buckets) - 1
        while low < high:
            middle = (low + high) // 2
            if long_id <= self.buckets[middle].range[1]:
                high = middle
            else:
                low = middle + 1
        return low

    def bucket(self, node_id: bytes) -> Bucket:
        """The bucket whose range has ``node_id``."""
        return self.buckets[self._index(int.from_bytes(node_id, "big"))]

    def get(self, node_id: bytes) -> Contact | None:
        """The contact with that id."""
        contact: Contact | None = self.bucket(node_id).nodes.get(node_id)
        return contact

    def wants(self, node_id: bytes, ip: str) -> bool:
        """Whether a contact with that id at ``ip`` would get a place, or a place in the queue."""
        if node_id == self.node.id:
            return False
        bucket = self.bucket(node_id)
        if node_id in bucket.nodes or node_id in bucket.replacement_nodes:
            return False
        queue = len(bucket.replacement_nodes) < bucket.max_replacement_nodes and not bucket.crowded(
            ip, bucket.replacement_nodes.values()
        )
        if bucket.crowded(ip, bucket.nodes.values()):
            return queue
        return len(bucket) < self.ksize or self._splittable(bucket) or queue

    def _splittable(self, bucket: Bucket) -> bool:
        return (
            len(self.buckets) < DHT_BUCKETS_MAX
            and (bucket.has_in_range(self.node) or bucket.range[1] - bucket.range[0] >= _ALWAYS_SPLIT)
            and bucket.range[0] < bucket.range[1]
        )

    def add_contact(self, node: Contact) -> bool:
        """Whether the contact has a place now; otherwise it waits for one (Kademlia paper section 2.4)."""
        if node.id == self.node.id:
            return False
        while True:
            bucket = self.bucket(node.id)
            if bucket.add_node(node):
                return True
            if len(bucket) < self.ksize or not self._splittable(bucket):
                return False  # full, or too many of that network: no reason to split
            self.split_bucket(self._index(node.long_id))

    def seen(self, contact: Contact, now: float) -> None:
        """The contact answered: it is the last in its bucket now."""
        contact.last_seen, contact.failures = now, 0

    def closest(self, target: bytes, k: int, *, healthy: bool = False) -> list[Contact]:
        """The ``k`` contacts closest to ``target``, closest first; ``healthy``: none that failed last.

        A crowded network does not count for more than its places: its next contacts are left out.
        Buckets are disjoint subtrees of ids, so the distances of two of them never overlap: the nearest
        buckets are taken one by one until there are k contacts, and only these are sorted.
        """
        goal = int.from_bytes(target, "big")

        def nearest(bucket: Bucket) -> int:
            low, high = bucket.range
            return int((low ^ goal) & ~(high - low))

        def distance(contact: Contact) -> tuple[int, Contact]:
            return contact.long_id ^ goal, contact

        found: list[Contact] = []
        networks = NetworkCount(lifted=self._one_network)
        for bucket in sorted(self.buckets, key=nearest):
            if len(found) >= k:
                break
            usable = [c for c in bucket.nodes.values() if not (healthy and c.failures)]
            found += [c for c in sorted(usable, key=distance) if networks.take(c.address[0])]
        return found[:k]

    def find_neighbors(
        self, node: Contact, k: int | None = None, exclude: Contact | None = None
    ) -> list[Contact]:
        """kademlia's name for :meth:`closest`, without ``node`` itself and without ``exclude``'s address."""
        k = k or self.ksize
        found = self.closest(node.id, len(self))
        return [c for c in found if c.id != node.id and not (exclude and c.same_home_as(exclude))][:k]
