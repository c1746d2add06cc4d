"""What a gateway says of the address that it lends."""

from __future__ import annotations

import asyncio

import pytest

from meshcall.address import Address
from meshcall.aio import tunnel
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.tunnel import TunnelLink
from meshcall.errors import NoPath
from meshcall.turn.events import Allocated, TurnEvent
from meshcall.turn.gateway import GatewayClient
from meshcall.turn.gateways import Gateway
from meshcall.turn.grant import Ask


@pytest.mark.parametrize(
    "says", [("0.0.0.0", 4000), ("198.51.100.7", 0), ("224.0.0.1", 4000), ("169.254.169.254", 4000)]
)
async def test_a_gateway_that_names_an_address_that_can_not_be_is_not_used(
    says: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of this machine's, no multicast, no metadata, no port 0."""

    class Liar(GatewayClient):
        """Told at once that it is lent that address."""

        relayed = says

        def start(self, now: float) -> None:
            self.told: list[TurnEvent] = [Allocated(says, ("192.0.2.1", 1))]

        def events(self) -> list[TurnEvent]:
            found, self.told = self.told, []
            return found

    monkeypatch.setattr(tunnel, "GatewayClient", Liar)
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        gateway = Gateway("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
        with pytest.raises(NoPath, match="can't lend"):
            await TunnelLink.open(
                gateway,
                node_id=bytes(20),
                ask=Ask.new([], system_random),
                clock=SystemClock(),
                random=system_random,
            )
        await asyncio.wait_for(gone.wait(), 2)
