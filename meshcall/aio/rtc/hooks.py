"""Everything that reaches into aiortc or aioice where they have no public door.

Law 1: no other module touches a private attribute or a global of theirs.
Law 2: each function says why it is needed; tests/aio/test_rtc_hooks.py fails when a library changes under it.
Law 3: a peer's octets end in a counter: nothing here lets an exception out for them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fractions import Fraction
from typing import Any, Final

import aioice
import aioice.stun
import aiortc
import aiortc.codecs.h264
import aiortc.codecs.vpx
import aiortc.rtcicetransport
import aiortc.rtcsctptransport
import av
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import get_encoder
from aiortc.rtcdtlstransport import RTCDtlsTransport, certificate_digest
from aiortc.rtcsctptransport import RTCSctpTransport
from OpenSSL import SSL

from meshcall import limits
from meshcall.aio.rtc.connection import Connection
from meshcall.aio.rtc.reorder import FrameBatch, Packet, ReorderBuffer

AIORTC: Final = "1.16."
AIOICE: Final = "0.13."
"""The versions that the contract tests passed on."""

_BINARY = (aiortc.rtcsctptransport.WEBRTC_BINARY, aiortc.rtcsctptransport.WEBRTC_BINARY_EMPTY)
_RWND = 1024 * 1024
"""aiortc's receive window at the start."""

_make_ice: ContextVar[Callable[[], Connection] | None] = ContextVar("make_ice", default=None)
_original_parse_message = aioice.stun.parse_message

Counters = Counter[str]


# --- globals --------------------------------------------------------------------------------------


def install() -> None:
    """Replace what is wrong for every user of the libraries in this process; may be called again."""
    for library, tested in ((aiortc, AIORTC), (aioice, AIOICE)):
        if not library.__version__.startswith(tested):
            raise ImportError(f"{library.__name__} {library.__version__} was not tested; {tested}x is needed")
    aiortc.rtcsctptransport.decode_params = decode_params
    aioice.stun.parse_message = parse_message
    aiortc.rtcicetransport.Connection = _connection  # type: ignore[attr-defined, assignment]
    # 1,300 is more than paths of 1,280 octets carry; of a tunnel or an IPv6 link no picture would arrive.
    aiortc.codecs.h264.PACKET_MAX = aiortc.codecs.vpx.PACKET_MAX = limits.RTP_PAYLOAD_MAX
    # One warning for each frame of a peer that does not decode would flood the log.
    logging.getLogger("aiortc").setLevel(logging.ERROR)


def decode_params(body: bytes) -> list[tuple[int, bytes]]:
    """SCTP parameters; raises ValueError.

    aiortc's own never ends at a parameter of length 0: one 20-octet packet froze the process for ever.
    """
    params = []
    position = 0
    while position <= len(body) - 4:
        kind, length = struct.unpack_from("!HH", body, position)
        if length < 4:
            raise ValueError("SCTP parameter is shorter than its header")
        params.append((kind, body[position + 4 : position + length]))
        position += length + -length % 4
    return params


def parse_message(data: bytes) -> aioice.stun.Message:
    """A STUN message; raises ValueError.

    aioice's own lets struct.error out, which its caller does not catch.
    """
    try:
        return _original_parse_message(data)
    except struct.error as error:
        raise ValueError("STUN attribute has the wrong size") from error


# --- ICE ------------------------------------------------------------------------------------------


@contextmanager
def ice_by(make: Callable[[], Connection]) -> Iterator[None]:
    """Peer connections that get their transports inside have the ICE that ``make`` makes, not aioice's."""
    token = _make_ice.set(make)
    try:
        yield
    finally:
        _make_ice.reset(token)


def _connection(**settings: Any) -> Connection | aioice.Connection:
    """In the place of aioice's class, which aiortc looks up when a transport is made."""
    make = _make_ice.get()
    return aioice.Connection(**settings) if make is None else make()


