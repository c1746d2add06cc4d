"""Whether hosts reach each other, and with which addresses."""

from __future__ import annotations

import sys

from netsim.host import Host
from netsim.puncher import Endpoint, Puncher, punch
from netsim.servers import TurnServer

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"


async def meet(
    one: Host, other: Host, server: TurnServer | None, *, seconds: float = 3.0
) -> tuple[list[Endpoint], list[Endpoint]]:
    """Two new sockets send to each other's mapped address for so long at most; where datagrams came from."""
    address = None
    if server is not None:
        address = server.addresses[0] if one.ipv4 and other.ipv4 else server.addresses6[0]
    async with Puncher(one, address) as first, Puncher(other, address) as second:
        if server is None:
            first.mapped, second.mapped = first.local, second.local
        return await punch(first, second, seconds=seconds)


async def connects(host: Host, address: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    done = await host.run([sys.executable, "-I", "-S", "-c", CONNECT, address, str(port)])
    return done.returncode == 0


async def meet_not(one: Host, other: Host, server: TurnServer | None) -> bool:
    """Whether neither hears the other, for a second."""
    return not any(await meet(one, other, server, seconds=1.0))
