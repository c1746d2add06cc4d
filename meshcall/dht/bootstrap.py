"""Joining the network: from a few addresses to a full table.

First the addresses are challenged, then our own neighbourhood is looked up, then the far parts of the space,
the farthest first. How far down they go is asked anew before each lookup: neighbours count only when they
have proved their ids, and that takes a round trip longer than their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshcall.address import Address
from meshcall.dht.alarms import Alarm
from meshcall.dht.core import Core
from meshcall.dht.events import BootstrapDone
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import Nodes, Values
from meshcall.dht.operations import Operation, find_node
from meshcall.dht.table import ID_SPACE
from meshcall.dht.verifier import Verifier
from meshcall.identity.keys import Random
from meshcall.limits import DHT_ALPHA, DHT_K, DHT_REPLICAS, DHT_SPLIT_DEPTH, NODE_ID_SIZE

_PROOFS = 0.5
"""Seconds that the first far lookup waits at most for our neighbours to prove their ids."""


def random_id_in(low: int, high: int, random: Random) -> bytes:
    """An id in ``low``..``high``, a range whose size is a power of two."""
    offset = int.from_bytes(random(NODE_ID_SIZE), "big") % (high - low + 1)
    return (low + offset).to_bytes(NODE_ID_SIZE, "big")


class BootstrapOperation(Operation):
    """One join."""

    def __init__(
        self,
        core: Core,
        number: int,
        verifier: Verifier,
        addresses: Sequence[Address],
        on_joined: Callable[[float], None],
    ) -> None:
        super().__init__(core, number)
        self._verifier = verifier
        self._addresses = list(dict.fromkeys(addresses))
        self._on_joined = on_joined
        self._waiting = 0
        self._answered = 0
        self._lookups: list[Lookup] = []
        self._ranges: list[tuple[int, int]] = []
        """Parts of the current depth that are still to be looked up."""
        self._depth = 0
        """The range beside our own path that comes next, by its number of leading bits in common with us."""
        self._pause: Alarm | None = None
        self._told = False

    def start(self, now: float) -> None:
        """Begin."""
        self._waiting = len(self._addresses)
        for address in self._addresses:
            self._verifier.challenge(address, self._on_proof, now)
        if not self._addresses:
            self._done(now)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        self._told = True
        for lookup in self._lookups:
            lookup.cancel()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _on_proof(self, node_id: bytes | None, now: float) -> None:
        self._waiting -= 1
        if self.finished:
            return
        if node_id is not None:
            self._answered += 1
            if self._answered == 1:
                self._look(self.core.node_id, now)
        if self._waiting == 0 and self._answered == 0:
            self._done(now)

    def _look(self, target: bytes, now: float) -> None:
        lookup = Lookup(
            self.core,
            target,
            make=find_node(self.core, target),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            on_finished=lambda now: None,
            want=DHT_K if target == self.core.node_id else DHT_ALPHA,
        )
        self._lookups.append(lookup)
        lookup.start(now, self._addresses if len(self._lookups) == 1 else ())

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        """Nothing to do: whoever answers is challenged, and so enters the table."""

    def _on_settled(self, now: float) -> None:
        if self.finished:
            return
        if self._told:
            self._look_far(now)
        else:
            self._done(now, over=False)
            self._pause = self.core.alarms.set(now + _PROOFS, self._proved)
            self._verifier.when_idle(self._proved, now)

    def _proved(self, now: float) -> None:
        """All neighbours have proved their ids, or had the time to: whichever is first."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self._look_far(now)

    def _look_far(self, now: float) -> None:
        if not self._ranges:
            self._ranges = self._next_ranges()
        if self._ranges:
            low, high = self._ranges.pop()
            self._look(random_id_in(low, high, self.core.random), now)
        else:
            self.finished = True

    def _next_ranges(self) -> list[tuple[int, int]]:
        """The other half of the next range around our id, in parts; none where our neighbourhood begins."""
        neighbours = self.core.closest(self.core.node_id, DHT_K)
        own = int.from_bytes(self.core.node_id, "big")
        if not neighbours or (own ^ neighbours[-1].long_id).bit_length() > 160 - self._depth:
            return []
        size = ID_SPACE >> (self._depth + 1)
        self._depth += 1
        low = (own ^ size) // size * size
        piece = min(size, ID_SPACE >> DHT_SPLIT_DEPTH + 1) if len(neighbours) > DHT_REPLICAS else size
        return [(start, start + piece - 1) for start in range(low, low + size, piece)]

    def _done(self, now: float, *, over: bool = True) -> None:
        self._told = True
        self.finished = over
        self.core.events.append(BootstrapDone(self.number, self._answered))
        if self._answered:
            self._on_joined(now)
