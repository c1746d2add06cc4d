"""UPnP IGD at one gateway: finding it is done here, what is said to it by HTTP is done by the shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from meshcall.errors import Rejected
from meshcall.limits import PORTMAP_SEARCHES, PORTMAP_UPNP_RENEW
from meshcall.portmap.attempt import NEVER, Attempt
from meshcall.portmap.mapping import Gateway, Mapping, Protocol, Service
from meshcall.portmap.requests import Random, spread
from meshcall.portmap.ssdp import decode_location_untrusted

SEARCH_RTO = 0.1


@dataclass(frozen=True, slots=True)
class MapUpnp:
    """Ask the gateway whose description is at ``location`` for a mapping, or that it is renewed."""

    location: str
    service: Service
    external_port: int
    """A wish."""
    lifetime: int


@dataclass(frozen=True, slots=True)
class UnmapUpnp:
    """Ask it to remove a mapping."""

    location: str
    service: Service
    external_port: int


UpnpCommand = MapUpnp | UnmapUpnp


class UpnpAttempt(Attempt):
    """A search, then what it found is asked: several round trips of TCP."""

    protocol: ClassVar[Protocol] = "upnp"
    _renew_within: ClassVar[float] = PORTMAP_UPNP_RENEW

    def __init__(
        self, gateway: Gateway, services: tuple[Service, ...], lifetime: int, random: Random
    ) -> None:
        super().__init__(gateway, services, lifetime, random)
        self.location = ""
        self._open: set[UpnpCommand] = set()
        self._commands: list[UpnpCommand] = []
        self._searches = 0
        self._search_due = NEVER
        self._search_now = False

    def start(self, now: float) -> None:
        """Search."""
        self.failure, self.asked, self.location = "", False, ""
        self._searches = 0
        self._search(now)

    def ask(self, service: Service, now: float) -> None:
        """Ask for a mapping, with the same external port as before if there was one."""
        mapping = self.mappings.get(service)
        port = mapping.external[1] if mapping else service.port
        self._order(MapUpnp(self.location, service, port, self.lifetime))

    def give_back(self, service: Service, mapping: Mapping, now: float) -> None:
        """Ask that a mapping is removed."""
        self._order(UnmapUpnp(self.location, service, mapping.external[1]))

    def receive(self, data: bytes, now: float) -> None:
        """An answer to a search, of the gateway; raises :class:`Rejected`."""
        if self._searches == 0:
            raise Rejected("unasked")
        location = decode_location_untrusted(data, self.gateway.host)
        if not self.location:  # the first one counts: a gateway has one for each question
            self.location = location
        self.heard = True
        self._search_due = NEVER

    def mapped_as(self, command: MapUpnp, external: tuple[str, int], lifetime: float, now: float) -> None:
        """The gateway did it; ``lifetime`` 0: for ever."""
        self._open.discard(command)
        if self._released or command.service not in self.services:
            self._order(UnmapUpnp(command.location, command.service, external[1]))
        else:
            self._granted(command.service, external, lifetime, now)

    def failed(self, command: UpnpCommand, failure: str, now: float, *, refused: bool) -> None:
        """It did not do it. A mapping stays if the gateway has only not answered (``refused`` is false)."""
        self._open.discard(command)
        if not isinstance(command, MapUpnp):
            return
        if command.service in self.mappings and not refused:
            self._unanswered(command.service, now)
        else:
            self._failed(command.service, failure)

    def removed(self, command: UnmapUpnp) -> None:
        """It did it."""
        self._open.discard(command)

    def stop_asking(self) -> None:
        """Search no more. What was ordered is waited for: it may make a mapping, which is removed then."""
        self._search_due, self._search_now = NEVER, False

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._open)

    def handle_timer(self, now: float) -> None:
        """Search again, renew."""
        if self._search_due <= now:
            self._search(now)
        self._keep_up(now)

    def deadline(self) -> float:
        """When to call :meth:`handle_timer`."""
        return min(self._search_due, self._next())

    def search_wanted(self) -> bool:
        """Whether to send the searches now."""
        wanted, self._search_now = self._search_now, False
        return wanted

    def commands(self) -> list[UpnpCommand]:
        """What the shell is to do; each is to be answered."""
        taken, self._commands = self._commands, []
        return taken

    def _search(self, now: float) -> None:
        self._search_now = True
        self._searches += 1
        again = self._searches < PORTMAP_SEARCHES
        self._search_due = (
            now + spread(self._random, SEARCH_RTO * 4 ** (self._searches - 1), 0.1) if again else NEVER
        )

    def _order(self, command: UpnpCommand) -> None:
        if command not in self._open:
            self._open.add(command)
            self._commands.append(command)
