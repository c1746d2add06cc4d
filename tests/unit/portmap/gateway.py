"""A gateway in virtual time, and a race that asks it."""

from __future__ import annotations

import struct
from collections import Counter
from ipaddress import ip_address

from meshcall.portmap.mapping import Gateway, Mapping, Service
from meshcall.portmap.race import Race
from meshcall.portmap.upnp_attempt import MapUpnp, UnmapUpnp
from meshcall.testing.clock import seeded_random

GATEWAY = Gateway("eth0", "192.168.1.1", "192.168.1.7")
UDP = Service("udp", 4242)
TCP = Service("tcp", 4242)
SECRET = b"s" * 16
PUBLIC = "5.9.1.2"
SSDP_ANSWER = (
    b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"LOCATION: http://192.168.1.1:5000/rootDesc.xml\r\nSERVER: x\r\n\r\n"
)


def packed(ip: str) -> bytes:
    """An address as PCP writes it."""
    address = ip_address(ip)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


class FakeGateway:
    """Speaks what it is told to; written from RFC 6886 and RFC 6887, not with our codec."""

    def __init__(self, *protocols: str, external: str = PUBLIC, granted: int | None = None) -> None:
        self.protocols = set(protocols)
        self.external = external
        self.client = GATEWAY.local
        """Whose requests it takes."""
        self.granted = granted
        """Lifetime whatever was asked for."""
        self.booted = -1000.0
        self.result = 0
        """Of PCP and NAT-PMP to requests for mappings."""
        self.failure_life = 0
        self.says_version = False
        """It answers requests of the protocol that it does not speak with "unsupported version"."""
        self.requests: list[bytes] = []
        self.table: dict[tuple[str, int], int] = {}
        """External ports by what they lead to."""

    def answer(self, data: bytes, now: float) -> list[bytes]:
        """What it answers to a datagram at its port 5351."""
        self.requests.append(data)
        epoch = int(now - self.booted)
        if data[0] == 2:
            if "pcp" in self.protocols:
                return [self._pcp(data, epoch)]
            return [struct.pack("!BBHI", 0, 128 | data[1], 1, epoch)] if self.says_version else []
        if "nat-pmp" in self.protocols:
            return [self._natpmp(data, epoch)]
        return [struct.pack("!BBxBII12x", 2, 128 | data[1], 1, 0, epoch)] if self.says_version else []

    def reboot(self, now: float) -> None:
        """It loses all mappings."""
        self.booted = now
        self.table.clear()

    def _pcp(self, data: bytes, epoch: int) -> bytes:
        opcode, lifetime = data[1], int.from_bytes(data[4:8], "big")
        if opcode == 0:
            return struct.pack("!BBxBII12x", 2, 128, 0, 0, epoch)
        assert opcode == 1
        assert data[8:24] == packed(self.client), "RFC 6887 section 8.3: the client's address is checked"
        transport = {17: "udp", 6: "tcp"}[data[36]]
        internal, wish = struct.unpack_from("!HH", data, 40)
        life = self._map(transport, internal, wish or internal, lifetime) if not self.result else 0
        head = struct.pack("!BBxBII12x", 2, 129, self.result, life or self.failure_life, epoch)
        port = self.table.get((transport, internal), 0)
        return head + data[24:42] + port.to_bytes(2, "big") + packed(self.external)

    def _natpmp(self, data: bytes, epoch: int) -> bytes:
        if data[1] == 0:
            return struct.pack("!BBHI", 0, 128, 0, epoch) + ip_address(self.external).packed
        internal, wish, lifetime = struct.unpack_from("!HHI", data, 4)
        if self.result:
            return struct.pack("!BBHI", 0, 128 | data[1], self.result, epoch)
        transport = {1: "udp", 2: "tcp"}[data[1]]
        life = self._map(transport, internal, wish or internal, lifetime)
        port = self.table.get((transport, internal), 0)
        return struct.pack("!BBHIHHI", 0, 128 | data[1], 0, epoch, internal, port, life)

    def _map(self, transport: str, internal: int, external: int, lifetime: int) -> int:
        if lifetime == 0:
            self.table.pop((transport, internal), None)
            return 0
        self.table[transport, internal] = external
        return lifetime if self.granted is None else self.granted


class World:
    """A race and its gateway: datagrams take ``delay`` each way, time passes when it is told to."""

    def __init__(
        self,
        gateway: FakeGateway,
        services: tuple[Service, ...] = (UDP,),
        *,
        lifetime: int = 3600,
        delay: float = 0.001,
        start: bool = True,
    ) -> None:
        self.gateway = gateway
        self.delay = delay
        self.now = 100.0
        self.counters: Counter[str] = Counter()
        self.race = Race(
            GATEWAY,
            services,
            lifetime=lifetime,
            secret=SECRET,
            random=seeded_random(1),
            counters=self.counters,
        )
        self.orders: list[MapUpnp | UnmapUpnp] = []
        self.upnp_takes = 0.02
        self.silent = False
        """All datagrams are lost."""
        self.searches = 0
        self._events: list[tuple[float, int, bytes]] = []
        self._upnp: list[tuple[float, MapUpnp | UnmapUpnp]] = []
        if start:
            self.race.start(self.now)
            self.drain()

    @property
    def mapping(self) -> Mapping | None:
        """Of the UDP service."""
        return self.race.mappings().get(UDP)

    def drain(self) -> None:
        """Carry out what the race wants."""
        for data in self.race.transmits():
            if not self.silent:
                for answer in self.gateway.answer(data, self.now):
                    self._events.append((self.now + 2 * self.delay, len(self._events), answer))
        if self.race.searches():
            self.searches += 1
            if "upnp" in self.gateway.protocols and not self.silent:
                self._events.append((self.now + 2 * self.delay, len(self._events), SSDP_ANSWER))
        for order in self.race.commands():
            self.orders.append(order)
            self._upnp.append((self.now + self.upnp_takes, order))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(200_000):
            due = min(
                self.race.deadline(),
                min((at for at, _, _ in self._events), default=end),
                min((at for at, _ in self._upnp), default=end),
            )
            if due >= end:
                self.now = end
                return
            self.now = max(self.now, due)
            arrived = sorted(one for one in self._events if one[0] <= self.now)
            self._events = [one for one in self._events if one[0] > self.now]
            for _, _, data in arrived:
                if data == SSDP_ANSWER:
                    self.race.receive_ssdp(data, self.now)
                else:
                    self.race.receive(data, self.now)
            done = [order for at, order in self._upnp if at <= self.now]
            self._upnp = [one for one in self._upnp if one[0] > self.now]
            for order in done:
                self._carry_out(order)
            if self.race.deadline() <= self.now:
                self.race.handle_timer(self.now)
            self.drain()
        raise AssertionError("the machine is never at rest")

    def _carry_out(self, order: MapUpnp | UnmapUpnp) -> None:
        key = order.service.transport, order.service.port
        if self.silent:
            self.race.upnp_failed(order, "no answer by HTTP", self.now, refused=False)
        elif isinstance(order, MapUpnp):
            self.gateway.table[key] = order.external_port
            external = self.gateway.external, order.external_port
            self.race.upnp_mapped(order, external, order.lifetime, self.now)
        else:
            self.gateway.table.pop(key, None)
            self.race.upnp_removed(order)
