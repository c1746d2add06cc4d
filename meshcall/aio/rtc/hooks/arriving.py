"""RTP that arrives, taken before aiortc's queue, task and coroutines, which cost more than its decryption.

Law 1: what a decoder, a report or an estimate is told of a packet is what aiortc would tell. Header
extensions that none of them is told of are not looked at.
Law 2: only the packets of a stream that aiortc knows are taken, while the connection lasts; the first of
each, retransmission streams and headers of another form go its way, as do DTLS and RTCP.
Law 3: what does not decrypt or parse is counted, and changes nothing.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import pylibsrtp
from aiortc import RTCPeerConnection, RTCRtpCodecParameters, RTCRtpReceiver
from aiortc.codecs import depayload, is_rtx
from aiortc.rtcdtlstransport import RTCDtlsTransport, State
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci

from meshcall.aio.rtc.hooks.private import get_private
from meshcall.aio.rtc.hooks.transport import Counters, dtls_transport, ice_connection
from meshcall.media import vp8

_HEADER: Final = struct.Struct("!BBHLL")
_PLAIN: Final = 0x80
"""The first octet of a header without sources and padding (RFC 3550 section 5.1), and..."""
_EXTENDED: Final = 0x90
"""...with header extensions."""
_ONE_BYTE: Final = 0xBEDE
"""Header extensions of the short form (RFC 8285 section 4.2)."""


@dataclass(slots=True)
class Arrived:
    """One RTP packet; the part of aiortc's RtpPacket that receivers look at."""

    ssrc: int
    sequence_number: int
    timestamp: int
    marker: int
    payload_type: int
    payload: bytes
    _data: bytes = b""
    """The payload without what its format put around it."""


