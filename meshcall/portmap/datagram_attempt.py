"""What NAT-PMP and PCP have in common: requests in datagrams, repeated, and a look whether a gateway lost its
mappings (both: RFC 6887 section 8.5, RFC 6886 section 3.6).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from meshcall.limits import PORTMAP_LOOK
from meshcall.portmap.attempt import NEVER, Attempt
from meshcall.portmap.epoch import Epoch
from meshcall.portmap.mapping import Gateway, Service
from meshcall.portmap.requests import Random, Requests, spread

Key = tuple[Literal["map", "remove"], Service] | Literal["look"]
"""What a request is about; a look changes nothing there, and tells the gateway's epoch."""


class DatagramAttempt(Attempt):
    """One protocol of datagrams at one gateway."""

    def __init__(
        self, gateway: Gateway, services: tuple[Service, ...], lifetime: int, random: Random
    ) -> None:
        super().__init__(gateway, services, lifetime, random)
        self._epoch = Epoch()
        self._requests: Requests[Key] = Requests(random)
        self._look_due = NEVER

    @abstractmethod
    def _look(self, now: float) -> None:
        """Send the request that is a look."""

    def unsupported(self) -> None:
        """The gateway does not speak this protocol."""
        self._give_up("another version")

    def unreachable(self) -> None:
        """Nothing listens there."""
        self._give_up("closed")

    def _give_up(self, reason: str) -> None:
        if not (self.mapped or self._released):
            self._requests.clear()
            self._failed(None, reason)

    def stop_asking(self) -> None:
        """Wait for no answer to an open question any more."""
        self._requests.clear()

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._requests)

    def handle_timer(self, now: float) -> None:
        """Send again, renew, look whether the gateway still has its mappings."""
        for key in self._requests.handle_timer(now):
            if key != "look" and key[0] == "map":
                self._unanswered(key[1], now)
        self._keep_up(now)
        if self._look_due <= now:
            self._look_due = NEVER
            if self.mapped:
                self._look(now)
                self._plan_look(now)

    def deadline(self) -> float:
        """When to call :meth:`handle_timer`."""
        return min(self._requests.deadline(), self._next(), self._look_due)

    def transmits(self) -> list[bytes]:
        """What is to be sent to the gateway's port 5351."""
        return self._requests.transmits()

    def _plan_look(self, now: float) -> None:
        self._look_due = now + spread(self._random, PORTMAP_LOOK, 0.2)
