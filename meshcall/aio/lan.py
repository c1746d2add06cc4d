"""The LAN of a node: mDNS, and the directories of who and which rooms were seen there.

Law 1: what mDNS says is a hint where to ask; who it is, only that peer's signed presence says.
Law 2: zeroconf is loaded only when mDNS is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.config import Config
from meshcall.discovery.directory import Directory, Entry
from meshcall.discovery.lan import LanAnnouncement, LanSeen
from meshcall.discovery.rooms import RoomAnnouncement, RoomsSeen
from meshcall.identity.keys import Random
from meshcall.identity.peer_id import PeerId

if TYPE_CHECKING:
    from meshcall.aio.mdns import LanService


class Lan:
    """Announces us, and knows who else is here."""

    def __init__(
        self,
        config: Config,
        me: PeerId,
        *,
        port: int,
        clock: Clock,
        random: Random,
        name: Callable[[], str | None],
        known: Callable[[], list[PeerId]],
        on_change: Callable[[PeerId], None],
        on_service: Callable[[], None] = lambda: None,
        rooms: Callable[[], tuple[RoomAnnouncement, ...]] = lambda: (),
        on_rooms: Callable[[], None] = lambda: None,
    ) -> None:
        """``name``: what everybody here is shown as ours, with our ID; None: neither.

        ``known``: our contacts, who are recognised unasked. ``on_change``: one of them, or somebody
        visible, came or went. ``on_service``: a daemon is here, whoever it is. ``rooms``: what is said of
        those that we are in. ``on_rooms``: what is said of rooms here is new.
        """
        self._config = config
        self._me = me
        self._port = port
        self._clock = clock
        self._random = random
        self._name = name
        self._known = known
        self._on_change = on_change
        self._on_service = on_service
        self._our_rooms = rooms
        self._on_rooms = on_rooms
        self.rooms = RoomsSeen()
        """The rooms that are announced here."""
        self._recognised = set(known())
        self._directory = Directory(self._recognised)
        self._service: LanService | None = None

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Announce and browse. Never fails: without a network it waits for one."""
        from meshcall.aio.mdns import LanService

        self._service = LanService(
            self._port,
            self._announcement,
            self._seen,
            self._gone,
            nonce=self._random(16),
            interfaces=self._config.interfaces,
        )
        await self._service.start()

    async def close(self) -> None:
        """Say goodbye."""
        if self._service is not None:
            await self._service.close()
            self._service = None

    async def network_changed(self) -> None:
        """Announce and ask anew, whatever the interfaces look like."""
        if self._service is not None:
            await self._service.renew()

    async def announce(self) -> None:
        """Say now what we say of ourselves, if that changed."""
        if self._service is not None:
            await self._service.update()

    def contacts_changed(self) -> None:
        """Recognise whom we know now, and nobody else."""
        known = set(self._known())
        for peer in known - self._recognised:
            self._directory.know(peer)
        for peer in self._recognised - known:
            self._directory.forget(peer)
        self._recognised = known

    # --- questions --------------------------------------------------------------------------------

    def addresses(self, peer: PeerId) -> list[Address]:
        """Where ``peer`` may be on this LAN, best first."""
        return self._directory.on_lan(peer, now_ms=self._clock.now_ms())

    def ask(self, host: str) -> None:
        """Ask that machine alone who it is and tell it who we are, for multicast may not reach it.

        ``host``: an IP address. Nothing happens while mDNS is off.
        """
        if self._service is not None:
            self._service.ask(host)

    async def resolve_untrusted(self, name: str) -> list[str]:
        """The addresses of a browser's ``<uuid>.local`` by mDNS; none while that is off. Cannot fail."""
        return [] if self._service is None else await self._service.resolve_untrusted(name)

    def peers(self) -> list[PeerId]:
        """Visible people here who are no contacts."""
        strangers = self._directory.strangers(now=self._clock.now(), now_ms=self._clock.now_ms())
        return [entry.peer_id for entry in strangers]

    def count(self) -> int:
        """Other meshcall nodes here, whoever they are."""
        return len(self._directory.lan_services())

    def services(self) -> list[Sequence[Address]]:
        """Where the other nodes here are, whoever they are: the addresses of each, who came last first."""
        return [seen.addresses for seen in reversed(self._directory.lan_services())]

    def self_name(self, peer: PeerId) -> str:
        """What ``peer`` calls itself here, unverified."""
        entry = self._entry(peer)
        return entry.name if entry else ""

    def last_seen_ms(self, peer: PeerId) -> int | None:
        """When ``peer`` was seen here last, unix milliseconds."""
        entry = self._entry(peer)
        if entry is None:
            return None
        return self._clock.now_ms() - int((self._clock.now() - entry.seen) * 1000)

    @property
    def counters(self) -> Counter[str]:
        """What was refused, by reason."""
        found = Counter({f"lan-{reason}": count for reason, count in self._directory.counters.items()})
        if self._service is not None:
            counters = self._service.statistics().counters
            found += Counter({f"lan-{reason}": count for reason, count in counters.items()})
        return found

    @property
    def heard_itself(self) -> bool:
        """Whether our own announcement came back to us: multicast works as far as this machine can tell."""
        return self._service is not None and self._service.heard_itself

    @property
    def fault(self) -> str | None:
        """Why the LAN can't be used now; None: it can."""
        return self._service.statistics().fault if self._service is not None else None

    # --- inside -----------------------------------------------------------------------------------

    def _entry(self, peer: PeerId) -> Entry | None:
        return self._directory.entry(peer, now=self._clock.now(), now_ms=self._clock.now_ms())

    def _announcement(self) -> LanAnnouncement:
        name = self._name()
        return LanAnnouncement.of(
            self._me,
            self._clock.now_ms(),
            visible=name is not None,
            name=name or "",
            rooms=self._our_rooms(),
        )

    def _seen(self, seen: LanSeen) -> bool:
        """Note it; True for a contact, whom a flood of strangers must not drive out."""
        peer = self._directory.sight_lan(seen, now=self._clock.now(), now_ms=self._clock.now_ms())
        if peer is not None and peer != self._me:
            self._on_change(peer)
        self._on_service()
        if self.rooms.seen(seen.instance, seen.announcement.rooms):
            self._on_rooms()
        return peer in self._recognised or self.rooms.matters(seen.instance)

    def _gone(self, instance: str) -> None:
        peer = self._directory.gone_lan(instance, now_ms=self._clock.now_ms())
        if self.rooms.gone(instance):
            self._on_rooms()
        if peer is not None and peer != self._me:
            self._on_change(peer)
