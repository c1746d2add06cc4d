"""Receivers, their jitter buffers and their decoders."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

from meshcall import limits
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.aio.rtc.hooks.transport import Counters
from meshcall.aio.rtc.pictures import DecoderQueue, Pictures
from meshcall.aio.rtc.playout import Playout, SoundPassage
from meshcall.aio.rtc.reorder import Packet, ReorderBuffer
from meshcall.media.repair import is_keyframe


def prepare_sound(receiver: RTCRtpReceiver, counters: Counters) -> Playout:
    """Give a receiver of sound our playout in the place of its buffer and its queue, before it starts."""
    playout = Playout(counters)
    set_private(receiver, "_RTCRtpReceiver__jitter_buffer", SoundPassage(_payload))
    set_private(receiver, "_RTCRtpReceiver__decoder_queue", playout)
    return playout


def prepare_pictures(receiver: RTCRtpReceiver, kind: str, counters: Counters) -> Pictures:
    """Give a receiver of pictures our buffer, repair and queue to the decoder, before it starts.

    aiortc asks for a lost packet again only when another one is lost, and for keyframes without limit.
    ``kind``: ``video`` or ``screen``.
    """
    codecs = get_private(receiver, "_RTCRtpReceiver__codecs")

    def begins_keyframe(packet: Packet) -> bool:
        codec = codecs.get(packet.payload_type)  # type: ignore[attr-defined]
        return codec is not None and is_keyframe(codec.name, _payload(packet))

    tasks: set[asyncio.Future[None]] = set()

    def send(report: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(report)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    ask_packets, ask_keyframe = receiver._send_rtcp_nack, receiver._send_rtcp_pli
    pictures = Pictures(
        ReorderBuffer(limits.VIDEO_REORDER_MAX, payload=_payload, begins_keyframe=begins_keyframe),
        DecoderQueue(kind, counters),
        ask_packets=lambda ssrc, lost: send(ask_packets(ssrc, lost)),
        ask_keyframe=lambda ssrc: send(ask_keyframe(ssrc)),
    )

    async def decoder_failed(media_ssrc: int) -> None:
        pictures.want_keyframe()

    receiver._send_rtcp_pli = decoder_failed  # type: ignore[method-assign]
    set_private(receiver, "_RTCRtpReceiver__nack_generator", _NoNacks())
    set_private(receiver, "_RTCRtpReceiver__jitter_buffer", pictures)
    set_private(receiver, "_RTCRtpReceiver__decoder_queue", pictures.queue)
    return pictures


class _NoNacks:
    """In the place of aiortc's list of missing packets; ours is in :class:`Pictures`."""

    def add(self, packet: Packet) -> bool:
        return False


def _payload(packet: Packet) -> bytes:
    """What the receiver's depayloader left of a packet."""
    data: bytes = packet._data  # type: ignore[attr-defined]
    return data


async def renew_receiver(transceiver: RTCRtpTransceiver) -> None:
    """Give a transceiver a receiver that never received; the decoder of the old one must have ended.

    aiortc's takes the SSRCs of its first description only, and ends for good with an RTCP BYE: what a browser
    sends when a screen is not shared any more, and when it is again, it has another SSRC.
    """
    old = transceiver.receiver
    transceiver._setCurrentDirection("inactive")  # or it would be started before it has a track
    await old.stop()
    fresh = RTCRtpReceiver(transceiver.kind, old.transport)
    fresh._set_rtcp_ssrc(transceiver.sender._ssrc)
    set_private(transceiver, "_RTCRtpTransceiver__receiver", fresh)


def stop_decoder(receiver: RTCRtpReceiver) -> threading.Thread | None:
    """End the decoder thread without waiting for it; aiortc's stop() joins it on the event loop."""
    thread: threading.Thread | None = get_private(receiver, "_RTCRtpReceiver__decoder_thread")
    if thread is not None:
        get_private(receiver, "_RTCRtpReceiver__decoder_queue").put(None)
    return thread


def tap_receiver(receiver: RTCRtpReceiver, reported: Callable[[int, int], None]) -> None:
    """Tell ``reported(NTP time, RTP time)`` of each sender report; aiortc keeps the middle of the first."""
    handle = receiver._handle_rtcp_packet

    async def tapped(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            reported(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await handle(packet)

    receiver._handle_rtcp_packet = tapped  # type: ignore[method-assign]


def packets_lost(receiver: RTCRtpReceiver) -> int:
    """RTP packets that did not arrive; getStats() mixes them up with those of the retransmission stream."""
    return packet_counts(receiver)[1]


def packet_counts(receiver: RTCRtpReceiver) -> tuple[int, int]:
    """RTP packets that the peer has sent, and those of them that did not arrive (RFC 3550 appendix A.3)."""
    repairs = get_private(receiver, "_RTCRtpReceiver__rtx_ssrc")
    streams = get_private(receiver, "_RTCRtpReceiver__remote_streams")
    counted = [stream for ssrc, stream in streams.items() if ssrc not in repairs]
    return (
        sum(stream.packets_expected for stream in counted),
        sum(max(0, stream.packets_lost) for stream in counted),
    )
