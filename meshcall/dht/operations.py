"""What a user of the DHT starts: lookup, find, store, ping. (deliver and watch: their own files.)

Law 1: an operation tells its results as events with its number, and ends with exactly one ``...Done`` event
unless it is cancelled; after ``cancel`` it tells nothing.
Law 2: ``finished`` operations hold no timer and no open request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from meshcall.address import Address
from meshcall.dht.core import Core, digest
from meshcall.dht.events import FindDone, LookupDone, PingDone, StoreDone, ValueFound
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import (
    DIGEST_SIZE,
    REFUSED_TOKEN,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Refused,
    Request,
    Response,
    Store,
    Stored,
    Values,
    padding,
)
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.limits import (
    DHT_FIND_REQUEST_MIN,
    DHT_FIND_VALUES_MAX,
    DHT_REPLICAS,
    DHT_VALUES_PER_KEY,
)
from meshcall.record.codec import RecordType


class Operation:
    """Something that a user started and may cancel."""

    lasting: ClassVar[bool] = False
    """Goes on until it is cancelled."""

    def __init__(self, core: Core, number: int) -> None:
        self.core = core
        self.number = number
        self.finished = False

    def start(self, now: float) -> None:
        """Begin. Called once, when the operation has its number."""
        raise NotImplementedError

    def cancel(self, now: float) -> None:
        """End it without another event. Cannot fail, at any moment, also twice."""
        self.finished = True


def find_node(core: Core, target: bytes) -> Callable[[bytes], Request]:
    """Makes padded find_node requests."""
    empty = FindNode(bytes(8), core.node_id, core.flags, target, b"")
    pad = padding(empty, DHT_FIND_REQUEST_MIN)
    return lambda tid: FindNode(tid, core.node_id, core.flags, target, pad)


class LookupOperation(Operation):
    """Which nodes are closest to a target."""

    def __init__(self, core: Core, number: int, target: bytes, at: Sequence[Address]) -> None:
        super().__init__(core, number)
        self.lookup = Lookup(
            core,
            target,
            make=find_node(core, target),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            on_finished=self._on_finished,
        )
        self._at = at

    def start(self, now: float) -> None:
        """Begin."""
        self.lookup.start(now, self._at)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        self.lookup.cancel()

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        """Nothing to do: the lookup keeps the answers."""

    def _on_settled(self, now: float) -> None:
        closest = tuple((c.node_id or b"", c.address) for c in self.lookup.closest())
        self.core.events.append(LookupDone(self.number, closest, self.lookup.requests))

    def _on_finished(self, now: float) -> None:
        self.finished = True


class FindOperation(Operation):
    """All valid records under a key; each is told at once and only once."""

    def __init__(
        self,
        core: Core,
        number: int,
        key: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        types: Sequence[int] = (),
    ) -> None:
        super().__init__(core, number)
        self._key = key
        self._types = bytes(types)
        self._at = at
        self._only = only
        self._known: dict[bytes, bool] = {}
        """Digests of records seen, with whether they were valid."""
        self._found = 0
        self._extra: dict[bytes, Call] = {}
        self._extra_requests = 0
        self._told = False
        self._lookup = Lookup(
            core,
            key,
            make=self._make,
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            on_finished=self._on_finished,
            only_given=only,
        )

    def start(self, now: float) -> None:
        """Begin with what this node holds itself."""
        types = [t for t in RecordType if t in self._types] if self._types else None
        for record in self.core.store.get(self._key, now, types):
            self._take(record, None)
        self._lookup.start(now, self._at)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        self._told = True
        self._lookup.cancel()
        for call in self._extra.values():
            call.forget()
        self._extra.clear()

    def _make(self, tid: bytes) -> Request:
        core = self.core
        have = b"".join(list(self._known)[-DHT_VALUES_PER_KEY:])
        empty = FindValue(tid, core.node_id, core.flags, self._key, self._types, have, b"")
        pad = padding(empty, DHT_FIND_REQUEST_MIN)
        return FindValue(tid, core.node_id, core.flags, self._key, self._types, have, pad)

    def _take(self, record: bytes, source: Address | None) -> None:
        name = digest(record)
        if name in self._known or len(self._known) >= DHT_FIND_VALUES_MAX:
            return
        try:
            self.core.check_record(record, self._key)
        except Rejected as rejected:
            self.core.counters["value-" + rejected.reason] += 1
            self._known[name] = False
            return
        self._known[name] = True
        self._found += 1
        self.core.events.append(ValueFound(self.number, record, source))

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        if isinstance(message, Values):
            self._take_all(message, candidate.address)
            self._ask_rest(message, candidate.address, now)

    def _take_all(self, message: Values, source: Address) -> None:
        for record in message.values:
            self._take(record, source)

    def _ask_rest(self, message: Values, address: Address, now: float) -> None:
        """A reply holds one to three records; those that it only names are asked for, while some come."""
        held = message.held
        names = {held[i : i + DIGEST_SIZE] for i in range(0, len(held), DIGEST_SIZE)}
        if not message.values or names <= self._known.keys() or self._extra_requests >= DHT_VALUES_PER_KEY:
            return
        call = self.core.transactions.request(address, self._make, self, now)
        if call is not None:
            self._extra_requests += 1
            self._extra[call.tid] = call

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """More records of one node (Listener)."""
        self._extra.pop(call.tid, None)
        if isinstance(message, Values):
            self._take_all(message, call.address)
            self._ask_rest(message, call.address, now)
        self._maybe_done()

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """That node has gone (Listener)."""
        self._extra.pop(call.tid, None)
        self._maybe_done()

    def _on_settled(self, now: float) -> None:
        self._maybe_done()

    def _on_finished(self, now: float) -> None:
        self._maybe_done()

    def _maybe_done(self) -> None:
        """With a value, the closest nodes' word is enough; without one, the late are waited for too."""
        over = self._lookup.settled and not self._extra and (self._found > 0 or self._lookup.finished)
        if over and not self._told:
            self._told = True
            requests = self._lookup.requests + self._extra_requests
            self.core.events.append(FindDone(self.number, self._found, requests))
        self.finished = self._lookup.finished and not self._extra


