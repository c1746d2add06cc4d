"""RTP that is taken before aiortc's queue: whatever arrives, receivers are told what aiortc tells them."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import pylibsrtp
import pytest
from aiortc import RTCRtpCodecParameters, RTCRtpReceiver
from aiortc.codecs import depayload
from aiortc.rtcdtlstransport import RtpRouter, State
from aiortc.rtcrtpparameters import (
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
)
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcall.aio.rtc.hooks.arriving import Arriving
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.media import vp8

SSRC = 0x01020304
VP8 = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
RTX = RTCRtpCodecParameters("video/rtx", 90_000, payloadType=98, parameters={"apt": 97})
OPUS = RTCRtpCodecParameters("audio/opus", 48_000, channels=2, payloadType=96)
SEND_TIME = RTCRtpHeaderExtensionParameters(3, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time")
MID = RTCRtpHeaderExtensionParameters(1, "urn:ietf:params:rtp-hdrext:sdes:mid")


class Clear:
    """In the place of an SRTP session: ``!`` at the end is a broken tag, ``?`` makes a packet a copy."""

    def unprotect(self, data: bytes) -> bytes:
        if data.endswith(b"!"):
            raise pylibsrtp.Error("authentication failure")
        if data.endswith(b"?"):
            raise pylibsrtp.Error("replay check failed (bad index)")
        return data


class Transport:
    """The part of a DTLS transport that receivers of RTP see."""

    def __init__(self, codecs: list[RTCRtpCodecParameters]) -> None:
        self.state, self._state = "connected", State.CONNECTED
        self._rx_srtp = Clear()
        self._rtp_router = RtpRouter()
        self._rtp_header_extensions_map = HeaderExtensionsMap()
        self.sent: list[bytes] = []
        parameters = RTCRtpReceiveParameters(codecs=codecs, headerExtensions=[SEND_TIME, MID])
        self._rtp_header_extensions_map.configure(parameters)

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


class Frame(bytes):
    """What leaves a jitter buffer."""

    timestamp = 0


class Recorder:
    """In the place of a jitter buffer, a queue and an estimator: what they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def add(self, packet: Any = None, **estimate: int) -> Any:
        if packet is None:
            estimate["arrival_time_ms"] = 0
            self.told.append(estimate)
            return (500_000, [SSRC]) if len(self.told) % 3 == 0 else None
        numbers = packet.ssrc, packet.sequence_number, packet.timestamp, packet.marker, packet.payload_type
        self.told.append((*numbers, packet.payload, packet._data))
        return False, (Frame(packet._data) if packet.marker else None)

    def put(self, item: Any) -> None:
        codec, frame = item
        self.told.append((codec.name, bytes(frame)))


class End:
    """A receiver that has begun, with recorders in it."""

    def __init__(self, kind: str) -> None:
        codecs = [OPUS] if kind == "audio" else [VP8, RTX]
        self.transport = Transport(codecs)
        self.receiver = RTCRtpReceiver(kind, self.transport)  # type: ignore[arg-type]
        self.receiver._set_rtcp_ssrc(7)
        set_private(self.receiver, "_RTCRtpReceiver__codecs", {codec.payloadType: codec for codec in codecs})
        set_private(self.receiver, "_RTCRtpReceiver__rtx_ssrc", {SSRC + 1: SSRC})
        set_private(self.receiver, "_RTCRtpReceiver__decoder_thread", threading.current_thread())
        self.buffer, self.queue, self.estimator = Recorder(), Recorder(), Recorder()
        set_private(self.receiver, "_RTCRtpReceiver__jitter_buffer", self.buffer)
        set_private(self.receiver, "_RTCRtpReceiver__decoder_queue", self.queue)
        set_private(self.receiver, "_RTCRtpReceiver__nack_generator", None)
        estimator = self.estimator if kind == "video" else None
        set_private(self.receiver, "_RTCRtpReceiver__remote_bitrate_estimator", estimator)
        payloads = [codec.payloadType or 0 for codec in codecs]
        self.transport._rtp_router.register_receiver(self.receiver, [SSRC, SSRC + 1], payloads)
        self.counters: Counter[str] = Counter()
        self.arriving = Arriving(self.transport, self.counters)  # type: ignore[arg-type]

    async def by_aiortc(self, data: bytes) -> None:
        try:
            packet = RtpPacket.parse(data, self.transport._rtp_header_extensions_map)
            receiver = self.transport._rtp_router.route_rtp(packet)
            if receiver is not None:
                await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
        except (ValueError, struct.error):
            pass

    def told(self) -> Any:
        streams = get_private(self.receiver, "_RTCRtpReceiver__remote_streams")
        counted = {
            ssrc: (one.packets_received, one.max_seq, one.base_seq, one.cycles)
            for ssrc, one in streams.items()
        }
        return self.buffer.told, self.queue.told, self.estimator.told, self.transport.sent, counted