def ice_connection(pc: RTCPeerConnection) -> Connection:
    """The ICE of the bundled transport, which the control channel shares with all media."""
    connection = _sctp(pc).transport.transport._connection
    assert isinstance(connection, Connection), "transports are made inside ice_by()"
    return connection


def guard_ice(pc: RTCPeerConnection) -> None:
    """Let a call be closed while DTLS is being made.

    aiortc goes on to start the transport for its next section then, which raises InvalidStateError in a task
    that nobody looks at.
    """
    transport = _sctp(pc).transport.transport
    start = transport.start

    async def start_unless_closed(remoteParameters: aiortc.RTCIceParameters) -> None:
        if transport.state != "closed":
            await start(remoteParameters)

    transport.start = start_unless_closed  # type: ignore[method-assign]


# --- DTLS and SCTP --------------------------------------------------------------------------------


def dtls_transport(pc: RTCPeerConnection) -> RTCDtlsTransport:
    """The DTLS transport that everything shares."""
    return _sctp(pc).transport


def fingerprints(dtls: RTCDtlsTransport) -> tuple[bytes, bytes]:
    """SHA-256 of the two certificates that DTLS used: ours and the peer's, not those of the SDP."""
    connection = dtls._ssl
    assert connection is not None, "only called after the handshake"
    local = connection.get_certificate(as_cryptography=True)
    remote = connection.get_peer_certificate(as_cryptography=True)
    assert local is not None, "we always have a certificate"
    assert remote is not None, "DTLS asks for the peer's certificate and fails without it"
    return _sha256(local), _sha256(remote)


def _sha256(certificate: Any) -> bytes:
    return bytes.fromhex(certificate_digest(certificate, "sha-256").replace(":", ""))


