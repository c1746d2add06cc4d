"""An allocation at a TURN server, as a call uses it: names resolved, the first way that works.

Law 1: whatever the server does ends in a datagram, a loss, or OSError while it is opened.
Law 2: of several ways to one relay the first is tried alone for ``RELAY_WAY_PAUSE``, then all together; those
that lose the race leave nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.ice.servers import TurnServer, resolve
from meshcall.aio.turn import RelayedSocket
from meshcall.errors import NoPath
from meshcall.turn.client import Transport
from meshcall.turn.credentials import Credentials

OnDatagram = Callable[[bytes, Address, Address], None]
"""(data, source, relayed address)."""

_CLOCK = SystemClock()


class Allocation:
    """An address that a server lends."""

    def __init__(self, socket: RelayedSocket, server: TurnServer) -> None:
        relayed, mapped = socket.client.relayed, socket.client.mapped
        if relayed is None or mapped is None:
            raise ConnectionError("the allocation ended at once")
        self._socket = socket
        self.server = server
        self.relayed: Address = relayed
        self.mapped: Address = mapped
        """Where the server sees us."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram from the relayed address."""
        self._socket.send_to(destination, data)

    def close(self) -> None:
        """Give it back."""
        self._socket.shut()


async def allocate(
    server: TurnServer, on_datagram: OnDatagram, on_lost: Callable[[], None], hosts: Sequence[str] = ()
) -> Allocation:
    """An allocation at ``server``; raises OSError. ``on_lost``: it is gone, told at most once.

    ``hosts``: our IP addresses that may be used; none: as the routes say.
    """
    transport: Transport = "tls" if server.tls else server.transport
    credentials = Credentials(server.username, server.credential)
    failure: OSError = ConnectionError("the server's name has no address")
    socket: RelayedSocket | None = None

    def received(data: bytes, source: Address) -> None:
        if socket is not None and socket.relayed is not None:
            on_datagram(data, source, socket.relayed)

    for address in await resolve(server):
        local = next((host for host in hosts if (":" in host) == (":" in address[0])), None)
        if hosts and local is None:
            failure = ConnectionError("no interface that may be used has an address of the server's family")
            continue
        # IPv4 is what most peers have; a relay without it is asked for its IPv6
        for family in (4, 6) if ":" in address[0] else (4,):
            try:
                socket = await RelayedSocket.open(
                    address,
                    credentials,
                    transport,
                    clock=_CLOCK,
                    random=system_random,
                    on_data=received,
                    on_ended=lambda ended: on_lost(),
                    family=6 if family == 6 else 4,
                    local=local,
                )
                return Allocation(socket, server)
            except NoPath as error:
                failure = ConnectionError(str(error))
    raise failure


async def allocate_first(
    ways: Sequence[TurnServer],
    on_datagram: OnDatagram,
    on_lost: Callable[[Allocation], None],
    hosts: Sequence[str] = (),
) -> Allocation:
    """An allocation by the first of ``ways`` that gives one; raises OSError. See law 2.

    ``hosts``: our IP addresses that may be used; none: as the routes say.
    """

    def start(way: TurnServer) -> asyncio.Task[Allocation]:
        return asyncio.create_task(_allocate_way(way, on_datagram, on_lost, hosts))

    later = list(ways[1:])
    running = {start(ways[0])}
    failure: OSError = ConnectionError("there is no way to the relay")
    try:
        while running:
            pause = limits.RELAY_WAY_PAUSE if later else None
            done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    won = task.result()
                except OSError as error:
                    failure = error
                else:
                    running |= done - {task}
                    return won
            running |= {start(way) for way in later}
            later = []
        raise failure
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_give_back)


def _give_back(task: asyncio.Task[Allocation]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _allocate_way(
    server: TurnServer,
    on_datagram: OnDatagram,
    on_lost: Callable[[Allocation], None],
    hosts: Sequence[str],
) -> Allocation:
    made: Allocation | None = None

    def lost() -> None:
        if made is not None:
            on_lost(made)

    made = await allocate(server, on_datagram, lost, hosts)
    return made
