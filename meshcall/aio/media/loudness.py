"""How loud 20 ms of sound are."""

from __future__ import annotations

import math

import av

_STEP = 8
"""Values from one that is looked at to the next: every fourth of the left channel tells as much as all."""
_SILENCE = -127
"""The least of RFC 6464."""


def loudness(frame: av.AudioFrame) -> int:
    """Of s16 stereo, in dBov: 0 is as loud as a square wave of full scale, -127 is silence (RFC 6464)."""
    values = memoryview(frame.planes[0]).cast("B").cast("h")[: 2 * frame.samples : _STEP].tolist()
    power = sum(value * value for value in values) / max(1, len(values))
    return _SILENCE if power == 0 else max(_SILENCE, min(0, round(10 * math.log10(power / 32767**2))))
