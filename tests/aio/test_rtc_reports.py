"""RTCP reports of a connection: what aiortc's senders and receivers tell, in one packet."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
    RtpPacket,
)

from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.hooks.private import set_private
from meshcall.aio.rtc.hooks.reports import Reports
from meshcall.aio.rtc.hooks.reports import _reports as reports_of
from tests.aio.test_rtc_hooks import peer_connection

NOW = 1_000.0


class Wire:
    """In the place of a transport's way out."""

    def __init__(self) -> None:
        self.sent: list[list[AnyRtcpPacket]] = []
        self.came = asyncio.Event()

    async def send(self, data: bytes) -> None:
        self.sent.append(RtcpPacket.parse(data))
        self.came.set()


class Ends:
    """Two senders and two receivers of one transport."""

    def __init__(self) -> None:
        self.pc = peer_connection()
        for kind in ("audio", "video"):
            self.pc.addTransceiver(kind)
        self.senders = [one.sender for one in self.pc.getTransceivers()]
        self.receivers = [one.receiver for one in self.pc.getTransceivers()]
        self.all: list[RTCRtpSender | RTCRtpReceiver] = [*self.senders, *self.receivers]
        self.wire = Wire()
        self.dtls = self.senders[0].transport
        self.dtls._send_rtp = self.wire.send  # type: ignore[method-assign]
        for place, one in enumerate(self.all):
            one.setTransport(self.dtls)
            if isinstance(one, RTCRtpSender):
                set_private(one, "_RTCRtpSender__cname", f"name {place}")
            else:
                one._set_rtcp_ssrc(77)

    def has_sent(self, sender: RTCRtpSender, packets: int) -> None:
        for what, value in (
            ("ntp_timestamp", (5 << 32) + packets),
            ("rtp_timestamp", 90_000 + packets),
            ("packet_count", packets),
            ("octet_count", 100 * packets),
        ):
            set_private(sender, f"_RTCRtpSender__{what}", value)

    def has_received(self, receiver: RTCRtpReceiver, ssrc: int, packets: int) -> None:
        stream = StreamStatistics(90_000)
        for number in range(packets):
            if number != 1:  # one is lost
                stream.add(RtpPacket(payload_type=96, sequence_number=number, ssrc=ssrc, payload=b"it"))
        receiver._RTCRtpReceiver__remote_streams[ssrc] = stream  # type: ignore[attr-defined]
        receiver._RTCRtpReceiver__lsr[ssrc] = 4711 + ssrc  # type: ignore[attr-defined]
        receiver._RTCRtpReceiver__lsr_time[ssrc] = NOW - 0.25  # type: ignore[attr-defined]


