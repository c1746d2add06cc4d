"""What a TURN server asks its shell to do besides sending."""

from __future__ import annotations

from typing import NamedTuple

from meshcall.address import Address

Client = tuple[Address, int]
"""Who sends: an address, and 0 for UDP or the number that the shell gave to a stream."""


class OpenRelay(NamedTuple):
    """Open a UDP socket; answer with ``TurnServer.opened`` or ``not_opened``."""

    relay: int
    """Names it from now on."""
    family: int
    """4 or 6."""
    client: Client
    """For whom: the socket is to be reached from where the client is."""
    even: bool
    """Its port is to be an even number."""


class CloseRelay(NamedTuple):
    """Close the socket of ``relay``."""

    relay: int


Command = OpenRelay | CloseRelay