def packet(sequence: int, payload: bytes, *, payload_type: int = 97, ssrc: int = SSRC, **how: Any) -> bytes:
    one = RtpPacket(payload_type, how.get("marker", 1), sequence & 0xFFFF, 3000 * sequence, ssrc, payload)
    one.extensions = HeaderExtensions(abs_send_time=how.get("sent"), mid=how.get("mid"))
    one.csrc = how.get("csrc", [])
    one.padding_size = how.get("padding", 0)
    extensions = HeaderExtensionsMap()
    extensions.configure(RTCRtpReceiveParameters(headerExtensions=[SEND_TIME, MID]))
    return one.serialize(extensions)


packets = st.builds(
    packet,
    st.integers(65_500, 65_600),
    st.sampled_from([b"", b"\x90\x80\x80\x01frame", b"\x10more", b"\x90", b"x" * 1200]),
    payload_type=st.sampled_from([97, 97, 97, 98, 96]),
    ssrc=st.sampled_from([SSRC, SSRC, SSRC, SSRC + 1, 9]),
    marker=st.integers(0, 1),
    sent=st.none() | st.integers(0, 0xFFFFFF),
    mid=st.sampled_from([None, "0", "a long one"]),
    csrc=st.sampled_from([[], [], [1, 2]]),
    padding=st.sampled_from([0, 0, 4]),
)


@settings(deadline=None)
@given(st.lists(packets | st.binary(max_size=40).map(lambda data: b"\x90\x61" + data), max_size=30))
def test_receivers_are_told_what_aiortc_tells_them(datagrams: list[bytes]) -> None:
    """Packets of all forms, retransmissions, unknown sources, and what is none: the same buffers, the same
    statistics, the same reports."""

    async def compare() -> None:
        ours, theirs = End("video"), End("video")
        for data in datagrams:
            await theirs.by_aiortc(data)
            if not ours.arriving.offer(data):
                await ours.by_aiortc(data)
            await asyncio.sleep(0)
        assert ours.told() == theirs.told()

    asyncio.run(compare())


async def test_an_extension_is_found_where_the_last_one_was_only_if_all_is_as_it_was() -> None:
    """Another MID, another number, or none: what is told is what the packet says."""
    end = End("video")
    await end.by_aiortc(packet(1, b"\x10x"))
    laid_out = [("0", 7), ("0", 8), ("1", 9), ("long", 10), (None, 11), ("0", None), ("0", 12), ("0", 13)]
    for number, (mid, sent) in enumerate(laid_out, 2):
        assert end.arriving.offer(packet(number, b"\x10x", mid=mid, sent=sent))
    assert [one["abs_send_time"] for one in end.estimator.told] == [7, 8, 9, 10, 11, 12, 13]
    numbers = RTCRtpReceiveParameters(headerExtensions=[replace(SEND_TIME, id=5)])
    end.transport._rtp_header_extensions_map.configure(numbers)
    assert end.arriving.offer(packet(20, b"\x10x", mid="0", sent=14))
    assert len(end.estimator.told) == 7


