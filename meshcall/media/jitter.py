"""When each piece of a sound stream is played, and what is played in the place of missing ones. Pure.

Packets go in as they arrive, steps come out as time passes: a packet, the copy of a lost packet that its
follower carries, or sound to be made up.

Law 1: something is due at every moment while a stream plays; a missing packet never holds up those after it.
Law 2: sound waits for as long as the jitter asks for, AUDIO_TARGET_MIN to _MAX; what a stall adds is played
off at once, by shortening sound rather than by leaving it out. A packet that comes late and alone waits a
little for the next one: where the way became slower that one is late, too.
Law 3: a pause of the sender (DTX) is no loss: its numbers go on, its timestamps jump.
Law 4: numbers and timestamps are the peer's: whatever they are, what is kept here is bounded, and a sender
that begins anew is heard.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final, Literal

from meshcall import limits
from meshcall.media.delay import DelayEstimate

Kind = Literal["packet", "repaired", "concealed", "pause"]
Stretch = Literal["", "shorter", "longer"]

_PIECE_LEAST: Final = 0.005
_PIECE_MOST: Final = 0.02
"""Seconds that are made up at a time while nobody knows what comes next: a quarter of a packet."""
_PAUSE: Final = 0.01
"""Seconds of a sender's silence that are made up at a time."""
_EVERY: Final = 3
"""Each so many-th packet is shortened or lengthened when there is no hurry."""


@dataclass(slots=True)
class SoundPacket:
    """One RTP packet of sound."""

    ssrc: int
    sequence: int
    timestamp: int
    data: bytes
    length: int
    """In units of the RTP clock; more than 0."""
    copied: int = 0
    """Likewise: so much of the end of the packet before it has a copy in this one."""


@dataclass(slots=True)
class Step:
    """What is to be played next."""

    kind: Kind
    """``packet``: decode ``data``; ``repaired``: decode from it the copy of the packet before; ``concealed``
    and ``pause``: make up what fits, after a loss or in the sender's silence."""
    data: bytes
    seconds: float
    """How long it is before it is stretched."""
    stretch: Stretch
    hurry: bool
    """It shall be stretched though it may be heard."""
    at: float
    """When it is due."""
    timestamp: int
    """RTP time of its first sample, 32 bits."""


