"""Changes of a running session, on the control channel between the two endpoints: a screen more, ICE anew.

Law: these are the media endpoints' own; a call machine never sees them, and an endpoint looks at none before
the peer's confirm was verified. Older endpoints ignore them, as every unknown control message.

    0        1
    +--------+------------------------------+
    |  type  | body                         |
    +--------+------------------------------+
    0x10 Offer       a compact description
    0x11 Answer      a compact description
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from meshcall.errors import Rejected
from meshcall.limits import DESCRIPTION_MAX

NegotiateKind = Literal["offer", "answer"]

_TYPES: Final[dict[NegotiateKind, int]] = {"offer": 0x10, "answer": 0x11}
_KINDS: Final = {number: kind for kind, number in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Negotiate:
    """A description within a running session."""

    kind: NegotiateKind
    body: bytes
    """Encoded; untrusted where it comes from the peer."""


def encode_negotiate(message: Negotiate) -> bytes:
    """The octets; raises ValueError for a body that is empty or longer than a description."""
    if not 0 < len(message.body) <= DESCRIPTION_MAX:
        raise ValueError(f"the body has 1 to {DESCRIPTION_MAX} octets, not {len(message.body)}")
    return bytes([_TYPES[message.kind]]) + message.body


def is_negotiate(data: bytes) -> bool:
    """Whether a control message is an endpoint's own."""
    return data[:1] in (b"\x10", b"\x11")


def decode_negotiate_untrusted(data: bytes) -> Negotiate:
    """The message in ``data``; raises :class:`Rejected` ("negotiate")."""
    kind = _KINDS.get(data[0]) if data else None
    if kind is None or not 1 < len(data) <= DESCRIPTION_MAX + 1:
        raise Rejected("negotiate")
    return Negotiate(kind, data[1:])
