"""Senders: what peers report of them, and ask them for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
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


def begin_stream(sender: RTCRtpSender, name: str) -> tuple[int, ...]:
    """Have ``sender`` send as a MediaStream of its own; the SSRCs that it sends by.

    aiortc puts all that a connection sends into one stream, so a browser would hold a screen for the sound.
    """
    sender._stream_id = name
    return sender._ssrc, sender._rtx_ssrc


def place(transceiver: RTCRtpTransceiver, index: int) -> None:
    """Give a transceiver that was added later its section, of an offer that aiortc did not make.

    aiortc's own offer gives sections that are in use other payload types than were negotiated.
    """
    transceiver._set_mline_index(index)


def codec_name(transceiver: RTCRtpTransceiver) -> str:
    """The codec that is sent: the first one negotiated."""
    codecs = transceiver._codecs
    return codecs[0].mimeType.partition("/")[2] if codecs else ""
