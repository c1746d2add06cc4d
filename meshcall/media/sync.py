"""Lip sync: how much later sound comes out than the picture of the same moment, and what is held for that.

A sender report says which RTP time belongs to which moment of the sender's clock (RFC 3550 section 6.4.1),
for each stream; so both can be laid on that clock, whatever it shows.

Law 1: pictures are held just long enough that sound comes no more than SYNC_SLACK later; where pictures come
later, sound is asked to wait likewise. Within the slack nothing waits.
Law 2: what a peer says of its clock changes a hold slowly, and never beyond SYNC_HOLD_MAX.
"""

from __future__ import annotations

from typing import Final

from meshcall import limits

_NTP_SECOND: Final = 1 << 32
_SMOOTH_SOUND: Final = 0.25
_SMOOTH_PICTURES: Final = 0.1
"""Share of a new delay in the mean: that of sound is what it waits, those of pictures scatter."""


class StreamClock:
    """The sender's clock for one stream."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        """Of its RTP clock, in Hz; another codec may have another one."""
        self._report: tuple[float, int] | None = None

    def report(self, ntp: int, timestamp: int) -> None:
        """RTP time ``timestamp`` was at the moment ``ntp`` (64 bits)."""
        self._report = ntp / _NTP_SECOND, timestamp

    def moment(self, timestamp: int) -> float | None:
        """When the sender had RTP time ``timestamp``, in seconds of its clock; None: no report came yet."""
        if self._report is None:
            return None
        ticks = (timestamp - self._report[1] + 0x80000000) % 0x100000000 - 0x80000000
        return self._report[0] + ticks / self.rate


class Sync:
    """Of the sound and the pictures of one peer."""

    def __init__(self, sound_rate: int, picture_rate: int) -> None:
        """Rates of the RTP clocks, in Hz."""
        self.sound = StreamClock(sound_rate)
        self.pictures = StreamClock(picture_rate)
        self._sound_delay: float | None = None
        self._picture_delay: float | None = None
        self._origin: float | None = None
        """Subtracted from all delays: those between two unlike clocks are huge."""
        self.hold = 0.0
        """Seconds to hold pictures."""
        self.wait = 0.0
        """Seconds that sound shall wait longer."""

    def sound_played(self, timestamp: int, at: float) -> None:
        """Sound of RTP time ``timestamp`` came out."""
        delay = self._delay(self.sound.moment(timestamp), at)
        if delay is not None:
            self._sound_delay = _mean(self._sound_delay, delay, _SMOOTH_SOUND)

    def picture_came(self, timestamp: int, at: float) -> None:
        """A picture came out of its decoder; it is held from now on."""
        delay = self._delay(self.pictures.moment(timestamp), at)
        if delay is not None:
            self._picture_delay = _mean(self._picture_delay, delay, _SMOOTH_PICTURES)
        self._adjust()

    def _delay(self, moment: float | None, at: float) -> float | None:
        if moment is None:
            return None
        if self._origin is None:
            self._origin = at - moment
        return at - moment - self._origin

    @property
    def difference(self) -> float | None:
        """Seconds that sound came out later than pictures came from their decoder; None: not known."""
        if self._sound_delay is None or self._picture_delay is None:
            return None
        return self._sound_delay - self._picture_delay

    @property
    def offset(self) -> float | None:
        """Seconds that sound comes out later than pictures are shown; None: not known."""
        difference = self.difference
        return None if difference is None else difference - self.hold

    def _adjust(self) -> None:
        difference = self.difference
        if difference is None:
            return
        self.hold = _toward(self.hold, difference - limits.SYNC_SLACK)
        # Sound that waits is later already: what it waits belongs to its delay.
        self.wait = _toward(self.wait, self.wait - difference - limits.SYNC_SLACK)


def _mean(old: float | None, new: float, share: float) -> float:
    if old is None or abs(new - old) > limits.SYNC_JUMP:
        return new
    return old + share * (new - old)


def _toward(value: float, wanted: float) -> float:
    wanted = min(limits.SYNC_HOLD_MAX, max(0.0, wanted))
    return value + min(limits.SYNC_STEP, max(-limits.SYNC_STEP, wanted - value))
