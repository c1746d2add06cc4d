"""Encoders of pictures and of sound, all of it blocking: to be run in threads, each in one at a time.

Law 1: one frame in, one encoded frame out, at once: nothing is held back to look ahead.
Law 2: the rate of an encoder of pictures changes while it runs, without a keyframe: docs/adr/0013.
Law 3: a frame is shared with other encoders, so nothing of it is written but what each writes anew: the time
and the kind of picture.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Final, Protocol

import av
from av.video.frame import PictureType

from meshcall import limits
from meshcall.aio.media import libopus
from meshcall.aio.media.readers import AUDIO_BASE, FRAME_SAMPLES, SAMPLE_RATE, VIDEO_BASE, frame_of
from meshcall.media.layers import CROWDED_FPS

_TICKS: Final = 90_000
_GAP_MAX: Final = _TICKS
"""Ticks between two pictures that rate control may see: 1 s. After a longer pause it would have saved up."""
_KEYFRAME_DISTANCE: Final = 3000
"""Pictures between keyframes that nobody asked for."""
_THREADS_FROM: Final = 640 * 480
"""Pixels above which libvpx may use two threads, if there are cores enough: faster, for a third more CPU."""
_CORES_FOR_THREADS: Final = 4
_SPEED, _SPEED_CROWDED = "-6", "-12"
"""Of libvpx: what libwebrtc takes, and what it takes on small machines. For a room of many, where each
machine decodes what all the others encode: a quarter to a half of the encoder's time is saved, and up to a
quarter of the decoders', for 0.1 to 1 dB."""


