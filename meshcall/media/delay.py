"""How late the packets of a stream come, and how long to wait so that nearly all are in time. Pure.

Law 1: delay is told against the fastest packet of the last seconds, so clocks of two machines may differ and
drift.
Law 2: one stall of the network is one event, however many packets it held up: it does not make every later
packet wait.
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


@dataclass(slots=True)
class _Slot:
    number: int
    fastest: float
    latest: float


class DelayEstimate:
    """Of one stream."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=limits.AUDIO_DELAY_SLOTS)
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
        self._slots.append(_Slot(number, transit, transit))
        self._judge()

    def _judge(self) -> None:
        self.base = min(slot.fastest for slot in self._slots)
        if len(self._slots) < limits.AUDIO_DELAY_SLOTS_MIN:
            self.needed = None
            return
        late = sorted(slot.latest - self.base for slot in self._slots)
        self.needed = late[int(limits.AUDIO_IN_TIME * (len(late) - 1))]
