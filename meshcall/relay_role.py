"""A node that lends a relay: its secret, its credentials, what is shown of it.

Law: the secret stays in the home; what leaves it are credentials that end by themselves.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from meshcall.address import format_address
from meshcall.aio.clock import Clock
from meshcall.aio.files import StateDb
from meshcall.aio.interfaces import best_addresses, interface_addresses
from meshcall.aio.relay import Answer, Relay, server_context
from meshcall.config import Config
from meshcall.errors import InvalidConfig
from meshcall.identity.keys import Random
from meshcall.limits import TUNNEL_WEB_PORT, TURN_CREDENTIALS_MAX
from meshcall.turn.credentials import issue
from meshcall.turn.grant import Place, contact_key
from meshcall.turn.lending import Lending
from meshcall.turn.policy import RelayPolicy
from meshcall.views import RelayCredentialsView, RelayStatusView

_SECRET = "relay-secret"  # noqa: S105 - the name that it is kept under
_SECRET_SIZE = 32
_USER_SIZE = 6


class RelayRole:
    """The relay of one node. Use :meth:`start`."""

    def __init__(
        self,
        relay: Relay,
        secret: bytes,
        config: Config,
        clock: Clock,
        random: Random,
        *,
        policy: RelayPolicy,
        node_id: bytes,
        secrets: Callable[[], Sequence[bytes]],
    ) -> None:
        self._relay = relay
        self.lending = Lending(
            secret,
            node_id,
            places=self._places,
            taken=lambda: relay.statistics().allocations / policy.allocations,
            contacts=lambda: [contact_key(one) for one in secrets()],
            now_ms=clock.now_ms,
            random=random,
            now=clock.now(),
        )
        """Answers those who ask over the DHT."""
        self._secret = secret
        self._config = config
        self._clock = clock
        self._random = random

    @classmethod
    async def start(
        cls,
        config: Config,
        state: StateDb,
        clock: Clock,
        random: Random,
        *,
        node_id: bytes,
        secrets: Callable[[], Sequence[bytes]],
        node_port: int,
        answer: Answer,
    ) -> RelayRole:
        """Listen as ``config`` says. Raises :class:`PortTaken` or :class:`InvalidConfig`.

        ``node_port``: our UDP port; ``answer``: what our DHT node says to who asks by TCP or TLS.
        ``node_id``: of our DHT node. ``secrets``: the rendezvous secrets that our contacts may have.
        """
        secret = state.get_blob(_SECRET)
        if secret is None:
            secret = random(_SECRET_SIZE).hex().encode()  # text, so that a coturn can be told it
            state.set_blob(_SECRET, secret)
        context = await asyncio.to_thread(
            server_context, config.relay_certificate, random=random, now_ms=clock.now_ms()
        )
        policy = RelayPolicy(lan=config.lan_only)
        relay = await Relay.open(
            config.relay_port,
            secret=secret,
            policy=policy,
            context=context,
            clock=clock,
            random=random,
            addresses={ipaddress.ip_address(ip).version: ip for ip in config.relay_addresses},
            node_port=node_port,
            answer=answer,
            stream_ports=(node_port, TUNNEL_WEB_PORT),
        )
        return cls(relay, secret, config, clock, random, policy=policy, node_id=node_id, secrets=secrets)

    async def close(self) -> None:
        """End all allocations. Idempotent."""
        await self._relay.close()

    def credentials(self, seconds: int) -> RelayCredentialsView:
        """New credentials for somebody; raises :class:`InvalidConfig` for a life that none may have."""
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
        places = [format_address((host, self._relay.port)) for host in hosts]
        urls = [f"turn:{place}?transport={transport}" for place in places for transport in ("udp", "tcp")]
        urls += [f"turns:{place}?transport=tcp" for place in places]
        return RelayCredentialsView(
            urls=urls, username=made.username, password=made.password, expires_ms=expires * 1000
        )

    def _places(self) -> list[Place]:
        return [Place(transport, self._relay.port) for transport in ("udp", "tcp", "tls")]

    def view(self) -> RelayStatusView:
        """For the status."""
        now = self._relay.statistics()
        return RelayStatusView(
            enabled=True,
            port=now.port,
            allocations=now.allocations,
            streams=now.streams,
            to_peers=now.to_peers,
            to_clients=now.to_clients,
        )

    def counters(self) -> Counter[str]:
        """For the status: what was answered, refused and dropped."""
        counted = Counter(self._relay.statistics().counters) + self.lending.counters
        return Counter({f"relay-{name}": count for name, count in counted.items()})
