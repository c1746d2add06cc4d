"""STUN and TURN servers that a user names (RFC 7064, RFC 7065).

Law: a name is resolved off the loop, in a thread of its own, and only when a call needs its server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from meshcall import limits
from meshcall.address import Address
from meshcall.errors import InvalidConfig
from meshcall.media.plan import IceServer

_URI = re.compile(
    r"(?P<scheme>stun|turn|turns):(?P<host>\[[0-9A-Fa-f:.]+\]|[^:?\[\]/@]+)(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)
_lookups = threading.BoundedSemaphore(limits.ICE_LOOKUPS)


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
    try:
        return [(str(ipaddress.ip_address(server.host)), server.port)]
    except ValueError:
        found = await _look_up(server.host, server.port)
    first: dict[int, Address] = {}
    for family, address in found:
        first.setdefault(family, (str(address[0]), int(address[1])))
    return list(first.values())


async def _look_up(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Families and addresses of a name, in a thread of its own; raises OSError."""
    if not _lookups.acquire(blocking=False):
        raise OSError("too many names wait for a resolver that does not answer")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[tuple[int, tuple[Any, ...]]]] = loop.create_future()

    def tell(found: list[tuple[int, tuple[Any, ...]]] | OSError) -> None:
        if done.done():
            return
        if isinstance(found, OSError):
            done.set_exception(found)
        else:
            done.set_result(found)

    def work() -> None:
        found: list[tuple[int, tuple[Any, ...]]] | OSError
        try:
            found = [(one[0], one[4]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)]
        except (OSError, UnicodeError) as error:
            found = OSError(str(error))
        finally:
            _lookups.release()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, found)

    # Not one of the loop's own threads: a dead resolver would hold them all, and files would wait for it.
    threading.Thread(target=work, name="resolve", daemon=True).start()
    return await done
