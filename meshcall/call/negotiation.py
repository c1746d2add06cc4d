"""Changes of a running session, on the control channel between the two endpoints: a screen more, ICE anew.

Law 1: these are the media endpoints' own; a call machine never sees them, and an endpoint looks at none
before the peer's confirm was verified. Older endpoints ignore them, as every unknown control message.
Law 2: each end numbers its offers, an answer has the number of its offer (``RoundNote``). While no path
answers they are told by sealed message, too; of what comes twice or late, the number tells.

    0        1
    +--------+------------------------------+
    |  type  | body                         |
    +--------+------------------------------+
    0x10 Offer       a compact description
    0x11 Answer      a compact description
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, Literal

from meshcall.errors import Rejected
from meshcall.ice.notes import Note, RoundNote
from meshcall.limits import DESCRIPTION_MAX
from meshcall.signaling.description import Description

NegotiateKind = Literal["offer", "answer"]

_SCREEN_STREAM: Final = 1
"""Of a screen: camera and microphone are of stream 0."""

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


class Rounds:
    """Which of the peer's changes are new, at one end of a call."""

    def __init__(self) -> None:
        self._asked = 0
        self._heard = 0

    def ask(self, number: int) -> bool:
        """We offer, and wait for this answer; True: the offer before got none, and is void."""
        again, self._asked = self._asked > 0, number
        return again

    def take_untrusted(self, kind: NegotiateKind, notes: Iterable[Note]) -> int:
        """The number of what the peer says; 0: it has none. Raises :class:`Rejected` ("old") for no news."""
        number = next((note.number for note in notes if isinstance(note, RoundNote)), 0)
        if kind == "offer":
            if number and number <= self._heard:
                raise Rejected("old")
            self._heard = max(self._heard, number)
        else:
            if not self._asked or number not in (0, self._asked):
                raise Rejected("old")
            self._asked = 0
        return number


def offer_screen(
    current: Description, first: int, ssrcs: tuple[int, ...], *, sends: bool
) -> Description | None:
    """Our offer of a screen in a running session; None: a call without pictures has none.

    ``current``: what we described ourselves with last; ``first``: how many sections the call began with.
    ``ssrcs``: that the screen is sent by; ``sends``: False once it is not shared any more. The section may be
    there already, ours or the peer's: there is one for both directions.

    What was negotiated stays as it is, payload types included: a receiver keeps those that it began with.
    """
    pictures = next(
        (one for one in current.sections[:first] if one.kind == "video" and not one.rejected), None
    )
    if pictures is None:
        return None
    mids = {section.mid for section in current.sections}
    later = current.sections[first : first + 1]
    mid = later[0].mid if later else next(name for name in map(str, count(first)) if name not in mids)
    screen = replace(
        pictures,
        mid=mid,
        direction="sendrecv" if sends else "recvonly",
        ssrcs=ssrcs if any(codec.rtx is not None for codec in pictures.codecs) else ssrcs[:1],
        stream=_SCREEN_STREAM,
    )
    sections = (*current.sections[:first], screen)
    return replace(current, setup="actpass", sections=sections, end_of_candidates=False, notes=())
