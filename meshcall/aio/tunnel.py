"""A tunnel: the stream to a gateway around :class:`meshcall.turn.gateway.GatewayClient`.

Law 1: it has the methods of a UDP port whose address is the relayed one; calls and the DHT use it as such.
Law 2: it ends by itself when the stream or the allocation does, and says so once.
Law 3: beyond ``TURN_STREAM_QUEUE`` octets that wait for the stream all is dropped: late media is worthless.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, cast

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.relay.tls import client_context
from meshcall.aio.udp import Awaited, Handler
from meshcall.errors import NoPath
from meshcall.ice.candidate import can_be_relayed
from meshcall.identity.keys import Random
from meshcall.limits import TUNNEL_DEAD, TUNNEL_PATIENCE, TUNNEL_REFUSED_KEPT, TURN_STREAM_QUEUE
from meshcall.turn.events import Allocated, Ended, Received, Refused
from meshcall.turn.gateway import GatewayClient
from meshcall.turn.gateways import Gateway
from meshcall.turn.grant import Ask

FORBIDDEN: Final = 403
"""RFC 8656 section 19."""


class TunnelLink(asyncio.Protocol):
    """One tunnel. Use :meth:`open`."""

    def __init__(self, client: GatewayClient, gateway: Gateway, clock: Clock) -> None:
        self.gateway = gateway
        self.on_ended: Callable[[], None] = lambda: None
        """Told, once, when it has ended after it was open."""
        self._client = client
        self._relayed: Address | None = None
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._handlers: list[Handler | None] = [None] * 256
        self._refused: set[str] = set()
        self._counters: Counter[str] = Counter()
        self._allocated: asyncio.Future[Ended | None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls, gateway: Gateway, *, node_id: bytes, ask: Ask, clock: Clock, random: Random
    ) -> TunnelLink:
        """Connect, ask and allocate. Raises :class:`NoPath` when that does not work."""
        loop = asyncio.get_running_loop()
        transport = "tls" if gateway.tls else "tcp"
        link: TunnelLink | None = None

        def make() -> TunnelLink:
            nonlocal link
            server = (gateway.host, gateway.port)
            client = GatewayClient(
                server, "tls" if gateway.tls else "tcp", node_id=node_id, ask=ask, random=random
            )
            link = cls(client, gateway, clock)
            return link

        try:
            async with asyncio.timeout(TUNNEL_PATIENCE):
                context = client_context() if gateway.tls else None
                await loop.create_connection(make, gateway.host, gateway.port, ssl=context)
                assert link is not None, "the connection has its protocol"
                ended = await asyncio.shield(link._allocated)
        except (OSError, TimeoutError) as error:
            if link is not None:
                link._abort()
            raise NoPath(f"the gateway {gateway.text} can't be reached by {transport.upper()}") from error
        except BaseException:
            if link is not None:
                link._abort()
            raise
        if ended is not None:
            link._abort()
            raise NoPath(f"the gateway {gateway.text} lends no address: {ended.reason} {ended.code}")
        if not can_be_relayed(link.relayed):
            link._abort()
            raise NoPath(f"the gateway {gateway.text} names an address that it can't lend")
        return link

    # --- as a port --------------------------------------------------------------------------------

    @property
    def relayed(self) -> Address:
        """What peers send to, or sent to while it was open."""
        assert self._relayed is not None, "it was opened"
        return self._relayed

    @property
    def mapped(self) -> Address:
        """Our address as the gateway sees it."""
        return self._client.mapped or self.relayed

    @property
    def node(self) -> Address | None:
        """Where the node of the gateway is."""
        return self._client.node

    @property
    def port(self) -> int:
        """That of the relayed address."""
        return self.relayed[1]

    @property
    def families(self) -> tuple[int, ...]:
        """4 or 6."""
        return (6,) if ":" in self.relayed[0] else (4,)

    def register(self, first_octets: range, handler: Handler, awaited: Awaited | None = None) -> None:
        """Give datagrams that start with these octets to ``handler``; the gateway bounds what comes."""
        for octet in first_octets:
            self._handlers[octet] = handler

    def unregister(self, first_octets: range) -> None:
        """Nobody wants them any more."""
        for octet in first_octets:
            self._handlers[octet] = None

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram from the relayed address. Cannot fail: what can't be sent is counted."""
        transport = self._transport
        if self._client.relayed is None or transport is None or transport.is_closing():
            self._counters["tunnel-closed"] += 1
        elif (":" in address[0]) != (6 in self.families):
            self._counters["tunnel-family"] += 1
        elif address[0] in self._refused:
            self._counters["tunnel-refused"] += 1
        elif transport.get_write_buffer_size() > TURN_STREAM_QUEUE:
            self._counters["tunnel-full"] += 1
        else:
            self._client.send_to(address, data, self._clock.now())
            self._drain()

    def send_all(self, datagrams: Sequence[bytes], address: Address) -> None:
        """Send several, in order, as :meth:`send` does."""
        for data in datagrams:
            self.send(data, address)

    async def close(self) -> None:
        """Give the allocation back. Idempotent."""
        self.on_ended = lambda: None
        self._client.close(self._clock.now())
        self._drain()
        if self._transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self._gone)
            self._abort()

    def counters(self) -> Counter[str]:
        """What was refused and dropped, by reason."""
        turn = Counter({f"tunnel-{name}": count for name, count in self._client.counters.items()})
        return self._counters + turn

    # --- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is open."""
        self._transport = cast("asyncio.Transport", transport)
        _watch_for_death(transport.get_extra_info("socket"))
        self._client.start(self._clock.now())
        self._drain()

    def data_received(self, data: bytes) -> None:
        """Octets of the gateway."""
        self._client.receive(data, self._clock.now())
        self._drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is closed."""
        self._client.lost()
        self._drain()
        if not self._gone.done():
            self._gone.set_result(None)

    # --- inside -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        client, transport = self._client, self._transport
        octets = b"".join(client.transmits())
        if octets and transport is not None and not transport.is_closing():
            transport.write(octets)
        for event in client.events():
            if isinstance(event, Received):
                handler = self._handlers[event.data[0]] if event.data else None
                if handler is None:
                    self._counters["tunnel-unwanted"] += 1
                else:
                    handler(event.data, event.peer)
            elif isinstance(event, Allocated):
                self._relayed = event.relayed
                self._allocated.set_result(None)
            elif isinstance(event, Refused):
                self._refuse(event)
            elif isinstance(event, Ended):
                self._end(event)
        self._arm()

    def _refuse(self, refused: Refused) -> None:
        """Nothing is relayed there, such as to a peer's LAN: each check would be refused anew."""
        if refused.code == FORBIDDEN and len(self._refused) < TUNNEL_REFUSED_KEPT:
            self._refused.add(refused.host)

    def _end(self, ended: Ended) -> None:
        if not self._allocated.done():
            self._allocated.set_result(ended)
        else:
            self.on_ended()
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._client.deadline()
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock.now()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._client.handle_timer(self._clock.now())
        self._drain()


def _watch_for_death(sock: socket.socket) -> None:
    """Have the system end the stream when its other end is gone without a word, where it can."""
    wanted = (
        ("SO_KEEPALIVE", socket.SOL_SOCKET, 1),
        ("TCP_KEEPIDLE", socket.IPPROTO_TCP, TUNNEL_DEAD),
        ("TCP_KEEPINTVL", socket.IPPROTO_TCP, 1),
        ("TCP_KEEPCNT", socket.IPPROTO_TCP, 3),
        ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, TUNNEL_DEAD * 1000),
    )
    for name, level, value in wanted:
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(level, getattr(socket, name), value)