class Arriving:
    """Of one transport; see the module."""

    def __init__(self, dtls: RTCDtlsTransport, counters: Counters) -> None:
        """Give ICE :meth:`offer`."""
        self._dtls = dtls
        self._counters = counters
        self._numbers = get_private(dtls._rtp_header_extensions_map, "_HeaderExtensionsMap__ids")
        """Those of header extensions that the peer and we agreed on."""
        self._streams: dict[tuple[int, int], _Stream] = {}
        """By SSRC and payload type; at most those that aiortc knows, for as long as others come."""
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, data: bytes) -> bool:
        """A datagram came; whether it was taken."""
        if len(data) < _HEADER.size or data[0] not in (_PLAIN, _EXTENDED):
            return False
        if self._dtls._state is not State.CONNECTED:
            return False
        ssrc, payload_type = int.from_bytes(data[8:12], "big"), data[1] & 0x7F
        stream = self._streams.get((ssrc, payload_type))
        if stream is None or not stream.lives():
            stream = self._find(ssrc, payload_type)
            if stream is None:
                return False
        try:
            self._take(stream, self._dtls._rx_srtp.unprotect(data))
        except pylibsrtp.Error as error:
            if not str(error).startswith("replay"):  # copies are sent on purpose
                self._counters["rtp-undecrypted"] += 1
        except Exception:  # noqa: BLE001 - whatever aiortc's parsers raise
            self._counters["rtp-malformed"] += 1
        return True

    def _find(self, ssrc: int, payload_type: int) -> _Stream | None:
        router = self._dtls._rtp_router
        receiver = router.ssrc_table.get(ssrc)
        if not isinstance(receiver, RTCRtpReceiver) or self._dtls._rx_srtp is None:
            return None
        codecs = get_private(receiver, "_RTCRtpReceiver__codecs")
        codec = codecs.get(payload_type)
        counted = get_private(receiver, "_RTCRtpReceiver__remote_streams").get(ssrc)
        known = receiver in router.payload_type_table.get(payload_type, set())
        if not known or codec is None or counted is None or is_rtx(codec):
            return None
        stream = _Stream(ssrc, receiver, codec, counted, router.ssrc_table, codecs)
        self._streams = {key: one for key, one in self._streams.items() if one.lives()}
        self._streams[ssrc, payload_type] = stream
        return stream

    def _take(self, stream: _Stream, data: bytes) -> None:
        first, marked, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        begin = _HEADER.size
        if first == _EXTENDED:
            begin += 4 + 4 * int.from_bytes(data[14:16], "big")
            if begin > len(data):
                raise ValueError("header extensions are cut off")
        if not stream.receiver._enabled:
            return
        payload = data[begin:]
        packet = Arrived(ssrc, sequence, timestamp, marked >> 7, marked & 0x7F, payload)
        if stream.estimator is not None and first == _EXTENDED:
            sent = self._send_time(stream, data, begin)
            if sent is not None:
                self._estimate(stream, sent, len(payload))
        stream.counted.add(packet)  # type: ignore[arg-type]  # it looks at the numbers only
        packet._data = stream.bare(payload) if payload else b""
        ask, frame = stream.buffer.add(packet)
        if stream.failed.is_set():
            stream.failed.clear()
            ask = stream.pictures
        if ask:
            self._spawn(stream.receiver._send_rtcp_pli(ssrc))
        if frame is not None and stream.decodes():
            stream.queue.put((stream.codec, frame))

    def _send_time(self, stream: _Stream, data: bytes, end: int) -> int | None:
        """Of the extension abs-send-time; None: there is none."""
        wanted, (number, before) = self._numbers.abs_send_time, stream.before
        at = _HEADER.size + len(before)
        if number == wanted and data[_HEADER.size : at] == before:  # laid out as the last one was
            return int.from_bytes(data[at : at + 3], "big")
        if int.from_bytes(data[12:14], "big") != _ONE_BYTE:
            extensions = self._dtls._rtp_header_extensions_map
            return extensions.get(int.from_bytes(data[12:14], "big"), data[16:end]).abs_send_time
        at = 16
        while at < end:
            head = data[at]
            if head == 0:
                at += 1
                continue
            length = (head & 0x0F) + 1
            if head >> 4 == wanted and length == 3 and at + 3 < end:
                stream.before = wanted, data[_HEADER.size : at + 1]
                return int.from_bytes(data[at + 1 : at + 4], "big")
            at += 1 + length
        return None

    def _estimate(self, stream: _Stream, sent: int, octets: int) -> None:
        found = stream.estimator.add(
            arrival_time_ms=0, abs_send_time=sent, payload_size=octets, ssrc=stream.ssrc
        )
        ours = get_private(stream.receiver, "_RTCRtpReceiver__rtcp_ssrc")
        if found is not None and ours is not None:
            fci = pack_remb_fci(*found)
            report = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=ours, media_ssrc=0, fci=fci)
            self._spawn(stream.receiver._send_rtcp(report))

    def _spawn(self, report: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(report)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def take_rtp(pc: RTCPeerConnection, counters: Counters) -> None:
    """Take the RTP of a peer connection, from its ICE on."""
    ice_connection(pc).session.sink = Arriving(dtls_transport(pc), counters).offer


class _Stream:
    """What a receiver has for the packets of one SSRC and one codec."""

    def __init__(
        self,
        ssrc: int,
        receiver: RTCRtpReceiver,
        codec: RTCRtpCodecParameters,
        counted: StreamStatistics,
        receivers: dict[int, Any],
        codecs: dict[int, RTCRtpCodecParameters],
    ) -> None:
        self.ssrc = ssrc
        self.receiver = receiver
        self.codec = codec
        self.counted = counted
        self._receivers = receivers
        self._codecs = codecs
        self._is_vp8 = codec.name == "VP8"
        self.pictures = receiver._RTCRtpReceiver__kind == "video"  # type: ignore[attr-defined]
        self.buffer = get_private(receiver, "_RTCRtpReceiver__jitter_buffer")
        self.queue = get_private(receiver, "_RTCRtpReceiver__decoder_queue")
        self.failed = get_private(receiver, "_RTCRtpReceiver__decoder_error")
        self.estimator = get_private(receiver, "_RTCRtpReceiver__remote_bitrate_estimator")
        self.before: tuple[int | None, bytes] = -1, b""
        """The number of abs-send-time when it was found last, and what was between header and value then."""

    def bare(self, payload: bytes) -> bytes:
        """Without what its format puts around it."""
        data = vp8.uncut(payload) if self._is_vp8 else None
        return depayload(self.codec, payload) if data is None else data

    def lives(self) -> bool:
        """Whether aiortc would still hand them to this receiver, with this codec."""
        return (
            self._receivers.get(self.ssrc) is self.receiver
            and self._codecs.get(self.codec.payloadType or 0) is self.codec
        )

    def decodes(self) -> bool:
        """Whether there is a decoder."""
        return get_private(self.receiver, "_RTCRtpReceiver__decoder_thread") is not None
