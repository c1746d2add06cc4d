"""A relayed address to send and receive by: a socket around :class:`meshcall.turn.client.TurnClient`.

Law: it ends by itself when the relay does, and says so once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Literal, cast

from meshcall.address import Address, format_address
from meshcall.aio.clock import Clock
from meshcall.aio.relay.tls import client_context
from meshcall.errors import NoPath
from meshcall.identity.keys import Random
from meshcall.turn.client import Transport, TurnClient
from meshcall.turn.credentials import Credentials
from meshcall.turn.events import Allocated, Ended, Received

_SHUTDOWN: Final = 1.0
"""Seconds for the end of TLS: the farewell has left, and a relay that is gone answers nothing."""

OnData = Callable[[bytes, Address], None]
"""Told data and the peer that it comes from."""


class RelayedSocket(asyncio.DatagramProtocol, asyncio.Protocol):
    """One allocation at one relay. Use :meth:`open`."""

    def __init__(
        self,
        client: TurnClient,
        *,
        clock: Clock,
        on_data: OnData,
        on_ended: Callable[[Ended], None] | None = None,
    ) -> None:
        self.client = client
        """The machine; read its state, but give it input through this shell only."""
        self._clock = clock
        self._on_data = on_data
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._allocated: asyncio.Future[Ended | None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.BaseTransport | None = None
        self._send: Callable[[bytes], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        server: Address,
        credentials: Credentials,
        transport: Transport,
        *,
        clock: Clock,
        random: Random,
        on_data: OnData,
        on_ended: Callable[[Ended], None] | None = None,
        family: Literal[4, 6] = 4,
        local: str | None = None,
    ) -> RelayedSocket:
        """Allocate at ``server`` (an IP address). Raises :class:`NoPath` when that does not work.

        ``local``: the IP address of ours to go there from; None: as the routes say.
        """
        client = TurnClient(server, credentials, transport, random=random, family=family)
        relayed = cls(client, clock=clock, on_data=on_data, on_ended=on_ended)
        loop = asyncio.get_running_loop()
        here = None if local is None else (local, 0)
        try:
            if transport == "udp":
                await loop.create_datagram_endpoint(lambda: relayed, here, remote_addr=server)
            else:
                context = client_context() if transport == "tls" else None
                patience = _SHUTDOWN if context is not None else None
                await loop.create_connection(
                    lambda: relayed, *server, ssl=context, ssl_shutdown_timeout=patience, local_addr=here
                )
            ended = await relayed._allocated
        except OSError as error:
            raise NoPath(f"the relay {format_address(server)} can't be reached: {error}") from error
        except BaseException:
            await relayed.close()
            raise
        if ended is not None:
            await relayed._gone
            raise NoPath(f"the relay {format_address(server)} gives no address: {ended.reason} {ended.code}")
        return relayed

    @property
    def relayed(self) -> Address | None:
        """What peers send to; None: not any more."""
        return self.client.relayed

    def permit(self, hosts: Iterable[str]) -> None:
        """Let these hosts send to us."""
        self.client.permit(hosts, self._clock.now())
        self._drain()

    def send_to(self, peer: Address, data: bytes) -> None:
        """Send a datagram from the relayed address."""
        self.client.send_to(peer, data, self._clock.now())
        self._drain()

    def shut(self) -> None:
        """:meth:`close` without waiting for the socket's end."""
        self.client.close(self._clock.now())
        self._drain()

    async def close(self) -> None:
        """Give the allocation back. Idempotent."""
        self.shut()
        if self._transport is not None:
            await self._gone

    # --- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = transport
        if self.client.transport == "udp":
            self._send = cast("asyncio.DatagramTransport", transport).sendto
        else:
            self._send = cast("asyncio.Transport", transport).write
        self.client.start(self._clock.now())
        self._drain()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A datagram of the relay."""
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Octets of the relay."""
        self.client.receive(data, self._clock.now())
        self._drain()

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the machine's own patience decides."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is closed."""
        self.client.lost()
        self._drain()
        self._gone.set_result(None)

    # --- inside -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        for octets, _ in self.client.transmits():
            if self._send is not None:
                self._send(octets)
        for event in self.client.events():
            if isinstance(event, Received):
                self._on_data(event.data, event.peer)
            elif isinstance(event, Allocated):
                self._allocated.set_result(None)
            elif isinstance(event, Ended):
                self._end(event)
        self._arm()

    def _end(self, ended: Ended) -> None:
        if not self._allocated.done():
            self._allocated.set_result(ended)
        elif self._on_ended is not None:
            self._on_ended(ended)
        if self._transport is not None:
            self._transport.close()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.client.deadline()
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock.now()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.client.handle_timer(self._clock.now())
        self._drain()
