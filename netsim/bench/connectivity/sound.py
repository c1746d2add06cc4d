"""What the calls of the bench send: sound without pictures, so that twenty daemons fit on two cores."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

RATE = 8000
SECONDS = 1800
"""Longer than any call of the bench."""
HZ = 440


def write_tone(folder: Path) -> Path:
    """A WAV file of half an hour in ``folder``."""
    path = folder / "tone.wav"
    second = b"".join(
        struct.pack("<h", round(8000 * math.sin(2 * math.pi * HZ * n / RATE))) for n in range(RATE)
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for _ in range(SECONDS):
            file.writeframesraw(second)
    return path