class PictureEncoder(Protocol):
    """Of one codec at one size."""

    def encode(self, frame: av.VideoFrame, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
        """``frame`` encoded, and whether it is a keyframe. ``pts``: 1/90,000 s; ``rate``: bits a second."""


class Vp8Encoder:
    """VP8 by libvpx."""

    def __init__(self, width: int, height: int, rate: int, fps: int = limits.SOURCE_RATE_MAX) -> None:
        """``rate``: bits a second; what :meth:`encode` is told may be from a quarter of it to four times.
        ``fps``: pictures a second, for how much work each may be."""
        self._rate = rate
        self._clock = 0.0
        self._last: int | None = None
        codec = av.CodecContext.create("libvpx", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base, codec.framerate = VIDEO_BASE, Fraction(limits.SOURCE_RATE_MAX)
        codec.bit_rate = rate
        codec.gop_size = _KEYFRAME_DISTANCE
        codec.qmin, codec.qmax = 2, 60
        many = width * height > _THREADS_FROM and (os.cpu_count() or 1) >= _CORES_FOR_THREADS
        codec.thread_count = 2 if many else 1
        codec.options = {
            "bufsize": str(rate),  # 1 s
            "minrate": str(rate),  # with maxrate: a constant rate
            "maxrate": str(rate),
            "cpu-used": _SPEED_CROWDED if fps <= CROWDED_FPS else _SPEED,
            "deadline": "realtime",
            "lag-in-frames": "0",
            "max-intra-rate": "900",  # of a picture's share, in percent: a keyframe that the path can carry
            "overshoot-pct": "15",
            "undershoot-pct": "100",
            "static-thresh": "1",
            "partitions": "0",
        }
        self._codec = codec

    def encode(self, frame: av.VideoFrame, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
        """See :class:`PictureEncoder`."""
        # libvpx gives a picture the bits of the time it stands for. That time, stretched, is another rate.
        gap = 0 if self._last is None else min(max(1, pts - self._last), _GAP_MAX)
        self._last = pts
        self._clock += max(1.0, gap * rate / self._rate) if gap else 0.0
        return _encode(self._codec, frame, round(self._clock), key)


class H264Encoder:
    """Constrained Baseline H.264 by x264."""

    def __init__(self, width: int, height: int, rate: int) -> None:
        """``rate``: bits a second."""
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base, codec.framerate = VIDEO_BASE, Fraction(limits.SOURCE_RATE_MAX)
        codec.bit_rate = rate
        codec.gop_size = _KEYFRAME_DISTANCE
        codec.thread_count = 1
        codec.profile = "Baseline"
        codec.options = {
            "level": "31",
            "preset": "veryfast",
            "tune": "zerolatency",
            # One rate for both makes x264 keep it constant, and take another one while it runs.
            "maxrate": str(rate),
            "bufsize": str(rate // 3),
        }
        self._codec = codec

    def encode(self, frame: av.VideoFrame, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
        """See :class:`PictureEncoder`."""
        if rate != self._codec.bit_rate:
            self._codec.bit_rate = rate
        return _encode(self._codec, frame, pts, key)


def _encode(codec: av.VideoCodecContext, frame: av.VideoFrame, pts: int, key: bool) -> tuple[bytes, bool]:
    frame.pict_type = PictureType.I if key else PictureType.NONE
    frame.pts, frame.time_base = pts, VIDEO_BASE
    packets = codec.encode(frame)
    return b"".join(map(bytes, packets)), any(packet.is_keyframe for packet in packets)


def make_picture_encoder(codec: str, width: int, height: int, rate: int, fps: int) -> PictureEncoder:
    """``codec``: ``VP8`` or ``H264``; ``rate``: bits a second; ``fps``: pictures a second."""
    if codec.upper() == "H264":
        return H264Encoder(width, height, rate)
    return Vp8Encoder(width, height, rate, fps)


class SoundEncoder(Protocol):
    """Of one codec."""

    def encode(self, octets: bytes) -> list[bytes]:
        """20 ms of 48 kHz s16, encoded; at the start there may be nothing yet."""

    def expect_loss(self, share: float) -> None:
        """So much of what is sent is lost, 0 to 1."""


class OpusEncoder:
    """Opus at 20 ms, with in-band FEC for the loss that is expected (RFC 6716 section 2.1.7)."""

    def __init__(self, channels: int) -> None:
        """``channels``: 1 or 2; raises OSError where there is no libopus."""
        self._encoder = libopus.OpusEncoder(channels, _opus_rate(channels))
        self._loss = 0
        self.expect_loss(0.0)

    def expect_loss(self, share: float) -> None:
        """See :class:`SoundEncoder`."""
        step = _opus_loss(share)
        if step != self._loss:
            self._loss = step
            self._encoder.expect_loss(step)

    def encode(self, octets: bytes) -> list[bytes]:
        """See :class:`SoundEncoder`."""
        return [self._encoder.encode(octets)]


class FfmpegOpusEncoder:
    """The same by FFmpeg, which tells libopus of the loss when it is opened only, so another one goes on."""

    def __init__(self, channels: int) -> None:
        """``channels``: 1 or 2."""
        self._channels = channels
        self._loss = _opus_loss(0.0)
        self._codec = self._open()
        self._last: bytes | None = None
        self._pts = 0

    def _open(self) -> av.AudioCodecContext:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext), "Opus is sound"
        codec.bit_rate = _opus_rate(self._channels)
        layout = "mono" if self._channels == 1 else "stereo"
        codec.format, codec.layout, codec.sample_rate = "s16", layout, SAMPLE_RATE
        codec.time_base = AUDIO_BASE
        codec.options = {
            "application": "voip",
            "vbr": "constrained",
            "fec": "1",
            "packet_loss": str(self._loss),
        }
        return codec

    def expect_loss(self, share: float) -> None:
        """See :class:`SoundEncoder`."""
        step = _opus_loss(share)
        if step == self._loss:
            return
        self._loss = step
        self._codec = self._open()
        if self._last is not None:  # so that it does not begin with the silence of a start
            self._run(self._last)

    def encode(self, octets: bytes) -> list[bytes]:
        """See :class:`SoundEncoder`."""
        self._last = octets
        return self._run(octets)

    def _run(self, octets: bytes) -> list[bytes]:
        frame = frame_of(octets, self._channels)
        frame.pts, frame.time_base = self._pts, AUDIO_BASE
        self._pts += FRAME_SAMPLES
        return [bytes(packet) for packet in self._codec.encode(frame)]


def _opus_rate(channels: int) -> int:
    return limits.OPUS_RATE_MONO if channels == 1 else limits.OPUS_RATE_STEREO


def _opus_loss(share: float) -> int:
    """The percentage that an encoder is told."""
    least = limits.OPUS_LOSS_STEPS[0]
    return max(step for step in limits.OPUS_LOSS_STEPS if step <= max(100 * share, least))


class PlainEncoder:
    """G.711 and G.722, for peers that have nothing better."""

    def __init__(self, name: str, rate: int, channels: int) -> None:
        """``name``: FFmpeg's; ``rate``: samples a second; ``channels``: of what comes."""
        codec = av.CodecContext.create(name, "w")
        assert isinstance(codec, av.AudioCodecContext), "these are codecs of sound"
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", rate
        codec.time_base = Fraction(1, rate)
        self._codec = codec
        self._channels = channels
        self._resampler = av.AudioResampler("s16", "mono", rate, frame_size=rate // 50)

    def expect_loss(self, share: float) -> None:
        """Nothing can be done about it."""

    def encode(self, octets: bytes) -> list[bytes]:
        """See :class:`SoundEncoder`."""
        pieces = self._resampler.resample(frame_of(octets, self._channels))
        return [bytes(packet) for piece in pieces for packet in self._codec.encode(piece)]


def make_sound_encoder(codec: str, channels: int) -> SoundEncoder:
    """``codec``: as in an SDP's rtpmap. ``channels``: of the source, 1 or 2."""
    match codec.upper():
        case "PCMU":
            return PlainEncoder("pcm_mulaw", 8_000, channels)
        case "PCMA":
            return PlainEncoder("pcm_alaw", 8_000, channels)
        case "G722":
            return PlainEncoder("g722", 16_000, channels)
        case _:
            return OpusEncoder(channels) if libopus.available() else FfmpegOpusEncoder(channels)
