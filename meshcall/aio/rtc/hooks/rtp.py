"""Sending RTP, in the place of the loop that each of aiortc's senders has.

Law 1: what is on the wire is what aiortc sends, and the history for repairs is as aiortc reads it.
Law 2: each packet costs what it alone has: its number, its piece, its encryption. aiortc puts each together
from all its parts, for each peer anew.
Law 3: a frame leaves as a whole, in one step from its encoder to ICE, unless a pacer spreads it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final

import pylibsrtp
from aiortc import RTCRtpCodecParameters, RTCRtpSender
from aiortc.codecs import get_encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError, convert_timebase
from aiortc.rtp import RTP_HISTORY_SIZE

from meshcall import limits
from meshcall.aio.media.encoded import Encoded, Outlet, packet_of
from meshcall.aio.media.readers import AUDIO_BASE
from meshcall.aio.rtc.hooks.extensions import Extensions
from meshcall.aio.rtc.hooks.leaving import Leaving
from meshcall.aio.rtc.hooks.pieces import History, Piece, Stream
from meshcall.aio.rtc.hooks.private import get_private, set_private
from meshcall.media import vp8
from meshcall.media.pacer import Pacer

_SEQUENCE_START: Final = 1 << 15
"""The first number is below this: a wrap soon after the start, with loss, breaks SRTP's count."""
_NTP_SECONDS: Final = 2_208_988_800
"""Of 1900-01-01 before 1970-01-01 (RFC 5905 section 6)."""
_NTP_SECOND: Final = 1 << 32
_SECOND: Final = 1_000_000_000
_NTP: Final = "_RTCRtpSender__ntp_timestamp"
_RTP: Final = "_RTCRtpSender__rtp_timestamp"
_PACKETS: Final = "_RTCRtpSender__packet_count"
_OCTETS: Final = "_RTCRtpSender__octet_count"
"""What sender reports tell of."""

_ENDS: Final = (ConnectionError, pylibsrtp.Error)
"""Nothing can be sent any more."""

Cut = Callable[[Encoded, int], tuple[list[bytes], int]]
"""Of a frame and its time: its payloads, and its time by the RTP clock."""


