"""How pictures leave on a way that has little room: a piece at a time, so that sound goes between. Pure.

A keyframe is as many bits as ten pictures. At once, it fills the queue of a narrow link: sound waits behind
it, what does not fit is lost and asked for again, and the receiver sees a link that became narrower.

Law 1: what the way carries in ``PACE_BURST`` leaves at once: ordinary pictures do. The rest of a larger one
follows at ``PACE_OVER`` of the rate.
Law 2: no picture takes longer than ``PACE_LONGEST`` to leave, however little the way carries.
Law 3: what is sent again takes of the same room, and is refused while there is none.
Law 4: a way that was not found full of late is not narrow. If it carries hardly more than it is sent,
pictures leave as ``meshcall.media.beats`` says; elsewhere nothing waits.
"""

from __future__ import annotations

from meshcall import limits
from meshcall.media.beats import Beats


class Pacer:
    """Of the pictures that one peer is sent."""

    def __init__(self) -> None:
        self._rate: int | None = None
        self._close = False
        self._beats = Beats()
        self._least = 0.0
        self._room = 0.0
        """Bits that may leave at once; less than 0: a repair took too many."""
        self._at = 0.0

    def allow(self, rate: int | None, *, close: bool = False) -> None:
        """The way carries so many bits a second of pictures; None: it has room.

        ``close``: it is not full, but carries hardly more than that.
        """
        if rate != 0:  # pictures are paused: the last of them leaves as it began
            self._rate, self._close = rate, close and rate is not None

    @property
    def holds(self) -> bool:
        """Whether packets may have to wait."""
        return self._rate is not None

    @property
    def payload_most(self) -> int:
        """Octets of a picture in one packet."""
        return limits.BEATS_PAYLOAD if self._close else limits.RTP_PAYLOAD_MAX

    def sounded(self, now: float) -> None:
        """A packet of sound leaves."""
        self._beats.sounded(now)

    def begin(self, octets: int, behind: int) -> None:
        """A picture of this size follows, and so many octets wait behind it."""
        self._least = 8 * octets / limits.PACE_LONGEST
        if self._rate is not None and self._close:
            self._beats.begin(self._rate, octets + behind)

    def until(self, now: float) -> float:
        """Seconds until the next packet may leave, as far as is known ``now``."""
        return self._beats.until(now) if self._close else 0.0

    def pause(self, octets: int, now: float) -> float:
        """Seconds to wait after a packet of so many octets that left ``now``."""
        if self._close:
            self._beats.left(octets)
            return self._beats.until(now)
        if self._rate is None:
            self._room, self._at = 0.0, now
            return 0.0
        rate = max(limits.PACE_OVER * self._rate, self._least)
        room = self._grown(self._rate, rate, now) - 8 * octets
        wait = max(0.0, -room / rate)
        self._room, self._at = max(0.0, room), now + wait
        return wait

    def repair(self, octets: int, now: float) -> bool:
        """Whether a packet of so many octets may be sent again ``now``."""
        if self._rate is None or self._close:
            return True
        room = self._grown(self._rate, limits.PACE_OVER * self._rate, now)
        if room <= 0:
            return False
        self._room, self._at = room - 8 * octets, now
        return True

    def _grown(self, mean: int, rate: float, now: float) -> float:
        most = max(limits.PACE_BURST * mean, 16.0 * limits.RTP_PAYLOAD_MAX)
        return min(most, self._room + max(0.0, now - self._at) * rate)
