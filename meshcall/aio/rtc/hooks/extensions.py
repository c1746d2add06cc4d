"""Header extensions of the packets of one sender (RFC 8285): laid out once, filled in for each frame.

Law: the octets are those that aiortc makes of the same values. What they are made of, its numbers of the
extensions and the MID, does not change once a sender sends.
"""

from __future__ import annotations

import struct

from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

_TIME: int = 0xFFFFFF
"""All that abs-send-time can be."""


class Extensions:
    """Of one sender that begins to send."""

    def __init__(self, numbers: HeaderExtensionsMap, mid: str | None) -> None:
        self._numbers = numbers
        self._mid = mid
        self._layouts = {leveled: self._layout(leveled=leveled) for leveled in (False, True)}

    def values(self, time: int, level: int | None) -> HeaderExtensions:
        """As aiortc holds them; ``time``: abs-send-time; ``level``: 0 to -127 dBov, or none is told."""
        values = HeaderExtensions(mid=self._mid, abs_send_time=time)
        if level is not None:
            values.audio_level = False, -level
        return values

    def block(self, time: int, level: int | None) -> bytes:
        """What follows the fixed header; empty: there are none. See :meth:`values`."""
        block, at_time, at_level = self._layouts[level is not None]
        if at_time:
            block = block[:at_time] + time.to_bytes(3, "big") + block[at_time + 3 :]
        if at_level and level is not None:
            block = block[:at_level] + bytes([-level & 0x7F]) + block[at_level + 1 :]
        return block

    def _layout(self, *, leveled: bool) -> tuple[bytes, int, int]:
        """The block, and where in it the time and the level are; 0: nowhere."""
        empty = self._octets(0, 0 if leveled else None)
        timed = self._octets(_TIME, 0 if leveled else None)
        loud = self._octets(0, -127 if leveled else None)
        return empty, _first_difference(empty, timed), _first_difference(empty, loud)

    def _octets(self, time: int, level: int | None) -> bytes:
        profile, value = self._numbers.set(self.values(time, level))
        return struct.pack("!HH", profile, len(value) >> 2) + value if value else b""


def _first_difference(one: bytes, other: bytes) -> int:
    return next((at for at, (here, there) in enumerate(zip(one, other, strict=True)) if here != there), 0)
