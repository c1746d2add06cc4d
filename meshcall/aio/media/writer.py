"""Writing a Matroska file of H.264 and Opus from decoded frames; blocking, to be run in a thread.

Law 1: a frame stands in the file where it was played: RTP time, moved when it strays from the arrival.
Law 2: missing sound becomes silence, so that sound and pictures stay together in every player.
Law 3: each second is on disk soon after it happened: a recording that is cut off plays up to there.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.container
from av.audio.stream import AudioStream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.readers import AUDIO_BASE, FRAME_SAMPLES, SAMPLE_RATE, VIDEO_BASE
from meshcall.aio.media.recordfile import RecordFile
from meshcall.media.plan import MediaKind

_HOLE = 3 * FRAME_SAMPLES
"""Samples that may be missing before silence is put in: jitter is no hole."""
_OVERLAP = 10 * FRAME_SAMPLES
"""Samples that sound may be ahead of its time before a frame is left out."""
_SIZE_DEFAULT = (640, 480)
"""Size of the pictures if none came in time to know."""
_VIDEO_OPTIONS = {"preset": "superfast", "tune": "zerolatency", "crf": "23"}
_FILE_OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}
_MILLISECOND = 90
"""In units of the pictures' clock: Matroska's resolution, so two pictures differ by at least that."""

Frame = av.AudioFrame | av.VideoFrame


class _Timeline:
    """Maps RTP time to time in the recording."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def place(self, rtp: float, arrival: float) -> float:
        """Seconds in the recording of a frame with RTP time ``rtp`` that arrived at ``arrival``."""
        if self._offset is None or abs(rtp + self._offset - arrival) > limits.RECORD_DRIFT_MAX:
            self._offset = arrival - rtp
        # The first one may have been slow to come; none is shown before it is there, so those after it tell.
        self._offset = min(self._offset, arrival - rtp)
        return max(0.0, rtp + self._offset)


class Writer:
    """One recording. Every method may raise OSError, FFmpegError, RecordTargetExists or RecordFailed."""

    def __init__(self, path: Path, kinds: frozenset[MediaKind]) -> None:
        """``kinds``: what is expected to arrive. The file is made with the first frame."""
        self._path = path
        self._kinds = kinds
        self._early: list[tuple[Frame, float]] = []
        self._file: RecordFile | None = None
        self._container: av.container.OutputContainer | None = None
        self._audio: AudioStream | None = None
        self._video: VideoStream | None = None
        self._resampler = readers.sound_resampler()
        self._audio_time = _Timeline()
        self._audio_next = 0
        self._video_time = _Timeline()
        self._video_last = -_MILLISECOND
        self.frames = {"audio": 0, "video": 0}

    @property
    def created(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def write(self, frame: Frame, arrival: float) -> None:
        """Add a decoded frame that arrived ``arrival`` seconds after the recording began."""
        if self._container is None:
            self._early.append((frame, arrival))
            waited = arrival - self._early[0][1]
            sized = isinstance(frame, av.VideoFrame) or "video" not in self._kinds
            if not sized and waited < limits.RECORD_VIDEO_WAIT:
                return
            self._begin()
            return
        self._put(frame, arrival)

    def _begin(self) -> None:
        """Make the file and write what came before its header could be."""
        self._file = RecordFile(self._path)
        self._container = av.open(self._file, "w", format="matroska", options=_FILE_OPTIONS)
        if "video" in self._kinds:
            picture = next((frame for frame, _ in self._early if isinstance(frame, av.VideoFrame)), None)
            self._video = self._video_stream(self._container, picture)
        if "audio" in self._kinds:
            self._audio = self._container.add_stream("libopus", rate=SAMPLE_RATE)
            self._audio.codec_context.layout = "stereo"
            self._audio.codec_context.format = "s16"
        early, self._early = self._early, []
        for frame, arrival in early:
            self._put(frame, arrival)

    def _video_stream(
        self, container: av.container.OutputContainer, picture: av.VideoFrame | None
    ) -> VideoStream:
        stream = container.add_stream("libx264", rate=30, options=_VIDEO_OPTIONS)
        width, height = _SIZE_DEFAULT
        if picture is not None:
            scaled = readers.fit(picture, limits.RECORD_WIDTH_MAX, limits.RECORD_HEIGHT_MAX)
            width, height = scaled.width, scaled.height
        context = stream.codec_context
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.time_base = VIDEO_BASE
        context.framerate = Fraction(30)
        context.gop_size = 60
        context.thread_count = 1
        return stream

    def _put(self, frame: Frame, arrival: float) -> None:
        if isinstance(frame, av.VideoFrame):
            self._put_picture(frame, arrival)
        else:
            self._put_sound(frame, arrival)
        self._raise_error()

    def _put_picture(self, frame: av.VideoFrame, arrival: float) -> None:
        if self._video is None or self._container is None:
            return
        at = self._video_time.place(_seconds(frame), arrival)
        context = self._video.codec_context
        if (frame.width, frame.height, frame.format.name) != (context.width, context.height, "yuv420p"):
            frame = frame.reformat(width=context.width, height=context.height, format="yuv420p")
        frame.pict_type = PictureType.NONE
        frame.pts = self._video_last = max(round(at / float(VIDEO_BASE)), self._video_last + _MILLISECOND)
        frame.time_base = VIDEO_BASE
        self._container.mux(self._video.encode(frame))
        self.frames["video"] += 1

    def _put_sound(self, frame: av.AudioFrame, arrival: float) -> None:
        if self._audio is None:
            return
        due = round(self._audio_time.place(_seconds(frame), arrival) * SAMPLE_RATE)
        if self._audio_next - due > _OVERLAP:
            return
        if due - self._audio_next > _HOLE:
            while self._audio_next + FRAME_SAMPLES <= due:
                self._encode_sound(readers.silence())
        frame.pts = None
        for piece in self._resampler.resample(frame):
            self._encode_sound(piece)
        self.frames["audio"] += 1

    def _encode_sound(self, piece: av.AudioFrame) -> None:
        assert self._audio is not None, "only called with a stream"
        assert self._container is not None, "only called with a container"
        piece.pts = self._audio_next
        piece.time_base = AUDIO_BASE
        self._audio_next += piece.samples
        self._container.mux(self._audio.encode(piece))

    def _raise_error(self) -> None:
        if self._file is not None and self._file.error is not None:
            raise self._file.error

    def finish(self) -> None:
        """Write what is left and the index."""
        try:
            if self._container is None and self._early:
                self._begin()
            if self._container is not None:
                for stream in (self._video, self._audio):
                    if stream is not None and stream.codec_context.is_open:
                        self._container.mux(stream.encode(None))
        finally:
            self.abandon()
        self._raise_error()

    def abandon(self) -> None:
        """Free everything; what is on disk stays."""
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._container = None
            if self._file is not None:
                self._file.close()


def _seconds(frame: Frame) -> float:
    if frame.pts is None or frame.time_base is None:
        return 0.0
    return float(frame.pts * frame.time_base)
