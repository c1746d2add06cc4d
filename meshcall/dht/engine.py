"""The DHT of one node: a pure machine with three sources, its user, the network and one timer.

Law 1: octets in, octets and events out; time is an argument; nothing here reads a clock or touches a socket.
Law 2: drain all output (``transmits``, ``events``) before the next input.
Law 3: ``receive`` never raises, whatever the octets; what is not understood is counted by reason.
Law 4: every collection that the network feeds has its cap in ``meshcall.limits``.

    engine.receive(data, address, now)  \\
    engine.handle_timer(now)             >  then  transmits(), events(), deadline()
    engine.start_...(..., now=now)      /
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshcall.address import Address
from meshcall.dht.asking import Prove, RelayAskOperation
from meshcall.dht.bootstrap import BootstrapOperation, random_id_in
from meshcall.dht.compact import NodeInfo, is_impossible
from meshcall.dht.core import CheckRecord, Core, Lend
from meshcall.dht.deliver import DeliverOperation
from meshcall.dht.events import Event
from meshcall.dht.finding import FindOperation
from meshcall.dht.messages import (
    Acked,
    Dialled,
    Request,
    Response,
    decode_frame_untrusted,
    is_push,
    response_tid,
)
from meshcall.dht.operations import LookupOperation, Operation, PingOperation
from meshcall.dht.responder import Responder
from meshcall.dht.roles import Roles
from meshcall.dht.saved import decode_table_untrusted, encode_table
from meshcall.dht.statistics import DhtStatistics
from meshcall.dht.storing import StoreOperation
from meshcall.dht.transactions import EXPECTED
from meshcall.dht.verifier import Verifier
from meshcall.dht.vouching import VouchOperation
from meshcall.dht.watching import WatchOperation
from meshcall.errors import Rejected
from meshcall.identity.keys import Random, SigningKey
from meshcall.limits import (
    DHT_CONTACT_IDLE,
    DHT_LOOK_AROUND,
    DHT_LOOK_PAUSE,
    DHT_MAINTENANCE_INTERVAL,
    DHT_REFRESH_INTERVAL,
    DHT_RESUME,
    DHT_REVERIFY_MAX,
    DHT_SEEDS_MAX,
)
from meshcall.record.codec import Record
from meshcall.record.store import RecordStore, StoreResult
from meshcall.record.validation import check_record_untrusted

_PINGS_PER_ROUND = 3
_RECEIVED = {kind: f"received-{kind.__name__.lower()}" for kind in EXPECTED}


class DhtEngine:
    """One node of the DHT."""

    def __init__(
        self,
        node_key: SigningKey,
        *,
        random: Random,
        now: float,
        lan: bool = False,
        router: bool = False,
        state: bytes | None = None,
        store: RecordStore | None = None,
        check_record: CheckRecord = check_record_untrusted,
    ) -> None:
        """``lan`` or ``router``: others may route through this node; otherwise it is ephemeral
        until enough strangers of other networks have reached it.

        ``lan``: all nodes share a LAN, so they are not counted by network.

        ``state`` is what :meth:`save` returned; damaged state is counted and ignored. ``now`` in monotonic
        seconds. ``random(n)`` returns n octets.
        """
        self._core = core = Core(
            node_key,
            random=random,
            routes=lan or router,
            lan=lan,
            store=RecordStore() if store is None else store,
            check_record=check_record,
            now=now,
        )
        self._verifier = Verifier(core)
        core.consider = self._verifier.consider
        core.recheck = self._verifier.recheck
        self._roles = Roles(core, now, decides=not (lan or router))
        self._responder = Responder(core, self._roles, now)
        self._operations: dict[int, Operation] = {}
        self._count = 0
        self._last_input = now
        self._looked_around = float("-inf")
        self._restored = self._read_state(state)
        core.seeds = [address for _, address in self._restored][:DHT_SEEDS_MAX]
        core.alarms.set(now + DHT_MAINTENANCE_INTERVAL, self._maintain)

    # --- who we are ---

    @property
    def node_id(self) -> bytes:
        """Our place in the id space, 20 octets."""
        return self._core.node_id

    @property
    def routes(self) -> bool:
        """Whether others may put this node into their tables; once it is set it stays."""
        return self._core.routes

    @routes.setter
    def routes(self, value: bool) -> None:
        self._roles.decides = False
        self._core.routes = value

    # --- the network and the timer ---

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """One datagram came from ``address``. Never raises."""
        core = self._core
        self._awake(now)
        if is_impossible(address):
            core.counters["martian-sender"] += 1
            return
        tid = response_tid(data)
        if tid is not None and not core.transactions.is_open(tid) and (tid, address) not in core.acks:
            core.counters["unsolicited"] += 1
            return
        try:
            message = decode_frame_untrusted(data)
        except Rejected as rejected:
            core.counters["rejected-" + rejected.reason] += 1
            return
        if isinstance(message, Request):
            core.counters[_RECEIVED[type(message)]] += 1
            self._responder.handle(message, len(data), address, now)
        elif isinstance(message, Response):
            call = core.transactions.accept(message, address, now)
            if call is not None:
                core.answered(call, message, now)
                if call.listener is not None:
                    call.listener.on_reply(call, message, now)
        elif isinstance(message, Dialled):
            self._roles.on_dialled(message, address, now)
        elif isinstance(message, Acked):
            told = core.acks.get((message.tid, address), now)
            if told is None:
                core.counters["unsolicited"] += 1
            else:
                told(message.acked, now)
        self._sweep()

    def is_awaited(self, data: bytes, address: Address) -> bool:
        """Whether a datagram seems to answer us, or to be a push of a node that holds a watch of ours."""
        core = self._core
        tid = response_tid(data)
        if tid is not None:
            return core.transactions.is_open(tid) or (tid, address) in core.acks
        return is_push(data) and any((key, address) in core.holders for key in core.own_keys)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._awake(now)
        self._core.alarms.run(now)
        self._sweep()

    def network_changed(self, now: float) -> None:
        """We may be elsewhere: another interface or address, or back from sleep. Call it at once.

        What depended on our address is forgotten, contacts are challenged in parallel, watches renewed.
        """
        core = self._core
        core.counters["network-changed"] += 1
        self._last_input = now
        core.forget_place()
        self._roles.forget(now)
        for contact in sorted(core.contacts(), key=lambda c: -c.last_seen)[:DHT_REVERIFY_MAX]:
            self._verifier.challenge(contact.address, None, now, node_id=contact.id)
        for operation in list(self._operations.values()):
            operation.network_changed(now)

    def look_around(self, now: float) -> None:
        """Something that depends on our address works no more: hear where we are seen, renew watches.

        Unlike :meth:`network_changed` it forgets nothing: the trouble may be another's.
        """
        core = self._core
        if now - self._looked_around < DHT_LOOK_PAUSE:
            return
        self._looked_around = now
        core.counters["look-around"] += 1
        for contact in sorted(core.contacts(), key=lambda c: -c.last_seen)[:DHT_LOOK_AROUND]:
            self._verifier.challenge(contact.address, None, now, node_id=contact.id)
        for operation in list(self._operations.values()):
            operation.network_changed(now)

    def _awake(self, now: float) -> None:
        """Notice that the machine slept: maintenance alone wakes us more often than that."""
        slept = now - self._last_input > DHT_RESUME
        self._last_input = now
        if slept:
            self.network_changed(now)

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is to be called next, in monotonic seconds."""
        return self._core.alarms.deadline()

    def transmits(self) -> list[tuple[bytes, Address]]:
        """The datagrams to send now; they are taken out."""
        out = self._core.out[:]
        self._core.out.clear()
        return out

    def events(self) -> list[Event]:
        """What has happened; the events are taken out."""
        events = self._core.events[:]
        self._core.events.clear()
        return events

    # --- the user ---

    def start_bootstrap(self, addresses: Sequence[Address], now: float, *, saved: bool = True) -> int:
        """Join through ``addresses`` and, if ``saved``, the saved table. Ends with BootstrapDone."""
        core = self._core
        core.seeds = list(dict.fromkeys([*addresses, *core.seeds]))[:DHT_SEEDS_MAX]
        everybody = [*addresses, *(address for _, address in self._restored if saved)]
        return self._start(
            lambda number: BootstrapOperation(core, number, self._verifier, everybody, self._joined), now
        )

    def start_lookup(self, target: bytes, now: float, *, at: Sequence[Address] = ()) -> int:
        """Search the nodes closest to ``target``. Ends with LookupDone."""
        return self._start(lambda number: LookupOperation(self._core, number, target, at), now)

    def start_find(
        self,
        key: bytes,
        now: float,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        types: Sequence[int] = (),
        traced: bool = False,
    ) -> int:
        """Search the records under ``key``: a ValueFound for each, then FindDone.

        ``at`` is asked first; ``only``: nobody else is. ``types``: record types wanted, empty for all.
        ``traced``: FindDone tells who was asked, for people who look on.
        """
        return self._start(
            lambda number: FindOperation(
                self._core, number, key, at=at, only=only, types=types, traced=traced
            ),
            now,
        )

    def start_store(self, record: bytes, now: float, *, at: Sequence[Address] = ()) -> int:
        """Put a record of ours onto the closest nodes. Ends with StoreDone; Rejected if it is not valid."""
        key = self._core.check_record(record).storage_key
        return self._start(lambda number: StoreOperation(self._core, number, record, key, at=at), now)

    def start_deliver(
        self,
        record: bytes,
        now: float,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        reply_watch: bytes | None = None,
    ) -> int:
        """Push a record to whoever watches its key: DeliverProgress for each node, then DeliverDone.

        ``at`` gets it directly; ``only``: nobody else. With ``reply_watch`` (a key) the nodes that took it
        push back what is delivered under that key, until :meth:`cancel`. Rejected if the record is not valid.
        """
        key = self._core.check_record(record).storage_key
        return self._start(
            lambda number: DeliverOperation(
                self._core, number, record, key, at=at, only=only, reply_watch=reply_watch or b""
            ),
            now,
        )

    def start_watch(self, key: bytes, now: float) -> int:
        """Be told of what is delivered under ``key`` (Notified), until :meth:`cancel`."""
        return self._start(lambda number: WatchOperation(self._core, number, key), now)

    def start_ping(self, address: Address, now: float, *, prove: bool = False) -> int:
        """Ask whether somebody is there. Ends with PingDone. ``prove``: it is to prove its id, too."""
        check = self._verifier.check_untrusted if prove else None
        return self._start(lambda number: PingOperation(self._core, number, address, check), now)

    def start_vouch(self, witness: Address, address: Address, token: bytes, now: float) -> int:
        """Ask ``witness`` whether it gave ``token`` to ``address``. Ends with VouchDone."""
        return self._start(lambda number: VouchOperation(self._core, number, witness, address, token), now)

    def token_of(self, address: Address, now: float) -> bytes:
        """The token that the node at ``address`` gave us; empty: none, or it is too old."""
        return self._core.tokens.get(address, now) or b""

    def tell_observed(self, listener: Callable[[Address, Address, float], None]) -> None:
        """Have ``listener(node, our address as it sees it, now)`` called for each answer."""
        self._core.on_observed = listener

    def start_relay_ask(
        self,
        address: Address,
        key: bytes,
        now: float,
        *,
        prove: Prove | None = None,
        node_id: bytes | None = None,
    ) -> int:
        """Ask the node at ``address`` to lend a relay, sealed to the X25519 ``key``. Ends with RelayAsked.

        ``prove``: node id to the proofs that we are a contact of its owner; None: random octets.
        ``node_id``: who is there, if that is known: saves a round trip.
        """
        return self._start(
            lambda number: RelayAskOperation(self._core, number, address, key, prove, node_id), now
        )

    @property
    def last_reply(self) -> float:
        """When any node answered last, monotonic seconds; -inf: never."""
        return self._core.transactions.last_reply

    def lenders(self, now: float) -> list[tuple[Address, bytes]]:
        """Where nodes are that lend a relay and answered us lately, with their ids."""
        return [one for one in self._core.lenders.items(now) if not self._core.is_own(one[0])]

    def believes(self, address: Address, told_by: Address) -> bool:
        """Whether ``told_by`` can know that somebody is at ``address``, and it is not ourselves."""
        return not (self._core.is_martian(address, told_by) or self._core.is_own(address))

    @property
    def is_lender(self) -> bool:
        """Whether this node lends a relay."""
        return self._core.lend is not None

    def lend_by(self, lend: Lend | None) -> None:
        """Who asks for a relay is answered by ``lend``; None: this node lends none."""
        self._core.lend = lend

    def cancel(self, operation: int, now: float) -> None:
        """End an operation; no event of it follows. Cannot fail, also when it has ended."""
        found = self._operations.pop(operation, None)
        if found is not None:
            found.cancel(now)

    def put_local(self, record: bytes, now: float) -> StoreResult:
        """Answer finds with this record of ours, too; Rejected if it is not valid."""
        return self._core.store.put(self._core.check_record(record), "", now, pinned=True)

    def remove_local(self, record: Record) -> bool:
        """Answer finds with it no more; tells whether we did."""
        return self._core.store.remove_own(record.storage_key, record.type)

    def save(self) -> bytes:
        """The table, for the next start."""
        return encode_table(self._core.contacts())

    def contacts(self) -> list[NodeInfo]:
        """All nodes in the tables."""
        return [(contact.id, contact.address) for contact in self._core.contacts()]

    def closest_contacts(self, target: bytes, k: int) -> list[NodeInfo]:
        """The ``k`` healthy contacts closest to ``target``, closest first."""
        return [(contact.id, contact.address) for contact in self._core.closest(target, k)]

    def liveliest_contacts(self, count: int) -> list[Address]:
        """Where the ``count`` contacts are that answered last, latest first."""
        healthy = [contact for contact in self._core.contacts() if not contact.failures]
        healthy.sort(key=lambda contact: (-contact.last_seen, contact))
        return [contact.address for contact in healthy[:count]]

    def known_addresses(self, count: int) -> list[Address]:
        """Where ``count`` nodes are, or may be: contacts, those who answered last first, then the seeds."""
        return list(dict.fromkeys([*self.liveliest_contacts(count), *self._core.seeds]))[:count]

    def confine(self, confined: bool) -> None:
        """``confined``: our address is a relayed one, so we route for nobody."""
        self._roles.confined = confined

    def watchers(self, key: bytes, now: float) -> int:
        """How many watches of ``key`` others keep here."""
        return len(self._core.watches.watchers(key, now))

    def watch_holders(self, operation: int) -> list[Address]:
        """The nodes that hold the watch of this operation; none when it has ended."""
        watch = self._operations.get(operation)
        return watch.confirmed() if isinstance(watch, WatchOperation) else []

    def observed(self) -> list[Address]:
        """Our address as most other nodes see it, for each family in which they do."""
        return [seen for wanted in (4, 6) if (seen := self._core.observed(wanted)) is not None]

    def statistics(self) -> DhtStatistics:
        """A frozen snapshot."""
        core = self._core
        watches = [op for op in self._operations.values() if isinstance(op, WatchOperation)]
        return DhtStatistics(
            node_id=core.node_id,
            routes=core.routes,
            decides=self._roles.decides,
            proofs=self._roles.proofs,
            since=self._roles.since,
            contacts=len(core.contacts()),
            contacts_by_family={number: len(table) for number, table in core.tables.items()},
            restored=len(self._restored),
            buckets=sum(len(table.buckets) for table in core.tables.values()),
            operations=len(self._operations),
            open_requests=len(core.transactions),
            own_watches={watch.key: watch.holders for watch in watches},
            watch_holders={watch.key: tuple(watch.confirmed()) for watch in watches},
            watches_held=len(core.watches),
            records=core.store.statistics(),
            limiter=self._responder.load(self._last_input),
            observed4=core.observed(4),
            observed6=core.observed(6),
            counters=dict(core.counters),
        )

    # --- inside ---

    def _start(self, make: Callable[[int], Operation], now: float) -> int:
        self._count += 1
        operation = make(self._count)
        self._operations[self._count] = operation
        operation.start(now)
        return self._count

    def _sweep(self) -> None:
        """Forget the operations that have ended."""
        for number in [n for n, operation in self._operations.items() if operation.finished]:
            del self._operations[number]

    def _joined(self, now: float) -> None:
        for operation in self._operations.values():
            if isinstance(operation, WatchOperation):
                operation.search_soon(now)

    def _read_state(self, state: bytes | None) -> list[NodeInfo]:
        if not state:
            return []
        try:
            return [info for info in decode_table_untrusted(state) if not is_impossible(info[1])]
        except Rejected:
            self._core.counters["state-damaged"] += 1
            return []

    def _maintain(self, now: float) -> None:
        core = self._core
        core.alarms.set(now + DHT_MAINTENANCE_INTERVAL, self._maintain)
        core.store.expire(now)
        core.watches.expire(now)
        idle = [c for c in core.contacts() if c.failures or now - c.last_seen > DHT_CONTACT_IDLE]
        idle.sort(key=lambda contact: (-contact.failures, contact.last_seen))
        for contact in idle[:_PINGS_PER_ROUND]:
            self._verifier.challenge(contact.address, None, now, node_id=contact.id)
        self._refresh(now)

    def _refresh(self, now: float) -> None:
        """One lookup through the bucket that has had none for longest, if that is long ago."""
        for table in self._core.tables.values():
            stale = [b for b in table.buckets if now - b.refreshed > DHT_REFRESH_INTERVAL]
            if stale and len(table):
                bucket = min(stale, key=lambda b: (b.refreshed, b.range))
                target = random_id_in(bucket.range[0], bucket.range[1], self._core.random)
                self.start_lookup(target, now)
