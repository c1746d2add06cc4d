"""The shell around the DHT engine: a UDP port, one timer, futures.

Law 1: every input (datagram, timer, call of a method) is followed by a complete drain of the engine's output.
Law 2: one timer, armed again after each input.
Law 3: an operation whose caller is cancelled is cancelled in the engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.udp import Datagrams
from meshcall.dht.asking import Prove
from meshcall.dht.compact import NodeInfo
from meshcall.dht.engine import DhtEngine
from meshcall.dht.events import (
    BootstrapDone,
    DeliverDone,
    DeliverProgress,
    Event,
    FindDone,
    LookupDone,
    Notified,
    PingDone,
    RelayAsked,
    StoreDone,
    ValueFound,
    VouchDone,
    WatchChanged,
)
from meshcall.dht.messages import EPHEMERAL, FIRST_OCTETS, Ping, RelayAsk, decode_frame_untrusted
from meshcall.dht.statistics import DhtStatistics
from meshcall.errors import Rejected
from meshcall.identity.keys import Random, SigningKey
from meshcall.limits import DHT_SAVE_INTERVAL
from meshcall.record.codec import Record

OnValue = Callable[[ValueFound], None]
Notify = Notified
"""What ``on_notify`` is given: record, storage_key, via."""
DhtStatus = DhtStatistics
"""What ``status`` returns."""


_DONE = (BootstrapDone, DeliverDone, FindDone, LookupDone, PingDone, RelayAsked, StoreDone, VouchDone)


@dataclass(frozen=True, slots=True)
class DeliverReport:
    """What became of a delivery so far."""

    stored: int
    """Nodes that keep a copy."""
    watchers: int
    """Most watchers that one node pushed it to; 0: nobody is listening now."""
    asked: int
    """Nodes that it was sent to."""
    acked: int = 0
    """Most watchers behind one node that have acknowledged it: it is on their machines."""


class Delivery:
    """A delivery that was made. With a reply watch, answers keep coming until :meth:`close`."""

    def __init__(
        self,
        node: DhtNode,
        operation: int,
        report: DeliverReport,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        self._node = node
        self._operation = operation
        self.report = report
        self._on_reached = on_reached
        self._reached = asyncio.Event()

    def _progress(self, report: DeliverReport) -> None:
        self.report = report
        if report.acked and not self._reached.is_set():
            self._reached.set()
            if self._on_reached is not None:
                self._on_reached()

    @property
    def acked(self) -> int:
        """Watchers that have it for certain; grows for a moment after the delivery returned."""
        return self.report.acked

    async def wait_acked(self) -> None:
        """Return when it has reached a watcher's machine. That may never be: give it a timeout."""
        await self._reached.wait()

    @property
    def stored(self) -> int:
        """Nodes that keep a copy."""
        return self.report.stored

    @property
    def watchers(self) -> int:
        """Most watchers that one node pushed it to."""
        return self.report.watchers

    @property
    def asked(self) -> int:
        """Nodes that it was sent to."""
        return self.report.asked

    def close(self) -> None:
        """Give the reply watch back. Idempotent."""
        self._node._end(self._operation)


class Watch:
    """A key that is watched until :meth:`close`."""

    def __init__(self, node: DhtNode, operation: int, key: bytes) -> None:
        self._node = node
        self._operation = operation
        self.key = key
        self.holders = 0
        """Nodes that push to us now."""
        self._changed = asyncio.Event()

    def addresses(self) -> list[Address]:
        """The nodes that hold the watch now."""
        return self._node.engine.watch_holders(self._operation)

    async def wait_held(self, holders: int = 1) -> None:
        """Return when at least so many nodes hold the watch."""
        while self.holders < holders:
            self._changed.clear()
            await self._changed.wait()

    def _change(self, holders: int) -> None:
        self.holders = holders
        self._changed.set()

    def close(self) -> None:
        """Give it back. Idempotent."""
        self._node._end(self._operation)


