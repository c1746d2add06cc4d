"""mDNS on every interface, IPv4 and IPv6: announces this node and reports the others.

The only importer of zeroconf.

Law 1: what others announce goes through ``decode_txt_untrusted`` and ``addresses_untrusted`` before anybody
sees it; nothing that they send raises.
Law 2: it needs no route, and no network when it starts: networks that come later are taken into use.
Law 3: the name is random, so there is nothing to probe for (RFC 6762 section 8.1 is about names that must
be unique), and a running node is seen with its first packet.
Law 4: no machine name, and no ID unless ``visible``, ever leaves (RFC 6762 section 10.1 goodbyes included).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zeroconf import (  # type: ignore[attr-defined]
    AddressResolver,
    IPVersion,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshcall import limits
from meshcall.aio.interfaces import InterfaceAddress, best_addresses, interface_addresses
from meshcall.discovery.lan import (
    SERVICE_TYPE,
    LanAnnouncement,
    LanSeen,
    addresses_untrusted,
    decode_txt_untrusted,
    encode_txt,
    host_name,
    instance_name,
)
from meshcall.errors import Rejected

_log: Final = logging.getLogger("meshcall.lan")

OnSeen = Callable[[LanSeen], bool | None]
"""A service is there, or says something new. True: it is one that matters, forget others first."""
OnGone = Callable[[str], None]
"""The service with this instance name is gone."""


@dataclass(frozen=True, slots=True)
class LanStatistics:
    """A snapshot."""

    services: int
    """Seen now, without our own."""
    interfaces: tuple[str, ...]
    """Names of those in use."""
    fault: str | None
    """Why mDNS does not work now; None: it does."""
    counters: dict[str, int]
    """What was refused, by reason."""


@dataclass(slots=True)
class _Remembered:
    seen: LanSeen
    generation: int
    host: str
    matters: bool


class LanService:
    """Announces us and reports everybody else, until closed."""

    def __init__(
        self,
        port: int,
        announcement: Callable[[], LanAnnouncement],
        on_seen: OnSeen,
        on_gone: OnGone,
        *,
        nonce: bytes,
        interfaces: Sequence[str] = (),
        poll: float = limits.LAN_POLL,
    ) -> None:
        """``announcement`` is asked every ``poll`` seconds; when it says something else (a new day has a new
        hint) that is announced. ``nonce``: 16 random octets, new for each start. ``interfaces``: names;
        empty: all. The callbacks run in the loop and must not raise.
        """
        self._port = port
        self._announcement = announcement
        self._on_seen = on_seen
        self._on_gone = on_gone
        self._names = tuple(interfaces)
        self._poll = poll
        self.instance = instance_name(nonce)
        self._host = host_name(nonce)
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._addresses: tuple[InterfaceAddress, ...] = ()
        self._announced: LanAnnouncement | None = None
        self._services: OrderedDict[str, _Remembered] = OrderedDict()
        self._generation = 0
        self._wanted_sockets = 0
        self._useless = 0
        self._resolving: set[str] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._sending: asyncio.Future[Any] | None = None
        self._change = asyncio.Lock()
        self._closed = False
        self.heard_itself = False
        """Whether our own announcement has come back since it was made last."""
        self._fault: str | None = "not started"
        self._counters: Counter[str] = Counter()

    async def start(self) -> None:
        """Announce and browse. Never fails: it waits for a network to come (see ``statistics().fault``)."""
        await self._look()
        self._spawn(self._run())

    async def update(self) -> None:
        """Announce now what ``announcement`` says now, if it changed."""
        await self._look()

    async def renew(self) -> None:
        """The network may be another one: announce and browse afresh."""
        await self._look(renew=True)

    def ask(self, host: str) -> None:
        """Ask the machine at that IP address who is there, and tell it who is here (RFC 6762 section 5.5).

        What it answers is reported like all else. For networks that carry no multicast; the answer comes by
        unicast, too.
        """
        zeroconf = self._zeroconf
        info = None if zeroconf is None else zeroconf.zeroconf.registry.async_get_info_name(self.instance)
        if zeroconf is None or info is None:
            return
        # As a probe (RFC 6762 section 8.1): only that is answered by unicast whatever was multicast before
        query = zeroconf.zeroconf.generate_service_query(info)
        news = zeroconf.zeroconf.generate_service_broadcast(info, None)
        try:
            for out in (query, news):
                zeroconf.zeroconf.async_send(out, addr=host)
        except (OSError, RuntimeError):
            self._counters["ask"] += 1

    async def close(self) -> None:
        """Say goodbye and free everything. Idempotent."""
        if self._closed:
            return
        self._closed = True
        async with self._change:
            await self._shut(goodbye=True)
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def resolve_untrusted(self, name: str) -> list[str]:
        """The addresses that ``name`` (``<uuid>.local``) has here, in ``ICE_NAME_PATIENCE`` seconds at most.

        Anybody on the LAN may have answered. IPv4 first; link-local ones with their interface. Cannot fail.
        """
        zeroconf = self._zeroconf
        if zeroconf is None:
            return []
        resolver = AddressResolver(f"{name}.")
        try:
            await resolver.async_request(zeroconf.zeroconf, 1000 * limits.ICE_NAME_PATIENCE)
        except (ZeroconfError, OSError, RuntimeError):  # it is being closed, or its network is gone
            self._counters["unresolved name"] += 1
        found = [_named_scope(ip) for ip in resolver.parsed_scoped_addresses()]
        return [ip for ip in found if ip is not None][: limits.ICE_NAME_ADDRESSES_MAX]

    def services(self) -> list[LanSeen]:
        """Who is there now, without us."""
        return [remembered.seen for remembered in self._services.values()]

    def statistics(self) -> LanStatistics:
        """A snapshot."""
        names = tuple(sorted({address.name for address in self._addresses}))
        return LanStatistics(len(self._services), names, self._fault, dict(self._counters))

    # --- networks and the calendar ---

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            await self._look()

    async def _look(self, *, renew: bool = False) -> None:
        """Bring zeroconf in line with the interfaces and the announcement; ``renew``: begin afresh."""
        async with self._change:
            if self._closed:
                return
            try:
                addresses = interface_addresses(self._names)
                if renew or addresses != self._addresses or self._zeroconf is None:
                    await self._shut(goodbye=False)
                    await self._open(addresses)
                    return
                await self._complete(self._zeroconf)
                if self._announcement() != self._announced:
                    await self._announce(self._zeroconf, first=False)
            except (OSError, RuntimeError, ZeroconfError) as error:
                # An interface that vanished between the look and the bind, or port 5353 held exclusively.
                # The next look tries again.
                self._fault = f"mDNS can't be used: {error}"
                self._counters["open"] += 1
                _log.debug("mdns: %s", error)
                await self._shut(goodbye=False)

    async def _renew(self) -> None:
        """Free what a flood of names left in zeroconf: its list of names to ask about has no cap."""
        await asyncio.sleep(limits.LAN_RENEW)
        self._counters["flood"] += 1
        await self._look(renew=True)

    async def _open(self, addresses: tuple[InterfaceAddress, ...]) -> None:
        """Raises OSError, RuntimeError or zeroconf's Error."""
        self._addresses = addresses
        self._generation += 1
        self._useless = 0
        if not addresses:
            self._fault = "no network"
            self._forget_unseen()
            return
        choice = _sockets(addresses)
        versions = IPVersion.All if any(one.version == 6 for one in addresses) else IPVersion.V4Only
        self._wanted_sockets = len(choice)
        self._zeroconf = AsyncZeroconf(interfaces=choice, ip_version=versions)
        await self._announce(self._zeroconf, first=True)
        self._browse(self._zeroconf)
        self._fault = None
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(limits.LAN_SWEEP, self._forget_unseen)

    def _browse(self, zeroconf: AsyncZeroconf) -> None:
        """A new browser asks at once, on every interface; what it finds again is not reported again."""
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change])

    async def _complete(self, zeroconf: AsyncZeroconf) -> None:
        """Take up interfaces whose address could not be bound yet (IPv6 duplicate address detection)."""
        if len(zeroconf.zeroconf.engine.senders) >= self._wanted_sockets:
            return
        before = len(zeroconf.zeroconf.engine.senders)
        await zeroconf.async_update_interfaces()
        if len(zeroconf.zeroconf.engine.senders) > before and self._browser is not None:
            await self._browser.async_cancel()
            self._browse(zeroconf)

    async def _shut(self, *, goodbye: bool) -> None:
        """Close zeroconf. Without goodbye nobody notices, for the same names come back at once."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            if not goodbye:
                registry = zeroconf.zeroconf.registry
                registry.async_remove(registry.async_get_service_infos())
            await zeroconf.async_close()

    async def _announce(self, zeroconf: AsyncZeroconf, *, first: bool) -> None:
        self._announced = self._announcement()
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            self.instance,
            port=self._port,
            properties=encode_txt(self._announced),
            server=self._host,
            parsed_addresses=best_addresses(self._addresses),
            host_ttl=limits.LAN_HOST_TTL,
            other_ttl=limits.LAN_OTHER_TTL,
        )
        if self._sending is not None:
            self._sending.cancel()  # it would go on saying what was true before
        if first:
            sending = await zeroconf.async_register_service(info, cooperating_responders=True)
        else:
            sending = await zeroconf.async_update_service(info)
        self._sending = asyncio.ensure_future(sending)
        self._keep(self._sending)

    # --- others ---

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """zeroconf's callback; ``name`` is whatever somebody sent."""
        if self._closed or self._zeroconf is None:
            return
        if name.lower() == self.instance:
            self.heard_itself = state_change is not ServiceStateChange.Removed
            return
        if state_change is ServiceStateChange.Removed:
            self._forget(name)
            return
        try:
            info = AsyncServiceInfo(SERVICE_TYPE, name)
        except ZeroconfError:
            self._refuse("instance name")
            return
        if info.load_from_cache(zeroconf):
            self._judge(info)
        elif name in self._resolving:
            return
        elif len(self._resolving) >= limits.LAN_RESOLVING_MAX:
            self._refuse("full: resolving")
        else:
            self._resolving.add(name)
            self._spawn(self._resolve(info, zeroconf))

    async def _resolve(self, info: AsyncServiceInfo, zeroconf: Zeroconf) -> None:
        """Ask for what the announcement did not hold."""
        try:
            if await info.async_request(zeroconf, limits.LAN_RESOLVE_MS):
                self._judge(info)
            else:
                self._refuse("unresolved")
        except ZeroconfError:
            self._counters["unresolved"] += 1
        finally:
            self._resolving.discard(info.name)

    def _judge(self, info: AsyncServiceInfo) -> None:
        """Report a service that is what it should be."""
        try:
            announcement = decode_txt_untrusted(info.text or b"")
        except Rejected as verdict:
            self._refuse(f"txt: {verdict.reason}", info)
            return
        addresses = addresses_untrusted(
            [named for ip in info.parsed_scoped_addresses() if (named := _named_scope(ip)) is not None],
            info.port or 0,
            [one.network for one in self._addresses],
            loopback=all(one.loopback for one in self._addresses),
        )
        if not addresses:
            self._refuse("no address", info)
            return
        seen = LanSeen(info.name, announcement, addresses)
        known = self._services.get(info.name)
        if known is None and len(self._services) >= limits.LAN_SERVICES_MAX:
            self._make_room()
        matters = known.matters if known is not None and known.seen == seen else self._on_seen(seen) is True
        self._services[info.name] = _Remembered(seen, self._generation, (info.server or "").lower(), matters)

    def _make_room(self) -> None:
        """Forget the service that was seen first among those that matter least."""
        name = next((name for name, one in self._services.items() if not one.matters), None)
        name = name if name is not None else next(iter(self._services))
        host = self._services[name].host
        self._forget(name)
        self._refuse("full: services")
        self._purge_later(name, host)

    def _refuse(self, reason: str, info: AsyncServiceInfo | None = None) -> None:
        """Count a service that is not kept; when they are too many, begin afresh."""
        self._counters[reason] += 1
        self._useless += 1
        if info is not None:
            self._purge_later(info.name, (info.server or "").lower())
        if self._useless == limits.LAN_USELESS_MAX:
            self._spawn(self._renew())

    def _purge_later(self, name: str, host: str) -> None:
        """zeroconf is in the middle of handing us its news now."""
        asyncio.get_running_loop().call_soon(self._purge, name, host)

    def _purge(self, name: str, host: str) -> None:
        """Take what we do not keep out of zeroconf's cache; it comes back if it is announced again."""
        if self._zeroconf is None or name in self._services:
            return
        cache = self._zeroconf.zeroconf.cache
        records = cache.entries_with_name(name)
        if not any(one.host == host for one in self._services.values()):
            records += cache.entries_with_name(host)
        pointer = cache.current_entry_with_name_and_alias(SERVICE_TYPE, name)
        cache.async_remove_records([*records, pointer] if pointer is not None else records)

    def _forget(self, name: str) -> None:
        self._services.pop(name, None)
        self._on_gone(name)

    def _forget_unseen(self) -> None:
        """Drop services that were not seen again since the networks changed."""
        for name in [name for name, one in self._services.items() if one.generation != self._generation]:
            self._forget(name)

    # --- tasks ---

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._keep(asyncio.get_running_loop().create_task(coroutine))

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A socket may die under a broadcast when its interface goes; the next look puts it right.
            self._counters[f"task: {type(error).__name__}"] += 1
            _log.debug("mdns task failed", exc_info=error)


def _sockets(addresses: Sequence[InterfaceAddress]) -> list[str | int]:
    """What zeroconf shall bind: each IPv4 address, and one IPv6 address of each interface.

    The IPv6 one is the link-local one, for only packets from it tell the receiver the scope. zeroconf finds
    the interface by the address; where two have the same (bridges often do), by index, without a choice.
    """
    choice: list[str | int] = [one.ip for one in addresses if one.version == 4]
    local = Counter(one.ip for one in addresses if one.version == 6 and one.link_local)
    for index in sorted({one.index for one in addresses if one.version == 6}):
        mine = [one.ip for one in addresses if one.index == index and local[one.ip] == 1]
        choice.append(mine[0] if mine else index)
    return choice


def _named_scope(ip: str) -> str | None:
    """``fe80::1%4`` as ``fe80::1%eth0``; None: there is no such interface any more."""
    address, percent, scope = ip.partition("%")
    if not percent or not scope.isdecimal():
        return ip
    try:
        return f"{address}%{socket.if_indextoname(int(scope))}"
    except (OSError, OverflowError):
        return None
