"""Decoding of sound, step by step, in the decoder's thread: packets, copies of lost ones, concealment.

Opus is decoded by libopus, where it is found; everything else, and Opus without it, by aiortc's decoders, and
what is missing is then the last sound carried on.

Law 1: each step gives one frame, whatever the peer sent; what does not decode is concealed. What nobody takes
is decoded, and no frame is made of it.
Law 2: frames follow each other without a gap: a frame's time is when it is played.
Law 3: a packet that is only late sounds as if it had come in time: a decoder that was asked to make up sound
meanwhile goes back to where it was.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import av
from aiortc import RTCRtpCodecParameters
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterFrame

from meshcall.aio.media import libopus
from meshcall.media import opus, stretch
from meshcall.media.jitter import Step

_PIECE: Final = 0.02
"""Seconds in which there is a period to take out."""
_JOIN: Final = 0.005
"""Seconds in which made-up sound goes over into real sound."""


class SoundFrame(JitterFrame):
    """A packet of sound on its way to the playout."""

    def __init__(self, data: bytes, timestamp: int, ssrc: int, sequence: int) -> None:
        super().__init__(data, timestamp)
        self.rtp_timestamp = timestamp
        """As it was sent; the receiver overwrites ``timestamp``."""
        self.ssrc = ssrc
        self.sequence = sequence


class SoundStep(JitterFrame):
    """A step on its way to the decoder."""

    def __init__(
        self, step: Step, origin: float, played: Callable[[float], None], *, wanted: bool = True
    ) -> None:
        """``origin``: what frames' times are counted from; ``played`` is told how long the sound is.

        ``wanted``: as a frame, too.
        """
        super().__init__(step.data, step.timestamp)
        self.step = step
        self.origin = origin
        self.played = played
        self.wanted = wanted


class SoundDecoder(Decoder):
    """In the place of aiortc's decoder of sound."""

    def __init__(
        self, codec: RTCRtpCodecParameters, make: Callable[[RTCRtpCodecParameters], Decoder]
    ) -> None:
        """``make`` makes aiortc's own decoder."""
        self._own = make(codec)
        self._opus = libopus.OpusDecoder() if codec.name.lower() == "opus" and libopus.available() else None
        self._rate = codec.clockRate
        self._channels = 1
        self._last: array[int] = array("h")
        self._follows: int | None = None
        """RTP time of what follows the last packet, until a copy of a lost one was played."""
        self._kept = False
        """Sound was made up since then, and the decoder knows what was before."""
        self._made_up = 0.0
        """Seconds without a packet."""

    def decode(self, encoded_frame: JitterFrame) -> list[Any]:
        """One frame for a :class:`SoundStep`, if it is wanted."""
        if not isinstance(encoded_frame, SoundStep):
            return self._own.decode(encoded_frame)
        step = encoded_frame.step
        sound = self._sound(step)
        if step.stretch:
            sound = self._stretched(sound, step, heard=encoded_frame.wanted)
        samples = len(sound) // self._channels
        encoded_frame.played(samples / self._rate)
        if not encoded_frame.wanted:
            return []
        return [self._frame(sound, samples, step.at - encoded_frame.origin)]

    def _sound(self, step: Step) -> array[int]:
        try:
            sound = self._by_libopus(step, self._opus) if self._opus is not None else self._by_aiortc(step)
        except (av.FFmpegError, ValueError):
            sound = self._carried_on(step.seconds)
        if step.kind in ("packet", "repaired"):
            self._made_up = 0.0
            self._last = sound
        return sound

    def _stretched(self, sound: array[int], step: Step, *, heard: bool) -> array[int]:
        """A period longer, or shorter: in a hurry by one in each 20 ms, however long a packet is.

        A pitch is looked for only in what is heard: it costs several times what decoding does, and the
        hurry comes when the processor has no time.
        """
        channels, rate = self._channels, self._rate
        if step.stretch == "longer":
            if heard:
                return stretch.longer(sound, channels, rate, hurry=step.hurry)
            return stretch.unheard(sound, channels, rate, more=True)
        piece = round(_PIECE * rate) * channels if step.hurry else max(1, len(sound))
        short = array("h")
        for at in range(0, len(sound), piece):
            part = sound[at : at + piece]
            if heard:
                short += stretch.shorter(part, channels, rate, hurry=step.hurry)
            else:
                short += stretch.unheard(part, channels, rate, more=False)
        return short

    def _by_libopus(self, step: Step, decoder: libopus.OpusDecoder) -> array[int]:
        self._rate, self._channels = opus.RATE, libopus.CHANNELS
        samples = round(step.seconds * opus.RATE)
        if step.kind == "packet":
            late, self._kept = self._kept and step.timestamp == self._follows, False
            self._follows = (step.timestamp + samples) & 0xFFFFFFFF
            return self._resumed(step, decoder) if late else array("h", decoder.decode(step.data))
        if step.kind == "repaired":
            self._follows, self._kept = None, False
            return array("h", decoder.decode_previous(step.data, samples))
        if not self._kept:
            decoder.keep()
            self._kept = True
        return array("h", decoder.conceal(samples))

    def _resumed(self, step: Step, decoder: libopus.OpusDecoder) -> array[int]:
        """What was made up goes over into what is late."""
        made_up = array("h", decoder.conceal(round(_JOIN * opus.RATE)))
        decoder.go_back()
        sound = array("h", decoder.decode(step.data))
        length = min(len(made_up), len(sound))
        for index in range(length):
            share = index / length
            sound[index] = round((1 - share) * made_up[index] + share * sound[index])
        return sound

    def _by_aiortc(self, step: Step) -> array[int]:
        if step.kind != "packet":  # a copy of a lost packet is not to be had here
            return self._carried_on(step.seconds)
        encoded = JitterFrame(step.data, step.timestamp)
        sound = array("h")
        for frame in self._own.decode(encoded):
            assert isinstance(frame, av.AudioFrame), "decoders of sound give sound"
            self._rate, self._channels = frame.sample_rate, len(frame.layout.channels)
            sound.frombytes(bytes(frame.planes[0])[: frame.samples * self._channels * 2])
        return sound or self._carried_on(step.seconds)

    def _carried_on(self, seconds: float) -> array[int]:
        length = max(1, round(seconds * self._rate))
        made = stretch.carried_on(self._last, self._channels, self._rate, length, self._made_up)
        self._made_up += seconds
        return made

    def _frame(self, sound: array[int], samples: int, at: float) -> av.AudioFrame:
        layout = "stereo" if self._channels == 2 else "mono"
        frame = av.AudioFrame(format="s16", layout=layout, samples=samples)
        frame.planes[0].update(sound.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = round(at * self._rate)
        return frame
