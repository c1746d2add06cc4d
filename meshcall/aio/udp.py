"""One UDP port of this machine: a v4 and a v6 socket that all protocols of a node share.

Law 1: ``send`` never raises and never waits; what can't be sent is counted.
Law 2: a wake-up takes up to ``UDP_DRAIN`` datagrams from the kernel and handles what is waited for; of what
strangers ask, ``UDP_BATCH``. So a flood fills no buffer that a call needs, and timers keep their turn. What
the system takes or gives together, to save calls (a train), counts as the datagrams that it is.
Law 3: a datagram goes to the protocol whose first octets it has (RFC 7983, RFC 9443), or is counted.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from meshcall.address import Address
from meshcall.errors import InvalidConfig, PortTaken
from meshcall.limits import DATAGRAM_MAX, STUN_SIZE_MAX, UDP_BATCH, UDP_BUFFER, UDP_DRAIN, UDP_TRAIN

Handler = Callable[[bytes, Address], None]
"""Takes one datagram and the address it came from; must not raise."""

Awaited = Callable[[bytes, Address], bool]
"""Whether a datagram is waited for, told without much work; must not raise."""

ANY_HOSTS: Final = ("0.0.0.0", "::")  # noqa: S104 - peers are to reach us on every interface
_READ_MAX: Final = 65535
_UDP_SEGMENT: Final = 103
"""Linux's options (udp(7)): send octets as datagrams of a size..."""
_UDP_GRO: Final = 104
"""...and take datagrams of one size and one sender together."""
_TRAIN_SIZE: Final = 65_000
"""Octets that go with one call at most: the kernel takes them for one IP packet first."""
_SIZE: Final = struct.Struct("=H")
_INT: Final = struct.Struct("=i")
_ABOUT: Final = socket.CMSG_SPACE(_INT.size)
_NO_TRAINS: Final = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
"""What Linux, and other systems, say where there is no UDP_SEGMENT (udp(7))."""
_ATTEMPTS: Final = 16
_NO_SUCH_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_LINK_LOCAL: Final = ("fe8", "fe9", "fea", "feb")


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """A snapshot of a port."""

    port: int
    families: tuple[int, ...]
    """4, 6 or both."""
    sent: int
    received: int
    counters: dict[str, int]
    """What went wrong how often: send errors by name, datagrams that nobody wanted."""


class Readers(Protocol):
    """What tells of sockets that can be read: an event loop, or :class:`meshcall.aio.poll.Poll`."""

    def add_reader(self, fd: int, callback: Callable[[int], None], *args: Any) -> object:
        """Call ``callback(*args)`` whenever ``fd`` can be read."""

    def remove_reader(self, fd: int) -> object:
        """Do so no more."""


class Datagrams(Protocol):
    """What the DHT needs of a port."""

    def register(self, first_octets: range, handler: Handler, awaited: Awaited | None = None) -> None:
        """Give datagrams that start with these octets to ``handler``."""

    def unregister(self, first_octets: range) -> None:
        """Nobody wants them any more."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram. Cannot fail."""


