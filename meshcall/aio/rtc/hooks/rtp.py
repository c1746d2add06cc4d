"""Sending RTP, in the place of the loop that each of aiortc's senders has.

Law 1: what is on the wire is what aiortc sends, and the history for repairs is its own.
Law 2: each packet costs what it alone has: its number, its piece, its encryption. aiortc puts each together
from all its parts, for each peer anew.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiortc import RTCRtpCodecParameters, RTCRtpSender, clock
from aiortc.codecs import get_encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError, convert_timebase
from aiortc.rtp import RTP_HISTORY_SIZE, HeaderExtensions, RtpPacket

from meshcall import limits
from meshcall.aio.media.encoded import Encoded, Outlet, packet_of
from meshcall.aio.media.readers import FRAME_SAMPLES
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.media import vp8
from meshcall.media.pacer import Pacer

_HEADER: Final = struct.Struct("!BBHLL")
_PLAIN: Final = 0x80
"""The first octet of a header (RFC 3550 section 5.1): version 2."""
_EXTENDED: Final = 0x90
"""And with header extensions (RFC 8285)."""
_SEQUENCE_START: Final = 1 << 15
"""The first number is below this: a wrap soon after the start, with loss, breaks SRTP's count."""

Cut = Callable[[Encoded, int], tuple[list[bytes], int]]
"""Of a frame and its time: its payloads, and its time by the RTP clock."""


def send_by(
    sender: RTCRtpSender,
    outlet: Outlet,
    *,
    twice: Callable[[], bool] = lambda: False,
    pacer: Pacer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have ``sender`` send what ``outlet`` gives, before it starts.

    ``twice``: whether each frame is followed by a copy of itself, with the same numbers, when the next one
    comes; aiortc has no redundancy of any kind. ``pacer``: when the packets of a picture leave, and which of
    them again; aiortc sends all at once, and again whatever is asked for. ``clock``: in seconds.
    """
    loop = _Loop(sender, outlet, twice, pacer, clock)
    sender._run_rtp = loop.run  # type: ignore[method-assign]
    if pacer is not None:
        sender._retransmit = partial(loop.repair, pacer, sender._retransmit)  # type: ignore[method-assign]


class _Loop:
    """Of one sender."""

    def __init__(
        self,
        sender: RTCRtpSender,
        outlet: Outlet,
        twice: Callable[[], bool],
        pacer: Pacer | None,
        clock: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._outlet = outlet
        self._twice = twice
        self._pacer = pacer
        self._clock = clock
        self._history: dict[int, RtpPacket] = self._get("rtp_history")
        self._sequence = secrets.randbelow(_SEQUENCE_START)
        self._origin = secrets.randbits(32)
        self._last: RtpPacket | None = None
        """The first packet of the last frame."""
        self._oldest: int | None = None
        """Where the last keyframe begins."""

    def _get(self, name: str) -> Any:
        return get_private(self._sender, f"_RTCRtpSender__{name}")

    def _set(self, name: str, value: object) -> None:
        set_private(self._sender, f"_RTCRtpSender__{name}", value)

    async def run(self, codec: RTCRtpCodecParameters) -> None:
        """Send until it is cancelled, the track has ended, or the transport is gone."""
        assert codec.payloadType is not None, "it was negotiated"
        cut = _cutter(codec)
        self._get("rtp_started").set()
        try:
            while True:
                encoded, pts = await self._outlet.take()
                if self._last is not None and self._twice():
                    await self._sender._retransmit(self._last.sequence_number)
                await self._send(encoded, *cut(encoded, pts), codec.payloadType)
        except (asyncio.CancelledError, ConnectionError, MediaStreamError):
            pass
        finally:
            self._outlet.stop()
            self._set("track", None)
            self._get("rtp_exited").set()

    async def _send(self, encoded: Encoded, payloads: list[bytes], time: int, payload_type: int) -> None:
        """One frame."""
        sender, timestamp = self._sender, (self._origin + time) & 0xFFFFFFFF
        self._set("ntp_timestamp", clock.current_ntp_time())
        # What a sender report says is of now (RFC 3550 section 6.4.1) is the last frame, none that waited.
        waited = (encoded.frames - 1) * FRAME_SAMPLES
        self._set("rtp_timestamp", timestamp + waited & 0xFFFFFFFF)
        if self._pacer is not None:
            self._pacer.begin(sum(map(len, payloads)))
            if encoded.key:
                self._oldest = self._sequence
        extensions, first, block = self._extensions(encoded)
        ssrc, send = sender._ssrc, sender.transport._send_rtp
        self._last, last = None, len(payloads) - 1
        for index, payload in enumerate(payloads):
            packet = RtpPacket(payload_type, int(index == last), self._sequence, timestamp, ssrc, payload)
            packet.extensions = extensions
            self._history[self._sequence % RTP_HISTORY_SIZE] = packet
            self._last = self._last or packet
            marked = payload_type | packet.marker << 7
            data = _HEADER.pack(first, marked, self._sequence, timestamp, ssrc) + block + payload
            self._sequence = self._sequence + 1 & 0xFFFF
            await send(data)
            wait = 0.0 if self._pacer is None else self._pacer.pause(len(data), self._clock())
            if wait > 0:
                await asyncio.sleep(wait)
                extensions, first, block = self._extensions(encoded)
        self._set("octet_count", self._get("octet_count") + sum(map(len, payloads)))
        self._set("packet_count", self._get("packet_count") + len(payloads))

    def _extensions(self, encoded: Encoded) -> tuple[HeaderExtensions, int, bytes]:
        """Of packets that leave now: as they are, the first octet of the header, and what follows it."""
        now = clock.current_ntp_time() >> 14 & 0xFFFFFF
        extensions = HeaderExtensions(mid=self._get("mid"), abs_send_time=now)
        if encoded.level is not None:
            extensions.audio_level = False, -encoded.level
        profile, value = self._get("rtp_header_extensions_map").set(extensions)
        if not value:
            return extensions, _PLAIN, b""
        return extensions, _EXTENDED, struct.pack("!HH", profile, len(value) >> 2) + value

    async def repair(
        self, pacer: Pacer, retransmit: Callable[[int], Awaitable[None]], sequence_number: int
    ) -> None:
        """Send a packet again; what is missing before a keyframe nobody needs."""
        if self._oldest is not None and (sequence_number - self._oldest) & 0xFFFF >= 0x8000:
            return
        packet = self._history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None and pacer.repair(len(packet.payload), self._clock()):
            await retransmit(sequence_number)


def _cutter(codec: RTCRtpCodecParameters) -> Cut:
    if codec.name.upper() == "VP8":
        return _cutter_of_vp8()
    pack = get_encoder(codec).pack
    return lambda encoded, pts: pack(packet_of(encoded, pts))


def _cutter_of_vp8() -> Cut:
    """aiortc's takes longer over a picture than its encryption does."""
    picture = secrets.randbelow(vp8.PICTURES)

    def cut(encoded: Encoded, pts: int) -> tuple[list[bytes], int]:
        nonlocal picture
        picture = (picture + 1) % vp8.PICTURES
        time = convert_timebase(pts, encoded.time_base, VIDEO_TIME_BASE)
        return vp8.cut(encoded.data, picture, limits.RTP_PAYLOAD_MAX), time

    return cut
