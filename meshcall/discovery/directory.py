"""Where peers are: merges what the LAN, the DHT, earlier calls and invites say.

Law 1: a sighting is a hint where to send a sealed record, never proof that the peer is there.
Law 2: every source has its own room, so a flood from one (anybody on the LAN) drives nothing of another out.
Law 3: a LAN service is matched to an ID when it is asked for, so whoever knows an ID finds it, contact or
not; contacts are also recognised unasked, and are kept when room is short.
Law 4: a LAN sighting lasts until mDNS says that it is over; all others end with the life they came with.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from meshcall import limits
from meshcall.address import Address
from meshcall.discovery.lan import LanSeen, day_of, hints_near
from meshcall.identity.peer_id import PeerId

Source = Literal["lan", "dht", "cache", "invite"]
"""lan: mDNS. dht: told by a node. cache: where the peer was really reached before. invite: in its link."""

_ORDER: Final[dict[Source, int]] = {"lan": 0, "cache": 1, "dht": 2, "invite": 3}
"""Which source goes first among sightings of the same age; the LAN goes first at any age."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one peer."""

    peer_id: PeerId
    known: bool
    """Whether it is one of ours (a contact)."""
    name: str
    """What it calls itself on the LAN, unverified."""
    sources: tuple[Source, ...]
    """Who has seen it."""
    addresses: tuple[Address, ...]
    """Best first."""
    seen: float
    """When it was seen last, monotonic seconds."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    address: Address
    seen: float
    expires: float


@dataclass(frozen=True, slots=True)
class _Service:
    seen: LanSeen
    at: float


class Directory:
    """Merged sightings. Every method takes the time; none can fail."""

    def __init__(self, known: Iterable[PeerId] = ()) -> None:
        self._known: set[PeerId] = set(known)
        self._services: OrderedDict[str, _Service] = OrderedDict()  # by instance, seen longest ago first
        self._peers: dict[Source, OrderedDict[PeerId, list[_Sighting]]] = {
            "dht": OrderedDict(),
            "cache": OrderedDict(),
            "invite": OrderedDict(),
        }
        self._hints: dict[bytes, PeerId] = {}
        self._hints_day: int | None = None
        self.counters: Counter[str] = Counter()
        """What was dropped, by reason."""

    # --- who is ours ---

    def know(self, peer_id: PeerId) -> None:
        """Recognise ``peer_id`` on the LAN unasked."""
        self._known.add(peer_id)
        self._hints_day = None

    def forget(self, peer_id: PeerId) -> None:
        """Stop recognising ``peer_id``, and drop what other sources said of it."""
        self._known.discard(peer_id)
        self._hints_day = None
        for peers in self._peers.values():
            peers.pop(peer_id, None)

    # --- sightings ---

    def sight(
        self, peer_id: PeerId, source: Source, addresses: Iterable[Address], *, now: float, life: float
    ) -> None:
        """``source`` says that ``peer_id`` is at ``addresses``, for ``life`` seconds from ``now``.

        For the LAN use :meth:`sight_lan`.
        """
        peers = self._peers[source]
        kept = {sighting.address: sighting for sighting in peers.pop(peer_id, [])}
        for address in addresses:
            kept[address] = _Sighting(address, now, now + life)
        newest = sorted(kept.values(), key=lambda sighting: -sighting.seen)
        peers[peer_id] = newest[: limits.DIRECTORY_ADDRESSES_MAX]
        if len(peers) > limits.DIRECTORY_PEERS_MAX:
            peers.popitem(last=False)
            self.counters[f"full: {source}"] += 1

    def sight_lan(self, seen: LanSeen, *, now: float, now_ms: int) -> PeerId | None:
        """A service is on the LAN, or says something new; returns who it claims to be, if that is known."""
        before = self._services.pop(seen.instance, None)
        peer_id = self.who(seen, now_ms)
        if before is None and not self._make_room(peer_id, now_ms):
            return None
        self._services[seen.instance] = _Service(seen, now)
        return peer_id

    def gone_lan(self, instance: str, *, now_ms: int) -> PeerId | None:
        """A service left the LAN; returns who it claimed to be, if that is known."""
        service = self._services.pop(instance, None)
        return None if service is None else self.who(service.seen, now_ms)

    def who(self, seen: LanSeen, now_ms: int) -> PeerId | None:
        """Who a service claims to be: one of ours by its hint, or anybody who is visible."""
        return self._hints_for(now_ms).get(seen.announcement.hint) or seen.announcement.visible

    # --- questions ---

    def addresses(self, peer_id: PeerId, *, now: float, now_ms: int) -> list[Address]:
        """Where ``peer_id`` may be, best first: LAN, then the freshest; IPv4 and IPv6 as announced."""
        found: dict[Address, tuple[int, float, int]] = {}
        for source, sighting in self._sightings(peer_id, now, now_ms):
            rank = (source != "lan", -sighting.seen, _ORDER[source])
            found[sighting.address] = min(rank, found.get(sighting.address, rank))
        return sorted(found, key=lambda address: found[address])

    def on_lan(self, peer_id: PeerId, *, now_ms: int) -> list[Address]:
        """Where ``peer_id`` may be on this LAN, the freshest service first."""
        return [
            sighting.address for service in self._claims(peer_id, now_ms) for sighting in _of_service(service)
        ]

    def entry(self, peer_id: PeerId, *, now: float, now_ms: int) -> Entry | None:
        """What is known of ``peer_id``; None: nobody has seen it."""
        sightings = list(self._sightings(peer_id, now, now_ms))
        if not sightings:
            return None
        names = [s.seen.announcement.name for s in self._claims(peer_id, now_ms)]
        return Entry(
            peer_id=peer_id,
            known=peer_id in self._known,
            name=next((name for name in names if name), ""),
            sources=tuple(sorted({source for source, _ in sightings}, key=lambda source: _ORDER[source])),
            addresses=tuple(self.addresses(peer_id, now=now, now_ms=now_ms)),
            seen=max(sighting.seen for _, sighting in sightings),
        )

    def entries(self, *, now: float, now_ms: int) -> list[Entry]:
        """Everybody of ours whom somebody has seen, then the strangers on the LAN who are visible."""
        known = [self.entry(peer_id, now=now, now_ms=now_ms) for peer_id in sorted(self._known)]
        return [entry for entry in known if entry is not None] + self.strangers(now=now, now_ms=now_ms)

    def strangers(self, *, now: float, now_ms: int) -> list[Entry]:
        """Those on the LAN who are not ours and want to be seen."""
        visible = {
            service.seen.announcement.visible
            for service in self._services.values()
            if service.seen.announcement.visible is not None
        }
        strangers = sorted(
            peer_id for peer_id in visible if peer_id is not None and peer_id not in self._known
        )
        entries = [self.entry(peer_id, now=now, now_ms=now_ms) for peer_id in strangers]
        return [entry for entry in entries if entry is not None]

    def lan_services(self) -> list[LanSeen]:
        """Every meshcall service on the LAN, whoever it is."""
        return [service.seen for service in self._services.values()]

    def expire(self, now: float) -> None:
        """Drop what is too old. Questions never see it anyway; this frees the room."""
        for peers in self._peers.values():
            for peer_id, sightings in [*peers.items()]:
                live = [sighting for sighting in sightings if sighting.expires > now]
                if live:
                    peers[peer_id] = live
                else:
                    del peers[peer_id]

    # --- inside ---

    def _claims(self, peer_id: PeerId, now_ms: int) -> list[_Service]:
        """The services that show the hint or the ID of ``peer_id``, the freshest first, capped."""
        hints = hints_near(peer_id, now_ms)
        claims = [
            service
            for service in reversed(self._services.values())
            if service.seen.announcement.hint in hints or service.seen.announcement.visible == peer_id
        ]
        return claims[: limits.LAN_CLAIMS_MAX]

    def _sightings(self, peer_id: PeerId, now: float, now_ms: int) -> Iterable[tuple[Source, _Sighting]]:
        for service in self._claims(peer_id, now_ms):
            for sighting in _of_service(service):
                yield "lan", sighting
        for source, peers in self._peers.items():
            for sighting in peers.get(peer_id, ()):
                if sighting.expires > now:
                    yield source, sighting

    def _hints_for(self, now_ms: int) -> dict[bytes, PeerId]:
        today = day_of(now_ms)
        if self._hints_day != today:
            self._hints_day = today
            self._hints = {one: peer_id for peer_id in self._known for one in hints_near(peer_id, now_ms)}
        return self._hints

    def _make_room(self, newcomer: PeerId | None, now_ms: int) -> bool:
        """Whether a new service may be kept. Ours drive strangers out, strangers drive strangers out."""
        ours = newcomer is not None and newcomer in self._known
        if ours:
            claims = [name for name, s in self._services.items() if self.who(s.seen, now_ms) == newcomer]
            if len(claims) >= limits.LAN_CLAIMS_MAX:
                # Somebody copies the hint. The older claims stay, for the peer may have been there first;
                # the youngest gives way, for the peer may just have started again.
                self.counters["claims"] += 1
                del self._services[claims[-1]]
        if len(self._services) < limits.LAN_SERVICES_MAX:
            return True
        self.counters["full: lan"] += 1
        for name, service in self._services.items():
            if self.who(service.seen, now_ms) not in self._known:
                del self._services[name]
                return True
        return False


def _of_service(service: _Service) -> list[_Sighting]:
    """All addresses of one service are of one age; the order that it was announced in stays."""
    return [_Sighting(address, service.at, math.inf) for address in service.seen.addresses]
