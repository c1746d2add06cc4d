"""The sliding-window lookup: always ``alpha`` requests under way to the closest nodes not asked yet.

Law 1: no rounds. A node that is late frees its place at once; its late reply is still used.
Law 2: bounded: requests, seconds and remembered nodes have caps, whatever nodes answer.
Law 3: what a reply says about other nodes is a claim; one address is asked once, whatever ids it is given.
Law 4: nothing here raises on what a peer sends.

A lookup is *settled* when the ``want`` closest nodes it knows, except the late and the dead, have answered.
It is *finished* when nobody is waited for any more; between the two, late replies still count.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from meshcall.address import Address
from meshcall.dht.alarms import Alarm
from meshcall.dht.compact import NodeInfo, is_martian, unpack_nodes_untrusted
from meshcall.dht.core import Core
from meshcall.dht.messages import EPHEMERAL, Nodes, Request, Response, Values
from meshcall.dht.transactions import Call
from meshcall.limits import (
    DHT_ALPHA,
    DHT_K,
    DHT_LOOKUP_CANDIDATES_MAX,
    DHT_LOOKUP_RPCS_MAX,
    DHT_LOOKUP_TIME_MAX,
    DHT_REPLICAS,
)


class State(Enum):
    """What became of a candidate."""

    FRESH = auto()
    ASKED = auto()
    LATE = auto()
    ANSWERED = auto()
    FAILED = auto()


@dataclass(order=True, slots=True)
class Candidate:
    """A node that may be close to the target."""

    distance: int
    address: Address
    node_id: bytes | None = field(compare=False)
    """Claimed until it answers; None for an address without a claim."""
    state: State = field(compare=False, default=State.FRESH)
    given: bool = field(compare=False, default=False)
    """Named by our own side, not by a reply."""
    outsider: bool = field(compare=False, default=False)
    """Answered, but takes no part in routing: never one of the closest."""


FAR = 1 << 160
"""Distance of a node whose id is not known."""


class Lookup:
    """One search for the nodes closest to ``target``."""

    def __init__(
        self,
        core: Core,
        target: bytes,
        *,
        make: Callable[[bytes], Request],
        on_answer: Callable[[Candidate, Nodes | Values, float], None],
        on_settled: Callable[[float], None],
        on_finished: Callable[[float], None],
        want: int = DHT_REPLICAS,
        alpha: int = DHT_ALPHA,
        only_given: bool = False,
    ) -> None:
        self._core = core
        self.target = target
        self._goal = int.from_bytes(target, "big")
        self._make = make
        self._on_answer = on_answer
        self._on_settled = on_settled
        self._on_finished = on_finished
        self._want = want
        self._alpha = alpha
        self._only_given = only_given
        self._candidates: list[Candidate] = []
        self._addresses: dict[Address, Candidate] = {}
        self._calls: dict[bytes, tuple[Call, Candidate]] = {}
        self._limit: Alarm | None = None
        self.requests = 0
        self.settled = False
        self.finished = False

    # --- start and end ---

    def start(self, now: float, given: Sequence[Address] = ()) -> None:
        """Begin with the closest contacts; ``given`` addresses are asked at once."""
        for address in given[:DHT_REPLICAS]:
            self._add(None, address, now, given=True)
        if not self._only_given:
            for contact in self._core.closest(self.target, DHT_K):
                self._add(contact.id, contact.address, now)
            for node_id, address in self._core.recent.get(self.target, now) or ():
                self._add(node_id, address, now)
            if not self._candidates:
                for address in (*self._core.seeds[:DHT_K], *self._core.lost):
                    self._add(None, address, now, given=True)
        self._limit = self._core.alarms.set(now + DHT_LOOKUP_TIME_MAX, self._time_is_up)
        self._pump(now)

    def cancel(self) -> None:
        """No more requests and no more callbacks. Cannot fail, at any moment."""
        self.finished = self.settled = True
        for call, _ in self._calls.values():
            call.forget()
        self._calls.clear()
        if self._limit is not None:
            self._limit.cancel()

    def _time_is_up(self, now: float) -> None:
        if not self.finished:
            self._core.counters["lookup-time"] += 1
            self._finish(now)

    def _finish(self, now: float) -> None:
        if not self.settled:
            self.settled = True
            self._on_settled(now)
        if not self.finished:
            self.cancel()
            self._on_finished(now)

    # --- candidates ---

    def _add(self, node_id: bytes | None, address: Address, now: float, *, given: bool = False) -> None:
        if node_id == self._core.node_id or address in self._addresses:
            return
        if not given and self._core.unreachable.get(address, now):
            return
        distance = FAR if node_id is None else int.from_bytes(node_id, "big") ^ self._goal
        candidate = Candidate(distance, address, node_id, given=given)
        insort(self._candidates, candidate)
        self._addresses[address] = candidate
        if len(self._candidates) > DHT_LOOKUP_CANDIDATES_MAX:
            self._forget_farthest()

    def _forget_farthest(self) -> None:
        for index in range(len(self._candidates) - 1, -1, -1):
            candidate = self._candidates[index]
            if candidate.state in (State.FRESH, State.FAILED) and not candidate.given:
                del self._candidates[index]
                del self._addresses[candidate.address]
                return

    def rank(self, candidate: Candidate) -> int:
        """How many nodes that have not failed are closer."""
        closer = 0
        for other in self._candidates:
            if other is candidate:
                break
            closer += other.state is not State.FAILED and not other.outsider
        return closer

    def closest(self) -> list[Candidate]:
        """The ``want`` closest that answered, closest first."""
        answered = [c for c in self._candidates if c.state is State.ANSWERED and not c.outsider]
        return answered[: self._want]

    # --- the window ---

    def _pump(self, now: float) -> None:
        if self.finished:
            return
        under_way = sum(c.state is State.ASKED for c in self._candidates if not c.given)
        for candidate in list(self._eligible()):
            if self.requests >= DHT_LOOKUP_RPCS_MAX:
                self._core.counters["lookup-requests"] += not self.settled
                break
            if not candidate.given:
                if under_way >= self._alpha:
                    break
                under_way += 1
            self._ask(candidate, now)
        self._check(now)

    def _eligible(self) -> Iterable[Candidate]:
        """Nodes to ask next: the given ones, then those with fewer than ``want`` answered ones closer."""
        yield from (c for c in self._candidates if c.given and c.state is State.FRESH)
        answered = 0
        for candidate in self._candidates:
            if answered >= self._want:
                return
            if candidate.state is State.ANSWERED:
                answered += not candidate.outsider
            elif candidate.state is State.FRESH and not candidate.given:
                yield candidate

    def _ask(self, candidate: Candidate, now: float) -> None:
        call = self._core.transactions.request(
            candidate.address, self._make, self, now, node_id=candidate.node_id
        )
        if call is None:
            candidate.state = State.FAILED
            return
        candidate.state = State.ASKED
        self.requests += 1
        self._calls[call.tid] = (call, candidate)

    def _check(self, now: float) -> None:
        if not self.settled and self._is_settled():
            self.settled = True
            self._core.recent.put(
                self.target, tuple((c.node_id or b"", c.address) for c in self.closest()), now
            )
            self._on_settled(now)
        if self.settled and not self.finished and not self._calls:
            self._finish(now)

    def _is_settled(self) -> bool:
        answered = late = 0
        exhausted = self.requests >= DHT_LOOKUP_RPCS_MAX
        for candidate in self._candidates:
            if answered >= self._want and not candidate.given:
                continue
            if candidate.state is State.ASKED or (candidate.state is State.FRESH and not exhausted):
                return False
            answered += candidate.state is State.ANSWERED and not candidate.outsider
            late += candidate.state is State.LATE
        # With nobody heard yet the late ones are all there is
        return answered > 0 or late == 0

    # --- replies ---

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A node answered (Listener)."""
        entry = self._calls.pop(call.tid, None)
        if entry is None:
            return
        candidate = entry[1]
        if isinstance(message, Nodes | Values) and self._identify(candidate, message):
            candidate.state = State.ANSWERED
            candidate.outsider = bool(message.flags & EPHEMERAL)
            if not self._only_given:
                self._learn(candidate, message, now)
            self._on_answer(candidate, message, now)
        else:
            candidate.state = State.FAILED
        self._pump(now)

    def _identify(self, candidate: Candidate, message: Response) -> bool:
        """Whether the sender may count; it is ranked by the id it answers with, not by what others said."""
        if message.sender == self._core.node_id:
            return False
        if any(c.node_id == message.sender and c.state is State.ANSWERED for c in self._candidates):
            self._core.counters["duplicate-id"] += 1
            return False
        if candidate.node_id != message.sender:
            self._candidates.remove(candidate)
            candidate.node_id = message.sender
            candidate.distance = int.from_bytes(message.sender, "big") ^ self._goal
            insort(self._candidates, candidate)
        return True

    def _learn(self, teller: Candidate, message: Nodes | Values, now: float) -> None:
        nodes: list[NodeInfo] = unpack_nodes_untrusted(message.nodes4, message.nodes6)  # sizes are checked
        for node_id, address in nodes[:DHT_K]:
            if is_martian(address, teller.address):
                self._core.counters["martian"] += 1
            else:
                self._add(node_id, address, now)

    def on_slow(self, call: Call, now: float) -> None:
        """A node is late (Listener)."""
        entry = self._calls.get(call.tid)
        if entry is not None:
            entry[1].state = State.LATE
            self._pump(now)

    def on_failed(self, call: Call, now: float) -> None:
        """A node did not answer (Listener)."""
        entry = self._calls.pop(call.tid, None)
        if entry is not None:
            entry[1].state = State.FAILED
            self._pump(now)
