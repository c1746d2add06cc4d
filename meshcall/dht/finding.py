"""Find: all valid records under a key, each told at once and only once.

Law 1: a record is told only after its signature and its key were checked, also one from our own store.
Law 2: a reader names what it has, so that no node sends it again; a reply holds one to three records, and
nodes that have more are asked again while new ones come, up to a cap.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshcall.address import Address
from meshcall.dht.core import Core, digest
from meshcall.dht.events import FindDone, ValueFound
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import DIGEST_SIZE, FindValue, Nodes, Request, Response, Values, padding
from meshcall.dht.operations import Operation
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.limits import DHT_FIND_REQUEST_MIN, DHT_FIND_VALUES_MAX, DHT_PATHS, DHT_VALUES_PER_KEY
from meshcall.record.codec import RecordType


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
            paths=DHT_PATHS,
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
