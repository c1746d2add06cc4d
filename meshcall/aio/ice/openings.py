"""Sockets that one call opens towards an address of the peer's, until a check of the peer's comes in by one.

Law 1: the first that a good check arrives at becomes a base of the call; all others are closed.
Law 2: what is closed is closed whatever happens: when it is over, when its time is up, when the call ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.port import IcePort
from meshcall.aio.nat import open_fresh_port
from meshcall.aio.udp import ANY_HOSTS, UdpPort
from meshcall.errors import Rejected
from meshcall.ice.agent import IceAgent
from meshcall.ice.check import read_check_untrusted
from meshcall.stun.message import decode_stun_untrusted

_AT_ONCE = 32
"""Sockets opened or used before others get their turn."""

Adopt = Callable[[IcePort, bytes, Address, Address], None]
"""(port, check, source, base): this port is a base of the call from now on, and this came by it."""


class Openings:
    """Fresh sockets towards the peer (a :class:`meshcall.aio.ice.port.Session` for their ports)."""

    def __init__(self, agent: IceAgent, adopt: Adopt, counters: Counter[str]) -> None:
        self.ufrag = agent.local.ufrag.encode()
        self.peers: frozenset[Address] = frozenset()
        """Nobody's, before the port is the call's."""
        self._agent = agent
        self._adopt = adopt
        self._counters = counters
        self._ports: dict[Address, tuple[UdpPort, IcePort]] = {}
        self.hit = asyncio.Event()
        """Set when one was adopted."""

    async def add(self) -> UdpPort | None:
        """One more socket; None: there is none to be had."""
        udp = await open_fresh_port()
        if udp is None or self.hit.is_set():
            if udp is not None:
                await udp.close()
            return None
        port = IcePort(udp, hosts=ANY_HOSTS[:1], counters=self._counters)
        port.add(self)
        self._ports[port.bases[0]] = udp, port
        return udp

    async def add_many(self, count: int) -> None:
        """So many more."""
        for number in range(count):
            if await self.add() is None:
                return
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    async def send(self, target: Address, *, near: bool = False) -> None:
        """One check from each socket, in order. ``near``: it opens our NAT and does not get to the peer's."""
        for number, (udp, _) in enumerate(list(self._ports.values())):
            if self.hit.is_set():
                return
            udp.limit_hops(limits.PUNCH_HOPS if near else None)
            udp.send(self._agent.lone_check(), target)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(limits.ICE_PACE)

    async def close(self) -> None:
        """Close what was not adopted. Idempotent."""
        ports, self._ports = self._ports, {}
        for _, port in ports.values():
            port.remove(self)
            await port.close()

    # --- what comes (see IcePort) ---

    def awaits(self, transaction: bytes) -> bool:
        """Answers tell nothing here: the check that comes back does."""
        return False

    def receive_stun(self, data: bytes, source: Address, base: Address) -> None:
        """A check with our username fragment: good, or counted."""
        found = self._ports.get(base)
        if found is None or self.hit.is_set():
            return
        try:
            read_check_untrusted(decode_stun_untrusted(data), self._agent.local, self._agent.remote)
        except Rejected as error:
            self._counters[f"ice-{error.reason}"] += 1
            return
        udp, port = self._ports.pop(base)
        udp.limit_hops(None)
        port.remove(self)
        self.hit.set()
        self._adopt(port, data, source, base)

    def receive_media(self, data: bytes) -> None:
        """Of nobody."""

    def network_changed(self) -> None:
        """Those that are open now lead nowhere any more; the call's own paths are looked at first."""
