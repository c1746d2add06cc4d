"""The relay: a UDP port, which may be the node's own, ports for TCP and TLS, a socket for each allocation.

Law 1: every input is followed by a complete drain of the machine's output.
Law 2: nothing here waits: what a socket does not take at once is dropped and counted, as a router would.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.interfaces import interface_addresses
from meshcall.aio.relay.listener import Listener, open_listening
from meshcall.aio.stun_sharing import StunPort
from meshcall.aio.udp import ANY_HOSTS, UdpPort
from meshcall.errors import PortTaken
from meshcall.identity.keys import Random
from meshcall.limits import STUN_SIZE_MAX, TURN_RELAY_BATCH, TURN_RELAY_BUFFER
from meshcall.turn.commands import Client, OpenRelay
from meshcall.turn.policy import RelayPolicy
from meshcall.turn.server import TurnServer

STUN_OCTETS: Final = range(4)
CHANNEL_OCTETS: Final = range(64, 128)
"""First octets on the UDP port: RFC 7983, and above 79 those of older clients."""
_ATTEMPTS: Final = 16
_READ_MAX: Final = STUN_SIZE_MAX + 1
Answer = Callable[[bytes, Address], bytes | None]
"""(frame of the DHT, asker) -> what the node of this machine says."""
_ELSEWHERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses (RFC 5737, RFC 3849) to ask the routing table about; nothing is sent there."""


def _no_answer(frame: bytes, asker: Address) -> bytes | None:
    """A relay without a node."""
    return None


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """A snapshot of a relay."""

    port: int
    """UDP; TCP and TLS as well, where that could be opened."""
    allocations: int
    users: int
    streams: int
    """TCP and TLS connections."""
    to_peers: int
    to_clients: int
    """Octets of data relayed, each way."""
    counters: dict[str, int]
    """What was answered, refused and dropped, by reason."""


