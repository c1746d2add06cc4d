"""What a call sends from: the node's port, or ports of its own, and this machine's addresses on them.

Law 1: an address that comes up in a call is offered, and one that goes is let go; so is what others see as
ours.
Law 2: interfaces that can't be read stop no call: peers may know us by other addresses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy, host_addresses, is_loopback
from meshcall.aio.ice.port import IcePort, Session
from meshcall.aio.udp import ANY_HOSTS, UdpPort
from meshcall.errors import InvalidConfig
from meshcall.ice.candidate import Candidate
from meshcall.ice.pair import candidate_priority


class Bases:
    """One call's ports, by base."""

    def __init__(
        self,
        session: Session,
        *,
        policy: HostPolicy,
        shared: IcePort | None,
        counters: Counter[str],
        add: Callable[[Candidate], None],
        remove: Callable[[Address], None],
        offer: Callable[[Candidate], None],
        withdraw: Callable[[Address], None],
    ) -> None:
        """``shared``: the node's port; used unless the policy asks for interfaces by name.

        ``add`` and ``remove`` tell the agent of a base, ``offer`` tells the peer of a candidate, ``withdraw``
        ends that it is told of one.
        """
        self._session = session
        self._policy = policy
        self._shared = None if policy.interfaces else shared
        self._relayed_by = shared
        self._tunnels: set[Address] = set()
        self._counters = counters
        self._add = add
        self._remove = remove
        self._offer = offer
        self._withdraw = withdraw
        self._ports: dict[Address, IcePort] = {}
        self._addresses: list[str] = []
        self._offered: set[Address] = set()
        self._mapped: set[Address] = set()
        self._ports_told: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Address]:
        return iter(tuple(self._ports))

    @property
    def named_hosts(self) -> list[str]:
        """Our addresses on the interfaces that the user named; empty: none was named."""
        return [host for host, _ in self._ports] if self._policy.interfaces else []

    def send(self, data: bytes, destination: Address, base: Address) -> bool:
        """Send one datagram; False: that base is none of ours."""
        port = self._ports.get(base)
        if port is not None:
            port.send(data, destination)
        return port is not None

    def send_all(self, datagrams: Sequence[bytes], destination: Address, base: Address) -> bool:
        """Send several, in order; False: that base is none of ours."""
        port = self._ports.get(base)
        if port is not None:
            port.send_all(datagrams, destination)
        return port is not None

    @property
    def shared(self) -> IcePort | None:
        """The node's port, if this call uses it."""
        return self._shared

    def adopt(self, port: IcePort) -> None:
        """A port that was opened on the way is this call's from now on."""
        self._add_port(port)

    async def open(self) -> None:
        """Open ports and offer what they are known by; raises OSError when none can be opened."""
        with suppress(OSError):
            self._addresses = self._look()
        if self._shared is not None:
            self._add_port(self._shared)
            self._refresh_mapped()
        elif self._policy.interfaces:
            for address in self._addresses:
                await self._open_port((address,))
        elif self._addresses:
            await self._open_port(ANY_HOSTS)
        self._offer_hosts()
        if self._relayed_by is not None:
            for port in self._relayed_by.relayed:
                self.relayed_added(port)
            self._relayed_by.watch(self)

    def relayed_added(self, port: IcePort) -> None:
        """Use a relayed address of the node's, and offer it; one that is a base of ours is a lie."""
        if any(base in self._ports for base in port.bases):
            self._counters["ice-relayed"] += 1
            return
        port.add(self._session)
        for base in port.bases:
            self._ports[base] = port
            self._tunnels.add(base)
            candidate = Candidate("relay", "udp", *base, candidate_priority("relay", base[0]))
            self._add(candidate)
            self._offer_once(candidate)

    def relayed_lost(self, port: IcePort) -> None:
        """It is gone."""
        port.remove(self._session)
        for base in port.bases:
            if self._ports.get(base) is port:
                del self._ports[base]
                self._tunnels.discard(base)
                self._remove(base)

    async def refresh(self) -> bool:
        """Look at this machine's addresses; True: they are other ones. Raises OSError."""
        found = self._look()
        if found == self._addresses:
            self._refresh_mapped()
            return False
        gone, new = set(self._addresses) - set(found), set(found) - set(self._addresses)
        self._addresses = found
        if self._policy.interfaces:
            for base in [base for base in self._ports if base[0] in gone]:
                self._remove(base)
                await self._ports.pop(base).close()
            for address in new:
                await self._open_port((address,))
        for offered in [offered for offered in self._offered if offered[0] in gone]:
            self._forget(offered)
        self._offer_hosts()
        self._refresh_mapped()
        return True

    def _look(self) -> list[str]:
        if self._shared is None:
            return host_addresses(self._policy)
        return self._shared.look(self._policy, host_addresses, asyncio.get_running_loop().time())

    def path_lost(self) -> None:
        """No pair answers: whoever owns the shared port may know better where we are, if he looks."""
        if self._shared is not None:
            self._shared.path_lost()

    async def close(self) -> None:
        """Nothing comes here any more; ports of our own are closed."""
        if self._relayed_by is not None:
            self._relayed_by.unwatch(self)
        tunnels = {self._ports[base] for base in self._tunnels}
        for port in set(self._ports.values()):
            port.remove(self._session)
            if port is not self._shared and port not in tunnels:
                await port.close()

    async def _open_port(self, hosts: Sequence[str]) -> None:
        with suppress(InvalidConfig):  # an address that went meanwhile
            udp = await UdpPort.open(0, hosts=hosts)
            self._add_port(IcePort(udp, hosts=hosts, counters=self._counters))

    def _add_port(self, port: IcePort) -> None:
        port.add(self._session)
        for base in port.bases:
            self._ports[base] = port
            best = max(
                (priority for address, priority in self._ranked() if (":" in address) == (":" in base[0])),
                default=candidate_priority("host", base[0]),
            )
            self._add(Candidate("host", "udp", *base, best))

    def _ranked(self) -> list[tuple[str, int]]:
        return [
            (address, candidate_priority("host", address, index))
            for index, address in enumerate(self._addresses)
        ]

    def _offer_hosts(self) -> None:
        """Host candidates of the addresses of now, each with its port; those that are new are told."""
        for address, priority in self._ranked():
            for base in self._ports:
                if base in self._tunnels:
                    continue
                if base[0] == address:
                    candidate = Candidate("host", "udp", *base, priority)
                elif base[0] in ANY_HOSTS and (":" in base[0]) == (":" in address):
                    candidate = Candidate("host", "udp", address, base[1], priority, related=base)
                    self._add(candidate)
                else:
                    continue
                self._offer_once(candidate)

    def _refresh_mapped(self) -> None:
        """What the node's peers see as its address: offered as long as they do."""
        if self._shared is None:
            return
        mapped = {
            (host, number)
            for host, number in self._shared.mapped()
            if host not in self._addresses and not is_loopback(host)
        }
        new = mapped - self._mapped
        if new and self._is_symmetric():
            # Each witness sees another port: no use to the peer, and they would change for ever
            mapped -= {one for one in new if self._ports_told[one[0]] >= limits.ICE_MAPPED_PORTS}
        for address in self._mapped - mapped if mapped else ():
            self._forget(address)
        for host, number in mapped - self._mapped:
            self._ports_told[host] += 1
            for base in self._shared.bases:
                if (":" in base[0]) == (":" in host):
                    priority = candidate_priority("srflx", host)
                    candidate = Candidate("srflx", "udp", host, number, priority, related=base)
                    self._add(candidate)
                    self._offer_once(candidate)
        self._mapped = mapped or self._mapped

    def _is_symmetric(self) -> bool:
        nat = None if self._shared is None else self._shared.nat
        return nat is not None and nat.view().mapping.depends

    def _forget(self, address: Address) -> None:
        self._offered.discard(address)
        self._withdraw(address)

    def _offer_once(self, candidate: Candidate) -> None:
        address = candidate.address, candidate.port
        if address not in self._offered:
            self._offered.add(address)
            self._offer(candidate)
