"""What one end of a measured call notes down: when it sent which frame, and when which one came out.

All times are of the monotonic clock, which is the same on all hosts of a lab.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from av import AudioFrame, VideoFrame

from netsim.bench.media.marks import read_number, read_pitch


@dataclass(slots=True)
class SentLog:
    """When each frame was given to the engine, by number."""

    sounds: list[float] = field(default_factory=list)
    pictures: dict[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        pictures = self.pictures.copy()  # at once: the source's thread goes on adding to it
        return {"sounds": self.sounds, "pictures": list(pictures.items())}


@dataclass(slots=True)
class PlayedLog:
    """What came out of one call, in order."""

    sounds: list[tuple[float, int | None]] = field(default_factory=list)
    """When, and the pitch."""
    pictures: list[tuple[float, int | None, int]] = field(default_factory=list)
    """When, the number, and the height."""
    reading: bool = True
    """Read numbers; without it frames are counted, which costs next to nothing."""

    def take(self, frame: AudioFrame | VideoFrame) -> None:
        """A frame that came out now."""
        now = time.monotonic()
        if isinstance(frame, AudioFrame):
            self.sounds.append((now, read_pitch(frame) if self.reading else None))
        else:
            self.pictures.append((now, read_number(frame) if self.reading else None, frame.height))

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {"sounds": self.sounds, "pictures": self.pictures}
