"""Lip sync: how much later sound comes out than the picture of the same moment, and what is held for that.

A sender report says which RTP time belongs to which moment of the sender's clock (RFC 3550 section 6.4.1),
for each stream; so both can be laid on that clock, whatever it shows.

Law 1: a picture is held until its sound is no more than SYNC_SLACK later; one that comes later is not held.
Where pictures come later than their sound, sound is asked to lag likewise. Within the slack nothing waits.
Law 2: sound waits for what most pictures take; for those that wait for repairs, too, within SYNC_LAG, but not
for a burst.
Law 3: what a peer says of its clock changes a hold slowly, and never beyond SYNC_HOLD_MAX.
Law 4: nothing is compared by reports of which one knows a clock that the other one does not know yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
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

    def report(self, ntp: int, timestamp: int) -> bool:
        """RTP time ``timestamp`` was at the moment ``ntp`` (64 bits); whether the clock was set by that.

        It is 0 when a sender has no clock, and until stock aiortc has sent something.
        """
        if ntp == 0:
            return False
        moment = ntp / _NTP_SECOND
        known = self.moment(timestamp)
        self._report = moment, timestamp
        return known is not None and abs(moment - known) > limits.SYNC_JUMP

    def moment(self, timestamp: int) -> float | None:
        """When the sender had RTP time ``timestamp``, in seconds of its clock; None: no report came yet."""
        report = self._report
        if report is None:
            return None
        ticks = (timestamp - report[1] + 0x80000000) % 0x100000000 - 0x80000000
        return report[0] + ticks / self.rate


class _Stream:
    """How long what belongs to one moment takes until it comes out."""

    def __init__(self, rate: int) -> None:
        self.clock = StreamClock(rate)
        self.reported = 0
        """The number of its last report, of those of both streams."""
        self.was_set = 0
        """That of the last one by which its clock was set, of which the other stream did not know."""
        self.delay: float | None = None


class Sync:
    """Of the sound and the pictures of one peer."""

    def __init__(self, sound_rate: int, picture_rate: int) -> None:
        """Rates of the RTP clocks, in Hz."""
        self._sound, self._pictures = _Stream(sound_rate), _Stream(picture_rate)
        self._reports = 0
        self._sets = self._sets_seen = 0
        """How often a clock was set, and by how many of these delays were told."""
        self._origin: float | None = None
        """Subtracted from all delays: those between two unlike clocks are huge."""
        self._way: float | None = None
        """The delay of sound without its lag."""
        self._came: deque[float] = deque(maxlen=limits.SYNC_PICTURES)
        """Delays of the last pictures."""
        self._judged = (0.0, 0.0, 0.0)
        """The least of them, that of most of them, and of most of most stretches."""
        self._unjudged = limits.SYNC_JUDGED
        """Pictures that came since."""
        self._show: float | None = None
        """The delay at which pictures are shown that are there by then."""
        self.least = 0.0
        """Seconds that sound shall lag at least."""

    @property
    def sound(self) -> StreamClock:
        """The sender's clock for sound."""
        return self._sound.clock

    def sound_reported(self, ntp: int, timestamp: int) -> None:
        """A sender report about sound came."""
        self._report(self._sound, self._pictures, ntp, timestamp)

    def pictures_reported(self, ntp: int, timestamp: int) -> None:
        """A sender report about pictures came."""
        self._report(self._pictures, self._sound, ntp, timestamp)

    def _report(self, stream: _Stream, other: _Stream, ntp: int, timestamp: int) -> None:
        self._reports += 1
        if stream.clock.report(ntp, timestamp):
            if stream.reported >= other.was_set:  # else this is what the other one has told of
                stream.was_set = self._reports
            self._sets += 1
        if ntp:
            stream.reported = self._reports

    def sound_played(self, timestamp: int, at: float, lag: float) -> None:
        """Sound of RTP time ``timestamp`` came out, ``lag`` seconds after the fastest packets came."""
        delay = self._measured(self._sound, timestamp, at)
        if delay is not None:
            self._sound.delay = _mean(self._sound.delay, delay, _SMOOTH_SOUND)
            self._way = _mean(self._way, delay - lag, _SMOOTH_SOUND)

    def picture_came(self, timestamp: int, at: float) -> None:
        """A picture came out of its decoder."""
        delay = self._measured(self._pictures, timestamp, at)
        if delay is None:
            return
        self._came.append(delay)
        self._adjust(delay)
        shown = delay + self._held(delay)
        self._pictures.delay = _mean(self._pictures.delay, shown, _SMOOTH_PICTURES)

    def hold(self, timestamp: int, at: float) -> float:
        """Seconds for which a picture that is there is held, from ``at`` on. From any thread."""
        delay = self._delay(self._pictures, timestamp, at)
        return 0.0 if delay is None else self._held(delay)

    def _held(self, delay: float) -> float:
        show = self._show
        return 0.0 if show is None else min(limits.SYNC_HOLD_MAX, max(0.0, show - delay))

    def _measured(self, stream: _Stream, timestamp: int, at: float) -> float | None:
        """A delay, by a clock that both streams have."""
        sound, pictures = self._sound, self._pictures
        if self._sets_seen != self._sets:
            self._sets_seen = self._sets
            sound.delay = pictures.delay = self._way = self._show = None
            self._came.clear()
            self._unjudged = limits.SYNC_JUDGED
        if sound.reported < pictures.was_set or pictures.reported < sound.was_set:
            return None
        moment = stream.clock.moment(timestamp)
        if moment is not None and self._origin is None:
            self._origin = at - moment
        return self._delay(stream, timestamp, at)

    def _delay(self, stream: _Stream, timestamp: int, at: float) -> float | None:
        moment = stream.clock.moment(timestamp)
        return None if moment is None or self._origin is None else at - moment - self._origin

    @property
    def offset(self) -> float | None:
        """Seconds that sound comes out later than pictures are shown; None: not known."""
        sound, pictures = self._sound.delay, self._pictures.delay
        return None if sound is None or pictures is None else sound - pictures

    def _judge(self) -> tuple[float, float, float]:
        """See :attr:`_judged`; sorting takes longer than all else here, so not with each picture."""
        self._unjudged += 1
        if self._unjudged >= limits.SYNC_JUDGED or len(self._came) < limits.SYNC_PICTURES:
            self._unjudged = 0
            came = sorted(self._came)
            most = _quantile(came, 0.5)
            self._judged = came[0], most, self._usual(most)
        return self._judged

    def _usual(self, otherwise: float) -> float:
        """The delay in which most pictures of most of the last stretches came: a burst is one or two."""
        came, size = list(self._came), limits.SYNC_STRETCH
        stretches = [sorted(came[end - size : end]) for end in range(len(came), size - 1, -size)]
        lates = sorted(_quantile(stretch, limits.SYNC_IN_TIME) for stretch in stretches)
        return _quantile(lates, 0.5) if lates else otherwise

    def _adjust(self, delay: float) -> None:
        sound, way = self._sound.delay, self._way
        if sound is None or way is None:
            return
        first, most, usual = self._judge()
        show = delay if self._show is None else self._show
        show = _toward(show, sound - limits.SYNC_SLACK)
        self._show = min(first + limits.SYNC_HOLD_MAX, max(first, show))
        least = max(most - way - limits.SYNC_SLACK, min(usual - way, limits.SYNC_LAG))
        self.least = _toward(self.least, min(limits.SYNC_HOLD_MAX, max(0.0, least)))


def _quantile(delays: Sequence[float], share: float) -> float:
    """Of sorted delays."""
    return delays[int(share * (len(delays) - 1))]


def _mean(old: float | None, new: float, share: float) -> float:
    return new if old is None else old + share * (new - old)


def _toward(value: float, wanted: float) -> float:
    return value + min(limits.SYNC_STEP, max(-limits.SYNC_STEP, wanted - value))
