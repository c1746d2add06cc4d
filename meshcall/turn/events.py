"""What a TURN client tells its user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshcall.address import Address

EndReason = Literal["closed", "timeout", "lost", "response", "error", "refused"]
"""``lost``: the stream; ``response``: one that can't be used; ``error``: see the code; ``refused``: the node
lends no relay (the code is ``RELAY_...`` of :mod:`meshcall.dht.messages`)."""


@dataclass(frozen=True, slots=True)
class Allocated:
    """The relayed address is ours until :class:`Ended`."""

    relayed: Address
    mapped: Address
    """Ours, as the server sees it."""


@dataclass(frozen=True, slots=True)
class Received:
    """Data of a peer."""

    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The server relays nothing to that host; what waited for it is dropped."""

    host: str
    code: int
    """The STUN error; 0: there was no answer."""


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no allocation, or none any more."""

    reason: EndReason
    code: int = 0
    """The STUN error, if there was one."""


TurnEvent = Allocated | Received | Refused | Ended