@dataclass(slots=True)
class Counts:
    """What became of the packets."""

    packets: int = 0
    """Played."""
    repaired: int = 0
    """Lost, and played from their copies."""
    late: int = 0
    """Came after their time, or twice."""
    skipped: int = 0
    """Left out to catch up."""
    restarts: int = 0
    """Times that the sender began anew."""
    concealed: float = 0.0
    """Seconds made up in the place of sound that was missing."""

    def added_to(self, other: Counts) -> Counts:
        """The sums."""
        return Counts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class JitterBuffer:
    """Of one stream; times are seconds of one clock."""

    def __init__(self, rate: int) -> None:
        """``rate``: of the RTP clock, in Hz."""
        self._rate = rate
        self._delay = DelayEstimate()
        self._packets: dict[int, SoundPacket] = {}
        """By timestamp without wrap."""
        self._ssrc: int | None = None
        self._newest = 0
        """Highest number that arrived, without wrap."""
        self._newest_time = 0
        """Its timestamp, without wrap."""
        self._newest_at = 0.0
        """When it arrived."""
        self._next = 0
        """Timestamp of what is played next."""
        self._played_number: int | None = None
        """Number of the packet that was played last."""
        self._made_up = 0
        """Made up while it was not known what for, in units of the clock: late packets are played later."""
        self._due: float | None = None
        self._suspect: int | None = None
        self._lost_at: float | None = None
        self._loss_began: float | None = None
        """When the first of the last losses was, which are one."""
        self._loses = False
        """They were not the only ones lately."""
        self._repairs = False
        self._length = 0
        """Of the packet that came last."""
        self._since_stretch = 0
        self._lagged = 0.0
        """Seconds of sound for which shortening has been wanted, and did not do."""
        self.least = 0.0
        """Seconds that sound shall lag at least, whatever the jitter asks for."""
        self.lag = 0.0
        """Seconds that the last step lagged behind the fastest packets."""
        self.counts = Counts()

    @property
    def target(self) -> float:
        """Seconds that sound shall wait for, after the fastest packet."""
        needed = self._delay.needed
        wanted = limits.AUDIO_TARGET_FIRST if needed is None else needed + limits.AUDIO_MARGIN
        wanted = min(limits.AUDIO_TARGET_MAX, max(limits.AUDIO_TARGET_MIN, wanted + self._room()))
        return max(wanted, self.least)

    def _room(self) -> float:
        """For the packet that carries a copy of a lost one, or with which it is sent again."""
        return self._length / self._rate if self._repairs and self._lost_at is not None else 0.0

    def deadline(self) -> float | None:
        """When the next step is due; None: not before a packet comes."""
        return self._due

    # --- in ---

    def put(self, packet: SoundPacket, arrival: float) -> None:
        """A packet arrived."""
        if self._ssrc != packet.ssrc:
            self._begin(packet, arrival)
            return
        number = self._newest + _nearest(packet.sequence - self._newest, 16)
        time = self._newest_time + _nearest(packet.timestamp - self._newest_time, 32)
        if abs(number - self._newest) > limits.AUDIO_SEQUENCE_JUMP:
            if packet.sequence == self._suspect:
                self._begin(packet, arrival)
            else:
                self._suspect = (packet.sequence + 1) & 0xFFFF
            return
        self._suspect = None
        transit = arrival - time / self._rate
        if number > self._newest:
            if abs(transit - self._delay.base) > limits.AUDIO_RESTART:
                self._begin(packet, arrival)
                return
            self._newest, self._newest_time, self._newest_at = number, time, arrival
        if time in self._packets or (time < self._next and self._due is not None):
            self.counts.late += 1
        if time in self._packets or abs(transit - self._delay.base) > limits.AUDIO_RESTART:
            return
        self._delay.add(transit, arrival)
        if time < self._next and (self._due is not None or number < self._newest):
            return
        if number < self._newest and self._due is not None:  # a copy, or one that was overtaken
            self._repairs = True
            self._note_loss(arrival)
        self._keep(number, time, packet)
        if self._due is None:
            self._resume(time, arrival)

    def _begin(self, packet: SoundPacket, arrival: float) -> None:
        """The first packet of a sender, or of one that began anew."""
        if self._ssrc is not None:
            self.counts.restarts += 1
        self._ssrc = packet.ssrc
        self._packets.clear()
        self._delay = DelayEstimate()
        self._newest, self._newest_time = packet.sequence, packet.timestamp
        self._played_number = None
        self._suspect = self._lost_at = self._loss_began = None
        self._delay.add(arrival - packet.timestamp / self._rate, arrival)
        self._keep(packet.sequence, packet.timestamp, packet)
        self._resume(packet.timestamp, arrival)

    def _resume(self, time: int, arrival: float) -> None:
        """Play from ``time`` on, as soon as its time has come."""
        self._next, self._made_up = time, 0
        begin = self._delay.base + time / self._rate + self.target
        self._due = max(begin, arrival, self._due or begin)

    def _keep(self, number: int, time: int, packet: SoundPacket) -> None:
        if len(self._packets) >= limits.AUDIO_PACKETS_MAX:
            self.counts.skipped += 1
            del self._packets[min(self._packets)]
        self._packets[time] = SoundPacket(
            packet.ssrc, number, time, packet.data, packet.length, packet.copied
        )
        self._repairs |= packet.copied > 0
        self._length = packet.length

    # --- out ---

    def take(self, now: float) -> Step | None:
        """What is due, if anything is."""
        if self._due is None or now < self._due:
            return None
        if now - self._due > limits.AUDIO_LAG_MAX:
            self._due = now  # this machine slept: a burst of old sound helps nobody
        memory = limits.AUDIO_LOSS_MEMORY if self._loses else limits.AUDIO_LOSS_ONCE
        if self._lost_at is not None and now - self._lost_at > memory:
            self._lost_at = None
        self._catch_up()
        while self._packets and min(self._packets) < self._next:  # pieces that overlap
            del self._packets[min(self._packets)]
            self.counts.late += 1
        if self._alone(now):
            return self._make_up()
        packet = self._packets.pop(self._next, None)
        if packet is None:
            return self._fill(now)
        self.counts.concealed += self._made_up / self._rate
        self._made_up = 0
        self.counts.packets += 1
        self._played_number = packet.sequence
        return self._step("packet", packet.data, packet.length, packet.length, stretch=True)

    def played(self, seconds: float, nominal: float) -> None:
        """The last step took so long instead of ``nominal``: it was stretched."""
        if self._due is not None:
            self._due += seconds - nominal

    def _fill(self, now: float) -> Step | None:
        """Something in the place of a packet that is not there."""
        if not self._packets:
            if self._made_up >= limits.AUDIO_CONCEAL_MAX * self._rate:
                self._due = None
                return None
            return self._make_up()
        upcoming = self._packets[min(self._packets)]
        covered = min(self._made_up, upcoming.timestamp - self._next)
        self._next += covered
        self._made_up -= covered
        missing = upcoming.timestamp - self._next
        pause = self._played_number is None or upcoming.sequence == self._played_number + 1
        if pause:
            missing -= self._shorten_pause(missing)
        else:
            self._note_loss(now)
            self.counts.concealed += covered / self._rate
        if missing <= 0:
            return self.take(now)
        if not pause and missing <= upcoming.copied:
            self.counts.repaired += 1
            self._played_number = upcoming.sequence - 1
            return self._step("repaired", upcoming.data, upcoming.copied, missing)
        size = min(missing, upcoming.length if not pause else round(_PAUSE * self._rate))
        copied = upcoming.copied or upcoming.length
        if missing > copied and not pause:
            size = min(size, missing - copied)  # so that the last one can be had from its copy
        return self._step("pause" if pause else "concealed", b"", size, size)

    def _make_up(self) -> Step:
        """A little sound, while it is not known in the place of what."""
        quarter = self._length / self._rate / 4
        piece = round(min(_PIECE_MOST, max(_PIECE_LEAST, quarter)) * self._rate)
        self._made_up += piece
        return self._step("concealed", b"", piece, 0)

    def _alone(self, now: float) -> bool:
        """Whether what is next was late, came just now, and what is behind it may come soon."""
        return (
            limits.AUDIO_ALONE_AFTER <= self._made_up / self._rate < limits.AUDIO_ALONE_UNTIL
            and now - self._newest_at < limits.AUDIO_ALONE_WAIT
            and self._length <= limits.AUDIO_ALONE_WAIT * self._rate
            and list(self._packets) == [self._next]
        )

    def _note_loss(self, now: float) -> None:
        """What a burst lost is no reason to wait for long: it is over."""
        began = self._loss_began
        if began is None or now - began > limits.AUDIO_LOSS_PAUSE:
            self._loses = began is not None and now - began <= limits.AUDIO_LOSS_MEMORY
            self._loss_began = now
        self._lost_at = now

    def _shorten_pause(self, missing: int) -> int:
        """Where the sender is silent, lag goes unheard."""
        excess = round((self._lag() - self.target) * self._rate)
        cut = max(0, min(missing, excess))
        self._next += cut
        return cut

    def _step(self, kind: Kind, data: bytes, length: int, advance: int, *, stretch: bool = False) -> Step:
        assert self._due is not None, "something is due"
        at, self.lag = self._due, self._lag()
        excess, short = self._excess(), self.target - self._lag()
        way: Stretch = self._stretch(excess, short) if stretch else ""
        seconds = length / self._rate
        if kind == "concealed" and advance:  # else it is not known yet what it stands for
            self.counts.concealed += seconds
        hurry = max(excess, short) > limits.AUDIO_STRETCH_ALWAYS
        self._lagged = self._lagged + seconds if excess > limits.AUDIO_STRETCH_FROM else 0.0
        hurry |= self._lagged > limits.AUDIO_STRETCH_PATIENCE
        step = Step(kind, data, seconds, way, hurry, at, self._next & 0xFFFFFFFF)
        self._next += advance
        self._due += seconds
        return step

    def _stretch(self, excess: float, short: float) -> Stretch:
        self._since_stretch += 1
        if self._since_stretch < _EVERY and max(excess, short) < limits.AUDIO_STRETCH_ALWAYS:
            return ""
        way: Stretch = ""
        if excess > limits.AUDIO_STRETCH_FROM:
            way = "shorter"
        elif short > limits.AUDIO_STRETCH_FROM:
            way = "longer"
        if way:
            self._since_stretch = 0
        return way

    def _excess(self) -> float:
        """Seconds of lag that could be played off: a way that became slower leaves nothing to shorten."""
        return min(self._lag(), self._held()) - self.target

    def _held(self) -> float:
        return (self._newest_time + self._length - self._next) / self._rate

    def _lag(self) -> float:
        assert self._due is not None, "something is due"
        return self._due - (self._delay.base + self._next / self._rate)

    def _catch_up(self) -> None:
        """Leave sound out that lags too far behind."""
        if min(self._lag(), self._held()) <= limits.AUDIO_LAG_MAX:
            return
        for time in sorted(self._packets)[:-1]:
            if self._excess() <= 0:
                return
            self.counts.skipped += 1
            self._played_number = self._packets.pop(time).sequence
            self._next, self._made_up = min(self._packets), 0


def _nearest(difference: int, bits: int) -> int:
    """The difference of two numbers of so many bits, the shorter way round."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
