"""What the protocols have in common: mappings of services at one gateway, kept up until they are released.

Law 1: a mapping is renewed when half of its life is over, then in halves of the rest; after that it is gone.
Law 2: what a gateway grants is held within ``PORTMAP_RENEW_MIN`` and ``PORTMAP_RENEW_MAX``: it can make us
ask neither all the time nor never again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from meshcall.address import Address
from meshcall.limits import PORTMAP_LOST, PORTMAP_RENEW_MAX, PORTMAP_RENEW_MIN
from meshcall.portmap.mapping import Gateway, Mapping, Protocol, Service
from meshcall.portmap.requests import Random, spread

NEVER = float("inf")


class Attempt(ABC):
    """One protocol at one gateway."""

    protocol: ClassVar[Protocol]

    def __init__(
        self, gateway: Gateway, services: tuple[Service, ...], lifetime: int, random: Random
    ) -> None:
        """``lifetime``: seconds that are asked for."""
        self.gateway = gateway
        self.services = services
        self.lifetime = lifetime
        self.heard = False
        """The gateway speaks this protocol."""
        self.asked = False
        """Mappings were asked for."""
        self.failure = ""
        """Why there is no mapping, in a few words; empty: not known, or there is one."""
        self.retry_after = 0.0
        """Seconds for which the same request will fail, as the gateway says."""
        self.mappings: dict[Service, Mapping] = {}
        self._random = random
        self._renewals: dict[Service, float] = {}
        self._released = False

    # --- what each protocol does its own way ---

    @abstractmethod
    def start(self, now: float) -> None:
        """Find out whether the gateway speaks this protocol, anew."""

    @abstractmethod
    def ask(self, service: Service, now: float) -> None:
        """Ask for a mapping, or that it is renewed."""

    @abstractmethod
    def give_back(self, service: Service, mapping: Mapping, now: float) -> None:
        """Ask that a mapping is removed."""

    @abstractmethod
    def stop_asking(self) -> None:
        """Wait for no answer to an open question any more."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether an answer is waited for."""

    @abstractmethod
    def handle_timer(self, now: float) -> None:
        """To be called when :meth:`deadline` is reached."""

    @abstractmethod
    def deadline(self) -> float:
        """When something is to be done without an input; infinite: never."""

    # --- what is the same ---

    @property
    def mapped(self) -> bool:
        """Whether there is any mapping."""
        return bool(self.mappings)

    def map(self, now: float) -> None:
        """Ask for all mappings."""
        self.asked = True
        for service in self.services:
            self.ask(service, now)

    def want(self, services: tuple[Service, ...], now: float) -> None:
        """These from now on."""
        gone = [service for service in self.services if service not in services]
        new = [service for service in services if service not in self.services]
        self.services = services
        for service in gone:
            mapping = self.mappings.pop(service, None)
            self._renewals.pop(service, None)
            if mapping is not None:
                self.give_back(service, mapping, now)
        if self.asked and not self.failure:
            for service in new:
                self.ask(service, now)

    def release(self, now: float) -> None:
        """Give everything back; it is done when nothing is waited for any more."""
        self._released = True
        self._renewals.clear()
        self.stop_asking()
        mappings, self.mappings = self.mappings, {}
        for service, mapping in mappings.items():
            self.give_back(service, mapping, now)

    def lost(self, now: float) -> None:
        """The gateway has lost its mappings, or may have: they count until it had time to make them anew."""
        for service, mapping in tuple(self.mappings.items()):
            expires = min(mapping.expires, now + PORTMAP_LOST)
            self.mappings[service] = Mapping(
                service, mapping.protocol, mapping.external, mapping.lifetime, expires
            )
            self._renewals.pop(service, None)
            self.ask(service, now)

    def _granted(self, service: Service, external: Address, lifetime: float, now: float) -> None:
        """``lifetime`` 0: for ever."""
        held = min(max(lifetime, PORTMAP_RENEW_MIN), 2 * PORTMAP_RENEW_MAX) if lifetime else NEVER
        self.failure, self.retry_after = "", 0.0
        self.mappings[service] = Mapping(service, self.protocol, external, lifetime, now + held)
        # RFC 6887 section 11.2.1: by chance between a half and five eighths
        self._renewals[service] = now + spread(
            self._random, min(held / 2, self._renew_within, PORTMAP_RENEW_MAX), 0.2
        )

    _renew_within: ClassVar[float] = NEVER
    """Seconds after which a mapping is renewed, however long it lives."""

    def _failed(self, service: Service | None, failure: str, retry_after: float = 0.0) -> None:
        """The gateway said no: ``service``: to this one only; the first one is what it is all about."""
        for one in self.services if service is None else (service,):
            self.mappings.pop(one, None)
            self._renewals.pop(one, None)
        if service is None or service in self.services[:1]:
            self.failure, self.retry_after = failure, retry_after

    def _unanswered(self, service: Service, now: float) -> None:
        """A request was given up: another one in half of the time that is left."""
        mapping = self.mappings.get(service)
        if mapping is not None and mapping.expires != NEVER:
            left = mapping.expires - now
            self._renewals[service] = now + max(left / 2, PORTMAP_RENEW_MIN)

    def _keep_up(self, now: float) -> None:
        """Renew what is due, forget what has ended."""
        for service, mapping in tuple(self.mappings.items()):
            if mapping.expires <= now:
                del self.mappings[service]
                self._renewals.pop(service, None)
        for service, due in tuple(self._renewals.items()):
            if due <= now:
                del self._renewals[service]
                self.ask(service, now)

    def _next(self) -> float:
        ends = min((mapping.expires for mapping in self.mappings.values()), default=NEVER)
        return min(ends, min(self._renewals.values(), default=NEVER))
