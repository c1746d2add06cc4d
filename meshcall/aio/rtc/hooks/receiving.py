"""Receivers, their jitter buffers and their decoders."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpTransceiver

from meshcall import limits
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.aio.rtc.hooks.transport import Counters
from meshcall.aio.rtc.playout import Playout, SoundPassage
from meshcall.aio.rtc.reorder import FrameBatch, Packet, ReorderBuffer


class DecoderQueue:
    """What stands between a receiver and its decoder thread, in place of aiortc's unbounded queue.

    Before the gate is open everything is dropped: a stranger's frames never meet a decoder.
    """

    def __init__(self, kind: str, counters: Counters) -> None:
        self._queue: queue.SimpleQueue[tuple[Any, FrameBatch] | None] = queue.SimpleQueue()
        self._kind = kind
        self._counters = counters
        self._closed = False
        self.open = False
        self.dropped = 0

    def get(self) -> tuple[Any, FrameBatch] | None:
        """For the decoder thread."""
        return self._queue.get()

    def put(self, item: tuple[Any, FrameBatch] | None) -> None:
        """For the receiver; None ends the thread at once, whatever was waiting."""
        if item is None:
            self._closed = True
            with suppress(queue.Empty):  # the thread takes from it at the same time
                while True:
                    self._queue.get_nowait()
            self._queue.put(None)
            return
        codec, first = item
        frames = [first, *first.following]
        for frame in first.following:
            frame.timestamp = first.timestamp + ((frame.rtp_timestamp - first.rtp_timestamp) & 0xFFFFFFFF)
        if self._closed:
            return
        if not self.open:
            self.dropped += len(frames)
            self._counters[f"{self._kind}-before-gate"] += len(frames)
        elif self._queue.qsize() >= limits.DECODE_QUEUE_MAX:
            self._counters[f"{self._kind}-decoder-behind"] += len(frames)
        else:
            for frame in frames:
                self._queue.put((codec, frame))


def prepare_sound(receiver: RTCRtpReceiver, counters: Counters) -> Playout:
    """Give a receiver of sound our playout in the place of its buffer and its queue, before it starts."""
    playout = Playout(counters)
    set_private(receiver, "_RTCRtpReceiver__jitter_buffer", SoundPassage(_payload))
    set_private(receiver, "_RTCRtpReceiver__decoder_queue", playout)
    return playout


def prepare_receiver(receiver: RTCRtpReceiver, kind: str, counters: Counters) -> DecoderQueue:
    """Give a receiver of pictures our reorder buffer and our queue to the decoder, before it starts.

    ``kind``: ``video`` or ``screen``.
    """
    decoder_queue = DecoderQueue(kind, counters)
    buffer = ReorderBuffer(limits.VIDEO_REORDER_MAX, payload=_payload)
    set_private(receiver, "_RTCRtpReceiver__jitter_buffer", buffer)
    set_private(receiver, "_RTCRtpReceiver__decoder_queue", decoder_queue)
    return decoder_queue


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


def request_keyframe(receiver: RTCRtpReceiver) -> None:
    """Ask for a keyframe with the next packet: what came before the gate is missing."""
    get_private(receiver, "_RTCRtpReceiver__decoder_error").set()


def stop_decoder(receiver: RTCRtpReceiver) -> threading.Thread | None:
    """End the decoder thread without waiting for it; aiortc's stop() joins it on the event loop."""
    thread: threading.Thread | None = get_private(receiver, "_RTCRtpReceiver__decoder_thread")
    if thread is not None:
        get_private(receiver, "_RTCRtpReceiver__decoder_queue").put(None)
    return thread


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
