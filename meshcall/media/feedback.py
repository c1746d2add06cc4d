"""What a peer reports of the stream that it is sent: RTCP (RFC 3550, RFC 4585, RFC 5104), made plain.

Law: these calls come from a peer's packets: whoever takes them bears any number of any of them, at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from meshcall import limits


class Feedback(Protocol):
    """Of one stream to one peer: whoever decides on its rate takes it."""

    def rr(self, fraction_lost: float, jitter: float, rtt: float | None) -> None:
        """A receiver report: the share of packets lost since the last one (0 to 1), the interarrival jitter
        and the round trip, both in seconds; None: not known yet.
        """

    def remb(self, bits: int) -> None:
        """The bits a second that the peer thinks its way carries, for all that it is sent."""

    def nack(self, packets: int) -> None:
        """The peer misses so many packets more, and is sent them again."""

    def keyframe(self) -> None:
        """The peer can't decode before the next keyframe (PLI or FIR)."""


class Rates:
    """Turns reports into what a sender may send: the rate is the peer's REMB, the loss is smoothed. Pure."""

    def __init__(
        self,
        *,
        set_rate: Callable[[int], None] | None,
        set_loss: Callable[[float], None] | None,
        want_keyframe: Callable[[], None],
    ) -> None:
        """``set_rate(bits a second)`` is for pictures, ``set_loss(share)`` for sound."""
        self._set_rate = set_rate
        self._set_loss = set_loss
        self._want_keyframe = want_keyframe
        self._loss = 0.0

    def rr(self, fraction_lost: float, jitter: float, rtt: float | None) -> None:
        """See :class:`Feedback`."""
        # Up at once, down over some ten reports: a burst comes seldom alone.
        self._loss = max(fraction_lost, 0.9 * self._loss + 0.1 * fraction_lost)
        if self._set_loss is not None:
            self._set_loss(self._loss)

    def remb(self, bits: int) -> None:
        """See :class:`Feedback`."""
        if self._set_rate is not None:
            self._set_rate(bits)

    def nack(self, packets: int) -> None:
        """See :class:`Feedback`."""

    def keyframe(self) -> None:
        """See :class:`Feedback`."""
        self._want_keyframe()


class Requests:
    """What a peer asks to be sent again: of the last ``REQUESTS_MAX`` packets, each counts once. Pure.

    Who asks twice for the same packet has lost it once.
    """

    def __init__(self) -> None:
        self._known: dict[int, None] = {}

    def fresh(self, numbers: Sequence[int]) -> int:
        """How many of these were not asked for before."""
        count = 0
        for number in numbers:
            if number not in self._known:
                count += 1
                self._known[number] = None
        while len(self._known) > limits.REQUESTS_MAX:
            del self._known[next(iter(self._known))]
        return count
