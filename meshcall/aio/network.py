"""Tells when this machine's network is another one, or the machine has slept.

Law 1: what decides is in ``meshcall.discovery.change``; here is what the system says.
Law 2: nothing of it can fail: where the kernel does not tell of changes, the interfaces are polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from meshcall.aio.clock import Clock, time_asleep
from meshcall.aio.interfaces import interface_addresses
from meshcall.discovery.change import ChangeDetector, Snapshot
from meshcall.limits import NETWORK_POLL

_log: Final = logging.getLogger("meshcall.network")

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""rtnetlink(7): RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""
_READ_MAX: Final = 65536
_READS: Final = 64
"""Messages read per wake-up."""
_RTF_GATEWAY: Final = 0x2
_ROUTES4: Final = "/proc/net/route"
_ROUTES6: Final = "/proc/net/ipv6_route"


class NetworkWatcher:
    """Calls ``on_change`` after a change of network or a sleep of the machine."""

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        clock: Clock,
        names: Iterable[str] = (),
        asleep: Callable[[], float] = time_asleep,
    ) -> None:
        """``names``: of the interfaces that count; none: all. ``asleep``: seconds slept, with any zero."""
        self._on_change = on_change
        self._clock = clock
        self._names = tuple(names)
        self._asleep = asleep
        self._news = asyncio.Event()
        self._failed = False

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        netlink = _open_netlink()
        if netlink is not None:
            loop.add_reader(netlink.fileno(), self._read, netlink)
        try:
            await self._watch(polling=netlink is None)
        finally:
            if netlink is not None:
                loop.remove_reader(netlink.fileno())
                netlink.close()

    async def _watch(self, *, polling: bool) -> None:
        first = await self._snapshot() or Snapshot(frozenset())
        detector = ChangeDetector(first, self._asleep(), self._clock.now())
        while True:
            now = self._clock.now()
            due = detector.look_at()
            if due is not None and due <= now:
                snapshot = await self._snapshot()
                now = self._clock.now()
                if snapshot is not None and detector.looked(snapshot, now):
                    self._tell("the network has changed")
                due = detector.look_at()
            if detector.woke(self._asleep(), now):
                self._tell("the machine has slept")
            if polling and due is None:
                detector.news(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NETWORK_POLL if due is None else max(0.0, due - now)):
                    await self._news.wait()
                    self._news.clear()
                    detector.news(self._clock.now())

    def _tell(self, what: str) -> None:
        _log.info("%s", what)
        self._on_change()

    async def _snapshot(self) -> Snapshot | None:
        """What the interfaces look like; None when nobody can tell now."""
        try:
            return await asyncio.to_thread(take_snapshot, self._names)
        except (OSError, ValueError) as error:  # the latter: a line in a form that we don't know
            if not self._failed:
                _log.warning("the network interfaces can't be listed: %s", error)
            self._failed = True
            return None

    def _read(self, netlink: socket.socket) -> None:
        """What the messages say does not matter: the interfaces are looked at afterwards."""
        for _ in range(_READS):
            try:
                netlink.recv(_READ_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # that is news, too: there was more than the buffer holds
                    return
            self._news.set()


def take_snapshot(names: Iterable[str] = ()) -> Snapshot:
    """Addresses and default routes of the interfaces called ``names`` (none: of all). Raises OSError."""
    wanted = tuple(names)
    addresses = frozenset((one.name, one.network) for one in interface_addresses(wanted) if not one.loopback)
    gateways = frozenset(one for one in default_gateways() if not wanted or one[0] in wanted)
    return Snapshot(addresses, gateways)


def default_gateways() -> list[tuple[str, str]]:
    """(interface, gateway) of the default routes, the best first; none where the system is not Linux."""
    found: list[tuple[str, str]] = []
    for line in _lines(_ROUTES4)[1:]:
        name, destination, gateway, flags, *rest = line
        if destination == "00000000" and rest[3] == "00000000" and int(flags, 16) & _RTF_GATEWAY:
            packed = bytes.fromhex(gateway)
            found.append((name, str(IPv4Address(packed[::-1] if sys.byteorder == "little" else packed))))
    for line in _lines(_ROUTES6):
        destination, prefix, _, _, gateway, *_, flags, name = line
        if int(destination, 16) == 0 and prefix == "00" and int(flags, 16) & _RTF_GATEWAY:
            found.append((name, str(IPv6Address(bytes.fromhex(gateway)))))
    return found


def _lines(path: str) -> list[list[str]]:
    """The words of each line. Names of interfaces are any octets, so only ASCII blanks part words."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError:
        return []
    return [[word.decode(errors="replace") for word in line.split()] for line in lines if line]


def _open_netlink() -> socket.socket | None:
    """A socket that becomes readable when interfaces, addresses or routes change; None: there is no such."""
    if sys.platform != "linux":
        return None
    try:
        netlink = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
    except OSError:
        return None
    try:
        netlink.bind((0, _GROUPS))
    except OSError:
        netlink.close()
        return None
    return netlink
