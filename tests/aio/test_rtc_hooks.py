"""Contracts with aiortc and aioice: each fails when the library changes under a hook."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import aioice
import aioice.ice
import aioice.stun
import aiortc
import aiortc.rtcdtlstransport
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport as sctp_module
import aiortc.rtp
import av
import numpy as np
import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpCodecParameters,
    RTCRtpSender,
)
from aiortc.codecs import get_decoder, get_encoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from aiortc.rtcdtlstransport import State
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RTP_HISTORY_SIZE,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    pack_remb_fci,
)
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from meshcall import limits
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.session import IceSession
from meshcall.aio.media.encoded import Encoded, Outlet
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.connection import Connection
from meshcall.aio.rtc.hooks.extensions import Extensions
from meshcall.aio.rtc.hooks.leaving import Leaving
from meshcall.aio.rtc.hooks.private import get_private
from meshcall.aio.rtc.pictures import DecoderQueue
from meshcall.aio.rtc.reorder import FrameBatch
from meshcall.aio.rtc.sound import SoundDecoder
from meshcall.media.pacer import Pacer


def make_ice() -> Connection:
    """On loopback, without servers."""
    policy = HostPolicy(("lo",), allow_loopback=True)
    session = IceSession(
        policy=policy,
        shared=None,
        servers=[],
        counters=Counter(),
        on_event=lambda event: None,
    )
    return Connection(session)


@pytest.fixture(autouse=True)
def _installed() -> None:
    hooks.install()


def peer_connection() -> RTCPeerConnection:
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    return RTCPeerConnection(configuration)


@contextlib.asynccontextmanager
async def connected(
    sound: MediaStreamTrack | None = None,
    prepare: Callable[[RTCPeerConnection], None] = lambda pc: None,
) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """Two connected peer connections with sound, pictures and a control channel; only ICE is ours.

    The left one sends ``sound``, and is prepared before it starts.
    """
    left, right = peer_connection(), peer_connection()
    try:
        with hooks.ice_by(make_ice):
            left.addTrack(sound or AudioStreamTrack())
            left.addTrack(VideoStreamTrack())
            prepare(left)
            channel = left.createDataChannel("control", negotiated=True, id=0)
            opened = asyncio.Event()
            channel.on("open", opened.set)
            await left.setLocalDescription()
            await right.setRemoteDescription(left.localDescription)
            right.createDataChannel("control", negotiated=True, id=0)
            await right.setLocalDescription()
        await left.setRemoteDescription(right.localDescription)
        await asyncio.wait_for(opened.wait(), 5)
        yield left, right
    finally:
        await left.close()
        await right.close()


# --- versions and globals -------------------------------------------------------------------------


def test_versions_are_the_tested_ones() -> None:
    """A new version must be looked at before it is allowed."""
    assert aiortc.__version__.startswith(hooks.AIORTC)
    assert aioice.__version__.startswith(hooks.AIOICE)


@pytest.mark.parametrize("library", [aiortc, aioice])
def test_unknown_version_is_refused(monkeypatch: pytest.MonkeyPatch, library: ModuleType) -> None:
    """The hooks do not go into a library that nobody tested."""
    monkeypatch.setattr(library, "__version__", "9.17.0")
    with pytest.raises(ImportError, match=rf"{library.__name__} 9\.17"):
        hooks.install()


def sctp_packet(chunk_type: int, body: bytes, tag: int = 0) -> bytes:
    chunk = struct.pack("!BBH", chunk_type, 0, len(body) + 4) + body
    head = struct.pack("!HHL", 5000, 5000, tag)
    checksum = crc32c(head + b"\0\0\0\0" + chunk)
    return head + struct.pack("<L", checksum) + chunk


@pytest.mark.parametrize("chunk_type", [4, 5, 6, 9, 130])
def test_sctp_parameter_of_length_zero_is_refused_at_once(chunk_type: int) -> None:
    """One such packet froze the process for ever: HEARTBEAT, HEARTBEAT-ACK, ABORT, ERROR, RECONFIG."""
    with pytest.raises(ValueError, match="parameter"):
        sctp_module.parse_packet(sctp_packet(chunk_type, b"\0\1\0\0"))


def test_upstream_still_has_the_endless_loop() -> None:
    """When this fails, upstream has repaired decode_params and ours can go."""
    source = inspect.getsource(sctp_module)
    assert "pos += param_length + padl(param_length)" in source
    assert "param_length < 4" not in source


@given(st.binary(max_size=80))
def test_sctp_parameters_end(body: bytes) -> None:
    """Any body gives parameters or ValueError."""
    with contextlib.suppress(ValueError):
        assert all(0 <= kind <= 0xFFFF for kind, _ in hooks.decode_params(body))


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=5))
def test_sctp_parameters_round_trip(params: list[tuple[int, bytes]]) -> None:
    """Ours reads what aiortc writes."""
    assert hooks.decode_params(sctp_module.encode_params(params)) == params


def test_stun_attribute_of_wrong_size_is_a_value_error() -> None:
    """PRIORITY of 2 octets raises struct.error in aioice, which its socket handler lets out."""
    attribute = struct.pack("!HH", 0x0024, 2) + b"\0\0\0\0"
    data = struct.pack("!HHI", 1, len(attribute), aioice.stun.COOKIE) + bytes(12) + attribute
    with pytest.raises(struct.error):
        hooks.original_parse_message(data)
    with pytest.raises(ValueError, match="wrong size"):
        aioice.stun.parse_message(data)


@given(st.binary(max_size=200))
def test_stun_parser_raises_value_error_only(body: bytes) -> None:
    """Any datagram gives a message or ValueError."""
    data = struct.pack("!HHI", 1, len(body), aioice.stun.COOKIE) + bytes(12) + body
    with contextlib.suppress(ValueError):
        aioice.stun.parse_message(data)


# --- a connected pair -----------------------------------------------------------------------------


async def test_fingerprints_pair_and_transports_of_a_connected_pair() -> None:
    """What was used can be read: certificates, addresses, codecs, threads, idleness."""
    async with connected() as (left, right):
        mine = hooks.fingerprints(hooks.dtls_transport(left))
        theirs = hooks.fingerprints(hooks.dtls_transport(right))
        assert mine == (theirs[1], theirs[0])
        assert mine[0].hex(":").upper() in left.localDescription.sdp
        session = hooks.ice_connection(left).session
        assert isinstance(session, IceSession)
        pair = session.agent.selected
        assert pair is not None
        assert {pair.base[0], pair.destination[0]} <= {"127.0.0.1", "::1"}
        assert [hooks.codec_name(t) for t in left.getTransceivers()] == ["opus", "VP8"]
        assert [hooks.packets_lost(t.receiver) for t in right.getTransceivers()] == [0, 0]
        assert hooks.control_idle(left)
        threads = [hooks.stop_decoder(t.receiver) for t in right.getTransceivers()]
        for thread in threads:
            assert thread is not None
            await asyncio.to_thread(thread.join, 2)
            assert not thread.is_alive()


async def test_unacknowledged_data_is_seen() -> None:
    """A message on its way makes the control channel busy."""
    async with connected() as (left, right):
        session = hooks.ice_connection(right).session
        assert isinstance(session, IceSession)
        session._transmit = lambda *_: None  # type: ignore[method-assign]
        assert left.sctp is not None
        channel = left.sctp._data_channels[0]
        channel.send(b"x")
        await asyncio.sleep(0.01)
        assert not hooks.control_idle(left)


@pytest.mark.parametrize(
    "packet",
    [
        sctp_packet(4, b"\0\1\0\0"),
        sctp_packet(0, b"\0"),
        sctp_packet(1, b""),
        sctp_packet(3, b"\0\0"),
        b"",
        b"\0" * 11,
    ],
    ids=["zero-parameter", "short-data", "short-init", "short-sack", "empty", "short"],
)
async def test_hostile_sctp_packet_ends_nothing(packet: bytes) -> None:
    """A packet that aiortc's parser chokes on is counted; the association goes on."""
    async with connected() as (left, right):
        counters: Counter[str] = Counter()
        hooks.guard_sctp(right, counters)
        assert left.sctp is not None
        assert right.sctp is not None
        tagged = packet[:4] + right.sctp._local_verification_tag.to_bytes(4, "big") + packet[8:]
        if len(tagged) > 12:
            tagged = tagged[:8] + bytes(4) + tagged[12:]
            tagged = tagged[:8] + struct.pack("<L", crc32c(tagged)) + tagged[12:]
        await hooks.dtls_transport(left)._send_data(tagged if packet else b"\0")
        received: asyncio.Queue[bytes] = asyncio.Queue()
        right.sctp._data_channels[0].on("message", received.put_nowait)
        left.sctp._data_channels[0].send(b"still here")
        assert await asyncio.wait_for(received.get(), 2) == b"still here"


