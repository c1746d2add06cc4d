"""Writing a recording of one peer from decoded frames; blocking, to be run in a thread.

Law 1: a frame stands in the file where it was played: RTP time, moved when it strays from the arrival.
Law 2: missing sound becomes silence, so that sound and pictures stay together in every player.
"""

from __future__ import annotations

from pathlib import Path

import av

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.matroska import Matroska
from meshcall.aio.media.readers import FRAME_SAMPLES, SAMPLE_RATE
from meshcall.media.mixing import Timeline
from meshcall.media.plan import MediaKind

_HOLE = 3 * FRAME_SAMPLES
"""Samples that may be missing before silence is put in: jitter is no hole."""
_OVERLAP = 10 * FRAME_SAMPLES
"""Samples that sound may be ahead of its time before a frame is left out."""
_SIZE_DEFAULT = (640, 480)
"""Size of the pictures if none came in time to know."""

Frame = av.AudioFrame | av.VideoFrame


class Writer:
    """One recording. Every method may raise OSError, FFmpegError, RecordTargetExists or RecordFailed."""

    def __init__(self, path: Path, kinds: frozenset[MediaKind]) -> None:
        """``kinds``: what is expected to arrive. The file is made with the first frame."""
        self._path = path
        self._kinds = kinds
        self._early: list[tuple[Frame, float]] = []
        self._file: Matroska | None = None
        self._resampler = readers.sound_resampler()
        self._audio_time = Timeline()
        self._audio_next = 0
        self._video_time = Timeline()
        self.frames = {"audio": 0, "video": 0}
        self.created = False
        """Whether there is a file."""

    def write(self, frame: Frame, arrival: float) -> None:
        """Add a decoded frame that arrived ``arrival`` seconds after the recording began."""
        if self._file is None:
            self._early.append((frame, arrival))
            waited = arrival - self._early[0][1]
            sized = isinstance(frame, av.VideoFrame) or "video" not in self._kinds
            if not sized and waited < limits.RECORD_VIDEO_WAIT:
                return
            self._begin()
            return
        self._put(self._file, frame, arrival)

    def _begin(self) -> None:
        """Make the file and write what came before its header could be."""
        size = None
        if "video" in self._kinds:
            size = _SIZE_DEFAULT
            picture = next((frame for frame, _ in self._early if isinstance(frame, av.VideoFrame)), None)
            if picture is not None:
                size = readers.size_within(picture, limits.RECORD_WIDTH_MAX, limits.RECORD_HEIGHT_MAX)
        self._file = Matroska(self._path, size, sound="audio" in self._kinds)
        self.created = True
        early, self._early = self._early, []
        for frame, arrival in early:
            self._put(self._file, frame, arrival)

    def _put(self, file: Matroska, frame: Frame, arrival: float) -> None:
        if isinstance(frame, av.VideoFrame):
            if file.has_pictures:
                file.put_picture(frame, self._video_time.place(seconds_of(frame), arrival))
                self.frames["video"] += 1
        elif file.has_sound:
            self._put_sound(file, frame, arrival)

    def _put_sound(self, file: Matroska, frame: av.AudioFrame, arrival: float) -> None:
        due = round(self._audio_time.place(seconds_of(frame), arrival) * SAMPLE_RATE)
        if self._audio_next - due > _OVERLAP:
            return
        if due - self._audio_next > _HOLE:
            while self._audio_next + FRAME_SAMPLES <= due:
                self._write_sound(file, readers.silence())
        frame.pts = None
        for piece in self._resampler.resample(frame):
            self._write_sound(file, piece)
        self.frames["audio"] += 1

    def _write_sound(self, file: Matroska, piece: av.AudioFrame) -> None:
        file.put_sound(piece, self._audio_next)
        self._audio_next += piece.samples

    def finish(self) -> None:
        """Write what is left and the index."""
        if self._file is None and self._early:
            self._begin()
        if self._file is not None:
            self._file.finish()

    def abandon(self) -> None:
        """Free everything; what is on disk stays."""
        if self._file is not None:
            self._file.abandon()


def seconds_of(frame: Frame) -> float:
    """A frame's own time."""
    if frame.pts is None or frame.time_base is None:
        return 0.0
    return float(frame.pts * frame.time_base)
