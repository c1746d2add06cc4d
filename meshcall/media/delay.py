"""How late the packets of a stream come, and how long to wait so that nearly all are in time. Pure.

Law 1: delay is told against the fastest packet of the last seconds, so clocks of two machines may differ and
drift.
Law 2: one stall of the network is one event, however many packets it held up: later packets wait for it for
no more than two seconds, unless there are others.
Law 3: what is remembered is bounded, whatever the timestamps say.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from meshcall import limits

_SLOT: Final = 0.1
"""Seconds of arrivals that make one sample: the latest packet in them."""
_FASTER: Final = 0.03
"""Seconds by which a packet is faster than all before it when the way has become another one."""


_STALLS: Final = 16
"""Stalls that are remembered."""
_BEYOND: Final = 0.015
"""Seconds beyond what is waited for that make a stall."""


@dataclass(slots=True)
class _Slot:
    number: int
    fastest: float
    latest: float


class DelayEstimate:
    """Of one stream."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=limits.AUDIO_DELAY_SLOTS)
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_STALLS)
        """When packets came later than was waited for, and by how much."""
        self.base = 0.0
        """Transit of the fastest packet lately: time of arrival less RTP time, in seconds."""
        self.needed: float | None = None
        """Seconds after the fastest at which nearly every packet is there; None: too early to tell."""

    def add(self, transit: float, arrival: float) -> None:
        """A packet took ``transit`` seconds, by two clocks that have nothing to do with each other."""
        if self._slots and transit < self.base - _FASTER:
            self._slots.clear()
        number = int(arrival / _SLOT)
        if self._slots and self._slots[-1].number == number:
            slot = self._slots[-1]
            slot.fastest, slot.latest = min(slot.fastest, transit), max(slot.latest, transit)
            self.base = min(self.base, transit)
            return
        while self._slots and self._slots[0].number <= number - limits.AUDIO_DELAY_SLOTS:
            self._slots.popleft()
        if self._slots:
            self._note_stall(self._slots[-1].latest - self.base, arrival)
        self._slots.append(_Slot(number, transit, transit))
        self._judge(arrival)

    def _note_stall(self, late: float, now: float) -> None:
        if self.needed is None or late <= self.needed + _BEYOND:
            return
        if self._stalls and now - self._stalls[-1][0] < limits.AUDIO_STALL_PAUSE:
            late = max(late, self._stalls.pop()[1])
        self._stalls.append((now, late))

    def _judge(self, now: float) -> None:
        self.base = min(slot.fastest for slot in self._slots)
        if len(self._slots) < limits.AUDIO_DELAY_SLOTS_MIN:
            self.needed = None
            return
        recent = list(self._slots)[-limits.AUDIO_JITTER_SLOTS :]
        late = sorted(slot.latest - self.base for slot in recent)
        self.needed = late[int(limits.AUDIO_IN_TIME * (len(late) - 1))]
        while self._stalls and now - self._stalls[0][0] > limits.AUDIO_STALL_MEMORY:
            self._stalls.popleft()
        if len(self._stalls) >= limits.AUDIO_STALLS:
            lengths = sorted(late for _, late in self._stalls)
            self.needed = max(self.needed, lengths[-limits.AUDIO_STALLS])