async def test_text_and_other_streams_are_dropped() -> None:
    """Text that is not UTF-8 ends the call in aiortc; channels that nobody wants would pile up."""
    async with connected() as (left, right):
        counters: Counter[str] = Counter()
        hooks.guard_sctp(right, counters)
        received: list[object] = []
        assert left.sctp is not None
        assert right.sctp is not None
        right.sctp._data_channels[0].on("message", received.append)
        await left.sctp._send(0, sctp_module.WEBRTC_STRING, b"\xff\xfe")
        left.createDataChannel("unwanted")
        left.sctp._data_channels[0].send(b"binary")
        for _ in range(100):
            if received:
                break
            await asyncio.sleep(0.01)
        assert received == [b"binary"]
        assert counters["control-channel"] == 2
        assert list(right.sctp._data_channels) == [0]


async def test_fragments_without_end_close_the_call() -> None:
    """A peer that never sends the last fragment is cut off, and memory stays bounded."""
    async with connected() as (_left, right):
        counters: Counter[str] = Counter()
        hooks.guard_sctp(right, counters)
        assert right.sctp is not None
        right.sctp._advertised_rwnd -= limits.CONTROL_REASSEMBLY_MAX + 1
        with pytest.raises(ConnectionError):
            await right.sctp._handle_data(b"x")
        assert counters["sctp-flood"] == 1


def sack(tag: int, *gaps: tuple[int, int], blocks: int | None = None) -> bytes:
    """A SACK with these gap blocks; ``blocks``: how many it says it has."""
    counts = struct.pack("!HH", len(gaps) if blocks is None else blocks, 0)
    return sctp_packet(3, bytes(8) + counts + b"".join(struct.pack("!HH", *gap) for gap in gaps), tag)


@pytest.mark.parametrize(
    ("packet", "count"),
    [
        (sack(1, (2, 3), (5, 5)), 3),
        (sack(1, *[(0, 65535)] * 400), 400 * 65536),
        (sack(1, (9, 2)), 0),
        (sack(1, (2, 3), blocks=65535), 2),
        (sctp_packet(4, b"\0\1\0\4") + sack(1, (1, 4))[12:], 4),
        (sctp_packet(3, b"\0" * 7), 0),
        (sack(1, (2, 3))[:-3], 0),
        (b"", 0),
    ],
    ids=["two", "many", "backwards", "fewer-than-said", "second-chunk", "short", "cut", "empty"],
)
def test_reported_gaps_are_counted_as_often_as_they_are_named(packet: bytes, count: int) -> None:
    """Whatever the packet, at a small cost."""
    assert hooks.reported_gaps(packet) == count


@given(st.binary(max_size=120))
def test_reported_gaps_of_anything(body: bytes) -> None:
    """Any octets have some."""
    assert hooks.reported_gaps(sctp_packet(3, body)) >= 0


async def test_gap_blocks_cost_nothing() -> None:
    """In aiortc, one datagram that names all packets 300 times takes 1.5 s, in which nothing else happens."""
    async with connected() as (left, right):
        counters: Counter[str] = Counter()
        hooks.guard_sctp(right, counters)
        assert right.sctp is not None
        packet = sack(right.sctp._local_verification_tag, *[(0, 65535)] * 300)
        spent = time.process_time()
        for _ in range(10):
            await hooks.dtls_transport(left)._send_data(packet)
        await asyncio.sleep(0.1)
        assert counters["sctp-gaps"] == 10
        assert time.process_time() - spent < 1


async def test_streams_without_end_close_the_call() -> None:
    """aiortc keeps each stream that a peer names."""
    async with connected() as (_left, right):
        counters: Counter[str] = Counter()
        hooks.guard_sctp(right, counters)
        assert right.sctp is not None
        for stream in range(limits.SCTP_STREAMS_MAX + 1):
            right.sctp._get_inbound_stream(stream)
        with pytest.raises(ConnectionError):
            await right.sctp._handle_data(b"x")
        assert counters["sctp-flood"] == 1


