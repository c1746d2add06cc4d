"""How loud 20 ms of sound are."""

from __future__ import annotations

import math

_STEP = 4
"""Samples from one that is looked at to the next: every fourth of the left channel tells as much as all."""
_SILENCE = -127
"""The least of RFC 6464."""


def loudness(octets: bytes, channels: int) -> int:
    """Of s16, in dBov: 0 is as loud as a square wave of full scale, -127 is silence (RFC 6464)."""
    values = memoryview(octets).cast("h")[:: _STEP * channels].tolist()
    power = math.hypot(*values) / math.sqrt(max(1, len(values)))
    return _SILENCE if power == 0 else max(_SILENCE, min(0, round(20 * math.log10(power / 32767))))
