"""What the network lets this node do: asked and measured now, for who looks at it.

Law 1: it asks only who is asked anyway: nodes of the DHT, configured hosts, our own outside address.
Law 2: it takes a few seconds at most, whatever is silent; one runs at a time, and others share its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from meshcall import limits
from meshcall.address import Address, format_address, is_lan, parse_host_port
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.filtering import check_other_port
from meshcall.aio.hairpin import check_hairpin
from meshcall.aio.ice.addresses import HostPolicy, host_addresses, is_loopback
from meshcall.aio.ice.servers import LentRelay
from meshcall.aio.lan import Lan
from meshcall.dht.compact import is_impossible
from meshcall.dht.events import PingDone
from meshcall.ice.nat import Filtering, Mapping, NatView
from meshcall.identity.keys import Random
from meshcall.netcheck_views import (
    FallbackCheck,
    FamilyCheck,
    HairpinWord,
    LanCheck,
    NetcheckView,
    UdpWord,
)
from meshcall.views import PortMappingView, RelayView

_MAPPINGS: Final = {
    Mapping.NONE: "none",
    Mapping.EIM: "endpoint-independent",
    Mapping.ADM: "address-dependent",
    Mapping.APDM: "address-and-port-dependent",
}
_FILTERINGS: Final = {
    Filtering.EIF: "endpoint-independent",
    Filtering.ADF: "address-dependent",
    Filtering.APDF: "address-and-port-dependent",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What other parts of the node know, asked when a check is made."""

    nat: Callable[[int], NatView]
    """By family, 4 or 6."""
    clock_skew: Callable[[], float | None]
    relays: Callable[[], Awaitable[list[RelayView]]]
    lender: Callable[[], LentRelay | None]
    """A relay that is ready."""
    port_mapping: Callable[[], PortMappingView]
    tunnel: Callable[[], str | None]
    """The gateway that carries all in the place of UDP; empty: none does; None: none may."""


def udp_word(answers: Sequence[PingDone], asked: Sequence[Address], *, has_address: bool) -> UdpWord:
    """What the answers of a family, those that came by UDP, say about UDP there."""
    if not has_address:
        return "none"
    if not asked:
        return "unknown"
    if not answers:
        return "no"
    return "lan" if all(is_lan(answer.address[0]) for answer in answers) else "yes"


def fallback_of(tunnel: str | None) -> FallbackCheck:
    """Whether a gateway, ``tls:HOST:PORT``, carries what UDP can't."""
    if tunnel is None:
        return FallbackCheck(state="off")
    return FallbackCheck(state="used", via=tunnel) if tunnel else FallbackCheck(state="unused")


