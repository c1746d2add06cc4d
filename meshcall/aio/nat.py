"""What the node learns of the NAT before it: from every answer in the DHT, and by surveys.

A survey asks a few nodes, one behind the other, from a socket that was never used: each question takes a new
mapping, and the answers tell which port it got.

Law: nobody is asked but nodes of the DHT, and they get one small ping each.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.interfaces import all_addresses
from meshcall.aio.udp import ANY_HOSTS, UdpPort
from meshcall.dht.compact import is_public, unpack_address_untrusted
from meshcall.dht.messages import (
    EPHEMERAL,
    FIRST_OCTETS,
    TID_SIZE,
    Ping,
    Pong,
    decode_frame_untrusted,
    encode_frame,
)
from meshcall.dht.networks import network_of
from meshcall.errors import MeshcallError, Rejected
from meshcall.ice.birthday import PunchBudget
from meshcall.ice.nat import NatBook, NatView
from meshcall.identity.keys import Random
from meshcall.limits import NODE_ID_SIZE


@dataclass(frozen=True, slots=True)
class PortSamples:
    """What one survey found."""

    ports: dict[int, int]
    """By the place in the order of sending: the port that a node saw."""
    sent: int
    """Packets that left."""
    ip: str
    """Our address as most have seen it."""


class Survey:
    """Questions from one fresh socket, in order."""

    def __init__(self, udp: UdpPort, random: Random) -> None:
        """``udp`` stays its owner's."""
        self._udp = udp
        self._random = random
        self._me = random(NODE_ID_SIZE)
        self._asked: dict[bytes, tuple[int, Address]] = {}
        self._changed = asyncio.Event()
        self.sent = 0
        """Packets that have left."""
        self.seen: dict[int, Address] = {}
        """By the place in the order of sending: where a node saw the packet come from."""
        udp.register(FIRST_OCTETS, self._receive)

    def ask(self, node: Address) -> None:
        """Send one question."""
        tid = self._random(TID_SIZE)
        self._asked[tid] = self.sent, node
        self.sent += 1
        self._udp.send(encode_frame(Ping(tid, self._me, EPHEMERAL, b"", b"")), node)

    def send(self, data: bytes, destination: Address) -> int:
        """Send something else; its place."""
        self._udp.send(data, destination)
        self.sent += 1
        return self.sent - 1

    async def answers(self) -> dict[int, int]:
        """Ports by place, when all have answered or time is up; only those of the IP that most have seen."""
        try:
            async with asyncio.timeout(limits.NAT_SURVEY_PATIENCE):
                while self._asked:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        ip = self.ip
        return {place: port for place, (host, port) in self.seen.items() if host == ip}

    @property
    def ip(self) -> str:
        """Our address as most have seen it; empty: nobody has."""
        hosts = [host for host, _ in self.seen.values()]
        return max(set(hosts), key=hosts.count, default="")

    def _receive(self, data: bytes, source: Address) -> None:
        try:
            message = decode_frame_untrusted(data)
            if not isinstance(message, Pong) or self._asked.get(message.tid, (0, None))[1] != source:
                return
            seen = unpack_address_untrusted(message.observed)
        except Rejected:
            return
        self.seen[self._asked.pop(message.tid)[0]] = seen
        self._changed.set()


class NatWatch:
    """Keeps up what is known of the NAT, and has what punching asks of the DHT."""

    def __init__(self, dht: DhtNode, udp: UdpPort, *, clock: Clock, random: Random) -> None:
        self._dht = dht
        self._udp = udp
        self._clock = clock
        self._random = random
        self._book = NatBook()
        self._changed = asyncio.Event()
        self.budget = PunchBudget()
        """How often this node may probe."""
        dht.engine.tell_observed(self._observed)

    def _observed(self, node: Address, seen: Address, now: float) -> None:
        self._book.observe(node, seen, now)

    def network_changed(self) -> None:
        """Another network, another NAT."""
        self._book.forget()
        self._changed.set()

    def view(self, family: int = 4) -> NatView:
        """What is known now for IPv4 or IPv6."""
        try:
            hosts = [one.ip for one in all_addresses(())]
        except OSError:
            hosts = []
        status = self._dht.status()
        tried = status.counters.get("sent-dialback", 0) >= limits.DHT_DIAL_PROOFS
        return self._book.view(
            family,
            self._clock.now(),
            port=self._udp.port,
            hosts=hosts,
            reached=status.proofs > 0,
            unreached=tried,
        )

    async def run(self) -> None:
        """For as long as the node lives: look again how ports are chosen, where that matters."""
        while True:
            self._changed.clear()
            pause = limits.NAT_SURVEY_SOON
            if self.view().mapping.depends:
                await self.survey()
                pause = limits.NAT_SURVEY_PAUSE
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def survey(self) -> PortSamples | None:
        """Ask a few nodes from a fresh socket; None: there is nobody to ask."""
        port, nodes = await open_fresh_port(), self.nodes(limits.NAT_SURVEY_NODES)
        if port is None:
            return None
        try:
            survey = Survey(port, self._random)
            for node in nodes:
                survey.ask(node)
            ports = await survey.answers()
            self._book.surveyed([survey.seen[place] for place in sorted(survey.seen)], self._clock.now())
            return PortSamples(ports, survey.sent, survey.ip) if ports else None
        finally:
            await port.close()

    def nodes(self, count: int) -> list[Address]:
        """IPv4 nodes to ask, of as many networks as there are."""
        found = [a for a in self._dht.neighbours(4 * count) if ":" not in a[0]]
        found.sort(key=lambda _: self._random(1))
        first: dict[bytes, Address] = {}
        for address in found:
            first.setdefault(network_of(address[0]) or b"", address)
        return list(dict.fromkeys([*first.values(), *found]))[:count]

    def survey_on(self, udp: UdpPort) -> Survey:
        """A survey on a socket of the caller's."""
        return Survey(udp, self._random)

    def witness(self) -> Address | None:
        """A node of our choice, drawn by lot; None: we know none that everybody could ask."""
        able = [address for address in self.nodes(limits.NAT_SURVEY_NODES) if is_public(address)]
        return able[0] if able else None

    async def witnessed(self, witness: Address) -> tuple[Address, bytes] | None:
        """Where a node that a peer has named sees us, and its token for that; None: it does not say."""
        return await self._dht.witnessed(witness) if is_public(witness) else None

    async def vouches(self, witness: Address, address: Address, token: bytes) -> bool:
        """Whether our witness gave ``token`` to ``address``."""
        return await self._dht.vouches(witness, address, token)


async def open_fresh_port() -> UdpPort | None:
    """An IPv4 port that no NAT has seen; None: this machine has none."""
    try:
        return await UdpPort.open(0, hosts=ANY_HOSTS[:1])
    except (MeshcallError, OSError):
        return None
