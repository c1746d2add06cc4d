"""RTCP reports of one connection, in one packet: aiortc's senders and receivers each send their own.

A link of sound and pictures has four that do, and in a meeting each packet costs as much as a picture.

Law 1: what a report tells of a sender or a receiver is what aiortc would tell (RFC 3550 section 6.4).
Law 2: a sender that has sent nothing reports nothing: there is no time that belongs to it yet.
Law 3: with the last of those that report, the task ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import pylibsrtp
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from meshcall.aio.rtc.hooks.private import get_private, set_private

_INTERVAL: Final = 1.0
"""Seconds, as aiortc has it; from half of it to one and a half (RFC 3550 section 6.2)."""
_REPORTS_MAX: Final = 31
"""In one packet (RFC 3550 section 6.4.1)."""
_CNAME: Final = 1
"""The item of a source description (RFC 3550 section 6.5.1)."""
_DLSR: Final = 65_536
"""Units of a second, and seconds that it can tell of."""

Reporter = RTCRtpSender | RTCRtpReceiver


class Reports:
    """Of one transport."""

    def __init__(
        self,
        dtls: RTCDtlsTransport,
        *,
        clock: Callable[[], float] = time.time,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``clock``: seconds since 1970; ``uniform``: a number between two others."""
        self._dtls = dtls
        self._clock = clock
        self._uniform = uniform
        self._reporters: dict[Reporter, None] = {}
        """In the order in which they began."""
        self._task: asyncio.Task[None] | None = None

    @property
    def in_use(self) -> bool:
        """Whether anything reports."""
        return bool(self._reporters)

    def begin(self, reporter: Reporter) -> None:
        """It reports from now on."""
        self._reporters[reporter] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="rtcp-reports")

    async def end(self, reporter: Reporter) -> None:
        """It reports no more; a sender says goodbye (RFC 3550 section 6.6)."""
        self._reporters.pop(reporter, None)
        if not self._reporters and self._task is not None:
            self._task.cancel()
            self._task = None
        if isinstance(reporter, RTCRtpSender):
            await self._send([RtcpByePacket(sources=[reporter._ssrc])])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._uniform(0.5 * _INTERVAL, 1.5 * _INTERVAL))
            await self._send(self.report())

    def report(self) -> list[AnyRtcpPacket]:
        """What there is to tell now; nothing as long as nothing was sent or received."""
        received: list[RtcpReceiverInfo] = []
        ssrc: int | None = None
        sent: list[AnyRtcpPacket] = []
        names: list[RtcpSourceInfo] = []
        for reporter in self._reporters:
            if isinstance(reporter, RTCRtpSender):
                if (info := self._sent(reporter)) is not None:
                    sent.append(RtcpSrPacket(ssrc=reporter._ssrc, sender_info=info))
                    if (name := get_private(reporter, "_RTCRtpSender__cname")) is not None:
                        names.append(RtcpSourceInfo(reporter._ssrc, [(_CNAME, name.encode())]))
            else:
                received += self._received(reporter)
                ours = get_private(reporter, "_RTCRtpReceiver__rtcp_ssrc")
                ssrc = ours if ssrc is None else ssrc
        del received[_REPORTS_MAX:]
        if sent:
            assert isinstance(sent[0], RtcpSrPacket), "senders report so"
            sent[0].reports = received
        elif received and ssrc is not None:
            sent.append(RtcpRrPacket(ssrc, received))
        return [*sent, RtcpSdesPacket(names)] if names else sent

    def _sent(self, sender: RTCRtpSender) -> RtcpSenderInfo | None:
        ntp: int = get_private(sender, "_RTCRtpSender__ntp_timestamp")
        packets: int = get_private(sender, "_RTCRtpSender__packet_count")
        if not packets:
            return None
        set_private(sender, "_RTCRtpSender__lsr", ntp >> 16 & 0xFFFFFFFF)
        set_private(sender, "_RTCRtpSender__lsr_time", self._clock())
        octets: int = get_private(sender, "_RTCRtpSender__octet_count")
        rtp: int = get_private(sender, "_RTCRtpSender__rtp_timestamp")
        return RtcpSenderInfo(ntp, rtp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)

    def _received(self, receiver: RTCRtpReceiver) -> list[RtcpReceiverInfo]:
        heard = get_private(receiver, "_RTCRtpReceiver__lsr")
        heard_at = get_private(receiver, "_RTCRtpReceiver__lsr_time")
        now, found = self._clock(), []
        for ssrc, stream in get_private(receiver, "_RTCRtpReceiver__remote_streams").items():
            delay = now - heard_at[ssrc] if ssrc in heard else 0.0
            found.append(
                RtcpReceiverInfo(
                    ssrc=ssrc,
                    fraction_lost=stream.fraction_lost,
                    packets_lost=stream.packets_lost,
                    highest_sequence=stream.max_seq,
                    jitter=stream.jitter,
                    lsr=heard.get(ssrc, 0),
                    dlsr=int(delay * _DLSR) if 0 < delay < _DLSR else 0,
                )
            )
        return found

    async def _send(self, packets: list[AnyRtcpPacket]) -> None:
        if packets:
            with suppress(ConnectionError, pylibsrtp.Error):
                await self._dtls._send_rtp(b"".join(map(bytes, packets)))


_reports: Final[dict[RTCDtlsTransport, Reports]] = {}
"""Of transports that have any. Which one a sender or receiver has is known when it starts, not before."""


def report_together(reporter: Reporter) -> None:
    """Have a sender or receiver report with the others of its transport, before it starts. Idempotent."""
    get_private(reporter, "_run_rtcp")
    reporter._run_rtcp = partial(_stand, reporter)  # type: ignore[method-assign]


async def _stand(reporter: Reporter) -> None:
    """In the place of its own task: report for as long as this runs."""
    name = "RTCRtpSender" if isinstance(reporter, RTCRtpSender) else "RTCRtpReceiver"
    started, exited = (get_private(reporter, f"_{name}__rtcp_{what}") for what in ("started", "exited"))
    dtls = reporter.transport
    reports = _reports.get(dtls)
    if reports is None:
        reports = _reports[dtls] = Reports(dtls)
    reports.begin(reporter)
    started.set()
    try:
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        await reports.end(reporter)
    finally:
        if not reports.in_use:
            _reports.pop(dtls, None)
        exited.set()