class StoreOperation(Operation):
    """A record onto the closest nodes: to each as soon as it answers and has few closer ones before it."""

    def __init__(
        self, core: Core, number: int, record: bytes, key: bytes, *, at: Sequence[Address] = ()
    ) -> None:
        super().__init__(core, number)
        self._record = record
        self._at = frozenset(at)
        self._sent: dict[Address, bool | None] = {}
        """Address to: stored, not stored, no answer yet."""
        self._late: set[Address] = set()
        self._repeated: set[Address] = set()
        self._calls: dict[bytes, Call] = {}
        self._told = False
        self._lookup = Lookup(
            core,
            key,
            make=find_node(core, key),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            on_finished=self._on_finished,
        )

    def start(self, now: float) -> None:
        """Begin."""
        self._lookup.start(now, tuple(self._at))

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        self._told = True
        self._lookup.cancel()
        for call in self._calls.values():
            call.forget()
        self._calls.clear()

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        near = not candidate.outsider and self._lookup.rank(candidate) < DHT_REPLICAS
        if near or candidate.address in self._at:
            self._send(candidate.address, message.token, now)

    def _on_settled(self, now: float) -> None:
        for candidate in self._lookup.closest():
            self._send(candidate.address, self.core.tokens.get(candidate.address, now) or b"", now)
        self._maybe_done()

    def _on_finished(self, now: float) -> None:
        self._maybe_done()

    def _send(self, address: Address, token: bytes, now: float) -> None:
        if address in self._sent:
            return
        self._sent[address] = None
        self._request(address, token, now)

    def _request(self, address: Address, token: bytes, now: float) -> None:
        core = self.core
        call = core.transactions.request(
            address, lambda tid: Store(tid, core.node_id, core.flags, token, self._record), self, now
        )
        if call is None:
            self._sent[address] = False
        else:
            self._calls[call.tid] = call

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A node keeps it, or not (Listener)."""
        self._calls.pop(call.tid, None)
        address = call.address
        stale = isinstance(message, Refused) and message.reason == REFUSED_TOKEN
        if isinstance(message, Refused) and stale and address not in self._repeated:
            self._repeated.add(address)
            self._request(address, message.token, now)
            return
        self._sent[address] = isinstance(message, Stored) and message.stored == 1
        self._maybe_done()

    def on_slow(self, call: Call, now: float) -> None:
        """Not waited for, unless it is the only one (Listener)."""
        self._late.add(call.address)
        self._maybe_done()

    def on_failed(self, call: Call, now: float) -> None:
        """No copy there (Listener)."""
        self._calls.pop(call.tid, None)
        self._sent[call.address] = False
        self._maybe_done()

    def _maybe_done(self) -> None:
        stored = sum(state is True for state in self._sent.values())
        open_ones = [address for address, state in self._sent.items() if state is None]
        nothing_left = self._lookup.finished and not self._calls
        # Half of the copies are enough not to wait for nodes that are late
        enough = stored >= DHT_REPLICAS // 2 and self._late.issuperset(open_ones)
        over = enough or (stored > 0 and not open_ones) or nothing_left
        if self._lookup.settled and over and not self._told:
            self._told = True
            self.core.events.append(StoreDone(self.number, stored, len(self._sent)))
        self.finished = nothing_left


class PingOperation(Operation):
    """Whether somebody is there, and how far."""

    def __init__(self, core: Core, number: int, address: Address) -> None:
        super().__init__(core, number)
        self._address = address
        self._call: Call | None = None

    def start(self, now: float) -> None:
        """Begin."""
        core = self.core
        self._call = core.transactions.request(
            self._address, lambda tid: Ping(tid, core.node_id, core.flags, b"", b""), self, now
        )
        if self._call is None:
            self._tell(None, None)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        if self._call is not None:
            self._call.forget()

    def _tell(self, node_id: bytes | None, rtt: float | None) -> None:
        self.finished = True
        self.core.events.append(PingDone(self.number, self._address, node_id, rtt))

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """It is there (Listener)."""
        self._tell(message.sender, now - call.started)

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Nobody answered (Listener)."""
        self._tell(None, None)