def send_by(
    sender: RTCRtpSender,
    outlet: Outlet,
    *,
    twice: Callable[[], bool] = lambda: False,
    pacer: Pacer | None = None,
    leaves: Callable[[float], None] = lambda now: None,
    age: Callable[[float], float] = lambda seconds: 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have ``sender`` send what ``outlet`` gives, before it starts.

    ``twice``: whether each frame is followed by a copy of itself, with the same numbers, when the next one
    comes; aiortc has no redundancy of any kind. ``pacer``: when the packets of a picture leave, and which of
    them again; aiortc sends all at once, and again whatever is asked for. ``leaves`` is told when a frame
    does. ``age``: for how many seconds there has been what has a time of so many seconds; what waits to be
    sent grows older. ``clock``: in seconds.
    """
    loop = _Loop(sender, outlet, twice, pacer, leaves, age, clock)
    sender._run_rtp = loop.run  # type: ignore[method-assign]
    if pacer is not None:
        sender._retransmit = partial(loop.repair, pacer, sender._retransmit)  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class _Way:
    """What was negotiated for one sender."""

    cut: Cut
    stream: Stream
    leaving: Leaving


class _Loop:
    """Of one sender."""

    def __init__(
        self,
        sender: RTCRtpSender,
        outlet: Outlet,
        twice: Callable[[], bool],
        pacer: Pacer | None,
        leaves: Callable[[float], None],
        age: Callable[[float], float],
        clock: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._outlet = outlet
        self._twice = twice
        self._pacer = pacer
        self._leaves = leaves
        self._age = age
        self._clock = clock
        self._history = History()
        self._set("rtp_history", self._history)
        for name in (_NTP, _RTP, _PACKETS, _OCTETS):
            get_private(sender, name)
        self._sequence = secrets.randbelow(_SEQUENCE_START)
        self._origin = secrets.randbits(32)
        self._last: int | None = None
        """The number of the first packet of the last frame."""
        self._oldest: int | None = None
        """Where the last keyframe begins."""
        self._packets = self._octets = 0
        self._busy = False
        """A frame is on its way, or none may be any more."""

    def _get(self, name: str) -> Any:
        return get_private(self._sender, f"_RTCRtpSender__{name}")

    def _set(self, name: str, value: object) -> None:
        set_private(self._sender, f"_RTCRtpSender__{name}", value)

    async def run(self, codec: RTCRtpCodecParameters) -> None:
        """Send until it is cancelled, the track has ended, or the transport is gone."""
        assert codec.payloadType is not None, "it was negotiated"
        extensions = Extensions(self._get("rtp_header_extensions_map"), self._get("mid"))
        stream = Stream(codec.payloadType, self._sender._ssrc, extensions)
        way = _Way(_cutter(codec, self._payload_most), stream, Leaving(self._sender.transport))
        self._get("rtp_started").set()
        self._outlet.send_now = partial(self._send_now, way)
        try:
            while True:
                encoded, pts = await self._outlet.take()
                self._busy = True
                if self._last is not None and self._twice():
                    await self._sender._retransmit(self._last)
                for packets, wait in self._leave(way, encoded, pts):
                    if packets:
                        await way.leaving.send(packets)
                    if wait > 0:
                        await asyncio.sleep(wait)
                self._busy = False
        except (asyncio.CancelledError, MediaStreamError, *_ENDS):
            pass
        finally:
            self._busy = True
            self._outlet.stop()
            self._set("track", None)
            self._get("rtp_exited").set()

    def _payload_most(self) -> int:
        return limits.RTP_PAYLOAD_MAX if self._pacer is None else self._pacer.payload_most

    def _send_now(self, way: _Way) -> bool:
        """See :attr:`Outlet.send_now`."""
        if self._busy or not way.leaving.at_once or self._twice():
            return False
        if self._pacer is not None and self._pacer.holds:
            return False
        try:
            while self._outlet.waiting:
                for packets, _ in self._leave(way, *self._outlet.take_now()):
                    way.leaving.send_now(packets)
        except _ENDS:  # nobody else's frames are to suffer from it
            self._outlet.stop()  # which ends what waits for it
        return True

    def _leave(self, way: _Way, encoded: Encoded, pts: int) -> Iterator[tuple[list[bytes], float]]:
        """One frame: packets that leave together, and how long what follows them waits."""
        payloads, time = way.cut(encoded, pts)
        octets = sum(map(len, payloads))
        if self._pacer is not None:
            self._pacer.begin(octets, self._outlet.waiting_octets)
        yield from self._waits()
        base = encoded.time_base
        age = self._age(pts * base.numerator / base.denominator)
        sender, now, timestamp = self._sender, _ntp_time(), (self._origin + time) & 0xFFFFFFFF
        # A sender report tells when a frame was taken (RFC 3550 section 6.4.1), however long it waited here.
        setattr(sender, _NTP, now - round(age * _NTP_SECOND))
        setattr(sender, _RTP, timestamp)
        if self._pacer is not None and encoded.key:
            self._oldest = self._sequence
        self._leaves(self._clock())
        self._outlet.left(len(payloads), octets)
        self._last = self._sequence if payloads else None
        begin = 0
        while begin < len(payloads):
            end, wait = self._together(payloads, begin, way.stream)
            ends, sent = end == len(payloads), now >> 14 & 0xFFFFFF
            pieces = payloads[begin:end]
            piece = Piece(way.stream, self._sequence, timestamp, pieces, ends, sent, encoded.level)
            self._history.keep(piece)
            self._sequence = self._sequence + end - begin & 0xFFFF
            yield piece.packets(), wait
            begin = end
            if wait > 0:
                if begin < len(payloads):
                    yield from self._waits()
                now = _ntp_time()
        self._packets += len(payloads)
        self._octets += octets
        setattr(sender, _PACKETS, self._packets)
        setattr(sender, _OCTETS, self._octets)

    def _waits(self) -> Iterator[tuple[list[bytes], float]]:
        """Until the next packet may leave."""
        while self._pacer is not None and (wait := self._pacer.until(self._clock())) > 0:
            yield [], wait

    def _together(self, payloads: list[bytes], begin: int, stream: Stream) -> tuple[int, float]:
        """Where those from ``begin`` on that leave now end, and how long what follows them waits."""
        if self._pacer is not None:
            now, overhead = self._clock(), stream.overhead
            for index in range(begin, len(payloads)):
                wait = self._pacer.pause(overhead + len(payloads[index]), now)
                if wait > 0:
                    return index + 1, wait
        return len(payloads), 0.0

    async def repair(
        self, pacer: Pacer, retransmit: Callable[[int], Awaitable[None]], sequence_number: int
    ) -> None:
        """Send a packet again; what is missing before a keyframe nobody needs."""
        if self._oldest is not None and (sequence_number - self._oldest) & 0xFFFF >= 0x8000:
            return
        packet = self._history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None and pacer.repair(len(packet.payload), self._clock()):
            await retransmit(sequence_number)


def _ntp_time() -> int:
    """Of now (RFC 5905 section 6)."""
    seconds, rest = divmod(time.time_ns(), _SECOND)
    return seconds + _NTP_SECONDS << 32 | (rest << 32) // _SECOND


def _cutter(codec: RTCRtpCodecParameters, most: Callable[[], int]) -> Cut:
    """``most``: octets of a payload of pictures; aiortc's packers have their own."""
    name = codec.name.upper()
    if name == "VP8":
        return _cutter_of_vp8(most)
    if name == "OPUS":
        return lambda encoded, pts: ([encoded.data], _scaled(pts, encoded.time_base, AUDIO_BASE))
    pack = get_encoder(codec).pack
    return lambda encoded, pts: pack(packet_of(encoded, pts))


def _cutter_of_vp8(most: Callable[[], int]) -> Cut:
    """aiortc's takes longer over a picture than its encryption does."""
    picture = secrets.randbelow(vp8.PICTURES)

    def cut(encoded: Encoded, pts: int) -> tuple[list[bytes], int]:
        nonlocal picture
        picture = (picture + 1) % vp8.PICTURES
        time = _scaled(pts, encoded.time_base, VIDEO_TIME_BASE)
        return vp8.cut(encoded.data, picture, most()), time

    return cut


def _scaled(pts: int, base: Fraction, clock: Fraction) -> int:
    same = base.numerator == clock.numerator and base.denominator == clock.denominator
    return pts if same else convert_timebase(pts, base, clock)