async def test_invented_sources_are_dropped() -> None:
    """aiortc keeps statistics of each SSRC; those of a call are few."""
    async with connected() as (_left, right):
        counters: Counter[str] = Counter()
        dtls = hooks.dtls_transport(right)
        hooks.guard_dtls(dtls, counters)
        receiver = right.getTransceivers()[1].receiver
        video = right.getTransceivers()[1]._codecs[0].payloadType
        assert video is not None
        for ssrc in range(1000):
            packet = struct.pack("!BBHLL", 0x80, 0x80 | video, 1, 1, 0x1000_0000 + ssrc)
            await dtls._handle_rtp_data(packet + b"\x10\0", arrival_time_ms=0)
        assert counters["rtp-sources"] >= 1000 - limits.RTP_SOURCES_MAX
        kept = get_private(receiver, "_RTCRtpReceiver__remote_streams")
        before_the_guard = 2  # the peer's own, and that of its repairs
        assert len(kept) <= limits.RTP_SOURCES_MAX + before_the_guard


async def test_hostile_rtcp_is_counted() -> None:
    """A short REMB raises struct.error in aiortc and ended the call."""
    async with connected() as (_left, right):
        counters: Counter[str] = Counter()
        dtls = hooks.dtls_transport(right)
        hooks.guard_dtls(dtls, counters)
        remb = struct.pack("!BBHLL", 0x8F, 206, 4, 1, 0) + b"REMB" + b"\x05\0\0\0"
        await dtls._handle_rtcp_data(remb)
        await dtls._handle_rtp_data(b"\x80", arrival_time_ms=0)
        assert counters["rtcp-malformed"] == 1
        assert dtls.state == "connected"


async def test_sending_after_dtls_is_gone_is_counted() -> None:
    """aiortc lets SSL.Error out of a late SACK, and ConnectionError out of a task that nobody looks at."""
    async with connected() as (left, _right):
        dtls = hooks.dtls_transport(left)
        unguarded = dtls._send_data
        counters: Counter[str] = Counter()
        hooks.guard_dtls(dtls, counters)
        assert dtls._ssl is not None
        dtls._ssl.shutdown()
        with pytest.raises(SSL.Error):
            await unguarded(b"late")
        await dtls._send_data(b"late")
        dtls._set_state(type(dtls._state).CLOSED)
        with pytest.raises(ConnectionError):
            await unguarded(b"later")
        await dtls._send_data(b"later")
        assert counters["data-unsent"] == 2


# --- media ----------------------------------------------------------------------------------------


def test_receiver_has_the_parts_we_replace() -> None:
    """The receiver feeds its jitter buffer and its decoder queue, and starts the thread with that queue."""
    source = inspect.getsource(aiortc.rtcrtpreceiver.RTCRtpReceiver)
    assert "pli_flag, encoded_frame = self.__jitter_buffer.add(packet)" in source
    assert "self.__decoder_queue.put((codec, encoded_frame))" in source
    assert "self.__decoder_queue," in source
    assert "encoded_frame.timestamp = self.__timestamp_mapper.map(" in source
    assert "target=decoder_worker,\n" in source
    assert vars(aiortc.rtcrtpreceiver)["decoder_worker"] is hooks.decode


async def test_receivers_of_pictures_have_our_buffer_repair_and_queue() -> None:
    """What aiortc does about lost packets is done by us; its wishes for keyframes become ours."""
    source = inspect.getsource(aiortc.rtcrtpreceiver.RTCRtpReceiver)
    assert "self.__nack_generator.add(packet)" in source
    assert source.count("self.__nack_generator") == 5
    assert source.count("self._send_rtcp_pli(") == 1
    receiver = aiortc.RTCRtpReceiver("video", _transport())
    sent: list[tuple[str, object]] = []

    async def send_rtcp(packet: Any) -> None:
        sent.append((type(packet).__name__, getattr(packet, "lost", None)))

    receiver._send_rtcp = send_rtcp  # type: ignore[method-assign]
    receiver._set_rtcp_ssrc(1)
    receiver._RTCRtpReceiver__codecs[97] = RTCRtpCodecParameters(  # type: ignore[attr-defined]
        "video/VP8", 90_000, payloadType=97
    )
    pictures = hooks.prepare_pictures(receiver, "video", Counter())
    assert receiver._RTCRtpReceiver__decoder_queue is pictures.queue  # type: ignore[attr-defined]
    for number in (0, 1, 4):
        packet = aiortc.rtp.RtpPacket(
            payload_type=97, sequence_number=number, timestamp=number * 3000, marker=1
        )
        packet.ssrc = 5
        packet.payload = b"\x10\x00\x00\x00\x9d\x01\x2a" if number == 0 else b"\x10\x01"
        await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
    await asyncio.sleep(0.02)
    assert sent == [("RtcpRtpfbPacket", [2, 3])]
    await receiver._send_rtcp_pli(5)
    await receiver._send_rtcp_pli(5)
    await asyncio.sleep(0)
    assert sent[1:] == [("RtcpPsfbPacket", None)]
    pictures.close()


def test_a_report_of_missing_packets_takes_any_sorted_numbers() -> None:
    """Also across the wrap."""
    report = aiortc.rtp.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2)
    report.lost = sorted([65_534, 0, 3, 30_000])
    (parsed,) = aiortc.rtp.RtcpPacket.parse(bytes(report))
    assert isinstance(parsed, aiortc.rtp.RtcpRtpfbPacket)
    assert parsed.lost == report.lost


async def test_receivers_of_sound_have_our_playout_and_our_decoder() -> None:
    """Each packet is passed on at once, and every codec of sound has our decoder."""
    receiver = aiortc.RTCRtpReceiver("audio", _transport())
    counters: Counter[str] = Counter()
    playout = hooks.prepare_sound(receiver, counters)
    assert receiver._RTCRtpReceiver__decoder_queue is playout  # type: ignore[attr-defined]
    passage = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
    packet = aiortc.rtp.RtpPacket(payload_type=96, sequence_number=7, timestamp=960)
    packet.ssrc, packet._data = 5, b"\x78x"  # type: ignore[attr-defined]
    _, frame = passage.add(packet)
    assert (frame.ssrc, frame.sequence, frame.rtp_timestamp, frame.data) == (5, 7, 960, b"\x78x")
    packet._data = b""  # type: ignore[attr-defined]
    assert passage.add(packet) == (False, None)
    for codec in RTCRtpSender.getCapabilities("audio").codecs:
        parameters = RTCRtpCodecParameters(codec.mimeType, codec.clockRate, payloadType=96)
        assert isinstance(await asyncio.to_thread(hooks.get_decoder, parameters), SoundDecoder)


