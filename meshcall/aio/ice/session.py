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
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy, host_addresses, is_loopback
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.servers import StunServer, TurnServer, resolve
from meshcall.aio.udp import ANY_HOSTS, UdpPort
from meshcall.errors import InvalidConfig
from meshcall.ice.agent import IceAgent
from meshcall.ice.candidate import Candidate, select_candidates
from meshcall.ice.check import Credentials
from meshcall.ice.events import Broken, Gathered, IceEvent, Lost, Measured, NoPath, Selected
from meshcall.ice.pair import candidate_priority


class Relay(Protocol):
    """An allocation at a TURN server (RFC 8656)."""

    relayed: Address
    mapped: Address
    """Where the server sees us."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram from the relayed address."""

    def close(self) -> None:
        """Give it back."""


_log = logging.getLogger(__name__)

OpenRelay = Callable[[TurnServer, Callable[[bytes, Address], None], Callable[[], None]], Awaitable[Relay]]
"""(server, on datagram, on loss) -> relay; raises OSError or ConnectionError."""


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
        open_relay: OpenRelay,
        counters: Counter[str],
        on_event: Callable[[IceEvent], None],
        carries_media: bool = True,
    ) -> None:
        """``shared``: the node's port; used unless the policy asks for interfaces by name.

        ``carries_media``: False for checks alone; what else comes from the peer is not for this session.
        """
        self.local = make_credentials()
        self.ufrag = self.local.ufrag.encode()
        self.candidates: list[Candidate] = []
        """Ours, as the peer is to know them."""
        self.agent = IceAgent(self.local, controlling=False, random=os.urandom, counters=counters)
        self._policy = policy
        self._shared = None if policy.interfaces else shared
        self._servers = servers
        self._open_relay = open_relay
        self._counters = counters
        self._on_event = on_event
        self._carries_media = carries_media
        self._loop = asyncio.get_running_loop()
        self._ports: dict[Address, IcePort] = {}
        self._relays: dict[Address, Relay] = {}
        self._relay_of: dict[TurnServer, Relay] = {}
        self._broken = False
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._outcome: asyncio.Future[str] = self._loop.create_future()
        self._addresses: list[str] = []
        self._ended = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self.closed = False

    # --- candidates ---

    async def gather(self) -> None:
        """Open ports, and ask the servers; raises OSError when no port can be opened."""
        with suppress(OSError):  # what can't be read is not offered; peers may know us by other addresses
            self._addresses = host_addresses(self._policy)
        if self._shared is not None:
            self._add_port(self._shared)
            self._offer_mapped(self._shared)
        elif self._policy.interfaces:
            for address in self._addresses:
                await self._open_port((address,))
        elif self._addresses:
            await self._open_port(ANY_HOSTS)
        self._offer_hosts()
        asked = [self._spawn(self._ask(server)) for server in self._servers]
        if asked:
            await asyncio.wait(asked, timeout=limits.ICE_SERVER_PATIENCE)
        self.candidates = list(select_candidates(self.candidates))
        self._spawn(self._watch_addresses())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="ice")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _open_port(self, hosts: Sequence[str]) -> None:
        with suppress(InvalidConfig):  # an address that went meanwhile
            udp = await UdpPort.open(0, hosts=hosts)
            self._add_port(IcePort(udp, hosts=hosts, counters=self._counters))

    def _add_port(self, port: IcePort) -> None:
        port.add(self)
        for base in port.bases:
            self._ports[base] = port
            best = max(
                (priority for address, priority in self._ranked() if (":" in address) == (":" in base[0])),
                default=candidate_priority("host", base[0]),
            )
            self._add_local(Candidate("host", "udp", *base, best))

    def _ranked(self) -> list[tuple[str, int]]:
        return [
            (address, candidate_priority("host", address, index))
            for index, address in enumerate(self._addresses)
        ]

    def _offer_hosts(self) -> None:
        """Host candidates of the addresses of now, each with its port; those that are new are told."""
        known = {(one.address, one.port) for one in self.candidates}
        for address, priority in self._ranked():
            for base in self._ports:
                if base[0] == address:
                    candidate = Candidate("host", "udp", *base, priority)
                elif base[0] in ANY_HOSTS and (":" in base[0]) == (":" in address):
                    candidate = Candidate("host", "udp", address, base[1], priority, related=base)
                    self._add_local(candidate)
                else:
                    continue
                if (candidate.address, candidate.port) not in known:
                    self._tell(Gathered(candidate))

    def _offer_mapped(self, port: IcePort) -> None:
        """What the node's peers see as its address."""
        for host, number in port.mapped():
            if host in self._addresses or is_loopback(host):
                continue
            for base in port.bases:
                if (":" in base[0]) == (":" in host):
                    priority = candidate_priority("srflx", host)
                    candidate = Candidate("srflx", "udp", host, number, priority, related=base)
                    self.candidates.append(candidate)
                    self._add_local(candidate)

    def _add_local(self, candidate: Candidate) -> None:
        self.agent.add_local(candidate, self._loop.time())
        self._drain()

    async def _ask(self, server: StunServer | TurnServer) -> None:
        """Have one server tell of a candidate; whatever it does, the others go on."""
        try:
            addresses = await resolve(server)
            if isinstance(server, TurnServer):
                await self._allocate(server)
                return
        except (OSError, ConnectionError):
            self._counters["ice-server"] += 1
            return
        for address in addresses:
            self.agent.ask_server(address, self._loop.time())
        self._drain()
        while self.agent.gathering and not self.closed:
            self._changed.clear()
            await self._changed.wait()

    async def _allocate(self, server: TurnServer) -> None:
        relay: Relay | None = None

        def received(data: bytes, source: Address) -> None:
            if relay is not None:
                self._receive_relayed(data, source, relay.relayed)

        def lost() -> None:
            if relay is not None and not self.closed:
                self._drop_relay(relay)

        relay = await self._open_relay(server, received, lost)
        if self.closed:
            relay.close()
            return
        old = self._relay_of.get(server)
        self._relay_of[server] = relay
        self._relays[relay.relayed] = relay
        priority = candidate_priority("relay", relay.relayed[0])
        candidate = Candidate("relay", "udp", *relay.relayed, priority, related=relay.mapped)
        self._add_local(candidate)
        self._tell(Gathered(candidate))
        if old is not None:
            old.close()
            self._drop_relay(old)

    def _drop_relay(self, relay: Relay) -> None:
        if self._relays.get(relay.relayed) is relay:  # a new allocation may have the address of the old one
            del self._relays[relay.relayed]
            self.agent.remove_local(relay.relayed, self._loop.time())
            self._drain()

    async def _replace(self, server: TurnServer) -> None:
        """No path answers: the server may have lost our allocation, or be another one now."""
        while self._broken and not self.closed:
            with suppress(OSError):
                async with asyncio.timeout(limits.ICE_RELAY_PATIENCE):
                    await self._allocate(server)
                    return
            await asyncio.sleep(limits.ICE_RELAY_PAUSE)

    async def _watch_addresses(self) -> None:
        """A cable, a radio, a VPN: when this machine's addresses are other ones, all paths are looked at."""
        while True:
            await asyncio.sleep(limits.ICE_ADDRESSES_POLL)
            with suppress(OSError):  # the system says nothing now; it will
                await self._look_at_addresses()

    async def _look_at_addresses(self) -> None:
        found = host_addresses(self._policy)
        if found == self._addresses:
            return
        gone, new = set(self._addresses) - set(found), set(found) - set(self._addresses)
        self._addresses = found
        if self._policy.interfaces:
            for base in [base for base in self._ports if base[0] in gone]:
                self.agent.remove_local(base, self._loop.time())
                await self._ports.pop(base).close()
            for address in new:
                await self._open_port((address,))
        self._offer_hosts()
        self.network_changed()

    # --- the session ---

    def start(self, remote: Credentials) -> None:
        """The peer's description: begin to check."""
        now = self._loop.time()
        travel = 0.0 if self.agent.controlling else limits.MEDIA_ANSWER_TRAVEL
        self.agent.start(remote, now, limits.ICE_NO_PATH + travel)
        self._drain()

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """More of the peer's candidates."""
        candidates = list(candidates)
        for one in candidates:
            _log.debug("the peer has a candidate %s %s port %d", one.kind, one.address, one.port)
        self.agent.add_remote(candidates, self._loop.time())
        self._drain()

    def network_changed(self) -> None:
        """Addresses or routes are other ones, or the machine has slept: look at all paths now."""
        self.agent.network_changed(self._loop.time())
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
        """Send to the peer over the selected pair; raises ConnectionError when there is none."""
        pair = self.agent.selected
        if pair is None or self.closed:
            raise ConnectionError("there is no path")
        self._transmit(data, pair.destination, pair.base)

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
        for relay in self._relays.values():
            relay.close()
        for port in set(self._ports.values()):
            port.remove(self)
            if port is not self._shared:
                await port.close()
        for task in tuple(self._tasks):
            with suppress(asyncio.CancelledError):
                await task

    # --- what comes ---

    def awaits(self, transaction: bytes) -> bool:
        """See :class:`meshcall.aio.ice.port.Session`."""
        return self.agent.awaits(transaction)

    def accepts(self, source: Address) -> bool:
        """See :class:`meshcall.aio.ice.port.Session`."""
        return self._carries_media and self.agent.accepts(source)

    def receive_stun(self, data: bytes, source: Address, base: Address) -> None:
        """See :class:`meshcall.aio.ice.port.Session`."""
        self.agent.receive(data, source, base, self._loop.time())
        self._drain()

    def receive_media(self, data: bytes) -> None:
        """See :class:`meshcall.aio.ice.port.Session`."""
        if self._queue.qsize() >= limits.ICE_QUEUE_MAX:
            self._counters["ice-flood"] += 1
        else:
            self._queue.put_nowait(data)

    def _receive_relayed(self, data: bytes, source: Address, base: Address) -> None:
        if self.closed or not data:
            return
        if data[0] < 4:
            self.receive_stun(data, source, base)
        elif self.accepts(source):
            self.receive_media(data)
        else:
            self._counters["ice-stranger"] += 1

    # --- output ---

    def _transmit(self, data: bytes, destination: Address, base: Address) -> None:
        port = self._ports.get(base)
        if port is not None:
            port.send(data, destination)
        elif (relay := self._relays.get(base)) is not None:
            relay.send(data, destination)

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
        self.agent.handle_timer(self._loop.time())
        self._drain()

    def _tell(self, event: IceEvent) -> None:
        match event:
            case Selected(local, remote, why):
                _log.debug(
                    "path %s %s -> %s %s (%s)", local.kind, local.address, remote.kind, remote.address, why
                )
                self._broken = False
                self._decide("")
            case NoPath(reason):
                _log.debug("no path: %s", reason)
                self._decide(reason)
            case Gathered(candidate):
                self.candidates.append(candidate)
            case Lost():
                self._closing = self._closing or asyncio.create_task(self._close(), name="ice-close")
            case Broken():
                self._broken = True
                for server in self._servers:
                    if isinstance(server, TurnServer):
                        self._spawn(self._replace(server))
            case Measured():
                pass
        self._on_event(event)

    def _decide(self, reason: str) -> None:
        if not self._outcome.done():
            self._outcome.set_result(reason)