class Netcheck:
    """Makes checks for one node."""

    def __init__(
        self,
        dht: DhtNode,
        lan: Lan,
        *,
        port: int,
        bootstrap: Sequence[str],
        policy: HostPolicy,
        mdns: bool,
        sources: Sources,
        clock: Clock,
        random: Random,
    ) -> None:
        """``bootstrap``: configured hosts, who are asked when nobody else is known."""
        self._dht = dht
        self._lan = lan
        self._port = port
        self._bootstrap = bootstrap
        self._policy = policy
        self._mdns = mdns
        self._sources = sources
        self._clock = clock
        self._random = random
        self._running: asyncio.Future[NetcheckView] | None = None

    async def check(self) -> NetcheckView:
        """One check; who asks while one runs gets its result."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._check())
        return await asyncio.shield(self._running)

    async def _check(self) -> NetcheckView:
        begin = self._clock.now()
        try:
            local = host_addresses(self._policy)
        except OSError:
            local = []
        asked = await self._whom()
        ipv4, ipv6, relays = await asyncio.gather(
            self._family(4, local, asked), self._family(6, local, asked), self._sources.relays()
        )
        return NetcheckView(
            port=self._port,
            ipv4=ipv4,
            ipv6=ipv6,
            dht_nodes=self._dht.status().contacts,
            port_mapping=self._sources.port_mapping(),
            lan=LanCheck(
                enabled=self._mdns,
                heard_itself=self._lan.heard_itself,
                peers=self._lan.count(),
                fault=self._lan.fault or "",
            ),
            relays=relays,
            fallback=fallback_of(self._sources.tunnel()),
            clock_skew_s=self._sources.clock_skew(),
            took_ms=round((self._clock.now() - begin) * 1000, 1),
        )

    async def _whom(self) -> list[Address]:
        """Nodes of the table, strangers to our LAN first; without any, the configured hosts."""
        found = [address for _, address in self._dht.engine.contacts()]
        if not found:
            for host in await asyncio.gather(*map(_resolve, self._bootstrap[: limits.NETCHECK_NODES])):
                found += host
        return sorted(found, key=lambda address: is_lan(address[0]))

    async def _family(self, number: int, local: Iterable[str], whom: Iterable[Address]) -> FamilyCheck:
        def belongs(host: str) -> bool:
            return (":" in host) == (number == 6)

        ours = [host for host in local if belongs(host)]
        asked = [address for address in whom if belongs(address[0])][: limits.NETCHECK_NODES]
        answers = await asyncio.gather(*map(self._dht.probe, asked))
        # What leaves the LAN goes by TCP while a gateway carries it: it says nothing of UDP, and others see
        # the gateway's address
        by_udp = not self._sources.tunnel()
        heard = [one for one in answers if one is not None and (by_udp or is_lan(one.address[0]))]
        rtts = [answer.rtt for answer in heard if answer.rtt is not None]
        status = self._dht.status()
        public = status.observed4 if number == 4 else status.observed6
        nat = self._sources.nat(number)
        if not by_udp:
            public, nat = None, NatView()
        return FamilyCheck(
            udp=udp_word(heard, asked, has_address=bool(ours)),
            local=ours,
            public="" if public is None else format_address(public),
            asked=len(asked),
            answered=len(heard),
            rtt_ms=round(min(rtts) * 1000, 1) if rtts else None,
            mapping=_MAPPINGS.get(nat.mapping, "unknown"),
            filtering=_FILTERINGS.get(await self._filtering(number, nat), "unknown"),
            ports=nat.ports.name.lower(),
            hairpin=await self._hairpin(public, ours),
        )

    async def _filtering(self, number: int, nat: NatView) -> Filtering:
        """What is known, and if that is not that all come in, what a relay's other port tells."""
        if nat.filtering is Filtering.EIF or nat.mapping is Mapping.NONE:
            return nat.filtering
        relay = self._sources.lender()
        if relay is None or (":" in relay.node[0]) != (number == 6):
            return nat.filtering
        seen = await self._dht.probe(relay.node)  # from now on our NAT has an opening to its node
        if seen is None or seen.observed is None:
            return nat.filtering
        comes_in = await check_other_port(relay, seen.observed, self._random)
        if comes_in is None:
            return nat.filtering
        if not comes_in:
            return Filtering.APDF
        # From an address that was never sent to nothing came, if enough have tried; else that may do, too
        return Filtering.ADF if nat.filtering is Filtering.APDF else Filtering.UNKNOWN

    async def _hairpin(self, public: Address | None, ours: Sequence[str]) -> HairpinWord:
        if public is None:
            return "unknown"
        if public[0] in ours or is_loopback(public[0]):
            return "needless"
        return "yes" if await check_hairpin(public, self._random) else "no"


async def _resolve(text: str) -> list[Address]:
    host, port = parse_host_port(text)
    try:
        async with asyncio.timeout(limits.NETCHECK_RESOLVE):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port)
    except (OSError, UnicodeError):  # TimeoutError is one of the former
        return []
    found = dict.fromkeys((str(info[4][0]), port) for info in infos)
    return [address for address in found if not is_impossible(address)]