class Relay:
    """One relay. Use :meth:`open`."""

    def __init__(
        self,
        udp: UdpPort,
        listening: list[socket.socket],
        context: ssl.SSLContext,
        *,
        secret: bytes,
        policy: RelayPolicy,
        clock: Clock,
        random: Random,
        addresses: Mapping[int, str],
        node_port: int = 0,
        answer: Answer = _no_answer,
        shared: StunPort | None = None,
    ) -> None:
        self._udp = udp
        self._shared = shared
        self.tcp_ports = sorted({sock.getsockname()[1] for sock in listening})
        """TCP and TLS."""
        self._clock = clock
        self._addresses = addresses
        self._outsides: dict[Address, Address] = {}
        self._insides: dict[Address, Address] = {}
        """Of sockets that others know by another address: that one; and the other way round."""
        self._loop = asyncio.get_running_loop()
        self._server = TurnServer(secret, policy=policy, random=random, now=clock.now())
        self._server.node_port = self._node_port = node_port
        self._relays: dict[int, socket.socket] = {}
        self._counters: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._listener = Listener(
            listening,
            context,
            on_frame=self._receive,
            on_lost=self._lost,
            is_known=self._server.is_known,
            answer=answer,
        )
        if shared is None:
            udp.register(STUN_OCTETS, self.receive_stun, self.awaits)
        else:
            shared.relay = self
        udp.register(CHANNEL_OCTETS, self.receive_stun, self.awaits)

    @classmethod
    async def open(
        cls,
        port: int,
        *,
        secret: bytes,
        policy: RelayPolicy,
        context: ssl.SSLContext,
        clock: Clock,
        random: Random,
        hosts: Sequence[str] = ANY_HOSTS,
        addresses: Mapping[int, str] | None = None,
        node_port: int = 0,
        answer: Answer = _no_answer,
    ) -> Relay:
        """Listen on ``port`` (0: one that is free) of ``hosts``; ``context`` is for TLS.

        ``secret``: what credentials are made with. ``addresses``: family (4, 6) to the IP address that peers
        reach this machine at, where a NAT gives it another than its own. Raises :class:`PortTaken`.

        ``node_port``: that of this machine's node; by ``answer`` it speaks to hosts without UDP that have no
        allocation yet.
        """
        for attempt in range(_ATTEMPTS):
            udp = await UdpPort.open(port, hosts=hosts)
            try:
                listening = open_listening(udp.port, hosts)
            except PortTaken:
                await udp.close()
                if port or attempt == _ATTEMPTS - 1:
                    raise
                continue
            return cls(
                udp,
                listening,
                context,
                secret=secret,
                policy=policy,
                clock=clock,
                random=random,
                addresses=addresses or {},
                node_port=node_port,
                answer=answer,
            )
        raise PortTaken  # never reached: the last attempt returns or raises

    @classmethod
    async def open_on(
        cls,
        udp: UdpPort,
        shared: StunPort,
        *,
        tcp_ports: Sequence[int],
        secret: bytes,
        policy: RelayPolicy,
        context: ssl.SSLContext,
        clock: Clock,
        random: Random,
        addresses: Mapping[int, str] | None = None,
        answer: Answer = _no_answer,
    ) -> Relay:
        """Lend on the node's own UDP port, and on those of ``tcp_ports`` that may be used.

        ``shared`` hands over what comes to ``udp`` and is no call's. See :meth:`open` for the rest.
        """
        listening: list[socket.socket] = []
        for port in tcp_ports:
            with suppress(PortTaken):
                listening += open_listening(port, ANY_HOSTS)
        return cls(
            udp,
            listening,
            context,
            secret=secret,
            policy=policy,
            clock=clock,
            random=random,
            addresses=addresses or {},
            node_port=udp.port,
            answer=answer,
            shared=shared,
        )

    @property
    def port(self) -> int:
        """UDP."""
        return self._udp.port

    @property
    def allocations(self) -> int:
        """Relayed addresses lent now."""
        return len(self._server)

    def outside(self, address: Address) -> Address:
        """As whom the node of this machine is to take who sends from ``address``.

        A client of ours whose packets leave by a private address is a stranger, not a neighbour on the LAN.
        """
        return self._outsides.get(address, address)

    def inside(self, address: Address) -> Address:
        """Where the node of this machine is to send to, to reach ``address``."""
        return self._insides.get(address, address)

    async def close(self) -> None:
        """End all allocations, close all sockets. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        await self._listener.close()
        if self._shared is None:
            await self._udp.close()
        elif self._shared.relay is self:
            self._shared.relay = None
            self._udp.unregister(CHANNEL_OCTETS)
        for relay in list(self._relays):
            self._close_relay(relay)

    def statistics(self) -> RelayStatistics:
        """A frozen snapshot."""
        now = self._server.statistics()
        counters = Counter(now.counters) + self._counters + self._listener.counters
        if self._shared is None:
            counters += Counter(self._udp.statistics().counters)
        return RelayStatistics(
            self.port,
            now.allocations,
            now.users,
            len(self._listener),
            now.to_peers,
            now.to_clients,
            dict(sorted(counters.items())),
        )

    # --- input ------------------------------------------------------------------------------------

    def awaits(self, data: bytes, address: Address) -> bool:
        """Whether a datagram is of a client with an allocation."""
        return self._server.is_known((address, 0))

    def receive_stun(self, data: bytes, address: Address) -> None:
        """A STUN message or ChannelData that came by UDP and is for nobody else."""
        self._receive(data, (address, 0))

    def _receive(self, data: bytes, client: Client) -> None:
        clock = self._clock
        self._server.receive(data, client, clock.now(), clock.now_ms())
        self._drain()

    def _lost(self, client: Client) -> None:
        self._server.closed(client)
        self._drain()

    def _read_relay(self, relay: int, sock: socket.socket) -> None:
        now = self._clock.now()
        for _ in range(TURN_RELAY_BATCH):
            try:
                data, source = sock.recvfrom(_READ_MAX)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # an ICMP error of an earlier send, on some systems
                self._counters[f"relay-receive-{_name(error)}"] += 1
                break
            peer: Address = source[:2]
            self._server.receive_relayed(relay, data, self._outside(sock, peer), now)
        self._drain()

    def _timer_fired(self) -> None:
        self._timer = None
        self._server.handle_timer(self._clock.now())
        self._drain()
        self._arm()

    # A NAT may not let us reach our own node at the address that it gives this machine

    def _inside(self, sock: socket.socket, peer: Address) -> Address:
        """Where ``peer`` is for us: our node is on this machine."""
        ours = self._addresses.get(6 if ":" in peer[0] else 4)
        return (sock.getsockname()[0], peer[1]) if peer[0] == ours else peer

    def _outside(self, sock: socket.socket, peer: Address) -> Address:
        """Where clients know ``peer``."""
        ours = self._addresses.get(6 if ":" in peer[0] else 4)
        own_node = ours is not None and peer == (sock.getsockname()[0], self._node_port)
        return (ours, peer[1]) if ours is not None and own_node else peer

    # --- output -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        server = self._server
        for relay, data, peer in server.to_peers():
            try:
                sock = self._relays[relay]
                sock.sendto(data, self._inside(sock, peer) if peer[1] == self._node_port else peer)
            except OSError as error:
                self._counters[f"relay-send-{_name(error)}"] += 1
        self._send_to_clients()
        commands = server.commands()
        if not commands:
            return
        for command in commands:
            if isinstance(command, OpenRelay):
                self._open_relay(command)
            else:
                self._close_relay(command.relay)
        self._send_to_clients()
        self._arm()

    def _send_to_clients(self) -> None:
        for octets, client in self._server.to_clients():
            if client[1]:
                self._listener.send(octets, client)
            else:
                self._udp.send(octets, client[0])

    def _arm(self) -> None:
        due = self._server.deadline()
        if self._timer is None and due is not None:
            delay = max(0.0, due - self._clock.now())
            self._timer = self._loop.call_later(delay, self._timer_fired)

    def _open_relay(self, command: OpenRelay) -> None:
        host = _local_host(command.family, command.client[0][0])
        if host is None:
            self._server.not_opened(command.relay, family_missing=True)
            return
        self._server.own_hosts = _own_hosts() | frozenset(self._addresses.values())
        try:
            sock = _open_socket(host, even=command.even)
        except OSError as error:
            self._counters[f"relay-open-{_name(error)}"] += 1
            self._server.not_opened(command.relay)
            return
        self._relays[command.relay] = sock
        local: Address = sock.getsockname()[:2]
        self._loop.add_reader(sock.fileno(), self._read_relay, command.relay, sock)
        relayed = self._addresses.get(command.family, host), local[1]
        if relayed != local:
            self._outsides[local], self._insides[relayed] = relayed, local
        self._server.opened(command.relay, relayed, self._clock.now())

    def _close_relay(self, relay: int) -> None:
        sock = self._relays.pop(relay, None)
        if sock is not None:
            outside = self._outsides.pop(sock.getsockname()[:2], None)
            if outside is not None:
                del self._insides[outside]
            self._loop.remove_reader(sock.fileno())
            sock.close()


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "error").lower()


def _open_socket(host: str, *, even: bool) -> socket.socket:
    """A socket with a port that the system chooses; raises OSError."""
    for _ in range(_ATTEMPTS):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, option, TURN_RELAY_BUFFER)
            sock.bind((host, 0))
        except OSError:
            sock.close()
            raise
        if not even or sock.getsockname()[1] % 2 == 0:
            return sock
        sock.close()
    raise OSError(errno.EADDRNOTAVAIL, "no even port was free")


def _own_hosts() -> frozenset[str]:
    with suppress(OSError):
        return frozenset(address.ip for address in interface_addresses())
    return frozenset()


def _local_host(family: int, client: str) -> str | None:
    """Our address of ``family`` on the way to a client, or to the internet if it has none of that family."""
    there = client if (":" in client) == (family == 6) else _ELSEWHERE[family]
    try:
        with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            asking.connect((there, 9))
            return str(asking.getsockname()[0])
    except OSError:
        return None