class Find:
    """The records under a key as they are found: an async iterator. ``async with`` ends it early."""

    def __init__(self, node: DhtNode, operation: int, on_value: OnValue | None = None) -> None:
        self._node = node
        self._operation = operation
        self._on_value = on_value
        self.done: FindDone | None = None
        """How it ended; None: it has not, or was closed."""
        self._records: deque[bytes] = deque()
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._records:
            if self._over:
                self.close()
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.close()
                raise
        return self._records.popleft()

    async def __aenter__(self) -> Find:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Search no further. Idempotent."""
        self._node._end(self._operation)
        self._finish()

    def _found(self, event: ValueFound) -> None:
        if self._on_value is not None:
            self._on_value(event)
        self._records.append(event.record)
        self._wake()

    def _finish(self) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class DhtNode:
    """One node of the DHT on a UDP port."""

    def __init__(
        self,
        udp: Datagrams,
        *,
        node_key: SigningKey,
        clock: Clock,
        random: Random,
        lan: bool = False,
        state: bytes | None = None,
        on_notify: Callable[[Notify], bool] | None = None,
        router: bool = False,
        on_state: Callable[[bytes], object] | None = None,
    ) -> None:
        """``lan`` or ``router``: others may route through us. ``state``: what :meth:`save` returned.

        ``on_state`` is given the table to keep every ``DHT_SAVE_INTERVAL`` seconds, in the loop.

        ``on_notify`` is called once for each record under a watched key; its answer is counted.
        """
        self._udp = udp
        self._clock = clock
        self._on_notify = on_notify
        self._on_state = on_state
        self._saving: asyncio.TimerHandle | None = None
        self.engine = DhtEngine(node_key, random=random, now=clock.now(), lan=lan, router=router, state=state)
        """The machine; read its state, but give it input through this shell only."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: float | None = None
        self._draining = False
        self._events: deque[Event] = deque()
        self._waiters: dict[int, asyncio.Future[Event | None]] = {}
        self._finds: dict[int, Find] = {}
        self._watches: dict[int, Watch] = {}
        self._deliveries: WeakValueDictionary[int, Delivery] = WeakValueDictionary()
        self._lasting: set[int] = set()
        """Deliveries with a reply watch."""
        self._notified = 0
        self._unwanted = 0

    @property
    def node_id(self) -> bytes:
        """Our place in the id space."""
        return self.engine.node_id

    async def start(self) -> None:
        """Listen. Raises ValueError if another DHT node uses the port object."""
        self._loop = asyncio.get_running_loop()
        self._udp.register(FIRST_OCTETS, self._receive, self.engine.is_awaited)
        if self._on_state is not None:
            self._saving = self._loop.call_later(DHT_SAVE_INTERVAL, self._save_state)
        self._drain()

    async def close(self) -> None:
        """Give all watches back, end all operations, stop listening. The port stays open. Idempotent.

        Whoever waits for an operation gets its empty result.
        """
        if self._loop is None:
            return
        for operation in [*self._watches, *self._finds, *self._lasting, *self._waiters]:
            self._end(operation)
        self._udp.unregister(FIRST_OCTETS)
        self._loop = None
        for timer in (self._timer, self._saving):
            if timer is not None:
                timer.cancel()
        self._timer = self._saving = None

    def network_changed(self) -> None:
        """Our interfaces or addresses are others now: contacts are checked and watches renewed at once."""
        self.engine.network_changed(self._clock.now())
        self._drain()

    def look_around(self) -> None:
        """A call lost every path: hear where we are seen now, and renew watches."""
        self.engine.look_around(self._clock.now())
        self._drain()

    def save(self) -> bytes:
        """The table, for the next start's ``state``."""
        return self.engine.save()

    # --- operations ---

    async def bootstrap(self, addresses: Iterable[Address] = (), *, saved: bool = True) -> int:
        """Join through ``addresses`` (no names) and, if ``saved``, the saved table; how many answered."""
        started = self.engine.start_bootstrap(list(addresses), self._clock.now(), saved=saved)
        done = await self._run(started)
        return done.answered if isinstance(done, BootstrapDone) else 0

    def find(
        self,
        key: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        types: Sequence[int] = (),
        on_value: OnValue | None = None,
        traced: bool = False,
    ) -> Find:
        """Raw valid records under ``key`` as they come, each once; ends with the lookup.

        ``at`` is asked first; ``only``: nobody else is, and it takes one round trip. ``types``: record types
        wanted, all if empty. ``on_value`` is told of each with all that is known of it. ``traced``: ``done``
        says who was asked.
        """
        operation = self.engine.start_find(
            key, self._clock.now(), at=at, only=only, types=types, traced=traced
        )
        find = self._finds[operation] = Find(self, operation, on_value)
        if self._loop is None:
            find.close()
        self._drain()
        return find

    async def store(self, record: bytes, *, at: Sequence[Address] = ()) -> int:
        """Put a record onto the closest nodes (and those at ``at``); copies acknowledged."""
        done = await self._run(self.engine.start_store(record, self._clock.now(), at=at))
        return done.stored if isinstance(done, StoreDone) else 0

    async def deliver(
        self,
        record: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        reply_watch: bytes | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> Delivery:
        """Push a record to whoever watches its key; returns when all nodes that are to get it have it.

        ``at`` gets it directly; ``only``: nobody else. With ``reply_watch`` keep the result and close it when
        no more answers are wanted. ``on_reached`` is called once, perhaps before this returns, when a
        watcher's machine has it.
        """
        operation = self.engine.start_deliver(
            record, self._clock.now(), at=at, only=only, reply_watch=reply_watch
        )
        if reply_watch is not None:
            self._lasting.add(operation)
        delivery = Delivery(self, operation, DeliverReport(0, 0, 0), on_reached)
        self._deliveries[operation] = delivery
        await self._run(operation)
        return delivery

    def watch(self, key: bytes) -> Watch:
        """Be told (``on_notify``) of what is delivered under ``key``, until the watch is closed."""
        operation = self.engine.start_watch(key, self._clock.now())
        watch = self._watches[operation] = Watch(self, operation, key)
        self._drain()
        return watch

    def local_put(self, record: bytes) -> None:
        """Answer finds with this record of ours until its ttl ends; a newer one replaces it."""
        self.engine.put_local(record, self._clock.now())

    def local_remove(self, record: Record) -> bool:
        """Answer finds with it no more; tells whether we did."""
        return self.engine.remove_local(record)

    async def ping(self, address: Address) -> float | None:
        """Round-trip time to ``address`` in seconds; None when nobody answers."""
        done = await self._run(self.engine.start_ping(address, self._clock.now()))
        return done.rtt if isinstance(done, PingDone) else None

    async def probe(self, address: Address) -> PingDone | None:
        """What whoever is at ``address`` says of itself and of us; None when nobody answers."""
        done = await self._run(self.engine.start_ping(address, self._clock.now(), prove=True))
        return done if isinstance(done, PingDone) and done.rtt is not None else None

    async def witnessed(self, witness: Address) -> tuple[Address, bytes] | None:
        """Where ``witness`` sees us, and its token for that address; None when it does not answer."""
        done = await self._run(self.engine.start_ping(witness, self._clock.now()))
        if not isinstance(done, PingDone) or done.observed is None:
            return None
        return done.observed, self.engine.token_of(witness, self._clock.now())

    async def vouches(self, witness: Address, address: Address, token: bytes) -> bool:
        """Whether ``witness`` says that it gave ``token`` to ``address``."""
        done = await self._run(self.engine.start_vouch(witness, address, token, self._clock.now()))
        return isinstance(done, VouchDone) and done.vouched is True

    async def ask_relay(
        self, address: Address, key: bytes, *, prove: Prove | None = None, node_id: bytes | None = None
    ) -> RelayAsked | None:
        """What the node at ``address`` says when it is asked to lend a relay; None when we are closed.

        ``key``: X25519, of this ask alone. ``prove``: node id to proofs (:class:`meshcall.turn.grant.Ask`).
        ``node_id``: who is there, if that is known: saves a round trip.
        """
        done = await self._run(
            self.engine.start_relay_ask(address, key, self._clock.now(), prove=prove, node_id=node_id)
        )
        return done if isinstance(done, RelayAsked) else None

    def answer(self, frame: bytes, asker: Address) -> bytes | None:
        """What we say to a ping or a relay ask of who can't use UDP; ``asker`` is certain. None: nothing.

        Who has no UDP routes for nobody; all else is for its relayed address to ask.
        """
        try:
            message = decode_frame_untrusted(frame)
        except Rejected:
            return None
        if self._loop is None or not isinstance(message, Ping | RelayAsk) or not message.flags & EPHEMERAL:
            return None
        self._drain()
        self.engine.receive(frame, asker, self._clock.now())
        answer: bytes | None = None
        for data, address in self.engine.transmits():
            if address == asker and answer is None:
                answer = data
            else:
                self._udp.send(data, address)
        self._drain()
        return answer

    async def lookup(self, target: bytes) -> list[NodeInfo]:
        """The nodes closest to ``target`` that answered, closest first."""
        done = await self._run(self.engine.start_lookup(target, self._clock.now()))
        return list(done.closest) if isinstance(done, LookupDone) else []

    def neighbours(self, count: int = 3) -> list[Address]:
        """Routers that answered us last: for an invite, or for a peer that has no table yet."""
        return self.engine.liveliest_contacts(count)

    def known(self, count: int) -> list[Address]:
        """Where nodes are, or may be."""
        return self.engine.known_addresses(count)

    def status(self) -> DhtStatus:
        """A frozen snapshot."""
        snapshot = self.engine.statistics()
        ours = {"notified": self._notified, "notified-unwanted": self._unwanted}
        return replace(snapshot, counters=snapshot.counters | ours)

    # --- inside ---

    async def _run(self, operation: int) -> Event | None:
        """Wait for the operation's last event; None when the node is not running."""
        if self._loop is None:
            self._end(operation)
            return None
        waiter = self._waiters[operation] = asyncio.get_running_loop().create_future()
        try:
            self._drain()
            result: Event | None = await waiter
            return result
        except asyncio.CancelledError:
            self._end(operation)
            raise
        finally:
            self._waiters.pop(operation, None)

    def _end(self, operation: int) -> None:
        """End an operation in the engine and here. Cannot fail, also when it has ended."""
        self._watches.pop(operation, None)
        self._lasting.discard(operation)
        find = self._finds.pop(operation, None)
        waiter = self._waiters.pop(operation, None)
        self.engine.cancel(operation, self._clock.now())
        self._drain()
        if find is not None:
            find._finish()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _save_state(self) -> None:
        """Hand the table out; an empty one would only take the place of a better one."""
        if self._loop is None or self._on_state is None:
            return
        self._saving = self._loop.call_later(DHT_SAVE_INTERVAL, self._save_state)
        if self.engine.contacts():
            self._on_state(self.save())

    def _receive(self, data: bytes, address: Address) -> None:
        self.engine.receive(data, address, self._clock.now())
        self._drain()

    def _timer_fired(self) -> None:
        self._timer = None
        self.engine.handle_timer(self._clock.now())
        self._drain()

    def _drain(self) -> None:
        """Take all output of the engine, also what a handler sets off while we are here."""
        if self._loop is None or self._draining:
            return
        self._draining = True
        try:
            while True:
                for data, address in self.engine.transmits():
                    self._udp.send(data, address)
                self._events += self.engine.events()
                if not self._events:
                    break
                self._handle(self._events.popleft())
        finally:
            self._draining = False
            self._arm()

    def _arm(self) -> None:
        due = self.engine.deadline()
        if self._timer is not None:
            if self._timer_due == due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and self._loop is not None:
            self._timer_due = due
            self._timer = self._loop.call_later(max(0.0, due - self._clock.now()), self._timer_fired)

    def _progress(self, event: DeliverProgress | DeliverDone) -> None:
        delivery = self._deliveries.get(event.op)
        if delivery is not None:
            report = DeliverReport(event.stored, event.watchers, event.asked, event.acked)
            delivery._progress(report)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Notified):
            self._notified += 1
            if self._on_notify is not None and not self._on_notify(event):
                self._unwanted += 1
        elif isinstance(event, ValueFound):
            if event.op in self._finds:
                self._finds[event.op]._found(event)
        elif isinstance(event, WatchChanged):
            if event.op in self._watches:
                self._watches[event.op]._change(event.holders)
        elif isinstance(event, DeliverProgress):
            self._progress(event)
        elif isinstance(event, _DONE):
            if isinstance(event, DeliverDone):
                self._progress(event)
            waiter = self._waiters.get(event.op)
            if waiter is not None and not waiter.done():
                waiter.set_result(event)
            if event.op in self._finds:
                find = self._finds.pop(event.op)
                find.done = event if isinstance(event, FindDone) else None
                find._finish()
