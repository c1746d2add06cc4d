"""One run: a network that works, deaths, and then the operations that the project makes promises about.

    join      every client joins by the protocol, and refreshes its buckets
    before    half of the records to be read later are stored; callees register their watches
    deaths    the share of dead nodes dies at one moment
    push      offers, within seconds of the deaths: nobody knows yet which watch holders are dead
    put       records are stored by clients in turn
    get       each record, old and new, is read by a client that did not store it
    lookup    random targets, for hops and messages
    sybils    the predictable key, if it has any

Operations overlap in time, as those of strangers do; a client begins its next one seconds after its last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from meshcall.dht import Event, FindDone, LookupDone, Notified, StoreDone, ValueFound
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_K
from meshcall.record.codec import SEALED_VALUES, Record, RecordType, sign_record
from netsim.universe.chance import Octets, dice
from netsim.universe.churn import Churn, join_all
from netsim.universe.settings import Settings
from netsim.universe.trace import Trace, Tracer
from netsim.universe.world import Node, Role, Traffic, World

JOIN_EVERY = 0.1
SETTLE = 8.0
"""Seconds after the last join: the far lookups of a join take some round trips."""
PUSH_WINDOW = 5.0
"""All pushes begin within so many seconds after the deaths: renewals notice the dead ones from 10 s on."""
REFRESH_EVERY = 2.0
OPERATION_EVERY = 0.1
LIMIT = 15.0
"""An operation that has not ended after so many seconds has failed."""
RECALL_NODES = 50
RECALL_TARGETS = 4


@dataclass(slots=True)
class Outcome:
    """All that a run measured; times in milliseconds of virtual time."""

    settings: Settings
    put: list[float] = field(default_factory=list)
    put_failed: int = 0
    get_new: list[float] = field(default_factory=list)
    """Of records stored after the deaths."""
    get_old: list[float] = field(default_factory=list)
    """Of records stored before the deaths."""
    get_failed: int = 0
    wrong_values: int = 0
    """Records handed out that nobody stored."""
    stale_only: int = 0
    """Reads that ended with an older record than the newest stored one."""
    push: list[float] = field(default_factory=list)
    push_failed: int = 0
    recall: list[float] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    """Of the 8 living nodes that are truly closest, the share of honest ones that hold the record."""
    hops: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)
    lookup_failed: int = 0
    sybil_ok: int = 0
    sybil_asked: int = 0
    died: int = 0
    came: int = 0
    engines: int = 0
    """Engines that were made."""
    traffic: Traffic = field(default_factory=Traffic)
    counters: Counter[str] = field(default_factory=Counter)
    """Of all engines alive at the end."""
    seconds: float = 0.0
    """Virtual time that went by."""


def record_of(seed: int, name: str, *, seq: int = 1) -> Record:
    """A signed record of 933 octets, the larger of the two sizes of a call's messages."""
    signer = SigningKey.generate(Octets(f"{seed} record {name}"))
    return sign_record(signer, RecordType.INBOX, seq, 600, Octets(f"{name} {seq}")(SEALED_VALUES[1]))


Handler = Callable[[float, Event], None]


