"""A Matroska file of H.264 and Opus that is being made; blocking, to be run in a thread.

Law: each second is on disk soon after it happened: a recording that is cut off plays up to there.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.container
from av.audio.stream import AudioStream
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from meshcall.aio.media.readers import AUDIO_BASE, SAMPLE_RATE, VIDEO_BASE
from meshcall.aio.media.recordfile import RecordFile

_VIDEO_OPTIONS = {"preset": "superfast", "tune": "zerolatency", "crf": "23"}
_FILE_OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}
_MILLISECOND = 90
"""In units of the pictures' clock: Matroska's resolution, so two pictures differ by at least that."""


class Matroska:
    """Every method may raise OSError, FFmpegError, RecordTargetExists or RecordFailed."""

    def __init__(self, path: Path, size: tuple[int, int] | None, *, sound: bool) -> None:
        """Make the file. ``size``: of the pictures; None: there are none."""
        self._file = RecordFile(path)
        self._container: av.container.OutputContainer | None = None
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._last = -_MILLISECOND
        self._scaler = VideoReformatter()
        try:
            self._container = av.open(self._file, "w", format="matroska", options=_FILE_OPTIONS)
            if size is not None:
                self._video = _video_stream(self._container, *size)
            if sound:
                self._audio = self._container.add_stream("libopus", rate=SAMPLE_RATE)
                self._audio.codec_context.layout = "stereo"
                self._audio.codec_context.format = "s16"
        except BaseException:
            self.abandon()
            raise

    @property
    def has_pictures(self) -> bool:
        """Whether pictures can be put in."""
        return self._video is not None

    @property
    def has_sound(self) -> bool:
        """Whether sound can be put in."""
        return self._audio is not None

    def put_picture(self, frame: av.VideoFrame, at: float) -> None:
        """Show ``frame`` from ``at`` seconds on, or as soon after the last picture as the format can tell."""
        assert self._video is not None, "there are pictures"
        context = self._video.codec_context
        if (frame.width, frame.height, frame.format.name) != (context.width, context.height, "yuv420p"):
            frame = self._scaler.reformat(
                frame, width=context.width, height=context.height, format="yuv420p", threads=1
            )
        frame.pict_type = PictureType.NONE
        frame.pts = self._last = max(round(at / float(VIDEO_BASE)), self._last + _MILLISECOND)
        frame.time_base = VIDEO_BASE
        self._mux(self._video, frame)

    def put_sound(self, piece: av.AudioFrame, position: int) -> None:
        """Play ``piece``, of s16 stereo at 48 kHz, from the sample ``position`` on."""
        assert self._audio is not None, "there is sound"
        piece.pts = position
        piece.time_base = AUDIO_BASE
        self._mux(self._audio, piece)

    def _mux(self, stream: VideoStream | AudioStream, frame: av.VideoFrame | av.AudioFrame | None) -> None:
        assert self._container is not None, "it is open"
        self._container.mux(stream.encode(frame))  # type: ignore[arg-type]  # each gets frames of its kind
        self._raise_error()

    def _raise_error(self) -> None:
        if self._file.error is not None:
            raise self._file.error

    def finish(self) -> None:
        """Write what is left and the index."""
        try:
            for stream in (self._video, self._audio):
                if stream is not None and stream.codec_context.is_open:
                    self._mux(stream, None)
        finally:
            self.abandon()
        self._raise_error()

    def abandon(self) -> None:
        """Free everything; what is on disk stays. Idempotent."""
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._container = None
            self._file.close()


def _video_stream(container: av.container.OutputContainer, width: int, height: int) -> VideoStream:
    stream = container.add_stream("libx264", rate=30, options=_VIDEO_OPTIONS)
    context = stream.codec_context
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.time_base = VIDEO_BASE
    context.framerate = Fraction(30)
    context.gop_size = 60
    context.thread_count = 1
    return stream
