"""Senders and their encoders."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import get_encoder

from meshcall.aio.rtc.hooks.private import get_private, set_private


def set_encoder_pool(sender: RTCRtpSender, pool: Executor) -> None:
    """Encode in ``pool``; aiortc encodes in the loop's default executor, where name look-ups wait too."""
    set_private(sender, "_RTCRtpSender__loop", _PoolLoop(get_private(sender, "_RTCRtpSender__loop"), pool))


class _PoolLoop:
    """The one method of the loop that a sender calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Executor) -> None:
        self._loop = loop
        self._pool = pool

    def run_in_executor(self, _: None, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        return self._loop.run_in_executor(self._pool, function, *args)


def make_encoder(transceiver: RTCRtpTransceiver, frame: av.AudioFrame | av.VideoFrame) -> Any:
    """An encoder for the codec that is sent, opened by encoding ``frame``; blocking.

    Opening libvpx takes 20 ms and libopus 10 ms; aiortc does it between the gate and the first packet.
    """
    encoder = get_encoder(transceiver._codecs[0])
    # Just before the first frame, which has time 0.
    frame.pts = -frame.samples if isinstance(frame, av.AudioFrame) else -3000
    frame.time_base = Fraction(1, 48_000 if isinstance(frame, av.AudioFrame) else 90_000)
    encoder.encode(frame)
    return encoder


def set_encoder(sender: RTCRtpSender, encoder: Any) -> None:
    """Use ``encoder``, if the sender has none of its own yet; it begins with a keyframe."""
    if get_private(sender, "_RTCRtpSender__encoder") is None:
        set_private(sender, "_RTCRtpSender__encoder", encoder)
        sender._send_keyframe()


def drop_encoder(sender: RTCRtpSender) -> None:
    """Forget an encoder that was set: the peer chose another codec."""
    set_private(sender, "_RTCRtpSender__encoder", None)


def pool_threads(pool: ThreadPoolExecutor) -> list[threading.Thread]:
    """The threads of a pool; ``shutdown(wait=True)`` would hold up the loop."""
    return list(pool._threads)


def codec_name(transceiver: RTCRtpTransceiver) -> str:
    """The codec that is sent: the first one negotiated."""
    codecs = transceiver._codecs
    return codecs[0].mimeType.partition("/")[2] if codecs else ""