@given(st.binary(max_size=12) | st.binary(max_size=4).map(lambda data: b"\x90\x80\x80" + data))
def test_payloads_are_freed_as_by_aiortc(payload: bytes) -> None:
    """Of every descriptor that we read ourselves."""
    data = vp8.uncut(payload)
    assert data is None or data == depayload(VP8, payload)


async def test_what_is_taken_and_what_is_not() -> None:
    """All but the first packet of a stream; no DTLS, no RTCP, no repairs, no source that is not known."""
    end = End("audio")
    first, second = (packet(number, b"sound", payload_type=96) for number in (1, 2))
    assert not end.arriving.offer(first)
    await end.by_aiortc(first)
    assert end.arriving.offer(second)
    assert [one[1] for one in end.buffer.told] == [1, 2]
    for other in (b"", b"\x16\xfe\xfd", b"\x80\xc8" + bytes(26), packet(3, b"x", payload_type=96, ssrc=9)):
        assert not end.arriving.offer(other)


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (packet(2, b"broken!", payload_type=96), "rtp-undecrypted"),
        (b"\x90" + packet(2, b"", payload_type=96)[1:] + b"\xbe\xde\x00\x63", "rtp-malformed"),
    ],
)
async def test_what_does_not_decrypt_or_parse_is_counted(data: bytes, counter: str) -> None:
    """And nothing is told of it."""
    end = End("audio")
    await end.by_aiortc(packet(1, b"sound", payload_type=96))
    before = len(end.buffer.told)
    assert end.arriving.offer(data)
    assert end.counters == {counter: 1}
    assert len(end.buffer.told) == before


async def test_a_copy_is_no_news() -> None:
    """Sound is sent twice on purpose."""
    end = End("audio")
    await end.by_aiortc(packet(1, b"sound", payload_type=96))
    assert end.arriving.offer(packet(1, b"sound?", payload_type=96))
    assert (len(end.buffer.told), end.counters) == (1, {})


async def test_a_renewed_receiver_gets_its_stream() -> None:
    """Who is not registered any more is told nothing."""
    end = End("audio")
    await end.by_aiortc(packet(1, b"sound", payload_type=96))
    assert end.arriving.offer(packet(2, b"sound", payload_type=96))
    end.transport._rtp_router.unregister_receiver(end.receiver)
    assert not end.arriving.offer(packet(3, b"sound", payload_type=96))


async def test_receivers_that_are_gone_are_forgotten() -> None:
    """With the next stream that comes: who shares a screen again and again leaves nothing behind."""
    end = End("audio")
    for ssrc in range(SSRC, SSRC + 5):
        end.transport._rtp_router.unregister_receiver(end.receiver)
        end.transport._rtp_router.register_receiver(end.receiver, [ssrc], [96])
        await end.by_aiortc(packet(1, b"sound", payload_type=96, ssrc=ssrc))
        assert end.arriving.offer(packet(2, b"sound", payload_type=96, ssrc=ssrc))
    assert list(end.arriving._streams) == [(SSRC + 4, 96)]


async def test_nothing_is_taken_after_the_end() -> None:
    """The peer has closed its DTLS, or we ours; what comes then goes nowhere, as in aiortc."""
    end = End("audio")
    await end.by_aiortc(packet(1, b"sound", payload_type=96))
    assert end.arriving.offer(packet(2, b"sound", payload_type=96))
    end.transport._state = State.CLOSED
    assert not end.arriving.offer(packet(3, b"sound", payload_type=96))
    assert len(end.buffer.told) == 2


async def test_a_decoder_that_failed_asks_for_a_keyframe() -> None:
    """Of pictures; once."""
    end = End("video")
    frame = b"\x90\x80\x80\x01frame"
    await end.by_aiortc(packet(1, frame))
    get_private(end.receiver, "_RTCRtpReceiver__decoder_error").set()
    for number in (2, 3):
        assert end.arriving.offer(packet(number, frame, sent=number))
    assert [one["abs_send_time"] for one in end.estimator.told] == [2, 3]
    await asyncio.sleep(0)
    assert [data[1] for data in end.transport.sent] == [206]  # PSFB (RFC 4585 section 6.1)