def guard_dtls(dtls: RTCDtlsTransport, counters: Counters) -> None:
    """Keep a packet that does not parse from ending the call with a traceback.

    A short REMB raises struct.error. What SCTP sends after DTLS was shut down raises SSL.Error or
    ConnectionError in a task that nobody looks at; the call is over then, and its end is told elsewhere.
    """
    handle_rtcp, handle_rtp, send = dtls._handle_rtcp_data, dtls._handle_rtp_data, dtls._send_data

    async def rtcp(data: bytes) -> None:
        try:
            await handle_rtcp(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["rtcp-malformed"] += 1

    async def rtp(data: bytes, arrival_time_ms: int) -> None:
        try:
            await handle_rtp(data, arrival_time_ms=arrival_time_ms)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["rtp-malformed"] += 1

    async def send_data(data: bytes) -> None:
        try:
            await send(data)
        except (SSL.Error, ConnectionError):
            counters["data-unsent"] += 1

    dtls._handle_rtcp_data = rtcp  # type: ignore[method-assign]
    dtls._handle_rtp_data = rtp  # type: ignore[method-assign]
    dtls._send_data = send_data  # type: ignore[method-assign]


def guard_sctp(pc: RTCPeerConnection, counters: Counters) -> None:
    """Let nothing through but binary messages on stream 0, and bound what the peer can make us hold.

    Text that is not UTF-8 and short chunks raise in aiortc and end the call; fragments without an end and
    channels that nobody wants fill memory. A lost INIT is repeated after 0.5 s, not 3 s.
    """
    sctp = _sctp(pc)
    handle, receive = sctp._handle_data, sctp._data_channel_receive
    sctp._rto = limits.SCTP_RTO_FIRST

    async def handle_data(data: bytes) -> None:
        held = _RWND - sctp._advertised_rwnd
        if held > limits.CONTROL_REASSEMBLY_MAX or len(sctp._sack_misordered) > limits.CONTROL_GAPS_MAX:
            counters["sctp-flood"] += 1
            raise ConnectionError("the peer sends fragments without end")
        try:
            await handle(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["sctp-malformed"] += 1

    async def channel_receive(stream_id: int, pp_id: int, data: bytes) -> None:
        if stream_id != 0 or pp_id not in _BINARY:
            counters["control-channel"] += 1
        else:
            await receive(stream_id, pp_id, data)

    sctp._handle_data = handle_data  # type: ignore[method-assign]
    sctp._data_channel_receive = channel_receive  # type: ignore[method-assign]


def control_idle(pc: RTCPeerConnection) -> bool:
    """Whether everything sent on the control channel was acknowledged; bufferedAmount does not tell."""
    sctp = pc.sctp
    return sctp is None or not (sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)


def _sctp(pc: RTCPeerConnection) -> RTCSctpTransport:
    assert pc.sctp is not None, "the control channel was made first"
    return pc.sctp


# --- media ----------------------------------------------------------------------------------------


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


def prepare_receiver(receiver: RTCRtpReceiver, kind: str, counters: Counters) -> DecoderQueue:
    """Give a receiver our reorder buffer and our queue to the decoder, before it starts.

    ``kind``: ``audio``, ``video`` or ``screen``.
    """
    video = kind != "audio"
    capacity = limits.VIDEO_REORDER_MAX if video else limits.AUDIO_REORDER_MAX
    decoder_queue = DecoderQueue(kind, counters)
    _set(receiver, "_RTCRtpReceiver__jitter_buffer", ReorderBuffer(capacity, video=video, payload=_payload))
    _set(receiver, "_RTCRtpReceiver__decoder_queue", decoder_queue)
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
    _set(transceiver, "_RTCRtpTransceiver__receiver", fresh)


def request_keyframe(receiver: RTCRtpReceiver) -> None:
    """Ask for a keyframe with the next packet: what came before the gate is missing."""
    _get(receiver, "_RTCRtpReceiver__decoder_error").set()


def stop_decoder(receiver: RTCRtpReceiver) -> threading.Thread | None:
    """End the decoder thread without waiting for it; aiortc's stop() joins it on the event loop."""
    thread: threading.Thread | None = _get(receiver, "_RTCRtpReceiver__decoder_thread")
    if thread is not None:
        _get(receiver, "_RTCRtpReceiver__decoder_queue").put(None)
    return thread


def set_encoder_pool(sender: RTCRtpSender, pool: Executor) -> None:
    """Encode in ``pool``; aiortc encodes in the loop's default executor, where name look-ups wait too."""
    _set(sender, "_RTCRtpSender__loop", _PoolLoop(_get(sender, "_RTCRtpSender__loop"), pool))


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
    if _get(sender, "_RTCRtpSender__encoder") is None:
        _set(sender, "_RTCRtpSender__encoder", encoder)
        sender._send_keyframe()


def drop_encoder(sender: RTCRtpSender) -> None:
    """Forget an encoder that was set: the peer chose another codec."""
    _set(sender, "_RTCRtpSender__encoder", None)


def pool_threads(pool: ThreadPoolExecutor) -> list[threading.Thread]:
    """The threads of a pool; ``shutdown(wait=True)`` would hold up the loop."""
    return list(pool._threads)


def packets_lost(receiver: RTCRtpReceiver) -> int:
    """RTP packets that did not arrive; getStats() mixes them up with those of the retransmission stream."""
    return packet_counts(receiver)[1]


def packet_counts(receiver: RTCRtpReceiver) -> tuple[int, int]:
    """RTP packets that the peer has sent, and those of them that did not arrive (RFC 3550 appendix A.3)."""
    repairs = _get(receiver, "_RTCRtpReceiver__rtx_ssrc")
    streams = _get(receiver, "_RTCRtpReceiver__remote_streams")
    counted = [stream for ssrc, stream in streams.items() if ssrc not in repairs]
    return (
        sum(stream.packets_expected for stream in counted),
        sum(max(0, stream.packets_lost) for stream in counted),
    )


def codec_name(transceiver: RTCRtpTransceiver) -> str:
    """The codec that is sent: the first one negotiated."""
    codecs = transceiver._codecs
    return codecs[0].mimeType.partition("/")[2] if codecs else ""


def _get(owner: object, name: str) -> Any:
    return getattr(owner, name)


def _set(owner: object, name: str, value: object) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"{type(owner).__name__} has no {name} any more")
    setattr(owner, name, value)
