"""Store: a record onto the nodes closest to its key.

Law 1: a node gets it as soon as it answers the lookup and has few closer ones before it; the closest that
answered have it when the lookup has settled.
Law 2: the result is told when the copies that can be had soon are acknowledged; late ones still come.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshcall.address import Address
from meshcall.dht.core import Core
from meshcall.dht.events import StoreDone
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import REFUSED_TOKEN, Nodes, Refused, Response, Store, Stored, Values
from meshcall.dht.operations import Operation, find_node
from meshcall.dht.transactions import Call
from meshcall.limits import DHT_PATHS, DHT_REPLICAS


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
            paths=DHT_PATHS,
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
            address, lambda tid: Store(tid, core.node_id, core.flags, token, self._record, 0), self, now
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