async def first_of_aiortc(run: Callable[[], Awaitable[None]], wire: Wire) -> list[AnyRtcpPacket]:
    """What a loop of its own sends first."""
    task = asyncio.ensure_future(run())
    await wire.came.wait()
    first = wire.sent[0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    wire.sent.clear()
    wire.came.clear()
    return first


async def test_what_is_told_is_what_aiortc_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times, counts, losses and names of all, the receivers' in the first sender's report."""
    monkeypatch.setattr("random.random", lambda: -0.5)  # its loops wait for no time at all
    monkeypatch.setattr("time.time", lambda: NOW)
    ends, twins = Ends(), Ends()
    theirs: list[Any] = []
    for one in (ends, twins):
        for count, sender in enumerate(one.senders, start=3):
            sender._ssrc = count
            one.has_sent(sender, count)
        for count, receiver in enumerate(one.receivers, start=10):
            one.has_received(receiver, ssrc=count, packets=count)
    for reporter in twins.all:
        theirs += await first_of_aiortc(reporter._run_rtcp, twins.wire)
    reports = Reports(ends.dtls, clock=lambda: NOW)
    for reporter in ends.all:
        reports.begin(reporter)
    ours: list[Any] = RtcpPacket.parse(b"".join(map(bytes, reports.report())))
    senders = [one for one in theirs if isinstance(one, RtcpSrPacket)]
    receivers = [one for one in theirs if isinstance(one, RtcpRrPacket)]
    assert [type(one) for one in ours] == [RtcpSrPacket, RtcpSrPacket, RtcpSdesPacket]
    assert [(one.ssrc, one.sender_info) for one in ours[:2]] == [
        (one.ssrc, one.sender_info) for one in senders
    ]
    assert ours[0].reports == [one for packet in receivers for one in packet.reports]
    assert len(ours[0].reports) == 2
    assert all(one.dlsr == 65_536 // 4 and one.packets_lost == 1 for one in ours[0].reports)
    assert ours[2].chunks == [
        chunk for one in theirs if isinstance(one, RtcpSdesPacket) for chunk in one.chunks
    ]
    for sender, twin in zip(ends.senders, twins.senders, strict=True):
        for name in ("_RTCRtpSender__lsr", "_RTCRtpSender__lsr_time"):  # the round trip is told by them
            assert getattr(sender, name) == getattr(twin, name) is not None
    for reporter in ends.all:
        await reports.end(reporter)
    for each in (ends, twins):
        await each.pc.close()


async def test_who_has_sent_nothing_says_so_by_saying_nothing() -> None:
    """Not a time of 1900: receivers report alone then; and nobody does who has heard nothing either."""
    ends = Ends()
    reports = Reports(ends.dtls, clock=lambda: NOW)
    for reporter in ends.all:
        reports.begin(reporter)
    assert reports.report() == []
    ends.has_received(ends.receivers[1], ssrc=9, packets=5)
    (only,) = reports.report()
    assert isinstance(only, RtcpRrPacket)
    assert (only.ssrc, [one.ssrc for one in only.reports]) == (77, [9])
    ends.has_sent(ends.senders[0], 3)
    assert [type(one) for one in reports.report()] == [RtcpSrPacket, RtcpSdesPacket]
    for reporter in ends.all:
        await reports.end(reporter)
    await ends.pc.close()


async def test_a_packet_holds_at_most_31_reports() -> None:
    """Whatever a peer invents (RFC 3550 section 6.4.1): what does not fit is left out."""
    ends = Ends()
    reports = Reports(ends.dtls, clock=lambda: NOW)
    reports.begin(ends.receivers[0])
    for ssrc in range(1, 60):
        ends.has_received(ends.receivers[0], ssrc=ssrc, packets=2)
    (only,) = RtcpPacket.parse(b"".join(map(bytes, reports.report())))
    assert isinstance(only, RtcpRrPacket)
    assert len(only.reports) == 31
    await reports.end(ends.receivers[0])
    await ends.pc.close()


async def test_one_task_reports_for_all_until_the_last_has_ended() -> None:
    """aiortc starts and ends each as ever; a sender says goodbye; nothing is left."""
    source = inspect.getsource(RTCRtpSender.send), inspect.getsource(RTCRtpReceiver.receive)
    assert all("asyncio.ensure_future(self._run_rtcp())" in one for one in source)
    ends = Ends()
    tasks = []
    for reporter in ends.all:
        hooks.report_together(reporter)
        hooks.report_together(reporter)
        tasks.append(asyncio.ensure_future(reporter._run_rtcp()))
    await asyncio.sleep(0)
    named = [one for one in asyncio.all_tasks() if one.get_name() == "rtcp-reports"]
    assert len(named) == 1
    for reporter, task in zip(ends.all, tasks, strict=True):
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        name = type(reporter).__name__
        assert getattr(reporter, f"_{name}__rtcp_started").is_set()
        assert getattr(reporter, f"_{name}__rtcp_exited").is_set()
    assert [packet for packets in ends.wire.sent for packet in packets] == [
        RtcpByePacket(sources=[one._ssrc]) for one in ends.senders
    ]
    await asyncio.gather(*named, return_exceptions=True)
    assert named[0].cancelled()
    assert ends.dtls not in reports_of
    await ends.pc.close()


async def test_a_transport_that_is_gone_stops_nothing() -> None:
    """aiortc's loops swallow that, too: others find out, and say so."""

    async def gone(data: bytes) -> None:
        raise ConnectionError("the transport is not connected")

    ends = Ends()
    ends.dtls._send_rtp = gone  # type: ignore[method-assign]
    reports = Reports(ends.dtls, uniform=lambda low, high: 0.0)
    ends.has_sent(ends.senders[0], 3)
    reports.begin(ends.senders[0])
    for _ in range(10):
        await asyncio.sleep(0)
    (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "rtcp-reports"]
    assert not task.done()
    await reports.end(ends.senders[0])
    await ends.pc.close()
