"""All gateways of this machine: which are asked, and what comes of it.

Law 1: a machine whose address everybody can reach asks nobody.
Law 2: each gateway is asked for itself, and each mapping counts; the best one is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from meshcall.address import Address
from meshcall.dht.compact import is_public
from meshcall.limits import PORTMAP_GATEWAYS_MAX, PORTMAP_LIFETIME
from meshcall.portmap.attempt import NEVER
from meshcall.portmap.mapping import PROTOCOLS, Gateway, Mapping, Protocol, Service, State
from meshcall.portmap.race import Race
from meshcall.portmap.requests import Random

MapperState = State | Literal["off", "needless", "no-gateway"]
"""As :data:`State` of the best gateway; or this machine has a public address; or there is no router."""

_RANK: dict[State, int] = {
    "mapped": 0,
    "double-nat": 1,
    "asking": 2,
    "refused": 3,
    "silent": 4,
    "released": 5,
}
_SENTENCES: dict[MapperState, str] = {
    "off": "port mapping is switched off",
    "needless": "this machine has a public address",
    "no-gateway": "this machine has no router",
    "asking": "the router has not answered yet",
    "mapped": "",
    "double-nat": "the router has no public address itself: another NAT is behind it",
    "refused": "the router does not map ports for us",
    "silent": "the router answers none of PCP, NAT-PMP and UPnP",
    "released": "the mapping was given back",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How port mapping stands, at the gateway where it stands best."""

    state: MapperState
    reason: str
    """Why there is no mapping that others can use, a sentence; empty if there is one."""
    gateway: Gateway | None = None
    mapping: Mapping | None = None
    took: float | None = None
    """Seconds from the question to the mapping."""


class Mapper:
    """See the laws. What is said of a gateway that is not there any more is ignored."""

    def __init__(
        self, *, secret: bytes, random: Random, lifetime: int = PORTMAP_LIFETIME, enabled: bool = True
    ) -> None:
        """``secret``: the same in every run; ``lifetime``: seconds that are asked for."""
        self.counters: Counter[str] = Counter()
        self.races: dict[Gateway, Race] = {}
        self._secret = secret
        self._random = random
        self._lifetime = lifetime
        self._enabled = enabled
        self._services: tuple[Service, ...] = ()
        self._looked = False
        self._public = False
        self._released = False

    def want(self, services: Iterable[Service], now: float) -> None:
        """Map these, the first one is what matters; what was mapped and is not among them is given back."""
        first = not self._services
        self._services = tuple(dict.fromkeys(services))
        for race in self.races.values():
            race.want(self._services, now)
            if first:
                race.start(now)

    def set_gateways(self, gateways: Iterable[Gateway], now: float) -> None:
        """The gateways of now, best first, after a change of network, too: all are asked anew."""
        if self._released or not self._enabled:
            return
        self._looked = True
        found = list(dict.fromkeys(gateways))
        self._public = any(one.version == 4 and is_public((one.local, 1)) for one in found)
        wanted = [one for one in found if one.version == 6 or not self._public][:PORTMAP_GATEWAYS_MAX]
        self.races = {gateway: self.races.get(gateway) or self._race(gateway) for gateway in wanted}
        if self._services:
            for race in self.races.values():
                race.start(now)

    def _race(self, gateway: Gateway) -> Race:
        return Race(
            gateway,
            self._services,
            lifetime=self._lifetime,
            secret=self._secret,
            random=self._random,
            counters=self.counters,
        )

    def announced(self, host: str, data: bytes, now: float) -> None:
        """A datagram that ``host`` has sent to everybody on the network."""
        for gateway, race in self.races.items():
            if gateway.host == host:
                race.announced(data, now)
                return
        self.counters["portmap-stranger"] += 1

    def handle_timer(self, now: float) -> None:
        """To be called when :meth:`deadline` is reached."""
        for race in self.races.values():
            if race.deadline() <= now:
                race.handle_timer(now)

    def deadline(self) -> float:
        """When to call :meth:`handle_timer`; infinite: never."""
        return min((race.deadline() for race in self.races.values()), default=NEVER)

    def release(self, now: float) -> None:
        """Give everything back."""
        self._released = True
        for race in self.races.values():
            race.release(now)

    @property
    def released(self) -> bool:
        """Whether nothing is waited for any more."""
        return all(race.released for race in self.races.values())

    def external(self, service: Service) -> list[Address]:
        """Where others reach a service of ours, best first; mappings that are no use to them left out."""
        found = [race.mappings().get(service) for race in self.races.values()]
        useful = [one for one in found if one is not None and one.reachable]
        return list(dict.fromkeys(one.external for one in sorted(useful, key=_rank_of)))

    def standing(self, now: float) -> Standing:
        """How it stands, as people are told."""
        if not self._enabled:
            return Standing("off", _SENTENCES["off"])
        if not self._looked:
            return Standing("asking", _SENTENCES["asking"])
        ranked = sorted(
            ((_RANK[race.state(now)], gateway.version, gateway) for gateway, race in self.races.items()),
        )
        four = [one for one in ranked if one[1] == 4]
        if not four and self._public:
            return Standing("needless", _SENTENCES["needless"])
        if not ranked:
            return Standing("no-gateway", _SENTENCES["no-gateway"])
        _, _, gateway = (four or ranked)[0]
        race = self.races[gateway]
        state = race.state(now)
        mappings = race.mappings()
        mapping = next((mappings[one] for one in self._services if one in mappings), None)
        reason = _SENTENCES[state]
        if state == "refused" and (failures := race.failures()):
            said = ", ".join(f"{_NAMES[one]}: {failures[one]}" for one in PROTOCOLS if one in failures)
            reason = f"{reason} ({said})"
        return Standing(state, reason, gateway, mapping, race.took)


_NAMES: dict[Protocol, str] = {"pcp": "PCP", "nat-pmp": "NAT-PMP", "upnp": "UPnP"}


def _rank_of(mapping: Mapping) -> int:
    return PROTOCOLS.index(mapping.protocol)
