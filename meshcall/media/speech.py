"""Whether somebody speaks, and whether there is anything to hear at all, by how loud each 20 ms are. Pure.

Law 1: a noise that stays is no speech: the floor follows it, a decibel a second, up to SPEECH_FLOOR_MAX.
Law 2: speech begins after three loud frames of five and ends SPEECH_HOLD after the last one, so a click is
none and a pause between two words ends nothing.
Law 3: silence is sent as a packet every SILENCE_PACKETS, so that the peer knows that we are here (DTX as in
RFC 7587 section 3.1.3); what is not silent is always sent.
"""

from __future__ import annotations

from typing import Final

from meshcall import limits

_FRAME: Final = 0.02
"""Seconds."""
_LOUD_OF: Final = (3, 5)
_RISE: Final = 1.0 * _FRAME
"""Decibels that the floor rises with each frame."""


class Speech:
    """Of one source of sound."""

    def __init__(self) -> None:
        self.speaking = False
        self._floor = float(limits.SPEECH_FLOOR_MAX)
        self._last: list[bool] = []
        self._quiet = 0
        """Frames since the last loud one."""

    def heard(self, level: int) -> bool:
        """The next frame is so loud, in dBov; whether :attr:`speaking` has changed."""
        self._floor = min(float(level), self._floor + _RISE, float(limits.SPEECH_FLOOR_MAX))
        loud = level >= max(limits.SPEECH_LEVEL_MIN, self._floor + limits.SPEECH_ABOVE_FLOOR)
        self._last = [*self._last, loud][-_LOUD_OF[1] :]
        self._quiet = 0 if loud else self._quiet + 1
        before = self.speaking
        if sum(self._last) >= _LOUD_OF[0]:
            self.speaking = True
        elif self._quiet * _FRAME >= limits.SPEECH_HOLD:
            self.speaking = False
        return self.speaking != before


class Silence:
    """Which frames need not be sent."""

    def __init__(self) -> None:
        self._frames = 0

    def skip(self, level: int) -> bool:
        """The next frame is so loud, in dBov; whether it need not be sent."""
        if level > limits.SILENCE_LEVEL:
            self._frames = 0
            return False
        self._frames += 1
        after = self._frames - limits.SILENCE_FRAMES
        return after > 0 and after % limits.SILENCE_PACKETS != 0
