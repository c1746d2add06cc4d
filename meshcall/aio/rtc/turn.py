"""Relays at TURN servers, by aioice's TURN client.

Law: whatever the server does ends in a datagram, a loss, or OSError while it is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aioice.stun
import aioice.turn

from meshcall.address import Address
from meshcall.aio.ice.servers import TurnServer


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, on_datagram: Callable[[bytes, Address], None], on_lost: Callable[[], None]) -> None:
        self._on_datagram = on_datagram
        self._on_lost = on_lost

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._on_datagram(bytes(data), (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """A peer that the server refuses gets no answer: its pair fails by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()


class TurnRelay:
    """See :class:`meshcall.aio.ice.relays.Relay`."""

    def __init__(self, transport: aioice.turn.TurnTransport) -> None:
        self._transport = transport
        self.relayed: Address = transport.get_extra_info("sockname")
        self.mapped: Address = transport.get_extra_info("related_address")

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram from the relayed address."""
        self._transport.sendto(data, destination)

    def close(self) -> None:
        """Give it back."""
        self._transport.close()


async def open_relay(
    server: TurnServer, on_datagram: Callable[[bytes, Address], None], on_lost: Callable[[], None]
) -> TurnRelay:
    """An allocation; raises OSError."""
    try:
        transport, _ = await aioice.turn.create_turn_endpoint(
            lambda: _Receiver(on_datagram, on_lost),
            server_addr=(server.host, server.port),
            username=server.username or None,
            password=server.credential or None,
            ssl=server.tls or None,
            transport=server.transport,
        )
    except aioice.stun.TransactionError as error:
        raise ConnectionError(f"the TURN server refused: {error}") from error
    return TurnRelay(transport)
