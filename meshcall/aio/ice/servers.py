"""STUN and TURN servers that a user names (RFC 7064, RFC 7065).

Law: a name is resolved off the loop, and only when a call needs its server.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from meshcall.address import Address
from meshcall.errors import InvalidConfig
from meshcall.media.plan import IceServer

_URI = re.compile(
    r"(?P<scheme>stun|turn|turns):(?P<host>\[[0-9A-Fa-f:.]+\]|[^:?\[\]/@]+)(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class StunServer:
    """Tells what our address looks like from where it is."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TurnServer:
    """Lends an address."""

    host: str
    port: int
    transport: Literal["udp", "tcp"]
    tls: bool
    username: str
    credential: str


@dataclass(frozen=True, slots=True)
class LentRelay:
    """A relay that a node lends."""

    node: Address
    """Where the node is: it names the relay."""
    ways: tuple[TurnServer, ...]
    """The ways to it, best first."""


def read_servers(servers: Iterable[IceServer]) -> list[StunServer | TurnServer]:
    """All of them; raises :class:`InvalidConfig`."""
    return [_read(server) for server in servers]


def _read(server: IceServer) -> StunServer | TurnServer:
    match = _URI.fullmatch(server.uri)
    port = int(match["port"] or (5349 if match["scheme"] == "turns" else 3478)) if match else 0
    if match is None or not 0 < port < 65536 or (match["scheme"] == "stun" and match["transport"]):
        raise InvalidConfig(
            f"{server.uri!r} is no STUN or TURN server: write stun:HOST[:PORT] or turn:HOST[:PORT]"
        )
    host, tls = match["host"].strip("[]"), match["scheme"] == "turns"
    if match["scheme"] == "stun":
        return StunServer(host, port)
    tcp = match["transport"] == "tcp" or (tls and not match["transport"])
    if tls and not tcp:
        raise InvalidConfig(f"{server.uri!r} asks for DTLS, which is not spoken here")
    return TurnServer(host, port, "tcp" if tcp else "udp", tls, server.username, server.credential)


async def resolve(server: StunServer | TurnServer) -> list[Address]:
    """Its first address of each family; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    first: dict[int, Address] = {}
    for family, _, _, _, address in found:
        first.setdefault(family, (str(address[0]), int(address[1])))
    return list(first.values())
