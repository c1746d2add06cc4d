"""Pictures that lost packets: what to ask for again and when, when to ask for a keyframe, what froze. Pure.

Law 1: a missing packet is asked for at once, again after a round trip, and then twice in each, until it comes
or its time is over: few get that far, and pictures stand still for them. A full queue is part of the round
trip: who asks again for what stands in it fills it further. Where much is lost and no queue is full, what is
asked for first is asked for twice: reports and repairs are lost, too.
Law 2: keyframes are asked for rarely, however much goes wrong: each is as large as many pictures.
Law 3: numbers are the peer's: what is kept here is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshcall import limits

_KEPT: Final = 0.99
"""Of what was known of losses, with each packet."""
_GAP_MAX: Final = 3
"""Packets of one gap that count: an outage is no way that loses much."""


@dataclass(slots=True)
class _Want:
    since: float
    due: float
    asked: int = 0
    twice: bool = False
    """It is asked for twice first."""


class Missing:
    """Packets of one stream that did not come (RFC 4585 section 6.2.1). Numbers have 16 bits."""

    def __init__(self) -> None:
        self._newest: int | None = None
        """Without wrap, like the keys below."""
        self._wanted: dict[int, _Want] = {}
        self._rtt = limits.NACK_RTT_FIRST
        self._queued = 0.0
        self._lost = 0.0
        """The share of the last packets."""
        self.repaired = 0
        """Packets that came after they were asked for."""

    def measured(self, rtt: float) -> None:
        """The round trip is ``rtt`` seconds."""
        self._rtt = min(limits.NACK_RTT_MAX, max(limits.NACK_RTT_MIN, rtt))

    def queued(self, seconds: float) -> None:
        """Packets wait so long in a queue now, beyond that round trip."""
        self._queued = max(0.0, seconds)

    @property
    def holes(self) -> bool:
        """Whether packets are missing."""
        return bool(self._wanted)

    @property
    def round_trip(self) -> float:
        """Seconds until what is asked for now can be here: it waits in the queue like all others."""
        return min(limits.NACK_RTT_MAX, self._rtt + self._queued)

    @property
    def life(self) -> float:
        """Seconds after which a packet is given up."""
        return max(limits.NACK_LIFE, limits.NACK_ROUNDS * self.round_trip)

    def received(self, sequence: int, now: float) -> bool:
        """A packet came; False: too many are missing before it to ask for."""
        if self._newest is None:
            self._newest = sequence
            return True
        number = self._newest + (sequence - self._newest + 0x8000) % 0x10000 - 0x8000
        if number <= self._newest:
            want = self._wanted.pop(number, None)
            if want is not None and want.asked:
                self.repaired += 1
            if want is not None and now - want.since < self._rtt:  # no repair is so quick: it was late
                self._lost = max(0.0, self._lost - (1 - _KEPT))
            return True
        gap = range(self._newest + 1, number)
        self._newest = number
        self._lost = (1 - (1 - self._lost) * _KEPT ** min(len(gap), _GAP_MAX)) * _KEPT
        if len(gap) + len(self._wanted) > limits.NACK_WANTED_MAX:
            self._wanted.clear()
            return False
        for one in gap:
            self._wanted[one] = _Want(now, now + limits.NACK_PATIENCE)
        return True

    def forget_before(self, sequence: int) -> None:
        """What came before ``sequence`` is not needed any more."""
        if self._newest is not None and self._wanted:
            number = self._newest + (sequence - self._newest + 0x8000) % 0x10000 - 0x8000
            self._wanted = {one: want for one, want in self._wanted.items() if one >= number}

    def begin_anew(self) -> None:
        """Another stream follows."""
        self._newest = None
        self._lost = 0.0
        self._wanted.clear()

    def due(self, now: float) -> list[int]:
        """What is to be asked for now, as many numbers as fit into one report."""
        found: list[int] = []
        for number, want in self._wanted.items():
            if want.due <= now and len(found) < limits.NACK_REPORT_MAX:
                want.due = now + self._pause(want)
                want.asked += 1
                found.append(number & 0xFFFF)
        return found

    def _pause(self, want: _Want) -> float:
        """Seconds until it is asked for again."""
        if not want.asked:
            want.twice = self._lost >= limits.NACK_TWICE and self._queued < limits.NACK_TWICE_QUEUED
            if want.twice:
                return limits.NACK_TWICE_PAUSE
        rounds = limits.NACK_PAUSE if want.asked <= want.twice else limits.NACK_PAUSE_AGAIN
        return max(limits.NACK_PAUSE_MIN, rounds * self.round_trip)

    def deadline(self) -> float | None:
        """When something is to be asked for."""
        return min((want.due for want in self._wanted.values()), default=None)

    def age(self, now: float) -> float:
        """Seconds for which the oldest has been missing."""
        return max((now - want.since for want in self._wanted.values()), default=0.0)


class KeyframeWish:
    """When to ask for a keyframe (RFC 4585 section 6.3.1)."""

    def __init__(self) -> None:
        self._asked: float | None = None
        self.open = False
        """One is needed."""
        self._pause = limits.KEYFRAME_PAUSE

    def measured(self, rtt: float) -> None:
        """The round trip is ``rtt`` seconds: an answer takes longer than that."""
        self._pause = min(limits.KEYFRAME_PAUSE_MAX, max(limits.KEYFRAME_PAUSE, limits.KEYFRAME_ROUNDS * rtt))

    def want(self) -> None:
        """One is needed."""
        self.open = True

    def came(self) -> None:
        """There is one."""
        self.open = False

    def due(self, now: float) -> bool:
        """Whether to ask now; then it counts as asked for."""
        when = self.deadline()
        if when is None or when > now:
            return False
        self._asked = now
        return True

    def deadline(self) -> float | None:
        """When to ask, the first time or again; None: none is needed."""
        if not self.open:
            return None
        return float("-inf") if self._asked is None else self._asked + self._pause


class FreezeWatch:
    """How often pictures stood still for want of packets, and for how long."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self.freezes = 0
        """Pictures that stood longer than FREEZE."""
        self.frozen = 0.0
        """Seconds of that."""
        self.longest = 0.0

    def shown(self, now: float, sent: float, *, held: bool) -> None:
        """A picture left for the decoder.

        ``sent``: its RTP time in seconds; ``held``: packets were missing since the one before. What a sender
        that pauses does not send is no freeze.
        """
        if self._last is not None:
            gap, apart = now - self._last[0], sent - self._last[1]
            if gap > limits.FREEZE and (held or gap > apart + limits.FREEZE / 2):
                self.freezes += 1
                self.frozen += gap
                self.longest = max(self.longest, gap)
        self._last = now, sent


def is_keyframe(codec: str, data: bytes) -> bool:
    """Whether a packet of pictures begins a keyframe; ``data``: without what RTP put around it."""
    if codec == "VP8":  # RFC 6386 section 9.1: the lowest bit, and a start code
        return len(data) >= 6 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
    if codec == "H264":  # with a start code: an IDR picture, or the parameters in front of it
        return data[:4] == b"\0\0\0\1" and len(data) > 4 and data[4] & 31 in (5, 7)
    return False
