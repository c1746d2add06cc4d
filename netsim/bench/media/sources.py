"""Numbered pictures and sound as they become due, for any engine.

Law: a number is a moment: picture ``n`` is due ``n / rate`` seconds after the start, sound ``n`` 20 ms times
``n`` after it. A picture that nobody asked for in time is skipped, as with a camera; sound never is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import av

from netsim.bench.media.log import SentLog
from netsim.bench.media.marks import SOUND_SECONDS, make_pictures, make_sound, write_number

LOOP = 60
"""Pictures that are shown to and fro."""


@dataclass(frozen=True, slots=True)
class PictureForm:
    """What is sent."""

    width: int
    height: int
    rate: int

    @classmethod
    def parse(cls, text: str) -> PictureForm:
        """``1280x720@30``."""
        size, _, rate = text.partition("@")
        width, _, height = size.partition("x")
        return cls(int(width), int(height), int(rate))


class Numbers:
    """Which frame is due when; notes when it was taken."""

    def __init__(self, log: SentLog, form: PictureForm | None) -> None:
        self._log = log
        self._form = form
        self._pictures = make_pictures(form.width, form.height, LOOP) if form else []
        self._start: float | None = None
        self._picture = -1
        self._sound = -1

    def start(self) -> float:
        """Begin now, unless it has begun; when it began."""
        if self._start is None:
            self._start = time.monotonic()
        return self._start

    def next_picture_due(self) -> float:
        """When the next picture is due."""
        assert self._form is not None, "pictures are sent"
        start = self.start()
        soonest = int((time.monotonic() - start) * self._form.rate)
        self._picture = max(self._picture + 1, soonest)
        return start + self._picture / self._form.rate

    def picture(self) -> av.VideoFrame:
        """The picture that was announced."""
        place = self._picture % (2 * LOOP)
        frame = self._pictures[place if place < LOOP else 2 * LOOP - 1 - place]
        write_number(frame, self._picture)
        self._log.pictures[self._picture] = time.monotonic()
        return frame

    @property
    def seconds(self) -> float:
        """Of the picture that was announced, from the start."""
        assert self._form is not None, "pictures are sent"
        return self._picture / self._form.rate

    def next_sound_due(self) -> float:
        """When the next 20 ms are due."""
        self._sound += 1
        return self.start() + self._sound * SOUND_SECONDS

    def sound(self) -> av.AudioFrame:
        """The 20 ms that were announced."""
        self._log.sounds.append(time.monotonic())
        return make_sound(self._sound)
