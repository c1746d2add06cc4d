"""The thread of a receiver's decoder, in the place of aiortc's function."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any, Protocol

import av
from aiortc import RTCRtpCodecParameters
from aiortc.codecs import get_decoder as original_get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame

from meshcall.aio.rtc.pictures import DecoderQueue
from meshcall.aio.rtc.playout import Playout
from meshcall.aio.rtc.sound import SoundDecoder


def get_decoder(codec: RTCRtpCodecParameters) -> Decoder:
    """Of sound, one that conceals what is missing; of VP8, FFmpeg's own, without a thread of its own.

    libvpx takes a fifth longer, and copies each picture.
    """
    if codec.mimeType.startswith("audio/"):
        return SoundDecoder(codec, original_get_decoder)
    decoder = original_get_decoder(codec)
    if isinstance(decoder, Vp8Decoder):
        decoder.codec = av.CodecContext.create("vp8", "r")
        decoder.codec.thread_count = 1  # else one for each core, for partitions that nobody sends
    return decoder


class Encoded(Protocol):
    """What a receiver leaves for its decoder: :class:`Playout`, :class:`DecoderQueue`, or aiortc's queue."""

    def get(self) -> tuple[RTCRtpCodecParameters, JitterFrame] | None:
        """The next frame, when it is there; None: there will be none."""


def decode(
    loop: asyncio.AbstractEventLoop,
    encoded: Encoded,
    frames: asyncio.Queue[Any],
    failed: threading.Event,
) -> None:
    """Decode until the end, which is told by None.

    What :class:`Playout` and :class:`DecoderQueue` left is delivered by them, in this thread: ``frames``,
    which aiortc's tracks read, has no bound, and each of its items wakes the loop. From a receiver that is
    not ours frames go there; aiortc makes a task of the loop for each, and a future that nobody looks at.
    """
    decoder, name = None, ""

    def hand_over(frame: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(frames.put_nowait, frame)

    deliver = encoded.deliver if isinstance(encoded, Playout | DecoderQueue) else hand_over
    while (item := encoded.get()) is not None:
        codec, frame = item
        if decoder is None or codec.name != name:
            decoder, name = get_decoder(codec), codec.name
        try:
            decoded = decoder.decode(frame)
        except av.FFmpegError:
            failed.set()  # the receiver asks for a keyframe
            continue
        for one in decoded:
            deliver(one)
    hand_over(None)