class _Queue:
    """Of frames for a decoder's thread."""

    def __init__(self, *frames: tuple[RTCRtpCodecParameters, JitterFrame]) -> None:
        self.frames = list(frames)

    def get(self) -> tuple[RTCRtpCodecParameters, JitterFrame] | None:
        return self.frames.pop(0) if self.frames else None


async def test_the_decoders_thread_hands_over_what_decodes_and_tells_what_does_not() -> None:
    """In order, with None at the end, as aiortc's own does; a damaged picture ends nothing."""
    codec = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
    encoder = get_encoder(codec)
    picture = av.VideoFrame(64, 48, "yuv420p")
    picture.pts, picture.time_base = 0, Fraction(1, 90_000)
    payloads, _ = await asyncio.to_thread(encoder.encode, picture, True)
    whole = b"".join(aiortc.codecs.depayload(codec, one) for one in payloads)
    workers: tuple[Any, ...] = hooks.decode, hooks.original_decoder_worker
    for worker in workers:
        frames: asyncio.Queue[Any] = asyncio.Queue()
        failed = threading.Event()
        pictures = _Queue(*((codec, JitterFrame(data, 7)) for data in (whole, b"\x30", whole)))
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(worker, loop, pictures, frames, failed)
        got = [await frames.get() for _ in range(3)]
        assert [(one.width, one.pts) for one in got[:2]] == [(64, 7), (64, 7)]
        assert got[2] is None
        assert failed.is_set()


async def test_frames_of_our_receivers_stay_out_of_the_tracks_queue() -> None:
    """The thread gives them to whoever takes them, and to the track the end alone: nobody reads it."""
    codec = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
    encoder = get_encoder(codec)
    picture = av.VideoFrame(64, 48, "yuv420p")
    picture.pts, picture.time_base = 0, Fraction(1, 90_000)
    payloads, _ = await asyncio.to_thread(encoder.encode, picture, True)
    pictures = DecoderQueue("video", Counter())
    pictures.open = True
    pictures.put((codec, FrameBatch(b"".join(aiortc.codecs.depayload(codec, one) for one in payloads), 9)))
    threads: list[int] = []

    def deliver(frame: object) -> None:
        assert isinstance(frame, av.VideoFrame)
        threads.append(threading.get_ident())
        pictures.put(None)

    pictures.deliver = deliver
    frames: asyncio.Queue[Any] = asyncio.Queue()
    await asyncio.to_thread(hooks.decode, asyncio.get_running_loop(), pictures, frames, threading.Event())
    assert await frames.get() is None
    assert frames.empty()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_decoder_of_vp8_is_ffmpegs_with_one_thread() -> None:
    """libvpx starts one more for each core, which has nothing to do, and takes longer."""
    codec = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
    theirs = await asyncio.to_thread(get_decoder, codec)
    ours = await asyncio.to_thread(hooks.get_decoder, codec)
    assert isinstance(theirs, Vp8Decoder)
    assert isinstance(ours, Vp8Decoder)
    assert theirs.codec.name == "libvpx"
    assert theirs.codec.thread_count != 1
    assert ours.codec.name == "vp8"
    assert ours.codec.thread_count == 1


async def test_sender_reports_reach_whoever_synchronises() -> None:
    """The receiver is asked for its method each time, and the report has both times."""
    router = inspect.getsource(aiortc.rtcdtlstransport.RTCDtlsTransport)
    assert "await recipient._handle_rtcp_packet(packet)" in router
    receiver = aiortc.RTCRtpReceiver("audio", _transport())
    heard: list[tuple[int, int]] = []
    hooks.tap_receiver(receiver, lambda ntp, rtp: heard.append((ntp, rtp)))
    info = aiortc.rtp.RtcpSenderInfo(ntp_timestamp=5 << 32, rtp_timestamp=7, packet_count=1, octet_count=1)
    await receiver._handle_rtcp_packet(aiortc.rtp.RtcpSrPacket(ssrc=3, sender_info=info))
    assert heard == [(5 << 32, 7)]
    assert receiver._RTCRtpReceiver__lsr[3] == 5 << 16  # type: ignore[attr-defined]


async def test_receivers_of_pictures_tell_our_estimate() -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = pc.addTransceiver("video").receiver
    now = [100.0]
    estimation = hooks.Estimation(lambda: now[0])
    estimation.watch(receiver)
    told: list[bytes] = []

    async def send(packet: Any) -> None:
        told.append(bytes(packet))

    receiver._send_rtcp = send  # type: ignore[method-assign]
    receiver._set_rtcp_ssrc(1)
    for number in range(40):
        now[0] += 0.01
        packet = aiortc.rtp.RtpPacket(payload_type=96, sequence_number=number, ssrc=5, payload=bytes(1000))
        packet.extensions.abs_send_time = round(now[0] * (1 << 18)) % (1 << 24)
        await receiver._handle_rtp_packet(packet, arrival_time_ms=round(now[0] * 1000))
    packets = [aiortc.rtp.RtcpPacket.parse(data)[0] for data in told]
    fci = [packet.fci for packet in packets if isinstance(packet, RtcpPsfbPacket)]
    bits, ssrcs = aiortc.rtp.unpack_remb_fci(fci[-1])
    assert ssrcs == [5]
    assert 1_000_000 < bits <= estimation.arrivals.estimate
    await pc.close()


async def test_a_packet_sent_again_is_no_late_one() -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = pc.addTransceiver("video").receiver
    hooks.private.get_private(receiver, "_RTCRtpReceiver__rtx_ssrc")[6] = 5
    now = [100.0]
    estimation = hooks.Estimation(lambda: now[0])
    estimation.watch(receiver)
    for number in range(400):
        now[0] += 0.01
        for ssrc, age in ((5, 0.0), (6, 0.3)):
            packet = aiortc.rtp.RtpPacket(
                payload_type=96, sequence_number=number, ssrc=ssrc, payload=bytes(1000)
            )
            packet.extensions.abs_send_time = round((now[0] - age) * (1 << 18)) % (1 << 24)
            await receiver._handle_rtp_packet(packet, arrival_time_ms=round(now[0] * 1000))
    assert estimation.arrivals.lateness < 0.01
    await pc.close()


