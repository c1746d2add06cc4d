"""A network in memory for kademlia's own servers: their classes, their timers, no sockets."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import umsgpack
from kademlia.network import Server
from kademlia.node import Node
from kademlia.utils import digest

from meshcall.address import Address

TIMEOUT = 0.1
"""Seconds that a server waits for a reply here; kademlia's own 5 would only make the tests longer."""
STRANGER: Address = ("66.6.6.6", 6)


class Transport:
    """What a protocol sends through."""

    def __init__(self, wire: Wire, address: Address) -> None:
        self.wire, self.address = wire, address

    def sendto(self, data: bytes, to: Address) -> None:
        """Onto the wire."""
        self.wire.carry(data, self.address, to)

    def close(self) -> None:
        """Nothing to give back."""


class Wire:
    """Carries datagrams between servers; everything that was sent is remembered."""

    def __init__(self) -> None:
        self.servers: dict[Address, Any] = {}
        self.liars: dict[Address, Callable[[str, list[Any], Address], Any]] = {}
        """Hostile nodes: (rpc name, arguments, asker) to the reply."""
        self.deaf: set[Address] = set()
        """What is sent there is lost."""
        self.sent: list[tuple[Address, Address, bytes]] = []
        self.amplification = 0.0
        self.errors: list[BaseException] = []
        """Exceptions that nobody caught."""
        asyncio.get_running_loop().set_exception_handler(self._note)

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    def unhandled(self) -> list[str]:
        """Names of the exceptions that nobody caught."""
        gc.collect()
        return [type(error).__name__ for error in self.errors]

    def server(self, index: int, *, node_id: bytes | None = None, ksize: int = 20) -> Any:
        """A server of its own at 11.0.x.1."""
        address = (f"11.0.{index}.1", 4000)
        server = Server(ksize=ksize, node_id=node_id or digest(f"node {index}"))
        server.protocol = server._create_protocol()
        server.protocol._wait_timeout = TIMEOUT
        server.protocol.transport = Transport(self, address)
        server.address = address
        self.servers[address] = server
        return server

    def network(self, size: int, *, ksize: int = 20) -> list[Any]:
        """So many servers that all know each other."""
        servers = [self.server(index, ksize=ksize) for index in range(size)]
        for server in servers:
            for other in servers:
                if other is not server:
                    server.protocol.router.add_contact(node_of(other))
        return servers

    def carry(self, data: bytes, source: Address, to: Address) -> None:
        """One datagram."""
        self.sent.append((source, to, data))
        if to not in self.deaf:
            asyncio.get_running_loop().call_soon(self._arrive, data, source, to)

    def _arrive(self, data: bytes, source: Address, to: Address) -> None:
        if to in self.liars:
            if data[:1] == b"\x00":
                name, arguments = umsgpack.unpackb(data[21:])
                reply = self.liars[to](name, arguments, source)
                self.carry(b"\x01" + data[1:21] + umsgpack.packb(reply), to, source)
        elif to in self.servers:
            self.servers[to].protocol.datagram_received(data, source)

    async def turn(self) -> None:
        """Let the loop go round once."""
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """Until everything that is on its way has arrived; timers do not count."""
        quiet = 0
        while quiet < 10:
            before = len(self.sent)
            await self.turn()
            quiet = quiet + 1 if len(self.sent) == before else 0

    async def request(self, server: Any, name: str, *arguments: Any, source: Address = STRANGER) -> Any:
        """What a server answers to one datagram; None if nothing. ``amplification`` has octets out per in."""
        request = b"\x00" + bytes(20) + umsgpack.packb([name, list(arguments)])
        before = len(self.sent)
        self.carry(request, source, server.address)
        await self.settle()
        replies = [data for _, to, data in self.sent[before + 1 :] if to == source]
        self.amplification = sum(map(len, replies)) / len(request)
        ours = [data for data in replies if data[:21] == b"\x01" + bytes(20)]
        return umsgpack.unpackb(ours[0][21:]) if ours else None


def node_of(server: Any) -> Any:
    """A server as others know it."""
    return Node(server.node.id, *server.address)


def near(key: bytes, index: int) -> bytes:
    """An id that nobody is nearer to ``key`` with."""
    return (int.from_bytes(key, "big") ^ (index + 1)).to_bytes(20, "big")
