"""How calls and a relay share the STUN messages of one UDP port: calls first."""

from __future__ import annotations

from typing import Protocol

from meshcall.address import Address


class StunTaker(Protocol):
    """The relay on a port: it takes STUN messages that are no call's."""

    def awaits(self, data: bytes, address: Address) -> bool:
        """Whether a datagram is of a client of it."""

    def receive_stun(self, data: bytes, address: Address) -> None:
        """A STUN message."""


class StunPort(Protocol):
    """A port whose calls take their STUN messages; what is not theirs is handed to ``relay``."""

    relay: StunTaker | None