async def test_a_renewed_receiver_can_begin() -> None:
    """aiortc's own takes the parameters of its first start only, and a BYE ends its decoder for good."""
    source = inspect.getsource(aiortc.rtcrtpreceiver.RTCRtpReceiver)
    assert "if not self.__started:" in source
    assert "isinstance(packet, RtcpByePacket):\n            self.__stop_decoder()" in source
    pc = peer_connection()
    transceiver = pc.addTransceiver("video", "recvonly")
    old = transceiver.receiver
    await hooks.renew_receiver(transceiver)
    assert transceiver.receiver is not old
    assert pc.getReceivers() == [transceiver.receiver]
    assert transceiver.receiver.transport is old.transport
    assert transceiver.receiver.track is None
    assert transceiver.currentDirection == "inactive"
    rtcp_ssrc = transceiver.receiver._RTCRtpReceiver__rtcp_ssrc
    assert rtcp_ssrc == transceiver.sender._ssrc
    await pc.close()


async def test_what_comes_later_has_its_place_and_its_stream() -> None:
    """aiortc's own offer would give running sections other payload types; all that it sends is one stream."""
    source = inspect.getsource(aiortc.RTCPeerConnection.createOffer)
    assert "CODECS[transceiver.kind][:], transceiver._preferred_codecs" in source
    pc = peer_connection()
    camera, screen = (pc.addTransceiver("video") for _ in range(2))
    assert camera.sender._stream_id == screen.sender._stream_id
    ssrcs = hooks.begin_stream(screen.sender, "screen")
    assert ssrcs == (screen.sender._ssrc, screen.sender._rtx_ssrc)
    hooks.place(screen, 5)
    assert screen._get_mline_index() == 5
    media = [part for part in (await pc.createOffer()).sdp.split("m=") if part.startswith("video")]
    assert [f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}" in part for part in media] == [False, True]
    assert ["a=msid:screen " in part for part in media] == [False, True]
    await pc.close()


def _transport() -> Any:
    return hooks.dtls_transport(_with_channel(peer_connection()))


def _with_channel(pc: RTCPeerConnection) -> RTCPeerConnection:
    pc.createDataChannel("control", negotiated=True, id=0)
    return pc


@pytest.mark.parametrize("mime", ["video/VP8", "video/H264"])
def test_pictures_are_cut_into_packets_that_every_link_carries(mime: str) -> None:
    """The encoders obey the global that we set; SCTP's packets are small enough as they are."""
    codec = next(one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == mime)
    parameters: dict[str, int | str | None] = {"packetization-mode": "1", "profile-level-id": "42e01f"}
    encoder: Any = get_encoder(
        RTCRtpCodecParameters(codec.mimeType, codec.clockRate, payloadType=97, parameters=parameters)
    )
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    payloads, _ = encoder.encode(frame, force_keyframe=True)
    assert len(payloads) > 10
    assert 0.9 * limits.RTP_PAYLOAD_MAX < max(map(len, payloads)) <= limits.RTP_PAYLOAD_MAX
    around_rtp, around_sctp = 12 + 18 + 16, 13 + 8 + 16
    for inner in (limits.RTP_PAYLOAD_MAX + around_rtp, sctp_module.SCTP_MAX_PACKET_LENGTH + around_sctp):
        assert inner + 4 + 8 + 40 <= 1280


@dataclass
class Heard:
    """A feedback that remembers."""

    reports: list[tuple[float, float, float | None]]
    rates: list[int]
    missing: list[int]
    keyframes: int = 0

    def rr(self, fraction_lost: float, jitter: float, rtt: float | None) -> None:
        self.reports.append((fraction_lost, jitter, rtt))

    def remb(self, bits: int) -> None:
        self.rates.append(bits)

    def nack(self, packets: int) -> None:
        self.missing.append(packets)

    def keyframe(self) -> None:
        self.keyframes += 1


async def test_what_a_peer_reports_is_told() -> None:
    """Receiver reports with the round trip, REMB, NACK, PLI and FIR reach the feedback; others' do not."""
    pc = peer_connection()
    sender = pc.addTransceiver("video", "sendonly").sender
    heard = Heard([], [], [])
    hooks.tap_sender(sender, heard)
    sender._RTCRtpSender__lsr = 77  # type: ignore[attr-defined]
    sender._RTCRtpSender__lsr_time = time.time() - 0.3  # type: ignore[attr-defined]

    def report(ssrc: int, lsr: int) -> RtcpReceiverInfo:
        return RtcpReceiverInfo(
            ssrc, fraction_lost=64, packets_lost=1, highest_sequence=9, jitter=900, lsr=lsr, dlsr=65536 // 4
        )

    mine = [report(sender._ssrc, 77), report(sender._ssrc, 76), report(sender._ssrc + 1, 77)]
    for packet in (
        RtcpRrPacket(1, mine),
        RtcpSrPacket(1, RtcpSenderInfo(0, 0, 0, 0), mine[:1]),
        RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender._ssrc, lost=[3, 4]),
        RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc),
        RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=sender._ssrc),
        RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(700_000, [sender._ssrc])),
        RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(800_000, [sender._ssrc + 1])),
        RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=b"another message"),
    ):
        await sender._handle_rtcp_packet(packet)
    assert [one[:2] for one in heard.reports] == [(0.25, 0.01)] * 3
    rtts = [one[2] for one in heard.reports]
    assert rtts[1] is None
    assert rtts[0] == pytest.approx(0.05, abs=0.02)
    assert (heard.missing, heard.keyframes) == ([2], 2)
    assert heard.rates == [pytest.approx(700_000, rel=0.01)]
    await pc.close()


class _Clear:
    """In the place of an SRTP session."""

    def protect(self, packet: bytes) -> bytes:
        return packet


