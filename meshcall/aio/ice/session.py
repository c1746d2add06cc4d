"""One call's ICE session: the agent with its ports, relays, timer and queue.

Law 1: every input of the agent is followed by a complete drain of its output.
Law 2: what the peer sends waits in order in a queue with an end; what is sent goes out at once or never.
Law 3: gathering waits for no server longer than ``ICE_SERVER_PATIENCE``; what is found later is told then.
Law 4: ``close`` leaves no task, timer or socket behind; who waits in ``connect`` or ``recv`` is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.bases import Bases
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.punching import Punching
from meshcall.aio.ice.relays import Relays
from meshcall.aio.ice.servers import StunServer, TurnServer, resolve
from meshcall.aio.rhythm import ORIGIN, until_next
from meshcall.ice.agent import IceAgent
from meshcall.ice.candidate import Candidate, flaw, select_candidates
from meshcall.ice.check import Credentials
from meshcall.ice.events import Broken, Gathered, IceEvent, Lost, Measured, NoPath, Noted, Selected, Why
from meshcall.ice.notes import Note
from meshcall.ice.pair import Pair

_log = logging.getLogger(__name__)


def make_credentials() -> Credentials:
    """New ones: 128 bits of password (RFC 8839 section 5.4)."""
    return Credentials(secrets.token_hex(4), secrets.token_hex(16))


class IceSession:
    """See the laws. ``on_event`` is told of all that happens, in the loop."""

    def __init__(
        self,
        *,
        policy: HostPolicy,
        shared: IcePort | None,
        servers: Sequence[StunServer | TurnServer],
        counters: Counter[str],
        on_event: Callable[[IceEvent], None],
        carries_media: bool = True,
    ) -> None:
        """``shared``: the node's port, which knows who lends; not used to send if interfaces are named.

        ``carries_media``: False for checks alone; what else comes from the peer is not for this session.
        """
        self.local = make_credentials()
        self.ufrag = self.local.ufrag.encode()
        self.candidates: list[Candidate] = []
        """Ours, as the peer is to know them."""
        self.agent = IceAgent(
            self.local, controlling=False, random=os.urandom, counters=counters, origin=ORIGIN
        )
        self.sink: Callable[[bytes], bool] | None = None
        """See :class:`meshcall.aio.ice.call_ice.CallIce`."""
        self._servers = servers
        self._counters = counters
        self._on_event = on_event
        self.peers: AbstractSet[Address] = self.agent.proven if carries_media else frozenset()
        """See :class:`meshcall.aio.ice.port.Session`."""
        self._loop = asyncio.get_running_loop()
        if shared is not None:
            self.agent.network = shared.network
        self._bases = Bases(
            self,
            policy=policy,
            shared=shared,
            counters=counters,
            add=self._add_local,
            remove=self._remove_local,
            offer=self._offer,
            withdraw=self._withdraw,
        )
        self._relays = Relays(
            None if shared is None else shared.lenders,
            bases=lambda: self._bases,
            hosts=lambda: self._bases.named_hosts,
            add=self._add_local,
            remove=self._remove_local,
            offer=self._offer,
            received=self._receive_relayed,
            counters=counters,
        )
        nat = None if self._bases.shared is None else self._bases.shared.nat
        self._punching = None if nat is None else Punching(self, nat, self._adopt, os.urandom, counters)
        self._base: Address | None = None
        """What the selected pair sends from."""
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._looked = False
        """Whether the doubt of now has had its look around."""
        """This machine's addresses are to be looked at now."""
        self._outcome: asyncio.Future[str] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def controlling(self) -> bool:
        """See :class:`meshcall.aio.ice.call_ice.CallIce`."""
        return self.agent.controlling

    @controlling.setter
    def controlling(self, value: bool) -> None:
        self.agent.controlling = value

    @property
    def remote_candidates(self) -> list[Candidate]:
        """See :class:`meshcall.aio.ice.call_ice.CallIce`."""
        return list(self.agent.remote_candidates)

    def silence(self) -> float:
        """See :class:`meshcall.aio.ice.call_ice.CallIce`."""
        return self.agent.silence(self._loop.time())

    # --- candidates ---

    @property
    def expects_more(self) -> bool:
        """Whether servers or relays may tell of more candidates."""
        return bool(self._servers or self._relays.lent)

    async def gather(self) -> None:
        """Open ports, and ask the servers; raises OSError when no port can be opened."""
        await self._bases.open()
        asked = [self._spawn(self._ask(server)) for server in self._servers]
        asked += self._relays.start([one for one in self._servers if isinstance(one, TurnServer)])
        if asked:
            await asyncio.wait(asked, timeout=limits.ICE_SERVER_PATIENCE)
        self.candidates = list(select_candidates(self.candidates))
        self._spawn(self._watch_addresses())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="ice")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _add_local(self, candidate: Candidate) -> None:
        self.agent.add_local(candidate, self._loop.time())
        self._drain()

    def _remove_local(self, base: Address) -> None:
        self._withdraw(base)
        self.agent.remove_local(base, self._loop.time())
        self._drain()

    def _offer(self, candidate: Candidate) -> None:
        """The peer is to know it, if it can be: it is others who tell what we are seen as."""
        if flaw(candidate):
            self._counters["ice-own-candidate"] += 1
        else:
            self._tell(Gathered(candidate))

    async def _ask(self, server: StunServer | TurnServer) -> None:
        """Have one server tell of a candidate; whatever it does, the others go on."""
        if isinstance(server, TurnServer):
            await self._relays.use(server)
            return
        try:
            addresses = await resolve(server)
        except OSError:
            self._counters["ice-server"] += 1
            return
        for address in addresses:
            self.agent.ask_server(address, self._loop.time())
        self._drain()
        while self.agent.gathering and not self.closed:
            self._changed.clear()
            await self._changed.wait()

    def _withdraw(self, address: Address) -> None:
        """The peer is told of it no more."""
        self.candidates = [one for one in self.candidates if (one.address, one.port) != address]

    async def _watch_addresses(self) -> None:
        """A cable, a radio, a VPN: when this machine's addresses are other ones, all paths are looked at."""
        while True:
            soon = self._relays.wanted or self._looked
            pause = limits.ICE_BROKEN_POLL if soon else limits.ICE_ADDRESSES_POLL
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(pause, self._loop.time())):
                    await self._news.wait()
            self._news.clear()
            with suppress(OSError):  # the system says nothing, or gives no port now; it will
                if await self._bases.refresh():
                    self.network_changed()

    # --- the session ---

    def start(self, remote: Credentials) -> None:
        """The peer's description: begin to check."""
        self.agent.start(remote, self._loop.time())
        self._drain()
        if self._punching is not None:
            self._spawn(self._punching.run())

    def restart(self, remote: Credentials) -> None:
        """The peer has other credentials from now on."""
        self.agent.restart(remote, self._loop.time())
        self._drain()

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """More of the peer's candidates."""
        candidates = list(candidates)
        for one in candidates:
            _log.debug("the peer has a candidate %s %s port %d", one.kind, one.address, one.port)
        self.agent.add_remote(candidates, self._loop.time())
        self._drain()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the description tells the peer besides candidates."""
        return () if self._punching is None else self._punching.notes

    def add_notes(self, notes: Iterable[Note]) -> None:
        """What the peer tells besides candidates."""
        if self._punching is not None:
            for note in notes:
                self._punching.hear(note)

    def network_changed(self) -> None:
        """Addresses or routes are other ones, or the machine has slept: look at all paths now."""
        self.agent.network_changed(self._loop.time())
        if self._punching is not None:
            self._punching.network_changed()
        self._news.set()
        self._drain()

    def probe(self) -> None:
        """Have the selected pair answer once more: :class:`meshcall.ice.events.Measured`."""
        self.agent.probe(self._loop.time())
        self._drain()

    async def connected(self) -> None:
        """Return when a pair is selected; raises ConnectionError, with the reason."""
        if reason := await asyncio.shield(self._outcome):
            raise ConnectionError(reason)

    def send(self, data: bytes) -> None:
        """Send to the peer over the selected pair, and a second one during a change of path.

        Raises ConnectionError when there is none.
        """
        for pair in self._carriers():
            self._transmit(data, pair.destination, pair.base)

    def send_all(self, datagrams: Sequence[bytes]) -> None:
        """Send several as :meth:`send` does, in order."""
        for pair in self._carriers():
            destination, base = pair.destination, pair.base
            if len(datagrams) > 1 and self._bases.send_all(datagrams, destination, base):
                continue
            for data in datagrams:
                self._transmit(data, destination, base)

    def _carriers(self) -> list[Pair]:
        pairs = [] if self.closed else self.agent.carriers(self._loop.time())
        if not pairs:
            raise ConnectionError("there is no path")
        return pairs

    async def recv(self) -> bytes:
        """The next datagram of the peer's; raises ConnectionError when there will be none."""
        data = None if self.closed and self._queue.empty() else await self._queue.get()
        if data is None:
            self._queue.put_nowait(None)
            raise ConnectionError("the path is closed")
        return data

    async def wait_closed(self) -> None:
        """Return when it is closed, by its owner or because the path is lost."""
        await self._ended.wait()

    async def close(self) -> None:
        """End everything. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="ice-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.closed = True
        self._ended.set()
        self._changed.set()
        self._decide("closed")
        self._queue.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self._relays.close()
        await self._bases.close()
        for task in tuple(self._tasks):
            with suppress(asyncio.CancelledError):
                await task

    # --- what comes ---

    def awaits(self, transaction: bytes) -> bool:
        """See :class:`meshcall.aio.ice.port.Session`."""
        return self.agent.awaits(transaction)

    def receive_stun(self, data: bytes, source: Address, base: Address) -> None:
        """See :class:`meshcall.aio.ice.port.Session`."""
        self.agent.receive(data, source, base, self._loop.time())
        self._drain()

    def receive_media(self, data: bytes) -> None:
        """See :class:`meshcall.aio.ice.port.Session`."""
        self.agent.heard()
        if self.sink is not None and self.sink(data):
            return
        if self._queue.qsize() >= limits.ICE_QUEUE_MAX:
            self._counters["ice-flood"] += 1
        else:
            self._queue.put_nowait(data)

    def _receive_relayed(self, data: bytes, source: Address, base: Address) -> None:
        if not data:
            return
        if data[0] < 4:
            self.receive_stun(data, source, base)
        elif source in self.peers:
            self.receive_media(data)
        else:
            self._counters["ice-stranger"] += 1

    # --- what punching needs (see PunchedCall) ---

    def tell_note(self, note: Note) -> None:
        """The peer is to know it."""
        self._tell(Noted(note))

    def offer_predicted(self, candidate: Candidate) -> None:
        """The peer is to check it."""
        self._offer(candidate)

    def send_probe(self, data: bytes, destination: Address) -> None:
        """From the shared port."""
        if self._bases.shared is not None:
            self._bases.shared.send(data, destination)

    def _adopt(self, port: IcePort, data: bytes, source: Address, base: Address) -> None:
        self._bases.adopt(port)
        self.receive_stun(data, source, base)

    # --- output ---

    def _transmit(self, data: bytes, destination: Address, base: Address) -> None:
        _ = self._bases.send(data, destination, base) or self._relays.send(data, destination, base)

    def _drain(self) -> None:
        if self.closed:
            return
        for data, destination, base in self.agent.transmits():
            self._transmit(data, destination, base)
        for event in self.agent.events():
            self._tell(event)
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.agent.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self.agent.handle_timer(now)
        self._look(now)
        self._drain()

    def _look(self, now: float) -> None:
        """A direct path is in doubt: our address outside may be another one, and the peer must learn it soon.

        Spare pairs over relays don't help then: they too know the old address.
        """
        pair = self.agent.selected
        doubted = pair is not None and not pair.indirect and pair.in_doubt(now)
        if doubted and not self._looked:
            self._bases.path_lost()
            self._news.set()
        self._looked = doubted

    def _tell(self, event: IceEvent) -> None:
        match event:
            case Selected(local, remote, why):
                _log.debug(
                    "path %s %s -> %s %s (%s)", local.kind, local.address, remote.kind, remote.address, why
                )
                self._follow(why)
                self._decide("")
            case NoPath(reason):
                _log.debug("no path: %s", reason)
                self._decide(reason)
            case Gathered(candidate):
                if candidate not in self.candidates:
                    self.candidates.append(candidate)
            case Lost():
                self._closing = self._closing or asyncio.create_task(self._close(), name="ice-close")
            case Broken():
                self._relays.path_lost()
                self._bases.path_lost()
                self._news.set()
                for server in self._servers:
                    if isinstance(server, TurnServer):
                        self._spawn(self._relays.replace(server))
            case Measured() | Noted():
                pass
        self._on_event(event)

    def _follow(self, why: Why) -> None:
        """The relays are told which of them carries the call, and over which it died."""
        assert self.agent.selected is not None, "it is told of"
        if why == "failover" and self._base is not None:
            self._relays.path_died(self._base)
        self._base = self.agent.selected.base
        self._relays.path_found(self._base)

    def _decide(self, reason: str) -> None:
        if not self._outcome.done():
            self._outcome.set_result(reason)
