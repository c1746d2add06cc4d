"""Find: all valid records under a key, each told at once and only once.

Law 1: a record is told only after its signature and its key were checked, also one from our own store.
Law 2: a reader names what it has, so that no node sends it again; a reply holds one to three records, and
nodes that have more are asked again while new ones come, up to a cap.
Law 3: with a record in hand the find still waits for a quorum of answers.
Law 4: of the presences found the one with the highest number is put onto the closest nodes that lack it, a
bounded number of copies, none of which lives longer than the original.
Law 5: no node fills a result alone: of one that gives an invalid record nothing more is taken, of the others
as many records as one key may have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from meshcall.address import Address
from meshcall.dht.core import Core, digest
from meshcall.dht.events import FindDone, ValueFound
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import (
    AGE_SIZE,
    DIGEST_SIZE,
    FindValue,
    Nodes,
    Request,
    Response,
    Store,
    Values,
    padding,
)
from meshcall.dht.operations import Operation
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.limits import (
    DHT_FIND_QUORUM,
    DHT_FIND_REQUEST_MIN,
    DHT_FIND_VALUES_MAX,
    DHT_PATHS,
    DHT_REPAIR_LIFE_MIN,
    DHT_REPAIRS_MAX,
    DHT_VALUES_PER_KEY,
)
from meshcall.record.codec import Record, RecordType


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
        traced: bool = False,
    ) -> None:
        super().__init__(core, number)
        self._key = key
        self._types = bytes(types)
        self._at = at
        self._only = only
        self._traced = traced
        self._known: dict[bytes, None] = {}
        """Digests of the valid records seen, in order."""
        self._taken: Counter[Address] = Counter()
        """How many of them each node gave first; of one that gave an invalid record nothing more is taken."""
        self._liars: set[Address] = set()
        self._found = 0
        self._extra: dict[bytes, Call] = {}
        self._extra_requests = 0
        self._answers = 0
        """Nodes heard since there is a record."""
        self._presence: Record | None = None
        """The one with the highest number."""
        self._fetched = 0.0
        self._age = 0
        """How old it was then, as the most pessimistic holder says."""
        self._held: dict[Address, set[bytes]] = {}
        """What the nodes that answered have."""
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
        for record, age in self.core.store.get_aged(self._key, now, types):
            self._take(record, None, int(age), now)
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

    def _take(self, record: bytes, source: Address | None, age: int, now: float) -> None:
        name = digest(record)
        if self._presence is not None and record == self._presence.encode():
            self._age = max(self._age, age - int(now - self._fetched))
        if name in self._known or len(self._known) >= DHT_FIND_VALUES_MAX:
            return
        if source is not None and (source in self._liars or self._taken[source] >= DHT_VALUES_PER_KEY):
            return
        try:
            checked = self.core.check_record(record, self._key)
        except Rejected as rejected:
            self.core.counters["value-" + rejected.reason] += 1
            if source is not None:
                self._liars.add(source)
            return
        self._known[name] = None
        self._found += 1
        if source is not None:
            self._taken[source] += 1
        newer = self._presence is None or checked.seq > self._presence.seq
        if checked.type is RecordType.PRESENCE and newer:
            self._presence, self._age, self._fetched = checked, age, now
        self.core.events.append(ValueFound(self.number, record, source, age))

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        if isinstance(message, Values):
            self._take_all(message, candidate.address, now)
            self._ask_rest(message, candidate.address, now)
        self._answers += self._found > 0

    def _take_all(self, message: Values, source: Address, now: float) -> None:
        held = self._held.setdefault(source, set())
        held |= {message.held[i : i + DIGEST_SIZE] for i in range(0, len(message.held), DIGEST_SIZE)}
        for index, record in enumerate(message.values):
            held.add(digest(record))
            age = int.from_bytes(message.ages[index * AGE_SIZE : (index + 1) * AGE_SIZE], "big")
            self._take(record, source, age, now)

    def _ask_rest(self, message: Values, address: Address, now: float) -> None:
        """A reply holds one to three records; those that it only names are asked for, while some come."""
        held = message.held
        names = {held[i : i + DIGEST_SIZE] for i in range(0, len(held), DIGEST_SIZE)}
        if not message.values or names <= self._known.keys() or self._extra_requests >= DHT_VALUES_PER_KEY:
            return
        if address in self._liars:
            return
        call = self.core.transactions.request(address, self._make, self, now)
        if call is not None:
            self._extra_requests += 1
            self._extra[call.tid] = call

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """More records of one node (Listener)."""
        self._extra.pop(call.tid, None)
        if isinstance(message, Values):
            self._take_all(message, call.address, now)
            self._ask_rest(message, call.address, now)
        self._maybe_done(now)

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """That node has gone (Listener)."""
        self._extra.pop(call.tid, None)
        self._maybe_done(now)

    def _on_settled(self, now: float) -> None:
        self._maybe_done(now)

    def _on_finished(self, now: float) -> None:
        self._maybe_done(now)

    def _maybe_done(self, now: float) -> None:
        """With a value, the closest nodes' word is enough; without one, the late are waited for too."""
        quorum = self._found > 0 and self._answers >= DHT_FIND_QUORUM
        over = self._lookup.settled and not self._extra and (quorum or self._lookup.finished)
        if over and not self._told:
            self._told = True
            requests = self._lookup.requests + self._extra_requests
            asked = self._lookup.asked(self._held) if self._traced else ()
            self.core.events.append(FindDone(self.number, self._found, requests, asked))
            self._repair(now)
        self.finished = self._lookup.finished and not self._extra

    def _repair(self, now: float) -> None:
        """Put the presence where it is missing, with the life that is left."""
        record, core = self._presence, self.core
        if record is None or self._only:
            return
        age = max(1, self._age + int(now - self._fetched))
        if record.ttl - age < DHT_REPAIR_LIFE_MIN:
            return
        data = record.encode()
        name = digest(data)
        missing = [c.address for c in self._lookup.closest() if name not in self._held.get(c.address, ())]
        for address in [a for a in missing if core.tokens.get(a, now)][:DHT_REPAIRS_MAX]:
            token = core.tokens.get(address, now) or b""
            core.counters["repaired"] += 1
            core.transactions.request(
                address,
                partial(Store, sender=core.node_id, flags=core.flags, token=token, record=data, age=age),
                None,
                now,
            )
