"""The shell around the book of relays: asks, searches, and hands relays to calls.

Law 1: a call never waits for anything here: it takes what is ready, and is told when there is more.
Law 2: whom to ask, and how often, is the book's decision (:mod:`meshcall.turn.book`).
Law 3: that nobody answers while nobody at all is heard is our own link, and nobody's fault.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from meshcall.address import Address, format_address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.ice.servers import LentRelay, TurnServer, read_servers, resolve
from meshcall.aio.stun import probe_stun
from meshcall.dht.compact import is_public
from meshcall.dht.events import ValueFound
from meshcall.dht.messages import RELAY_GRANTED
from meshcall.errors import Rejected
from meshcall.identity.keys import Random
from meshcall.limits import (
    RELAY_LOOK,
    RELAY_LOOK_MAX,
    RELAY_MEASURE_PATIENCE,
    RELAY_PROOFS,
    RELAY_SHARDS,
    RELAYS_HELD,
)
from meshcall.media.page import IceServerView
from meshcall.media.plan import parse_ice_server
from meshcall.record.codec import RecordType, decode_record_untrusted
from meshcall.turn.announcement import epoch_of, read_announcement_untrusted, shard_storage_key
from meshcall.turn.book import Lender, RelayBook
from meshcall.turn.client import Transport
from meshcall.turn.grant import Ask, Grant, Place, contact_key
from meshcall.views import RelayView


class RelayFinder:
    """Keeps relays ready for the calls of one node; see :class:`meshcall.aio.ice.relays.Lenders`."""

    def __init__(
        self,
        dht: DhtNode,
        *,
        clock: Clock,
        random: Random,
        secrets: Callable[[], Sequence[bytes]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        counters: Counter[str],
        udp_blocked: Callable[[], bool] = lambda: False,
    ) -> None:
        """``secrets``: the rendezvous secrets that our contacts gave us.

        ``udp_blocked``: whether UDP is known to get nowhere now: relays are reached by TCP and TLS then.
        """
        self.book = RelayBook(random)
        """What is known; read it, but give it input through this shell only."""
        self._dht = dht
        self._clock = clock
        self._random = random
        self._secrets = secrets
        self._spawn = spawn
        self._counters = counters
        self._udp_blocked = udp_blocked
        self._wake = asyncio.Event()
        self._look = RELAY_LOOK
        """Seconds to the next look at which nodes lend."""
        self._listeners: list[Callable[[], None]] = []

    # --- for calls ---

    def pick(self, taken: Collection[Address]) -> LentRelay | None:
        """The best relay that is ready and not ``taken``."""
        lender = self.book.pick(taken, self._clock.now())
        if lender is None or lender.grant is None:
            self._hurry()
            return None
        ways = ways_of(lender.grant, lender.address)
        if self._udp_blocked():
            ways = tuple(way for way in ways if way.transport != "udp") or ways
        return LentRelay(lender.address, ways)

    def failed(self, node: Address) -> None:
        """It gave a call no address, or the path over it died: it is asked again before it is used again."""
        self._counters["relay-failed"] += 1
        self.book.failed(node, self._clock.now())
        self._hurry()

    def worked(self, node: Address) -> None:
        """It gave a call an address."""
        self.book.worked(node)

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Be told when there may be another one to pick; the result ends that."""
        self._listeners.append(on_change)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(on_change)

        return end

    def page_servers(self) -> list[IceServerView]:
        """The relays that are ready, for a browser; without TLS, whose certificate it would refuse."""
        found: list[IceServerView] = []
        for lender in self.book.held(self._clock.now()):
            if lender.grant is None:
                continue
            ways = lender.grant.servers(lender.address)
            urls = [
                f"turn:{format_address(address)}?transport={transport}"
                for transport, address in ways
                if transport != "tls" and not (transport == "udp" and self._udp_blocked())
            ]
            if urls:
                credentials = lender.grant.credentials
                found.append(
                    IceServerView(urls=urls, username=credentials.username, credential=credentials.password)
                )
        return found

    # --- for people ---

    def ready(self) -> int:
        """How many relays are ready for a call."""
        return len(self.book.held(self._clock.now()))

    def streams(self) -> list[tuple[Transport, Address]]:
        """Where the relays that are ready take TCP and TLS."""
        return [
            (transport, address)
            for lender in self.book.held(self._clock.now())
            if lender.grant is not None
            for transport, address in lender.grant.servers(lender.address)
            if transport != "udp"
        ]

    async def views(self, configured: Iterable[str]) -> list[RelayView]:
        """The relays that are ready, nearest first; and those that are ``configured``, measured now."""
        servers = [
            (server.uri, parsed)
            for server in map(parse_ice_server, configured)
            for parsed in read_servers([server])
            if isinstance(parsed, TurnServer)
        ]
        rtts = await asyncio.gather(*(self._measure(server) for _, server in servers))
        views = [
            RelayView(
                address=uri,
                transports=["tls" if server.tls else server.transport],
                rtt_ms=None if rtt is None else round(rtt * 1000, 1),
                configured=True,
            )
            for (uri, server), rtt in zip(servers, rtts, strict=True)
        ]
        return views + [
            RelayView(
                address=format_address(lender.address),
                transports=list(transports_of(lender)),
                rtt_ms=None if lender.rtt is None else round(lender.rtt * 1000, 1),
                of_contact=lender.of_contact,
            )
            for lender in self.book.held(self._clock.now())
        ]

    async def _measure(self, server: TurnServer) -> float | None:
        """By a STUN request over UDP, which every TURN server answers if UDP gets there."""
        try:
            async with asyncio.timeout(RELAY_MEASURE_PATIENCE):
                for address in await resolve(server):
                    rtt = await probe_stun(address, clock=self._clock, random=self._random)
                    if rtt is not None:
                        return rtt
        except (OSError, TimeoutError):
            pass
        return None

    # --- what wakes it ---

    def hasten(self) -> None:
        """The DHT was joined, or the network is another one."""
        self.book.network_changed(self._clock.now())
        self._hurry()

    def _hurry(self) -> None:
        self._look = RELAY_LOOK
        self._wake.set()

    async def run(self) -> None:
        """Keep relays ready, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            for address, node_id in self._dht.engine.lenders(now):
                self.book.heard(address, node_id, now)
            if any(map(is_public, self._dht.engine.observed())):
                self.book.keep(is_public)  # in a LAN a relay lends addresses that mean nothing outside
            if self._dht.engine.contacts():
                for lender in self.book.asks(now):
                    self._spawn(self._ask(lender.address, lender.node_id))
                if self.book.wants_search(now):
                    self._spawn(self._search())
                pause = self.book.deadline(now) - now
            else:  # nobody to ask, whatever is due
                pause, self._look = RELAY_LOOK, RELAY_LOOK
            if len(self.book.held(now)) < RELAYS_HELD:
                pause = min(pause, self._look)
                self._look = min(2 * self._look, RELAY_LOOK_MAX)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.05)):
                    await self._wake.wait()

    # --- inside ---

    async def _ask(self, address: Address, node_id: bytes | None) -> None:
        ask = Ask.new(self._contact_keys(), self._random)
        asked = self._clock.now()
        said = await self._dht.ask_relay(address, ask.key.public, prove=ask.prove, node_id=node_id)
        now = self._clock.now()
        if said is None or said.reason is None or said.node_id is None or said.rtt is None:
            if self._dht.engine.last_reply < asked:
                self.book.postponed(address, now)
            else:
                self._counters["relay-silent"] += 1
                self.book.refused(address, answered=False, now=now)
        elif said.reason != RELAY_GRANTED:
            self._counters["relay-refused"] += 1
            self.book.refused(address, answered=True, now=now)
        else:
            await self._take(address, ask, said.sealed, said.node_id, said.rtt)
        self._wake.set()

    async def _take(self, address: Address, ask: Ask, sealed: bytes, node_id: bytes, rtt: float) -> None:
        """Use what was granted, if it can be reached."""
        try:
            grant = await self._tested(ask.open_untrusted(sealed, node_id), address)
        except Rejected as rejected:
            self._counters[f"relay-{rejected.reason}"] += 1
            self.book.refused(address, answered=True, now=self._clock.now())
            return
        self.book.granted(address, node_id, grant, rtt, self._clock.now())
        for on_change in tuple(self._listeners):
            on_change()

    async def _tested(self, grant: Grant, asked: Address) -> Grant:
        """Without UDP, if that is on a port of its own where nobody answers; Rejected if nothing is left."""
        places: list[Place] = []
        for place in grant.places:
            servers = Grant(grant.credentials, grant.life, (place,), False).servers(asked)
            if not servers:
                continue
            (transport, server) = servers[0]
            if (
                transport == "udp"
                and server != asked
                and not self._udp_blocked()
                and await probe_stun(server, clock=self._clock, random=self._random) is None
            ):
                continue
            places.append(place)
        if not places:
            raise Rejected("unreachable")
        return Grant(grant.credentials, grant.life, tuple(places), grant.of_contact)

    def _contact_keys(self) -> list[bytes]:
        """Of all contacts that gave us their secret; of too many, some by chance."""
        secrets = list(self._secrets())
        if len(secrets) > RELAY_PROOFS:
            secrets.sort(key=lambda _: self._random(8))
        return [contact_key(secret) for secret in secrets[:RELAY_PROOFS]]

    async def _search(self) -> None:
        """Look for announcements under one key after the other, until there are relays to choose from."""
        try:
            epoch = epoch_of(self._clock.now_ms())
            for shard in sorted(range(RELAY_SHARDS), key=lambda _: self._random(4)):
                find = self._dht.find(
                    shard_storage_key(epoch, shard), types=(RecordType.RELAY,), on_value=self._found
                )
                async for _ in find:
                    pass
                self._wake.set()
                if len(self.book) >= 2 * RELAYS_HELD:
                    return
        finally:
            self.book.searched(self._clock.now())
            self._wake.set()

    def _found(self, value: ValueFound) -> None:
        try:
            announced = read_announcement_untrusted(decode_record_untrusted(value.record))
        except Rejected as rejected:
            self._counters[f"relay-record-{rejected.reason}"] += 1
            return
        if announced.node_id == self._dht.node_id:
            return
        for address in announced.addresses:
            source = address if value.source is None else value.source
            if self._dht.engine.believes(address, source):
                self.book.heard(address, announced.node_id, self._clock.now())


def ways_of(grant: Grant, asked: Address) -> tuple[TurnServer, ...]:
    """The ways to a relay, as calls take them."""
    return tuple(
        TurnServer(
            *address,
            "udp" if transport == "udp" else "tcp",
            transport == "tls",
            grant.credentials.username,
            grant.credentials.password,
        )
        for transport, address in grant.servers(asked)
    )


def transports_of(lender: Lender) -> list[Transport]:
    """How a relay can be reached."""
    places = () if lender.grant is None else lender.grant.places
    return list(dict.fromkeys(place.transport for place in places))
