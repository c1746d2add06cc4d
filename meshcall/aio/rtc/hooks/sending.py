"""Senders: what peers report of them, and how loud what they send is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from aiortc import RTCRtpCodecParameters, RTCRtpSender, RTCRtpTransceiver
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RTP_HISTORY_SIZE,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from meshcall import limits
from meshcall.aio.rtc.hooks.private import get_private
from meshcall.aio.rtc.hooks.transport import Counters
from meshcall.media.feedback import Feedback, Requests
from meshcall.media.pacer import Pacer

_RTT_MAX = 10.0
"""Seconds; more is a report of something else, or a clock that was set."""


def tap_sender(sender: RTCRtpSender, feedback: Feedback) -> None:
    """Tell ``feedback`` what RTCP says of ``sender``.

    aiortc keeps it for the encoder that a sender has; ours are shared, and it never asks them.
    """
    handle = sender._handle_rtcp_packet
    clock_rate = 48_000 if sender.kind == "audio" else 90_000
    requests = Requests()

    async def tapped(packet: AnyRtcpPacket) -> None:
        await handle(packet)
        match packet:
            case RtcpRrPacket() | RtcpSrPacket():
                for report in packet.reports:
                    if report.ssrc == sender._ssrc:
                        jitter = report.jitter / clock_rate
                        feedback.rr(report.fraction_lost / 256, jitter, _round_trip(sender, report))
            case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK:
                fresh = requests.fresh(packet.lost)
                if fresh:
                    feedback.nack(fresh)
            case RtcpPsfbPacket(fmt=fmt) if fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                feedback.keyframe()
            case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_APP:
                with suppress(ValueError):  # another message of an application
                    bits, ssrcs = unpack_remb_fci(packet.fci)
                    if sender._ssrc in ssrcs:
                        feedback.remb(bits)
            case _:
                pass

    sender._handle_rtcp_packet = tapped  # type: ignore[method-assign]


def limit_repairs(sender: RTCRtpSender, counters: Counters, clock: Callable[[], float]) -> None:
    """Send at most REPAIRS_MAX packets a second again; ``clock``: in seconds.

    aiortc sends whatever is asked for, as often as it is: one packet of a hostile peer cost us a hundred.
    """
    retransmit = sender._retransmit
    second, count = 0.0, 0

    async def limited(sequence_number: int) -> None:
        nonlocal second, count
        now = clock()
        if now - second >= 1.0:
            second, count = now, 0
        count += 1
        if count > limits.REPAIRS_MAX:
            counters["repairs-refused"] += 1
        else:
            await retransmit(sequence_number)

    sender._retransmit = limited  # type: ignore[method-assign]


def _round_trip(sender: RTCRtpSender, report: RtcpReceiverInfo) -> float | None:
    """Seconds, by the last sender report (RFC 3550 section 6.4.1); None: the report answers another one.

    aiortc smooths its own over some twenty of them.
    """
    if not report.dlsr or get_private(sender, "_RTCRtpSender__lsr") != report.lsr:
        return None
    rtt: float = time.time() - get_private(sender, "_RTCRtpSender__lsr_time") - report.dlsr / 65536
    return rtt if 0 <= rtt < _RTT_MAX else None


def tell_loudness(sender: RTCRtpSender, level: Callable[[], int | None]) -> None:
    """Send the level of each packet with it (RFC 6464): ``level()``, in dBov, of the frame taken last.

    aiortc does so for what it encodes itself.
    """
    next_frame = sender._next_encoded_frame

    async def with_level(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        encoded = await next_frame(codec)
        if encoded is not None:
            encoded.audio_level = level()  # type: ignore[assignment]
        return encoded

    sender._next_encoded_frame = with_level  # type: ignore[method-assign]


def pace(sender: RTCRtpSender, pacer: Pacer, clock: Callable[[], float], begins: Callable[[], bool]) -> None:
    """Send the packets of a picture, and those that are sent again, as ``pacer`` says; ``clock``: in seconds.

    aiortc sends them all at once, and again whatever is asked for. ``begins()``: the picture that was taken
    last is a keyframe: what is missing before it is not sent any more, because nobody needs it.
    """
    next_frame, retransmit = sender._next_encoded_frame, sender._retransmit
    history = get_private(sender, "_RTCRtpSender__rtp_history")
    paced: asyncio.Task[None] | None = None
    oldest: int | None = None
    key = False

    def begin(task: asyncio.Task[None]) -> None:
        transport = sender.transport
        send = transport._send_rtp

        async def send_paced(data: bytes) -> None:
            nonlocal oldest, key
            await send(data)
            if asyncio.current_task() is task:
                if key:
                    oldest, key = int.from_bytes(data[2:4]), False
                wait = pacer.pause(len(data), clock())
                if wait > 0:
                    await asyncio.sleep(wait)

        transport._send_rtp = send_paced  # type: ignore[method-assign]

    async def next_paced(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        nonlocal paced, key
        task = asyncio.current_task()
        if task is not None and task is not paced:
            paced = task
            begin(task)
        encoded = await next_frame(codec)
        if encoded is not None:
            pacer.begin(sum(map(len, encoded.payloads)))
            key = begins()
        return encoded

    async def repair(sequence_number: int) -> None:
        if oldest is not None and (sequence_number - oldest) & 0xFFFF >= 0x8000:
            return
        packet = history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None and pacer.repair(len(packet.payload), clock()):
            await retransmit(sequence_number)

    sender._next_encoded_frame = next_paced  # type: ignore[method-assign]
    sender._retransmit = repair  # type: ignore[method-assign]


def repeat_sound(sender: RTCRtpSender, wanted: Callable[[], bool]) -> None:
    """Send each packet again with the next one while ``wanted()``; aiortc has no redundancy of any kind.

    What it kept for retransmissions is sent, with the same numbers.
    """
    next_frame = sender._next_encoded_frame

    async def after_copy(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        encoded = await next_frame(codec)
        if encoded is not None and wanted():
            timestamp = get_private(sender, "_RTCRtpSender__rtp_timestamp")
            history = get_private(sender, "_RTCRtpSender__rtp_history")
            last = next((packet for packet in history.values() if packet.timestamp == timestamp), None)
            if last is not None:
                await sender._retransmit(last.sequence_number)
        return encoded

    sender._next_encoded_frame = after_copy  # type: ignore[method-assign]


def codec_name(transceiver: RTCRtpTransceiver) -> str:
    """The codec that is sent: the first one negotiated."""
    codecs = transceiver._codecs
    return codecs[0].mimeType.partition("/")[2] if codecs else ""
