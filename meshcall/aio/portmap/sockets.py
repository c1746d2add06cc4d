"""The sockets of one gateway, and the one that hears what gateways announce.

Law 1: sending never raises and never waits: what is lost is sent again, as it would be anywhere on the way.
Law 2: the kernel lets nobody but the gateway's port 5351 into the control socket. Into the others anybody on
the LAN can write: whoever reads them looks at the source first.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from meshcall.address import Address
from meshcall.portmap.mapping import Gateway
from meshcall.portmap.race import CONTROL_PORT

ANNOUNCE_PORT: Final = 5350
ALL_HOSTS: Final = "224.0.0.1"
"""RFC 6886 section 3.2.1, RFC 6887 section 14.1.3."""
_READ_MAX: Final = 4096
_READS: Final = 16
"""Datagrams taken in one go: others of the loop have their turn."""

OnDatagram = Callable[[bytes, str], None]
"""Takes a datagram and the host that sent it; must not raise."""


class DatagramSocket:
    """A UDP socket in the event loop. Takes ``sock`` over."""

    def __init__(
        self, sock: socket.socket, on_datagram: OnDatagram, on_refused: Callable[[], None] = lambda: None
    ) -> None:
        """``on_refused``: told when the other end says that nothing listens there."""
        self._sock: socket.socket | None = sock
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, data: bytes, destination: Address | None = None) -> None:
        """Send a datagram; None: to where the socket is connected."""
        if self._sock is None:
            return
        try:
            if destination is None:
                self._sock.send(data)
            else:
                self._sock.sendto(data, destination)
        except ConnectionRefusedError:  # of an earlier one
            self._loop.call_soon(self._refused)
        except OSError:
            pass

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _read(self) -> None:
        for _ in range(_READS):
            if self._sock is None:
                return  # who was told has closed it
            try:
                data, source = self._sock.recvfrom(_READ_MAX)
            except ConnectionRefusedError:
                self._refused()
            except OSError:
                return
            else:
                self._on_datagram(data, source[0])

    def _refused(self) -> None:
        if self._sock is not None:
            self._on_refused()


def open_control(gateway: Gateway, on_datagram: OnDatagram, on_refused: Callable[[], None]) -> DatagramSocket:
    """A socket that speaks with the gateway's port 5351 alone. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if gateway.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((gateway.local, 0))
        host, _, scope = gateway.host.partition("%")
        if scope:
            sock.connect((host, CONTROL_PORT, 0, socket.if_nametoindex(scope)))
        else:
            sock.connect((host, CONTROL_PORT))
    except BaseException:
        sock.close()
        raise
    return DatagramSocket(sock, on_datagram, on_refused)


def open_search(gateway: Gateway, on_datagram: OnDatagram) -> DatagramSocket:
    """A socket for SSDP on the gateway's network (IPv4). Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((gateway.local, 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(gateway.local))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)  # UPnP 1.1 section 1.3.2
    except BaseException:
        sock.close()
        raise
    return DatagramSocket(sock, on_datagram)


def open_announcements(on_datagram: OnDatagram) -> DatagramSocket:
    """A socket for what gateways send to all hosts, shared with other programs. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ALL_HOSTS, ANNOUNCE_PORT))  # this group alone: nobody reaches it from afar
    except BaseException:
        sock.close()
        raise
    return DatagramSocket(sock, on_datagram)
