"""Routing tables by construction: what a node's table holds after a long quiet time, without the joins.

A join costs a node hundreds of datagrams and two signatures per contact: half an hour for ten thousand
nodes. So a node's table is drawn from the sorted ids of all routers: of each bucket beside its own path up
to k nodes at random, and all of the nodes nearest to it. ``--real-joins`` lets all nodes join instead; the
clients, which carry out the measured operations, always do.

Law: this is the only file of the universe that reaches inside an engine (``Core.admit``, which is what a
contact passes after its proof); the engine's own limits decide who gets in.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.limits import DHT_K, DHT_SPLIT_DEPTH

ID_BITS = 160


def plausible_table(own: int, ids: Sequence[int], chance: random.Random, k: int = DHT_K) -> list[int]:
    """Indices into the sorted ``ids`` of the contacts that the node with id ``own`` has; never its own."""
    chosen: list[int] = []
    first, last = 0, len(ids)
    low = 0
    for depth in range(ID_BITS):
        if last - first <= k + 1:
            break
        half = 1 << (ID_BITS - depth - 1)
        middle = bisect_left(ids, low + half, first, last)
        if own & half:
            start, beside, (first, last) = low, range(first, middle), (middle, last)
            low += half
        else:
            start, beside, (first, last) = low + half, range(middle, last), (first, middle)
        size = min(half, 1 << (ID_BITS - DHT_SPLIT_DEPTH))  # larger buckets split, wherever they are
        for end in range(start + size, start + half + 1, size):
            cut = bisect_left(ids, end, beside.start, beside.stop)
            bucket, beside = range(beside.start, cut), range(cut, beside.stop)
            chosen += bucket if len(bucket) <= k else chance.sample(bucket, k)
    chosen += (index for index in range(first, last) if ids[index] != own)
    return chosen


def fill(engine: DhtEngine, contacts: Iterable[tuple[bytes, Address]], now: float) -> None:
    """Let the engine take ``contacts`` as if each had just proved its id."""
    core = engine._core
    for node_id, address in contacts:
        core.admit(node_id, address, now)
