"""A node that lends a relay: when it does, where, to whom, and that others find it.

Law 1: the secret stays in the home; what leaves it are credentials that end by themselves.
Law 2: unless it was told to, a node lends only while strangers of other networks reach it at an address of
its own: behind a NAT the ports that a relay lends can't be reached.
Law 3: a node that ceases to lend grants nothing more; what it granted goes on.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from meshcall.address import Address, format_address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.files import StateDb
from meshcall.aio.ice.port import IcePort
from meshcall.aio.interfaces import best_addresses, interface_addresses
from meshcall.aio.relay import Relay, server_context
from meshcall.aio.udp import UdpPort
from meshcall.config import Config
from meshcall.dht.compact import is_public
from meshcall.dht.statistics import DhtStatistics
from meshcall.errors import InvalidConfig, PortTaken, RelayOff
from meshcall.identity.keys import Random, SigningKey
from meshcall.limits import (
    RELAY_ANNOUNCE,
    RELAY_ANNOUNCE_RETRY,
    RELAY_ROLE_LOOK,
    TURN_CREDENTIALS_MAX,
    TURN_WEB_PORT,
)
from meshcall.turn.announcement import announce, epoch_of, shards_of
from meshcall.turn.coturn import coturn_config, coturn_places
from meshcall.turn.coturn_place import Coturn, parse_coturn
from meshcall.turn.credentials import issue
from meshcall.turn.grant import Place, contact_key
from meshcall.turn.lending import Lending
from meshcall.turn.policy import RelayPolicy
from meshcall.views import RelayCoturnView, RelayCredentialsView, RelayStatusView

_SECRET = "relay-secret"  # noqa: S105 - the name that it is kept under
_SECRET_SIZE = 32
_USER_SIZE = 6


class RelayRole:
    """The relay of one node, if it lends one. :meth:`start` it, :meth:`run` it, :meth:`close` it."""

    def __init__(
        self,
        config: Config,
        state: StateDb,
        dht: DhtNode,
        port: IcePort,
        udp: UdpPort,
        *,
        node_key: SigningKey,
        clock: Clock,
        random: Random,
        secrets: Callable[[], Sequence[bytes]],
        on_warning: Callable[[str], None],
    ) -> None:
        """``port`` on ``udp``: the node's. ``node_key``: of its DHT node.

        ``secrets``: the rendezvous secrets that our contacts may have.
        """
        self._config = config
        self._state = state
        self._dht = dht
        self._port = port
        self._udp = udp
        self._node_key = node_key
        self._clock = clock
        self._random = random
        self._secrets = secrets
        self._warn = on_warning
        self._policy = RelayPolicy(lan=config.lan_only)
        self._secret = b""
        self._coturn = parse_coturn(config.coturn) if config.coturn else None
        self._relay: Relay | None = None
        self._lending: Lending | None = None
        self._announced_at: float | None = None
        """When it was announced last; None: it is to be at once."""
        self._announced: list[Address] = []

    # --- start and stop ---

    async def start(self) -> None:
        """Lend at once if the configuration says so. Raises :class:`PortTaken` or :class:`InvalidConfig`."""
        if self._told:
            await self._lend()

    async def run(self) -> None:
        """Lend when it is of use, and announce it, until cancelled."""
        while True:
            wanted = self._told or lends_by_itself(self._dht.status(), self._config.lan_only)
            if wanted and not self.lends:
                try:
                    await self._lend()
                except (PortTaken, InvalidConfig) as error:
                    self._warn(f"no relay is lent: {error}")
                    await asyncio.sleep(RELAY_ANNOUNCE)
                    continue
            elif not wanted and self.lends:
                self._dht.engine.lend_by(None)
            if self.lends and not self._config.lan_only:
                await self._announce()
            await asyncio.sleep(RELAY_ROLE_LOOK)

    @property
    def _told(self) -> bool:
        """Whether it was told to lend."""
        return bool(self._config.relay) or self._coturn is not None

    @property
    def lends(self) -> bool:
        """Whether who asks is granted something."""
        return self._dht.engine.is_lender

    async def _lend(self) -> None:
        if self._lending is None:
            self._secret = await asyncio.to_thread(self._load_secret)
            if self._coturn is None:
                await self._open()
            self._lending = self._make_lending()
        self._dht.engine.lend_by(self._lending.answer)
        self._announced_at = None

    def _load_secret(self) -> bytes:
        """What passwords are made with; raises :class:`InvalidConfig`. Touches the disk."""
        if self._config.coturn_secret is not None:
            try:
                secret = self._config.coturn_secret.read_bytes().strip()
            except OSError as error:
                raise InvalidConfig(f"--coturn-secret: {error}") from error
            if not secret:
                raise InvalidConfig(f"--coturn-secret: {self._config.coturn_secret} is empty")
            return secret
        return self._own_secret()

    def _own_secret(self) -> bytes:
        secret = self._state.get_blob(_SECRET)
        if secret is None:
            secret = self._random(_SECRET_SIZE).hex().encode()  # text, so that a coturn can be told it
            self._state.set_blob(_SECRET, secret)
        return secret

    async def _open(self) -> None:
        config, clock = self._config, self._clock
        context = await asyncio.to_thread(
            server_context, config.relay_certificate, random=self._random, now_ms=clock.now_ms()
        )
        addresses: dict[int, str] = {ipaddress.ip_address(ip).version: ip for ip in config.relay_addresses}
        if config.relay_port is None:
            self._relay = await Relay.open_on(
                self._udp,
                self._port,
                tcp_ports=(self._udp.port, TURN_WEB_PORT),
                secret=self._secret,
                policy=self._policy,
                context=context,
                clock=clock,
                random=self._random,
                addresses=addresses,
                answer=self._dht.answer,
            )
        else:
            self._relay = await Relay.open(
                config.relay_port,
                secret=self._secret,
                policy=self._policy,
                context=context,
                clock=clock,
                random=self._random,
                addresses=addresses,
                node_port=self._udp.port,
                answer=self._dht.answer,
            )

    def outside(self, address: Address) -> Address:
        """As whom our node takes who sends from ``address`` (:meth:`Relay.outside`)."""
        return address if self._relay is None else self._relay.outside(address)

    def inside(self, address: Address) -> Address:
        """Where our node sends to, to reach ``address`` (:meth:`Relay.inside`)."""
        return address if self._relay is None else self._relay.inside(address)

    def _make_lending(self) -> Lending:
        return Lending(
            self._secret,
            self._dht.node_id,
            places=self._places,
            taken=self._taken,
            contacts=lambda: [contact_key(one) for one in self._secrets()],
            now_ms=self._clock.now_ms,
            random=self._random,
            now=self._clock.now(),
        )

    def _places(self) -> list[Place]:
        if self._coturn is not None:
            return coturn_places(self._coturn)
        return [] if self._relay is None else places_of(self._relay)

    def _taken(self) -> float:
        """Of a coturn nothing is known; it has quotas of its own."""
        return 0.0 if self._relay is None else self._relay.allocations / self._policy.allocations

    async def close(self) -> None:
        """End all allocations. Idempotent."""
        self._dht.engine.lend_by(None)
        if self._relay is not None:
            await self._relay.close()
            self._relay = None

    # --- announcing ---

    def _addresses(self) -> list[Address]:
        """Where our DHT node is asked from elsewhere."""
        told = {ipaddress.ip_address(ip).version: ip for ip in self._config.relay_addresses}
        found = [(ip, self._udp.port) for ip in told.values()]
        return found + [
            seen for seen in self._dht.engine.observed() if (6 if ":" in seen[0] else 4) not in told
        ]

    def gateways(self) -> list[Address]:
        """Where it takes TLS from hosts without UDP, what gets through most networks first."""
        if self._relay is None or not self.lends:
            return []
        ports = [place.port for place in places_of(self._relay) if place.transport == "tls"]
        return [(ip, port) for port in ports for ip, _ in self._addresses()]

    async def _announce(self) -> None:
        """Store our announcement where others look, when it is time."""
        now, addresses = self._clock.now(), self._addresses()
        if not addresses or not self._dht.engine.contacts():
            return
        recent = self._announced_at is not None and now - self._announced_at < RELAY_ANNOUNCE
        if recent and addresses == self._announced:
            return
        now_ms = self._clock.now_ms()
        epochs = {epoch_of(now_ms), epoch_of(now_ms + int(RELAY_ANNOUNCE * 1000))}
        transports = {place.transport for place in self._places()}
        stored = 0
        for epoch in epochs:
            for shard in shards_of(self._dht.node_id):
                record = announce(self._node_key, addresses, transports, epoch=epoch, shard=shard, seq=now_ms)
                stored += await self._dht.store(record.encode())
        self._announced = addresses
        self._announced_at = now if stored else now - RELAY_ANNOUNCE + RELAY_ANNOUNCE_RETRY

    # --- for people ---

    def credentials(self, seconds: int) -> RelayCredentialsView:
        """New credentials for somebody; raises :class:`RelayOff`.

        Raises :class:`InvalidConfig` for a life that none may have.
        """
        if not self.lends:
            raise RelayOff
        if not 0 < seconds <= TURN_CREDENTIALS_MAX:
            raise InvalidConfig(f"credentials live 1 to {TURN_CREDENTIALS_MAX} seconds")
        expires = self._clock.now_ms() // 1000 + seconds
        made = issue(self._secret, self._random(_USER_SIZE).hex(), expires)
        hosts = list(self._config.relay_addresses)
        if not hosts:
            with suppress(OSError):
                hosts = best_addresses(
                    address
                    for address in interface_addresses(self._config.interfaces)
                    if not address.link_local
                )
        urls = [
            f"{'turns' if place.transport == 'tls' else 'turn'}:{format_address((host, place.port))}"
            f"?transport={'udp' if place.transport == 'udp' else 'tcp'}"
            for place in self._places()
            for host in ([place.host] if place.host else hosts)
        ]
        return RelayCredentialsView(
            urls=urls, username=made.username, password=made.password, expires_ms=expires * 1000
        )

    def coturn(self) -> RelayCoturnView:
        """The configuration of a coturn that takes the credentials which this node grants."""
        secret = self._secret or self._load_secret()
        return RelayCoturnView(
            config=coturn_config(self._coturn or Coturn(), secret.decode("utf-8", errors="replace")),
            lent=self._coturn is not None and self.lends,
        )

    def view(self) -> RelayStatusView:
        """For the status."""
        if self._relay is None:
            return RelayStatusView(enabled=self.lends, port=0 if self._coturn is None else self._coturn.port)
        now = self._relay.statistics()
        return RelayStatusView(
            enabled=self.lends,
            port=now.port,
            allocations=now.allocations,
            streams=now.streams,
            to_peers=now.to_peers,
            to_clients=now.to_clients,
        )

    def counters(self) -> Counter[str]:
        """For the status: what was answered, refused and dropped."""
        if self._lending is None:
            return Counter()
        counted = Counter(self._lending.counters)
        if self._relay is not None:
            counted += Counter(self._relay.statistics().counters)
        return Counter({f"relay-{name}": count for name, count in counted.items()})


def places_of(relay: Relay) -> list[Place]:
    """Where a relay listens, as who asks is told: UDP first, then what gets through most networks."""
    ports = sorted(relay.tcp_ports, key=lambda port: port != TURN_WEB_PORT)
    return [
        Place("udp", relay.port),
        *(Place("tls", port) for port in ports),
        *(Place("tcp", port) for port in ports),
    ]


def lends_by_itself(dht: DhtStatistics, lan_only: bool, own: Collection[str] | None = None) -> bool:
    """Whether a node of that state lends though nobody told it to (law 2).

    ``own``: this machine's IP addresses; None: ask the system.
    """
    if lan_only or not (dht.decides and dht.routes):
        return False
    seen = [address for address in (dht.observed4, dht.observed6) if address is not None]
    if own is None:
        with suppress(OSError):
            own = {address.ip for address in interface_addresses()}
    return any(is_public(address) and address[0] in (own or ()) for address in seen)