@dataclass
class _Desk:
    """A sender that sends nowhere."""

    pc: RTCPeerConnection
    sender: RTCRtpSender
    codec: RTCRtpCodecParameters
    outlet: Outlet
    sent: list[bytes]
    number: int = 0

    @classmethod
    async def make(cls, mime: str) -> _Desk:
        """With all header extensions."""
        outlet = Outlet("video" if mime in ("VP8", "H264") else "audio", lambda: None)
        outlet.open()
        with hooks.ice_by(make_ice):
            pc = peer_connection()
            transceiver = pc.addTransceiver(outlet, "sendrecv")
        await pc.createOffer()
        sender = transceiver.sender
        codec = next(one for one in transceiver._codecs if one.name == mime)
        sender._RTCRtpSender__mid = "1"  # type: ignore[attr-defined]
        sender._RTCRtpSender__rtp_header_extensions_map.configure(  # type: ignore[attr-defined]
            _extensions(outlet.kind)
        )
        sent: list[bytes] = []

        assert isinstance(sender.transport.transport._connection, Connection)
        session = sender.transport.transport._connection.session
        session.send, session.send_all = sent.append, sent.extend  # type: ignore[method-assign, assignment]
        sender.transport._state, sender.transport._tx_srtp = State.CONNECTED, _Clear()  # type: ignore[assignment]
        return cls(pc, sender, codec, outlet, sent)

    def put(self, data: bytes, *, key: bool = True, level: int | None = None) -> None:
        """The next 20 ms, or picture."""
        base = Fraction(1, 48_000) if self.outlet.kind == "audio" else Fraction(1, 90_000)
        self.outlet.put(Encoded(data, 960 * self.number, base, key=key, level=level))
        self.number += 1

    def run(self) -> asyncio.Task[None]:
        """Until it is cancelled."""
        return asyncio.create_task(self.sender._run_rtp(self.codec))

    async def close(self, running: asyncio.Task[None]) -> None:
        """End it, as a sender's stop() does."""
        running.cancel()
        await asyncio.wait([running])
        assert self.sender._RTCRtpSender__rtp_exited.is_set()  # type: ignore[attr-defined]
        assert self.outlet.readyState == "ended"
        assert getattr(self.sender, "track", self.outlet) is None
        self.sender.transport._state = State.NEW
        await self.pc.close()


def _extensions(kind: str) -> aiortc.RTCRtpParameters:
    uris = [one.uri for one in RTCRtpSender.getCapabilities(kind).headerExtensions]
    return aiortc.RTCRtpParameters(
        headerExtensions=[
            aiortc.RTCRtpHeaderExtensionParameters(number, uri) for number, uri in enumerate(uris, 1)
        ]
    )


def _parsed(sent: list[bytes], kind: str) -> list[aiortc.rtp.RtpPacket]:
    parser = aiortc.rtp.HeaderExtensionsMap()
    parser.configure(_extensions(kind))
    return [aiortc.rtp.RtpPacket.parse(data, parser) for data in sent]


async def _sends(mime: str, frames: list[bytes], *, ours: bool) -> tuple[list[bytes], dict[str, Any]]:
    """What a sender sends of these frames, and what it has noted down then."""
    desk = await _Desk.make(mime)
    if ours:
        hooks.send_by(desk.sender, desk.outlet)
    for frame in frames:
        level = -30 if ours and desk.outlet.kind == "audio" else None
        desk.put(frame, key=desk.number == 0 or desk.outlet.kind == "audio", level=level)
    running = desk.run()
    await asyncio.sleep(0)  # it runs until there is no frame any more
    assert len(desk.sent) >= len(frames)
    noted = {
        name: getattr(desk.sender, f"_RTCRtpSender__{name}")
        for name in ("rtp_history", "packet_count", "octet_count", "rtp_timestamp", "ntp_timestamp")
    }
    await desk.close(running)
    return desk.sent, noted


_NALS = b"".join(b"\0\0\0\1" + bytes([kind]) + bytes([kind]) * size for kind, size in ((103, 9), (101, 5000)))


@pytest.mark.parametrize(
    ("mime", "frames"),
    [
        ("opus", [b"sound", b"more", b""]),
        ("PCMU", [b"sound"]),
        ("VP8", [b"picture" * 500, b"x" * (limits.RTP_PAYLOAD_MAX - 4), b"y" * limits.RTP_PAYLOAD_MAX]),
        ("H264", [_NALS, _NALS]),
    ],
)
async def test_what_is_sent_is_what_aiortc_sends(mime: str, frames: list[bytes]) -> None:
    """Packet for packet, but for the numbers that begin anywhere, and the loudness; so is what is kept."""
    (ours, our_notes), (theirs, their_notes) = [await _sends(mime, frames, ours=own) for own in (True, False)]
    kind = "video" if mime in ("VP8", "H264") else "audio"

    def shape(sent: list[bytes]) -> list[tuple[object, ...]]:
        packets = _parsed(sent, kind)
        first = packets[0]
        return [
            (
                one.payload_type,
                one.marker,
                (one.sequence_number - first.sequence_number) & 0xFFFF,
                (one.timestamp - first.timestamp) & 0xFFFFFFFF,
                one.extensions.mid,
                one.extensions.abs_send_time is None,
                _without_descriptor(one.payload) if mime == "VP8" else one.payload,
            )
            for one in packets
        ]

    assert shape(ours) == shape(theirs)
    assert our_notes["packet_count"] == their_notes["packet_count"] == len(ours)
    # aiortc's descriptor has an octet less in one picture of 256
    assert 0 <= our_notes["octet_count"] - their_notes["octet_count"] <= len(ours)
    for sent, notes in ((ours, our_notes), (theirs, their_notes)):
        parser = aiortc.rtp.HeaderExtensionsMap()
        parser.configure(_extensions(kind))
        places = [int.from_bytes(data[2:4], "big") % RTP_HISTORY_SIZE for data in sent]
        assert [notes["rtp_history"].get(place).serialize(parser) for place in places] == sent
        assert notes["rtp_timestamp"] == int.from_bytes(sent[-1][4:8], "big")
        assert abs((notes["ntp_timestamp"] >> 32) - (aiortc.clock.current_ntp_time() >> 32)) <= 5
    levels = {packet.extensions.audio_level for packet in _parsed(ours, kind)}
    assert levels == ({(False, 30)} if kind == "audio" else {None})