class DatagramPort(Datagrams, Protocol):
    """What calls need of a port: a :class:`UdpPort`, or what stands in for one."""

    @property
    def port(self) -> int:
        """The port number."""

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both."""

    def send_all(self, datagrams: Sequence[bytes], address: Address) -> None:
        """Send several datagrams, in order. Cannot fail."""

    async def close(self) -> None:
        """Give it back. Idempotent."""


class UdpPort:
    """Sockets of one port number. Use :meth:`open`."""

    def __init__(self, sockets: dict[int, socket.socket], loop: Readers) -> None:
        self._sockets = sockets
        self._loop = loop
        self._port = int(next(iter(sockets.values())).getsockname()[1])
        self._handlers: list[Handler | None] = [None] * 256
        self._awaited: list[Awaited | None] = [None] * 256
        self._counters: Counter[str] = Counter()
        self._sent = 0
        self._received = 0
        self._trains = True
        """Whether the system sends several datagrams by one call, as far as is known."""
        self._scopes: dict[str, int] = {}
        self._hops = 0
        """What the system lets a datagram live, once that was changed."""
        for family, sock in sockets.items():
            loop.add_reader(sock.fileno(), self._read, family)

    @classmethod
    async def open(cls, port: int, *, hosts: Sequence[str] = ANY_HOSTS) -> UdpPort:
        """Open ``port`` (0: any that is free) on ``hosts``, at most one of each family.

        A family that this machine does not have is left out. Raises :class:`PortTaken`, or
        :class:`InvalidConfig` when none of the hosts is an address of this machine.
        """
        import asyncio  # late: a program without an event loop does not load it

        return cls.open_on(asyncio.get_running_loop(), port, hosts=hosts)

    @classmethod
    def open_on(cls, loop: Readers, port: int, *, hosts: Sequence[str] = ANY_HOSTS) -> UdpPort:
        """:meth:`open` for any ``loop``."""
        for attempt in range(_ATTEMPTS):
            try:
                return cls(_open_sockets(port, hosts), loop)
            except PortTaken:
                # The free port of one family may be taken in the other
                if port or attempt == _ATTEMPTS - 1:
                    raise
        raise PortTaken  # never reached: the last attempt returns or raises

    @property
    def port(self) -> int:
        """The port number, the same in both families."""
        return self._port

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both."""
        return tuple(sorted(self._sockets))

    def register(self, first_octets: range, handler: Handler, awaited: Awaited | None = None) -> None:
        """Give datagrams that start with these octets to ``handler``; ValueError if another has them.

        When more come than can be handled, those go first that are ``awaited`` (None: all are).
        """
        if any(self._handlers[octet] not in (None, handler) for octet in first_octets):
            raise ValueError(f"first octets {first_octets} are taken")
        for octet in first_octets:
            self._handlers[octet] = handler
            self._awaited[octet] = awaited

    def unregister(self, first_octets: range) -> None:
        """Nobody wants datagrams that start with these octets any more."""
        for octet in first_octets:
            self._handlers[octet] = None
            self._awaited[octet] = None

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram to an IP address (never a name). Cannot fail: errors are counted."""
        host, port = address
        sock = self._sockets.get(6 if ":" in host else 4)
        if sock is None:
            self._counters["send-no-family"] += 1
            return
        try:
            sock.sendto(data, self._destination(host, port))
        except BlockingIOError:
            self._counters["send-full"] += 1
        except OSError as error:
            self._counters[f"send-{errno.errorcode.get(error.errno or 0, 'error').lower()}"] += 1
        except (OverflowError, ValueError, TypeError):
            self._counters["send-address"] += 1
        else:
            self._sent += 1

    def send_all(self, datagrams: Sequence[bytes], address: Address) -> None:
        """Send several datagrams to one address, in order. Cannot fail: see :meth:`send`."""
        if self._trains and len(datagrams) > 1 and (size := _step(datagrams)):
            most = min(UDP_TRAIN, _TRAIN_SIZE // size)
            for begin in range(0, len(datagrams), most):
                self._send_train(datagrams[begin : begin + most], size, address)
        else:
            for data in datagrams:
                self.send(data, address)

    def _send_train(self, datagrams: Sequence[bytes], size: int, address: Address) -> None:
        """Send them by one system call: to the kernel they are as much work as one of them."""
        host, port = address
        sock, sent = self._sockets.get(6 if ":" in host else 4), self._sent
        refused = False
        if sock is not None:
            try:
                about = [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SIZE.pack(size))]
                sock.sendmsg(datagrams, about, 0, self._destination(host, port))
            except BlockingIOError:
                self._counters["send-full"] += len(datagrams)
                return
            except OSError as error:
                refused = error.errno in _NO_TRAINS
            except (OverflowError, ValueError, TypeError):
                pass
            else:
                self._sent += len(datagrams)
                return
        for data in datagrams:
            self.send(data, address)
        if refused and self._sent > sent:  # each alone can be sent: this system has no trains
            self._trains = False

    def limit_hops(self, hops: int | None) -> None:
        """Have IPv4 datagrams end after so many routers (RFC 791: time to live); None: the system's way."""
        sock = self._sockets.get(4)
        if sock is not None:
            with suppress(OSError):
                self._hops = self._hops or sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self._hops if hops is None else hops)

    def _destination(self, host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        host, _, scope = host.partition("%")
        if not host[:1].isdigit() and ":" not in host:
            raise ValueError("not an IP address")  # a name would be resolved here, and the loop would wait
        if not scope:
            return host, port
        if scope not in self._scopes:
            self._scopes[scope] = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
        return host, port, 0, self._scopes[scope]

    def _read(self, family: int) -> None:
        sock = self._sockets.get(family)
        if sock is None:
            return
        taken: list[tuple[bytes, Address]] = []
        while len(taken) < UDP_DRAIN:
            try:
                data, about, _, source = sock.recvmsg(_READ_MAX, _ABOUT)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                # ICMP errors of earlier sends arrive here on some systems; the socket is fine
                self._counters[f"receive-{errno.errorcode.get(error.errno or 0, 'error').lower()}"] += 1
                break
            address = _source(source)
            size = _train(about) if about else 0
            if 0 < size < len(data):
                taken += [(data[at : at + size], address) for at in range(0, len(data), size)]
            else:
                taken.append((data, address))
        self._received += len(taken)
        room = UDP_BATCH
        many = len(taken) > room
        for data, address in taken:
            if many and not self._is_awaited(data, address):
                room -= 1
                if room < 0:
                    self._counters["overload"] += 1
                    continue
            self._dispatch(data, address)
            if family not in self._sockets:
                return  # a handler has closed the port

    def _is_awaited(self, data: bytes, address: Address) -> bool:
        awaited = self._awaited[data[0]] if data else None
        return awaited is None or awaited(data, address)

    def _dispatch(self, data: bytes, address: Address) -> None:
        if not data:
            self._counters["empty"] += 1
            return
        # Signalling never is; indications of TURN hold a datagram, DTLS and RTP (RFC 7983: 20 and up) may be
        if len(data) > DATAGRAM_MAX and data[0] < 20 and (data[0] > 3 or len(data) > STUN_SIZE_MAX):
            self._counters["too-long"] += 1
            return
        handler = self._handlers[data[0]]
        if handler is None:
            self._counters["unwanted"] += 1
            return
        handler(data, address)

    async def close(self) -> None:
        """Close the sockets. Idempotent."""
        self.shut()

    def shut(self) -> None:
        """:meth:`close` for a program without an event loop."""
        for sock in self._sockets.values():
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets = {}

    def statistics(self) -> UdpStatistics:
        """A frozen snapshot."""
        return UdpStatistics(self.port, self.families, self._sent, self._received, dict(self._counters))

    def __repr__(self) -> str:
        return f"<UdpPort {self.port} families={self.families}>"


def _step(datagrams: Sequence[bytes]) -> int:
    """The size of all of them but the last, which may be shorter; 0: they are no train."""
    size, last = len(datagrams[0]), len(datagrams[-1])
    return size if 0 < last <= size and all(len(data) == size for data in datagrams[1:-1]) else 0


def _train(about: list[tuple[int, int, bytes]]) -> int:
    """The size of each datagram of what came, but of the last one; 0: it is one datagram."""
    for level, kind, value in about:
        if level == socket.IPPROTO_UDP and kind == _UDP_GRO and len(value) >= _INT.size:
            return int(_INT.unpack_from(value)[0])
    return 0


def _source(source: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    host, port = source[0], source[1]
    if len(source) == 4 and source[3] and host.lower().startswith(_LINK_LOCAL):
        scope = source[3]
        with suppress(OSError):
            return f"{host}%{socket.if_indextoname(scope)}", port
        return f"{host}%{scope}", port
    return host, port


def _open_sockets(port: int, hosts: Sequence[str]) -> dict[int, socket.socket]:
    sockets: dict[int, socket.socket] = {}
    try:
        for host in hosts:
            family = 6 if ":" in host else 4
            if family in sockets:
                raise InvalidConfig(f"two hosts of one family: {', '.join(hosts)}")
            sock = _open_socket(family, host, port)
            if sock is not None:
                sockets[family] = sock
                port = sock.getsockname()[1]
    except BaseException:
        for sock in sockets.values():
            sock.close()
        raise
    if not sockets:
        raise InvalidConfig(f"this machine has no address {' or '.join(hosts)}")
    return sockets


def _open_socket(family: int, host: str, port: int) -> socket.socket | None:
    """A bound socket, or None when this machine lacks the family or the address."""
    try:
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in _NO_SUCH_FAMILY:
            return None
        raise
    try:
        sock.setblocking(False)
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, UDP_BUFFER)
        if sys.platform == "linux":
            with suppress(OSError):  # older than 5.0
                sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"UDP port {port} is taken by another program") from error
        if error.errno == errno.EACCES:
            raise PortTaken(f"UDP port {port} may not be used without privileges") from error
        if error.errno in _NO_SUCH_FAMILY:
            return None
        raise
    except BaseException:
        sock.close()
        raise
    return sock