class Scenario:
    """Builds a world and runs all phases once."""

    def __init__(self, settings: Settings, log: Callable[[str], None] = lambda text: None) -> None:
        """``log`` is told how far it is."""
        self.settings = settings
        self.log = log
        self.outcome = Outcome(settings)
        self._chance = dice(settings.seed, "scenario")
        self.sybil_record = record_of(settings.seed, "predictable")
        self.world = World(settings, target=self.sybil_record.storage_key)
        self.world.on_event = self._on_event
        self._handlers: dict[tuple[int, int | bytes], Handler] = {}
        """By client, and number of the operation or key of the watch."""
        self._clients = self.world.clients()

    def run(self) -> Outcome:
        """All phases."""
        world, s, outcome = self.world, self.settings, self.outcome
        start = world.now
        self.join()
        self.measure_recall()
        old = self.store_before()
        offers = self.register_watches()
        if s.churn:
            churn = Churn(world)
            churn.start()
        if s.dead:
            outcome.died += len(world.kill_share(s.dead))
        self.push(offers)
        new = self.put()
        self.get(old, outcome.get_old)
        self.get(new, outcome.get_new)
        self.lookups()
        if s.sybils:
            self.beside_sybils()
        if s.churn:
            outcome.died += churn.died
            outcome.came += churn.came
        outcome.traffic = world.traffic
        for node in world.nodes:
            if node.machine is not None:
                outcome.engines += 1
                if node.role in (Role.ROUTER, Role.CLIENT):
                    outcome.counters.update(world.engine(node).statistics().counters)
        outcome.seconds = world.now - start
        return outcome

    # --- plumbing ---

    def _on_event(self, node: Node, now: float, event: Event) -> None:
        name = event.storage_key if isinstance(event, Notified) else event.op
        handler = self._handlers.get((node.index, name))
        if handler is not None:
            handler(now, event)

    def client(self, number: int) -> Node:
        """Clients take turns."""
        return self._clients[number % len(self._clients)]

    def _spread(self, count: int, every: float, begin: Callable[[int], None]) -> None:
        """Call ``begin(0..count-1)`` at equal intervals, and wait until the last has surely ended."""
        for number in range(count):
            begin(number)
            self.world.run(every)
        self.world.run(LIMIT)

    # --- phases ---

    def join(self) -> None:
        """Clients join by the protocol; with ``real_joins`` everybody does."""
        world = self.world
        if self.settings.real_joins:
            others = [n for n in world.nodes if n.role in (Role.ROUTER, Role.NATED)]
            self.log(f"{len(others)} nodes join")
            join_all(world, others, every=0.2, settle=30.0)
        self.log(f"{len(self._clients)} clients join")
        join_all(world, self._clients, every=JOIN_EVERY, settle=SETTLE)
        if not self.settings.fresh:
            self._refresh()

    def _refresh(self) -> None:
        """One lookup through each bucket of every client, as a daemon does when it has run for a while.

        An engine does so by itself once its buckets are 15 minutes old, which no run lasts.
        """
        world = self.world
        depths = math.ceil(math.log2(max(2.0, self.settings.nodes / DHT_K))) + 1
        for depth in range(depths):
            for client in self._clients:
                target = client.number ^ (1 << (159 - depth)) ^ self._chance.getrandbits(159 - depth)
                world.engine(client).start_lookup(target.to_bytes(20, "big"), world.now)
                world.flush(client)
            world.run(REFRESH_EVERY)

    def measure_recall(self) -> None:
        """Does ``closest_contacts`` return the truly closest of a node's healthy contacts?"""
        world = self.world
        routers = world.living_routers()
        sample = [
            *self._clients[:RECALL_NODES],
            *self._chance.sample(routers, min(RECALL_NODES, len(routers))),
        ]
        for node in sample:
            engine = world.engine(node)
            healthy = set(engine.liveliest_contacts(len(engine.contacts())))
            contacts = [contact for contact in engine.contacts() if contact[1] in healthy]
            for _ in range(RECALL_TARGETS):
                target = self._chance.randbytes(20)
                goal = int.from_bytes(target, "big")
                true = sorted(contacts, key=lambda c: int.from_bytes(c[0], "big") ^ goal)[:DHT_K]
                found = engine.closest_contacts(target, DHT_K)
                if true:
                    self.outcome.recall.append(len(set(true) & set(found)) / len(true))

    def store_before(self) -> list[tuple[Record, int]]:
        """Records that are there when the nodes die. Liars see an older version of each first."""
        seed, count = self.settings.seed, max(1, self.settings.operations // 2)
        versions = (1, 2) if self.settings.hostile or self.settings.sybils else (2,)
        self.log(f"{count} records are stored before the deaths")
        for seq in versions:
            records = [record_of(seed, f"old {number}", seq=seq) for number in range(count)]
            self._spread(count, OPERATION_EVERY, partial(self._store_one, records))
        if self.settings.sybils:
            self._spread(1, 1.0, lambda number: self._store(self.sybil_record, number))
        return [(record, number) for number, record in enumerate(records)]

    def _store_one(self, records: list[Record], number: int) -> None:
        self._store(records[number], number)

    def _store(self, record: Record, number: int, done: Handler | None = None) -> None:
        client = self.client(number)
        operation = self.world.engine(client).start_store(record.encode(), self.world.now)
        if done is not None:
            self._handlers[client.index, operation] = done
        self.world.flush(client)

    def register_watches(self) -> list[tuple[Record, int]]:
        """A callee watches the key of each offer to come; those who die do it after this."""
        world, seed = self.world, self.settings.seed
        offers = [(record_of(seed, f"offer {n}"), n) for n in range(self.settings.operations)]
        for record, number in offers:
            callee = self.client(number)
            world.engine(callee).start_watch(record.storage_key, world.now)
            world.flush(callee)
            world.run(0.01)
        world.run(4.0)
        return offers

    def push(self, offers: list[tuple[Record, int]]) -> None:
        """From the caller's start to the callee's handler."""
        world, outcome = self.world, self.outcome
        self.log(f"{len(offers)} offers are pushed")
        arrived: set[int] = set()

        def begin(number: int) -> None:
            record, callee = offers[number]
            begun = world.now

            def heard(now: float, event: Event) -> None:
                if isinstance(event, Notified) and event.record == record.encode():
                    arrived.add(number)
                    outcome.push.append((now - begun) * 1000)

            self._handlers[self.client(callee).index, record.storage_key] = heard
            caller = self.client(callee + len(self._clients) // 2)
            world.engine(caller).start_deliver(record.encode(), world.now)
            world.flush(caller)

        self._spread(len(offers), PUSH_WINDOW / len(offers), begin)
        outcome.push_failed += len(offers) - len(arrived)

    def put(self) -> list[tuple[Record, int]]:
        """A store has succeeded when a copy is acknowledged; who really has one is the coverage."""
        world, outcome, seed = self.world, self.outcome, self.settings.seed
        count = self.settings.operations
        records = [(record_of(seed, f"new {n}", seq=2), n) for n in range(count)]
        self.log(f"{count} puts")
        done: set[int] = set()

        def begin(number: int) -> None:
            record = records[number][0]
            begun = world.now

            def stored(now: float, event: Event) -> None:
                if isinstance(event, StoreDone) and event.stored and now - begun <= LIMIT:
                    done.add(number)
                    outcome.put.append((now - begun) * 1000)
                    world.call_at(now + 3.0, lambda now: self._check_copies(record))

            # Others than those who were told by the last phase's failures who is dead
            self._store(record, number + 1, stored)

        self._spread(count, OPERATION_EVERY, begin)
        outcome.put_failed += count - len(done)
        return [(record, number + 1) for record, number in records]

    def _check_copies(self, record: Record) -> None:
        key = record.storage_key
        true = [node for node in self.world.true_closest(key) if node.role is Role.ROUTER]
        having = [n for n in true if n.store is not None and n.store.get(key, self.world.now)]
        if true:
            self.outcome.coverage.append(len(having) / len(true))

    def get(self, records: list[tuple[Record, int]], times: list[float]) -> None:
        """The first valid value; the newest must have come when the find has ended."""
        world, outcome = self.world, self.outcome
        self.log(f"{len(records)} gets")
        found: dict[int, set[bytes]] = {number: set() for number in range(len(records))}
        ended: set[int] = set()

        def begin(number: int) -> None:
            record, owner = records[number]
            begun = world.now

            def heard(now: float, event: Event) -> None:
                if isinstance(event, ValueFound):
                    if not found[number]:
                        times.append((now - begun) * 1000)
                    found[number].add(event.record)
                elif isinstance(event, FindDone):
                    ended.add(number)

            reader = self.client(owner + 7)
            operation = world.engine(reader).start_find(record.storage_key, world.now)
            self._handlers[reader.index, operation] = heard
            world.flush(reader)

        self._spread(len(records), OPERATION_EVERY, begin)
        for number, (record, _) in enumerate(records):
            newest = record.encode()
            values = found[number]
            older = {value for value in values if value != newest and value[2:34] == record.key}
            outcome.wrong_values += len(values) - len(older) - (newest in values)
            outcome.stale_only += bool(older) and newest not in values
            outcome.get_failed += newest not in values or number not in ended

    def lookups(self) -> None:
        """Random targets: hops to the closest node, and requests."""
        world, outcome = self.world, self.outcome
        count = self.settings.operations
        self.log(f"{count} lookups")
        tracer = world.watcher = Tracer()
        done: set[int] = set()

        def begin(number: int) -> None:
            client, target = self.client(number + 3), self._chance.randbytes(20)
            trace = tracer.watch(client, target)

            def ended(now: float, event: Event) -> None:
                if isinstance(event, LookupDone) and event.closest:
                    done.add(number)
                    self._count(trace, event)

            operation = world.engine(client).start_lookup(target, world.now)
            self._handlers[client.index, operation] = ended
            world.flush(client)

        self._spread(count, OPERATION_EVERY, begin)
        world.watcher = None
        outcome.lookup_failed += count - len(done)

    def _count(self, trace: Trace, event: LookupDone) -> None:
        self.outcome.hops.append(float(trace.hops(event.closest[0][1])))
        self.outcome.messages.append(float(trace.sent))

    def beside_sybils(self) -> None:
        """Every client reads the predictable key; the true record must come."""
        world, outcome, record = self.world, self.outcome, self.sybil_record
        self.log("gets beside the sybils")
        ok: set[int] = set()

        def begin(number: int) -> None:
            reader = self.client(number + 1)

            def heard(now: float, event: Event) -> None:
                if isinstance(event, ValueFound) and event.record == record.encode():
                    ok.add(number)

            operation = world.engine(reader).start_find(record.storage_key, world.now)
            self._handlers[reader.index, operation] = heard
            world.flush(reader)

        count = len(self._clients) - 1
        self._spread(count, OPERATION_EVERY, begin)
        outcome.sybil_asked, outcome.sybil_ok = count, len(ok)