async def test_a_frame_leaves_by_one_step_as_by_aiortc_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted by the same session, refused in the same states; another ICE than ours gets it by aiortc."""
    source = inspect.getsource(aiortc.rtcdtlstransport.RTCDtlsTransport._send_rtp)
    assert "self._state != State.CONNECTED" in source
    assert "self._tx_srtp.protect(data)" in source
    desk = await _Desk.make("VP8")
    leaving = Leaving(desk.sender.transport)
    await leaving.send([b"\x80one", b"\x80two"])
    assert desk.sent == [b"\x80one", b"\x80two"]
    desk.sender.transport._state = State.CLOSED
    with pytest.raises(ConnectionError):
        await leaving.send([b"\x80more"])
    monkeypatch.setattr(desk.sender.transport.transport, "_connection", None)
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    monkeypatch.setattr(desk.sender.transport, "_send_rtp", send)
    await Leaving(desk.sender.transport).send([b"\x80one", b"\x80two"])
    assert sent == [b"\x80one", b"\x80two"]
    monkeypatch.undo()
    desk.sender.transport._state = State.NEW
    await desk.pc.close()


@given(st.integers(0, 0xFFFFFF), st.none() | st.integers(-127, 0), st.sampled_from([None, "0", "1", "a"]))
def test_header_extensions_are_aiortc_s(time: int, level: int | None, mid: str | None) -> None:
    """Whichever of them were negotiated, by whatever numbers."""
    uris = [one.uri for kind in ("video", "audio") for one in _extensions(kind).headerExtensions]
    for wanted in (uris, uris[:1], uris[1:], []):
        for first in (1, 14, 15):
            numbers = aiortc.rtp.HeaderExtensionsMap()
            numbers.configure(
                aiortc.RTCRtpParameters(
                    headerExtensions=[
                        aiortc.RTCRtpHeaderExtensionParameters(number, uri)
                        for number, uri in enumerate(wanted, first)
                    ]
                )
            )
            ours = Extensions(numbers, mid)
            profile, value = numbers.set(ours.values(time, level))
            theirs = struct.pack("!HH", profile, len(value) >> 2) + value if value else b""
            assert ours.block(time, level) == theirs


async def test_a_report_tells_when_a_frame_was_taken_however_long_it_waited() -> None:
    """Of a frame that was taken 2.5 s ago, and of 60 ms in one packet: the first 20 are the oldest."""
    desk = await _Desk.make("opus")
    hooks.send_by(desk.sender, desk.outlet, age=lambda seconds: 2.52 - seconds)
    desk.outlet.put(Encoded(b"sound", 960, Fraction(1, 48_000), level=-30, frames=3))
    running = desk.run()
    await asyncio.sleep(0)  # it runs until there is no frame any more
    now = time.time() + 2_208_988_800
    (sent,) = desk.sent
    told = desk.sender._RTCRtpSender__rtp_timestamp  # type: ignore[attr-defined]
    assert told == int.from_bytes(sent[4:8], "big")
    at = desk.sender._RTCRtpSender__ntp_timestamp / 2**32  # type: ignore[attr-defined]
    assert now - 3.5 < at <= now - 2.5
    await desk.close(running)


def _without_descriptor(payload: bytes) -> tuple[int, int, bytes]:
    descriptor, data = aiortc.codecs.vpx.VpxPayloadDescriptor.parse(payload)
    return descriptor.partition_start, descriptor.partition_id, data


async def test_sound_is_sent_again_with_the_next_packet() -> None:
    """While it is wanted: the last packet as it was, with its numbers; SRTP lets it out twice."""
    assert "tx_policy.allow_repeat_tx = True" in inspect.getsource(aiortc.rtcdtlstransport)
    wanted = [False]
    outlet = Outlet("audio", lambda: None)
    outlet.open()

    def send_by_us(pc: RTCPeerConnection) -> None:
        hooks.send_by(pc.getTransceivers()[0].sender, outlet, twice=lambda: wanted[0])

    async with connected(outlet, send_by_us) as (left, right):
        session = hooks.ice_connection(left).session
        sent: asyncio.Queue[int] = asyncio.Queue()
        send = session.send_all

        def tapped(datagrams: Sequence[bytes]) -> None:
            for data in datagrams:
                if data[1] & 0x7F == 96:
                    sent.put_nowait(int.from_bytes(data[2:4]))
            send(datagrams)

        def repaired(data: bytes) -> None:
            tapped([data])

        session.send, session.send_all = repaired, tapped  # type: ignore[method-assign]
        numbers: list[int] = []
        for frame in range(9):
            wanted[0] = frame >= 4
            outlet.put(Encoded(b"sound", 960 * frame, Fraction(1, 48_000), level=-30))
            numbers += [await sent.get() for _ in range(2 if wanted[0] else 1)]
        assert [(number - numbers[0]) & 0xFFFF for number in numbers] == [
            *(0, 1, 2, 3),
            *(3, 4, 4, 5, 5, 6, 6, 7, 7, 8),
        ]
        received = hooks.packet_counts(right.getTransceivers()[0].receiver)
        assert received[1] == 0


async def test_a_large_picture_leaves_a_piece_at_a_time() -> None:
    """Each packet tells when it left itself; what others send by the same transport does not wait."""
    pacer = _Waits()
    desk = await _Desk.make("VP8")
    hooks.send_by(desk.sender, desk.outlet, pacer=pacer, clock=lambda: 1.0)
    running = desk.run()
    picture = bytes(3 * limits.RTP_PAYLOAD_MAX - 20)
    desk.put(picture)
    await asyncio.sleep(0)
    assert (pacer.pictures, pacer.packets, len(desk.sent)) == (1, 3, 3)
    assert len({packet.extensions.abs_send_time for packet in _parsed(desk.sent, "video")}) == 1
    assert [await pacer.left.get() for _ in range(3)] == [1, 2, 3]
    pacer.wait = 0.001
    desk.put(picture, key=False)
    assert [await pacer.left.get() for _ in range(3)] == [4, 5, 6]
    assert len({packet.extensions.abs_send_time for packet in _parsed(desk.sent[3:], "video")}) == 3
    pacer.wait = 3600.0
    desk.put(picture, key=False)
    assert await pacer.left.get() == 7
    await desk.sender.transport.transport._send(b"another's")
    await asyncio.sleep(0.01)
    assert (pacer.packets, len(desk.sent)) == (7, 8)
    await desk.close(running)


async def test_on_a_close_way_a_picture_leaves_in_blocks_behind_sound() -> None:
    """In small packets; sound itself never waits."""
    pacer, now = Pacer(), [10.0]
    pacer.allow(2_000_000, close=True)
    desk = await _Desk.make("VP8")
    hooks.send_by(desk.sender, desk.outlet, pacer=pacer, clock=lambda: now[0])
    running = desk.run()
    await asyncio.sleep(0)
    pacer.sounded(now[0] - limits.BEAT)
    pacer.sounded(now[0])
    desk.put(bytes(12 * limits.BEATS_PAYLOAD))
    await asyncio.sleep(0.01)
    assert not desk.sent
    now[0] += limits.BEAT
    pacer.sounded(now[0])
    await asyncio.sleep(0.05)
    first = len(desk.sent)
    assert 5 <= first <= 7, "what is sent in 20 ms"
    assert max(len(packet.payload) for packet in _parsed(desk.sent, "video")) == limits.BEATS_PAYLOAD
    now[0] += 0.021
    await asyncio.sleep(0.05)
    assert len(desk.sent) == first, "it waits for sound that is late"
    pacer.sounded(now[0])
    await asyncio.sleep(0.05)
    assert first < len(desk.sent) <= 13
    now[0] += 0.02 + limits.BEAT_PATIENCE
    async with asyncio.timeout(5):
        while len(desk.sent) < 13:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    assert desk.outlet.packets == 13
    await desk.close(running)


async def test_what_leaves_is_told() -> None:
    """With each frame, by the clock that was given."""
    desk, told = await _Desk.make("VP8"), list[float]()
    hooks.send_by(desk.sender, desk.outlet, leaves=told.append, clock=lambda: 7.0)
    running = desk.run()
    await asyncio.sleep(0)
    desk.put(b"1")
    desk.put(b"2", key=False)
    assert told == [7.0, 7.0]
    await desk.close(running)


async def test_a_frame_leaves_in_the_step_in_which_it_is_put() -> None:
    """Where nothing holds it up; where something does, it leaves after what was put before it."""
    pacer, wanted = _Waits(), [False]
    pacer.holding = False
    desk = await _Desk.make("VP8")
    hooks.send_by(desk.sender, desk.outlet, pacer=pacer, twice=lambda: wanted[0], clock=lambda: 1.0)
    running = desk.run()
    desk.put(b"0")
    assert not desk.sent, "it has not begun"
    await asyncio.sleep(0)
    desk.put(b"1", key=False)
    assert len(desk.sent) == 2
    pacer.holding, pacer.wait = True, 0.001
    desk.put(b"2", key=False)
    desk.put(b"3", key=False)
    assert len(desk.sent) == 2, "one after the other"
    await asyncio.sleep(0)
    pacer.holding, pacer.wait = False, 0.0
    desk.put(b"4", key=False)
    assert len(desk.sent) == 3, "it is behind those that wait"
    async with asyncio.timeout(5):
        while len(desk.sent) < 5:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    wanted[0] = True
    desk.put(b"5", key=False)
    assert len(desk.sent) == 5, "what goes before it takes its time"
    await asyncio.sleep(0)
    assert b"".join(data[-1:] for data in desk.sent) == b"0123445", "one of them was sent twice"
    await desk.close(running)


async def test_a_connection_that_is_gone_ends_its_sender_and_no_other() -> None:
    """Whoever puts a frame puts it to others, too."""
    desk = await _Desk.make("VP8")
    hooks.send_by(desk.sender, desk.outlet)
    running = desk.run()
    await asyncio.sleep(0)
    desk.sender.transport._state = State.CLOSED
    desk.put(b"picture")
    assert desk.outlet.readyState == "ended"
    await asyncio.wait([running], timeout=5)
    assert running.done()
    await desk.close(running)


async def test_nothing_is_sent_again_from_before_a_keyframe_or_without_room() -> None:
    """Nobody needs the one; the other is asked for again."""
    assert "packet = self.__rtp_history.get(sequence_number % RTP_HISTORY_SIZE)" in inspect.getsource(
        aiortc.rtcrtpsender.RTCRtpSender._retransmit
    )
    pacer = _Waits()
    again: list[int] = []
    desk = await _Desk.make("VP8")

    async def retransmit(sequence_number: int) -> None:
        again.append(sequence_number)

    desk.sender._retransmit = retransmit  # type: ignore[method-assign]
    hooks.send_by(desk.sender, desk.outlet, pacer=pacer, clock=lambda: 1.0)
    running = desk.run()
    for key in (True, False, True, False):
        desk.put(b"picture", key=key)
        await asyncio.sleep(0)
    old, older, begins, last = (packet.sequence_number for packet in _parsed(desk.sent, "video"))
    for number in (old, older, begins, last):
        await desk.sender._retransmit(number)
    assert again == [begins, last]
    pacer.room = False
    await desk.sender._retransmit(last)
    pacer.room = True
    await desk.sender._retransmit((last + 1000) & 0xFFFF)
    assert again == [begins, last]
    await desk.close(running)


class _Waits(Pacer):
    """As long as it is told, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.wait = 0.0
        self.room = True
        self.holding = True
        self.pictures = 0
        self.packets = 0
        self.left: asyncio.Queue[int] = asyncio.Queue()

    @property
    def holds(self) -> bool:
        return self.holding

    def begin(self, octets: int, behind: int) -> None:
        self.pictures += octets > 0

    def pause(self, octets: int, now: float) -> float:
        self.packets += 1
        self.left.put_nowait(self.packets)
        return self.wait

    def repair(self, octets: int, now: float) -> bool:
        return self.room


