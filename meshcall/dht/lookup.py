"""The sliding-window lookup: always ``alpha`` requests under way to the closest nodes not asked yet.

Law 1: no rounds. A node that is late frees its place at once; its late reply is still used.
Law 2: bounded: requests, seconds and remembered nodes have caps, whatever nodes answer.
Law 3: what a reply says about other nodes is a claim; one address is asked once, whatever ids it is given.
Law 4: nothing here raises on what a peer sends.
Law 5: of one public network no more nodes than ``DHT_PER_NETWORK`` count; the next one does when one of them
is late or dead.

Law 6: what a node names is asked on the node's own path alone, unless the other path hears of it too. A liar
that names only its friends keeps its path busy with them; the other path still finds the rest.

Law 7: what a node names is asked on its credit. Each request takes one from all that had named the node by
then, each answer gives them more back, and what only nodes without credit name has no turn: it is not asked,
not waited for and counts for nothing. Who names the living and the dead alike gets by; who invents does not.

A lookup is *settled* when the ``want`` closest nodes it knows, except the late and the dead, have answered,
on every path.
It is *finished* when nobody is waited for any more; between the two, late replies still count.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice

from meshcall.address import Address
from meshcall.dht.alarms import Alarm
from meshcall.dht.compact import NodeInfo, unpack_nodes_untrusted
from meshcall.dht.core import Core
from meshcall.dht.events import AskedNode
from meshcall.dht.messages import EPHEMERAL, Nodes, Request, Response, Values
from meshcall.dht.transactions import Call
from meshcall.limits import (
    DHT_ALPHA,
    DHT_K,
    DHT_LOOKUP_CANDIDATES_MAX,
    DHT_LOOKUP_CREDIT,
    DHT_LOOKUP_CREDIT_ANSWERED,
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
    paths: int = field(compare=False, default=1)
    """Bits of the paths that heard of it."""
    path: int = field(compare=False, default=0)
    """The path on which it is asked: what it names is heard there."""
    tellers: tuple[Candidate, ...] = field(compare=False, default=())
    """Who named it, under this id, before it was asked; none for one that we knew before."""
    doubters: tuple[tuple[Candidate, bytes | None], ...] = field(compare=False, default=())
    """The same, and the other id that each of them said."""
    credit: int = field(compare=False, default=0)
    """How many more nodes that it names are asked."""
    outsider: bool = field(compare=False, default=False)
    """Answered, but takes no part in routing, or under an id that another has: never one of the closest."""
    renamed: bool = field(compare=False, default=False)
    """Answered under an id that nobody had said to be there."""
    hop: int = field(compare=False, default=1)
    """1: known before; n + 1: named by one of hop n."""
    rtt: float | None = field(compare=False, default=None)
    """Seconds, if it answered."""

    def namers(self) -> list[Candidate]:
        """Who named it before it was asked, under whatever id."""
        return [*self.tellers, *(namer for namer, _ in self.doubters)]

    def has_turn(self) -> bool:
        """Whether one that named it has credit; always so for one that we knew before."""
        return not self.tellers or any(namer.credit > 0 for namer in self.namers())


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
        credit: int = DHT_LOOKUP_CREDIT,
        only_given: bool = False,
        paths: int = 1,
    ) -> None:
        """``paths``: disjoint ways to go, for a target that a stranger can predict, with no more work.

        ``credit``: how many nodes that one names are asked before any answers.
        """
        self._core = core
        self.target = target
        self._goal = int.from_bytes(target, "big")
        self._make = make
        self._on_answer = on_answer
        self._on_settled = on_settled
        self._on_finished = on_finished
        self._want = want
        self._alpha = alpha
        self._credit = credit
        self._only_given = only_given
        self._paths = paths
        self._asked = [0] * paths
        """Requests per path."""
        self._window = alpha if paths == 1 else alpha * 2 // 3
        """Requests under way on one path."""
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
        for index, address in enumerate(given[:DHT_REPLICAS]):
            self._add(None, address, now, given=True, path=index)
        if not self._only_given:
            self._core.looked_up(self.target, now)
            for index, contact in enumerate(self._core.closest(self.target, DHT_K)):
                self._add(contact.id, contact.address, now, path=index)
            for index, (node_id, address) in enumerate(self._core.recent.get(self.target, now) or ()):
                self._add(node_id, address, now, path=index)
            if not self._candidates:
                for index, address in enumerate((*self._core.seeds[:DHT_K], *self._core.lost)):
                    self._add(None, address, now, given=True, path=index)
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

    def _add(
        self,
        node_id: bytes | None,
        address: Address,
        now: float,
        *,
        path: int,
        given: bool = False,
        teller: Candidate | None = None,
    ) -> None:
        path %= self._paths
        distance = FAR if node_id is None else int.from_bytes(node_id, "big") ^ self._goal
        known = self._addresses.get(address)
        if known is not None:
            known.paths |= 1 << path
            if teller is not None and known.tellers and known.state is State.FRESH:
                self._confirm(known, teller, node_id, distance)
            return
        if node_id == self._core.node_id or self._core.is_own(address):
            return
        if not given and self._core.unreachable.get(address, now):
            return
        paths = (1 << self._paths) - 1 if given else 1 << path
        candidate = Candidate(
            distance, address, node_id, credit=self._credit, given=given, paths=paths, path=path
        )
        if teller is not None:
            candidate.tellers = (teller,)
            candidate.hop = teller.hop + 1
        insort(self._candidates, candidate)
        self._addresses[address] = candidate
        if len(self._candidates) > DHT_LOOKUP_CANDIDATES_MAX:
            self._forget_farthest()

    def _confirm(self, known: Candidate, teller: Candidate, node_id: bytes | None, distance: int) -> None:
        """One more has named an address. It stands under the closest id of all that it was given."""
        if any(namer is teller for namer in known.namers()):
            return
        if distance == known.distance:
            known.tellers += (teller,)
        elif distance > known.distance:
            known.doubters += ((teller, node_id),)
        else:
            self._candidates.remove(known)
            known.doubters += tuple((other, known.node_id) for other in known.tellers)
            known.tellers, known.node_id, known.distance = (teller,), node_id, distance
            insort(self._candidates, known)

    def _forget_farthest(self) -> None:
        """The farthest one that is not in use, of whoever named most of those: nobody crowds out others."""
        idle = [c for c in self._candidates if c.state in (State.FRESH, State.FAILED) and not c.given]
        namers = [c.tellers[0].address if c.tellers else None for c in idle]
        if idle:
            (most, _), *_ = Counter(namers).most_common(1)
            last = idle[len(namers) - 1 - namers[::-1].index(most)]
            self._candidates.remove(last)
            del self._addresses[last.address]

    def _counting(self, path: int) -> Iterable[Candidate]:
        """The nodes that count on a path, closest first: a network has only so many places."""
        networks = self._core.networks()
        for candidate in self._candidates:
            if not candidate.paths >> path & 1 or candidate.outsider or candidate.state is State.FAILED:
                continue
            if candidate.state is State.FRESH and not candidate.has_turn():
                continue
            if candidate.state is State.LATE or networks.take(candidate.address[0]):
                yield candidate

    def rank(self, candidate: Candidate) -> int:
        """How many nodes that have not failed are closer, on the path where there are fewest."""
        ranks = [len(self._candidates)]
        for path in range(self._paths):
            for closer, other in enumerate(self._counting(path)):
                if other is candidate:
                    ranks.append(closer)
                    break
        return min(ranks)

    def closest(self) -> list[Candidate]:
        """The ``want`` closest that answered on each path, closest first: often the same on all paths."""
        found: dict[Address, Candidate] = {}
        for path in range(self._paths):
            answered = (c for c in self._counting(path) if c.state is State.ANSWERED)
            found |= {c.address: c for c in islice(answered, self._want)}
        networks = self._core.networks()
        return [c for c in sorted(found.values()) if networks.take(c.address[0])]

    def asked(self, held: Mapping[Address, Collection[bytes]]) -> tuple[AskedNode, ...]:
        """Everybody that was asked, closest first. ``held``: the digests of what each node has."""
        closest = {candidate.address for candidate in self.closest()}
        return tuple(
            AskedNode(
                c.node_id,
                c.address,
                answered=c.state is State.ANSWERED,
                rtt=c.rtt,
                hop=c.hop,
                closest=c.address in closest,
                silent=c.state is State.FAILED,
                values=len(held.get(c.address, ())),
            )
            for c in self._candidates
            if c.state is not State.FRESH
        )

    # --- the window ---

    def _pump(self, now: float) -> None:
        if self.finished:
            return
        under_way = [0] * self._paths
        for candidate in self._candidates:
            if candidate.state is State.ASKED and not candidate.given:
                under_way[candidate.path] += 1
        for candidate in [c for c in self._candidates if c.given and c.state is State.FRESH]:
            if self.requests < DHT_LOOKUP_RPCS_MAX:
                self._ask(candidate, now)
        fresh = [iter(list(self._eligible(path))) for path in range(self._paths)]
        open_paths = list(range(self._paths))
        while open_paths and sum(under_way) < self._alpha:
            for path in list(open_paths):
                after = next((c for c in fresh[path] if c.state is State.FRESH and c.has_turn()), None)
                if after is None or under_way[path] >= self._window:
                    open_paths.remove(path)
                elif self._exhausted(path):
                    self._core.counters["lookup-requests"] += not self.settled
                    open_paths.remove(path)
                elif sum(under_way) < self._alpha:
                    after.path = path
                    self._ask(after, now)
                    under_way[path] += after.state is State.ASKED
                    self._asked[path] += 1
        self._check(now)

    def _exhausted(self, path: int) -> bool:
        most = DHT_LOOKUP_RPCS_MAX // self._paths
        return self._asked[path] >= most or self.requests >= DHT_LOOKUP_RPCS_MAX

    def _eligible(self, path: int) -> Iterable[Candidate]:
        """Nodes to ask next on a path: those with fewer than ``want`` answered ones closer."""
        answered = 0
        for candidate in self._counting(path):
            if answered >= self._want:
                return
            answered += candidate.state is State.ANSWERED
            if candidate.state is State.FRESH and not candidate.given:
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
        for namer in candidate.namers():
            namer.credit -= 1
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
        heard = late = 0
        for path in range(self._paths):
            exhausted = self._exhausted(path)
            answered = 0
            for candidate in self._counting(path):
                if answered >= self._want and not candidate.given:
                    continue
                if candidate.state is State.ASKED or (candidate.state is State.FRESH and not exhausted):
                    return False
                answered += candidate.state is State.ANSWERED
                late += candidate.state is State.LATE
            heard += answered
        # With nobody heard yet the late ones are all there is
        return heard > 0 or late == 0

    # --- replies ---

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A node answered (Listener)."""
        entry = self._calls.pop(call.tid, None)
        if entry is None:
            return
        candidate = entry[1]
        if isinstance(message, Nodes | Values) and message.sender != self._core.node_id:
            counts = self._identify(candidate, message)
            candidate.state = State.ANSWERED
            candidate.rtt = now - call.started
            candidate.outsider = not counts or bool(message.flags & EPHEMERAL)
            if not candidate.outsider:
                right = [namer for namer, said in candidate.doubters if said == message.sender]
                for namer in right if candidate.renamed else candidate.tellers:
                    namer.credit += DHT_LOOKUP_CREDIT_ANSWERED
            if counts and not self._only_given:
                self._learn(candidate, message, now)
            self._on_answer(candidate, message, now)
        else:
            candidate.state = State.FAILED
        self._pump(now)

    def _identify(self, candidate: Candidate, message: Response) -> bool:
        """Whether the sender may count; it is ranked by the id it answers with, not by what others said.

        One id counts once: where it was said to be, or else where it answered first. What the others hold
        is still taken, so that nobody silences a node by answering under its id.
        """
        expected = candidate.node_id == message.sender
        for other in self._candidates:
            if other.node_id != message.sender or other.state is not State.ANSWERED or other.outsider:
                continue
            self._core.counters["duplicate-id"] += 1
            if not (expected and other.renamed):
                return False
            other.outsider = True
        if not expected:
            self._candidates.remove(candidate)
            candidate.renamed = True
            candidate.node_id = message.sender
            candidate.distance = int.from_bytes(message.sender, "big") ^ self._goal
            insort(self._candidates, candidate)
        return True

    def _learn(self, teller: Candidate, message: Nodes | Values, now: float) -> None:
        nodes: list[NodeInfo] = unpack_nodes_untrusted(message.nodes4, message.nodes6)  # sizes are checked
        for node_id, address in nodes[:DHT_K]:
            if self._core.is_martian(address, teller.address):
                self._core.counters["martian"] += 1
            else:
                self._add(node_id, address, now, path=teller.path, teller=teller)

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
