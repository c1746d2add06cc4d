"""ICE, DTLS and SCTP of one peer connection."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, Final

import aiortc
import aiortc.rtcsctptransport
from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport, certificate_digest
from aiortc.rtcsctptransport import RTCSctpTransport
from OpenSSL import SSL

from meshcall import limits
from meshcall.aio.rtc.connection import Connection

Counters = Counter[str]

_BINARY = (aiortc.rtcsctptransport.WEBRTC_BINARY, aiortc.rtcsctptransport.WEBRTC_BINARY_EMPTY)
_RWND = 1024 * 1024
"""aiortc's receive window at the start."""
_HEADER: Final = 12
"""Octets of an SCTP packet's header (RFC 9260 section 3.1)."""
_SACK: Final = 3
"""Chunk type (RFC 9260 section 3.3.4)."""


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
    For each SSRC that a peer invents, aiortc keeps statistics for ever.
    """
    handle_rtcp, handle_rtp, send = dtls._handle_rtcp_data, dtls._handle_rtp_data, dtls._send_data
    sources: set[bytes] = set()

    async def rtcp(data: bytes) -> None:
        try:
            await handle_rtcp(data)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            counters["rtcp-malformed"] += 1

    async def rtp(data: bytes, arrival_time_ms: int) -> None:
        ssrc = data[8:12]
        if ssrc not in sources and len(sources) >= limits.RTP_SOURCES_MAX:
            counters["rtp-sources"] += 1
            return
        sources.add(ssrc)
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
    channels that nobody wants fill memory. Gap blocks that name the same packets again and again take it
    seconds of work for one datagram. A lost INIT is repeated after 0.5 s, not 3 s.
    """
    sctp = _sctp(pc)
    handle, receive = sctp._handle_data, sctp._data_channel_receive
    sctp._rto = limits.SCTP_RTO_FIRST

    async def handle_data(data: bytes) -> None:
        held = _RWND - sctp._advertised_rwnd
        if held > limits.CONTROL_REASSEMBLY_MAX or len(sctp._sack_misordered) > limits.CONTROL_GAPS_MAX:
            counters["sctp-flood"] += 1
            raise ConnectionError("the peer sends fragments without end")
        if len(sctp._inbound_streams) > limits.SCTP_STREAMS_MAX:
            counters["sctp-flood"] += 1
            raise ConnectionError("the peer opens streams without end")
        if reported_gaps(data) > limits.SCTP_GAPS_MAX:
            counters["sctp-gaps"] += 1
            return
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


def reported_gaps(data: bytes) -> int:
    """How many packets the SACKs in an SCTP packet say came out of order, as often as they say it.

    aiortc writes each of them down, though no more than were sent can have come.
    """
    count, position = 0, _HEADER
    while position <= len(data) - 4:
        kind, length = struct.unpack_from("!BxH", data, position)
        if length < 4 or position + length > len(data):
            break  # aiortc refuses such a packet
        if kind == _SACK and length >= 16:
            (blocks,) = struct.unpack_from("!H", data, position + 12)
            end = position + min(16 + 4 * blocks, length - length % 4)
            for first, last in struct.iter_unpack("!HH", data[position + 16 : end]):
                count += max(0, last - first + 1)
        position += length + -length % 4
    return count


def control_idle(pc: RTCPeerConnection) -> bool:
    """Whether everything sent on the control channel was acknowledged; bufferedAmount does not tell."""
    sctp = pc.sctp
    return sctp is None or not (sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)


def _sctp(pc: RTCPeerConnection) -> RTCSctpTransport:
    assert pc.sctp is not None, "the control channel was made first"
    return pc.sctp