async def test_repairs_are_bounded() -> None:
    """What is asked for beyond a second's share is counted; the next second has its own."""
    pc = peer_connection()
    sender = pc.addTransceiver("video", "sendonly").sender
    again: list[int] = []

    async def retransmit(sequence_number: int) -> None:
        again.append(sequence_number)

    sender._retransmit = retransmit  # type: ignore[method-assign]
    counters: Counter[str] = Counter()
    now = 100.0
    hooks.limit_repairs(sender, counters, lambda: now)
    lost = list(range(limits.REPAIRS_MAX + 7))
    nack = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender._ssrc, lost=lost)
    await sender._handle_rtcp_packet(nack)
    assert (len(again), counters["repairs-refused"]) == (limits.REPAIRS_MAX, 7)
    now = 101.0
    await sender._handle_rtcp_packet(nack)
    assert len(again) == 2 * limits.REPAIRS_MAX
    await pc.close()


def test_a_sender_asks_itself_for_what_we_replace() -> None:
    """Both methods are looked up on the object."""
    source = inspect.getsource(aiortc.rtcrtpsender.RTCRtpSender)
    assert "asyncio.ensure_future(self._run_rtp(parameters.codecs[0]))" in source
    router = inspect.getsource(aiortc.rtcdtlstransport.RTCDtlsTransport)
    assert "await recipient._handle_rtcp_packet(packet)" in router
