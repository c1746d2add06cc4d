"""Two media endpoints on one machine: calls that work, calls that do not, and what stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc import (
    InvalidStateError,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
    VideoStreamTrack,
)

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.session import IceSession
from meshcall.aio.media.sources import OnEnded, Source, open_source
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.connection import Connection
from meshcall.aio.rtc.endpoint import RtcEndpoint, make_endpoint
from meshcall.aio.udp import UdpPort
from meshcall.call.negotiation import Negotiate, decode_negotiate_untrusted, encode_negotiate
from meshcall.errors import MeshcallError, NoPath, RecordTargetExists, Rejected, SourceUnusable
from meshcall.ice.candidate import Candidate, decode_candidates_untrusted, encode_candidates
from meshcall.ice.notes import RoundNote
from meshcall.media.endpoint import (
    Change,
    ControlMessage,
    ControlOpen,
    EndpointEvent,
    Failed,
    FirstMedia,
    IceConnected,
    LocalCandidates,
    PathBroken,
    PathQuality,
    RecordFailed,
    Secured,
    SourceEnded,
    TransportLost,
)
from meshcall.media.plan import IceServer, MediaPlan
from meshcall.signaling.description import Description, decode_description_untrusted
from meshcall.signaling.sdp import from_sdp, to_sdp
from meshcall.stun.message import decode_stun_untrusted
from meshcall.stun.responder import answer_binding

LOCAL = MediaPlan(allow_loopback=True, interfaces=("lo",))


class End:
    """An endpoint and what it told."""

    def __init__(self, plan: MediaPlan, port: IcePort | None = None) -> None:
        endpoint = make_endpoint(plan, port=port)
        assert isinstance(endpoint, RtcEndpoint)
        self.endpoint = endpoint
        self.seen: list[EndpointEvent] = []
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.endpoint.events():
            self.seen.append(event)
            self._changed.set()

    async def wait_for(self, kind: type[EndpointEvent], count: int = 1, timeout: float = 8) -> None:
        async with asyncio.timeout(timeout):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_last(self, event: EndpointEvent, timeout: float = 8) -> None:
        """Until it is the last of its kind."""
        async with asyncio.timeout(timeout):
            while self.of(type(event))[-1:] != [event]:
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type[EndpointEvent]) -> list[EndpointEvent]:
        return [event for event in self.seen if isinstance(event, kind)]

    async def finish(self) -> None:
        await self.endpoint.close()
        await asyncio.wait_for(self._reader, 2)


@contextlib.asynccontextmanager
async def ends(left: MediaPlan = LOCAL, right: MediaPlan = LOCAL) -> AsyncIterator[tuple[End, End]]:
    pair = End(left), End(right)
    try:
        yield pair
    finally:
        for end in pair:
            await end.finish()


async def connect(left: End, right: End, *, gate: bool = True) -> None:
    offer = await left.endpoint.offer()
    answer = await right.endpoint.answer(offer)
    await left.endpoint.accept(answer)
    await asyncio.gather(left.wait_for(ControlOpen), right.wait_for(ControlOpen))
    if gate:
        await left.endpoint.open_gate()
        await right.endpoint.open_gate()


def dominant(path: Path) -> float:
    """The loudest frequency in a recording, in Hz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    samples = np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 48_000 / len(samples))


def movement(path: Path) -> tuple[int, float]:
    """How many pictures, and the mean difference between the first and the last."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    return len(pictures), float(np.abs(pictures[0] - pictures[-1]).mean())


# --- a call ---------------------------------------------------------------------------------------


async def test_a_call_with_everything(tmp_path: Path) -> None:
    """Sound, moving pictures and messages arrive both ways, and both recordings hold what the other sent."""
    paths = tmp_path / "left.mkv", tmp_path / "right.mkv"
    left_plan = replace(LOCAL, source="testsrc:440", record=paths[0])
    right_plan = replace(LOCAL, source="testsrc:880", record=paths[1])
    async with ends(left_plan, right_plan) as (left, right):
        offer = await left.endpoint.offer()
        left.endpoint.send_control(b"early")
        answer = await right.endpoint.answer(offer)
        await left.endpoint.accept(answer)
        await asyncio.gather(left.wait_for(ControlOpen), right.wait_for(ControlOpen))
        await asyncio.gather(left.endpoint.open_gate(), right.endpoint.open_gate())
        left.endpoint.send_control(b"hello")
        right.endpoint.send_control(b"\x00" * limits.CONTROL_MESSAGE_MAX)
        for end in (left, right):
            await end.wait_for(FirstMedia, 2)
        await right.wait_for(ControlMessage, 2)
        await left.wait_for(ControlMessage)
        await asyncio.sleep(2.5)
        stats = [end.endpoint.statistics() for end in (left, right)]
        assert stats[0].rtt_ms is not None
        await asyncio.sleep(0.5)  # what was sent until now has time to arrive
        finals = await left.endpoint.close(), await right.endpoint.close()

    assert [event.data for event in right.of(ControlMessage) if isinstance(event, ControlMessage)] == [
        b"early",
        b"hello",
    ]
    assert len(offer) <= 354
    assert len(answer) <= 354
    for mine, theirs in ((finals[0], stats[1]), (finals[1], stats[0])):
        assert mine.video.frames_received >= 0.95 * theirs.video.frames_sent, (finals, stats)
        assert mine.audio.frames_received >= 0.95 * theirs.audio.frames_sent, (finals, stats)
        assert mine.video.frames_sent >= 20  # few only where the machine is starved
        assert mine.audio_seconds_received >= 1.0
        assert mine.video.frames_recorded >= mine.video.frames_received - 1
        assert (mine.audio.codec, mine.video.codec) == ("opus", "VP8")
        assert mine.path == "lan"
        assert mine.audio.packets_lost == 0
        assert list(mine.timeline)[-2:] in (["first-audio", "first-video"], ["first-video", "first-audio"])
    for path, tone, final in ((paths[0], 880, finals[0]), (paths[1], 440, finals[1])):
        count, difference = movement(path)
        assert dominant(path) == pytest.approx(tone, abs=3)
        assert count == final.video.frames_recorded
        assert difference > 2
        assert final.recorded == str(path)


async def test_events_come_in_order_with_the_certificates_in_use() -> None:
    """ICE, DTLS, control; each side's fingerprint is the other's remote one and that of its description."""
    async with ends() as (left, right):
        offer = await left.endpoint.offer()
        answer = await right.endpoint.answer(offer)
        await left.endpoint.accept(answer)
        await asyncio.gather(left.wait_for(ControlOpen), right.wait_for(ControlOpen))
        for end in (left, right):
            assert [type(event) for event in end.seen] == [IceConnected, Secured, ControlOpen]
        (ours,), (theirs,) = left.of(Secured), right.of(Secured)
        assert isinstance(ours, Secured)
        assert isinstance(theirs, Secured)
        assert (ours.local_fp, ours.remote_fp) == (theirs.remote_fp, theirs.local_fp)
        assert decode_description_untrusted(offer).fingerprint == ours.local_fp
        assert decode_description_untrusted(answer).fingerprint == theirs.local_fp
        (pair,) = left.of(IceConnected)
        assert isinstance(pair, IceConnected)
        assert (pair.path, pair.local.kind) == ("lan", "host")


async def test_certificates_are_told_as_dtls_used_them() -> None:
    """Whatever a description says of them."""
    async with ends() as (left, right):
        await left.endpoint.accept(await right.endpoint.answer(await left.endpoint.offer()))
        assert left.endpoint._link is not None
        left.endpoint._link.expect(bytes(32))
        await asyncio.gather(left.wait_for(Secured), right.wait_for(Secured))
        (ours,), (theirs,) = left.of(Secured), right.of(Secured)
        assert isinstance(ours, Secured)
        assert isinstance(theirs, Secured)
        assert (ours.local_fp, ours.remote_fp) == (theirs.remote_fp, theirs.local_fp)


async def test_nothing_passes_a_closed_gate() -> None:
    """Before the gate nothing is sent; what a hasty peer sends is dropped undecoded and counted."""
    plan = replace(LOCAL, source="testsrc")
    async with ends(plan, plan) as (left, right):
        await connect(left, right, gate=False)
        await asyncio.sleep(0.3)
        assert left.endpoint.statistics().audio.frames_sent == 0
        await left.endpoint.open_gate()
        await asyncio.sleep(0.7)
        held = right.endpoint.statistics()
        assert (held.audio.frames_received, held.video.frames_received) == (0, 0)
        assert held.counters["audio-before-gate"] > 10
        assert held.counters["video-before-gate"] > 5
        assert right.of(FirstMedia) == []
        await right.endpoint.open_gate()
        await right.wait_for(FirstMedia, 2, timeout=2)
        await left.wait_for(FirstMedia, 2, timeout=2)


async def test_source_none_sends_nothing_and_receives() -> None:
    """One side sends, the other has nothing to send: no media of its own, but it receives."""
    async with ends(replace(LOCAL, source="testsrc"), LOCAL) as (left, right):
        await connect(left, right)
        await right.wait_for(FirstMedia, 2)
        await asyncio.sleep(0.2)
        assert left.of(FirstMedia) == []
        stats = right.endpoint.statistics()
        assert (stats.audio.frames_sent, stats.video.frames_sent) == (0, 0)


async def test_caller_without_source_receives_too() -> None:
    """The offer asks for media although it has none to send."""
    async with ends(LOCAL, replace(LOCAL, source="testsrc")) as (left, right):
        await connect(left, right)
        await left.wait_for(FirstMedia, 2)


async def test_sound_only() -> None:
    """A plan without pictures gets none, though the peer has some."""
    audio_only = replace(LOCAL, source="testsrc", video=False)
    both = replace(LOCAL, source="testsrc")
    for plans in ((audio_only, both), (both, audio_only)):
        async with ends(*plans) as (left, right):
            await connect(left, right)
            await asyncio.gather(left.wait_for(FirstMedia), right.wait_for(FirstMedia))
            await asyncio.sleep(0.2)
            for end in (left, right):
                assert end.endpoint.statistics().video.frames_received == 0


class Sharer:
    """Plays a browser at one end of a call: changes the session, and takes the answers."""

    def __init__(self, end: End) -> None:
        self.end = end
        assert end.endpoint._pc is not None
        self.pc: RTCPeerConnection = end.endpoint._pc
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        end.endpoint._changes.take = self.answers.put_nowait  # type: ignore[assignment, method-assign]
        self.screen: RTCRtpTransceiver | None = None

    async def describe(self) -> Description:
        """What it offers now."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return from_sdp(self.pc.localDescription.sdp, end_of_candidates=False)

    def offer(self, description: Description) -> None:
        """Tell the other end."""
        self.end.endpoint.send_control(encode_negotiate(Negotiate("offer", description.encode())))

    async def take_answer(self) -> Description:
        """What the other end answers."""
        answer = decode_negotiate_untrusted(await asyncio.wait_for(self.answers.get(), 5))
        assert answer.kind == "answer"
        description = decode_description_untrusted(answer.body)
        text = to_sdp(replace(description, candidates=()), "answer")
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "answer"))
        return description

    async def share(self) -> Description:
        """Share pictures; returns the answer."""
        self.screen = self.pc.addTransceiver(VideoStreamTrack(), "sendonly")
        self.offer(await self.describe())
        return await self.take_answer()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(8):
        while not condition():  # noqa: ASYNC110 - the endpoint tells nobody
            await asyncio.sleep(0.02)


async def screens(end: End, more: int) -> None:
    """Return when so many pictures of the screen more have arrived."""
    wanted = end.endpoint.statistics().screen.frames_received + more
    await until(lambda: end.endpoint.statistics().screen.frames_received >= wanted)


@pytest.mark.parametrize("caller", [True, False])
async def test_a_peer_shares_its_screen_and_stops(caller: bool, tmp_path: Path) -> None:
    """It arrives beside the camera, counted and recorded apart; after a pause with other SSRCs, too."""
    record = tmp_path / "talk.mkv"
    plan = replace(LOCAL, source="testsrc", record=record)
    async with ends(replace(LOCAL, source="testsrc"), plan) as (left, right):
        await (connect(left, right) if caller else connect(right, left))
        await right.wait_for(FirstMedia, 2)
        sharer = Sharer(left)
        answer = await sharer.share()
        assert answer.fingerprint == first_fingerprint(right)
        assert [(section.kind, section.direction) for section in answer.sections][-1] == (
            "video",
            "recvonly",
        )
        await screens(right, 10)
        assert sharer.screen is not None
        camera = right.endpoint.statistics().video

        sharer.screen.direction = "inactive"
        stopped = await sharer.describe()
        sharer.offer(stopped)
        assert (await sharer.take_answer()).sections[-1].direction == "inactive"
        shown = right.endpoint.statistics().screen.frames_received
        assert right.endpoint.statistics().screen.codec == "VP8"

        ssrcs = random.Random(7).getrandbits(31), random.Random(8).getrandbits(31)
        sharer.screen.sender._ssrc, sharer.screen.sender._rtx_ssrc = ssrcs  # as browsers do
        sharer.screen.direction = "sendonly"
        sharer.offer(await sharer.describe())
        await sharer.take_answer()
        sharer.screen.sender._send_keyframe()
        await screens(right, 10)
        final = await right.endpoint.close()
        assert right.of(RecordFailed) == []
    assert final.video.frames_received > camera.frames_received, "the camera goes on"
    assert final.screen.frames_received >= shown + 10
    assert final.screen.frames_recorded >= final.screen.frames_received - 1
    assert final.recorded == str(record)
    assert movement(record)[0] == final.video.frames_recorded
    assert movement(tmp_path / "talk-screen.mkv")[0] == final.screen.frames_recorded


def first_fingerprint(end: End) -> bytes:
    """Of the certificate that its end of the call was secured with."""
    (secured,) = end.of(Secured)
    assert isinstance(secured, Secured)
    return secured.local_fp


async def test_a_session_is_changed_only_behind_the_gate_and_with_its_certificate() -> None:
    """What a peer may not change is counted and has no effect; what it says too early waits for the gate."""
    async with ends(replace(LOCAL, source="testsrc"), replace(LOCAL, source="testsrc")) as (left, right):
        await connect(left, right, gate=False)
        sharer = Sharer(left)
        sharer.pc.addTransceiver(VideoStreamTrack(), "sendonly")
        good = await sharer.describe()
        for bad in (
            replace(good, fingerprint=bytes(31) + b"\x01"),
            replace(good, setup="active"),
            replace(good, sections=good.sections[1:]),
        ):
            sharer.offer(bad)
        sharer.offer(good)
        for _ in range(20):
            sharer.offer(good)
        await until(lambda: right.endpoint.statistics().counters.get("negotiate-flood") == 20)
        assert [name for name in right.endpoint.statistics().counters if "negotiate" in name] == [
            "negotiate-flood"
        ]
        await left.endpoint.open_gate()
        await right.endpoint.open_gate()
        await sharer.take_answer()
        counters = right.endpoint.statistics().counters
        assert (counters["negotiate-fingerprint"], counters["negotiate-setup"]) == (1, 1)
        assert counters["negotiate-sections"] == 1
        await screens(right, 3)
        assert right.of(TransportLost) == []


async def test_a_peer_begins_its_ice_anew_by_letter() -> None:
    """The offer's credentials are used from then on; the answer has its number, and goes by letter, too."""
    async with ends(replace(LOCAL, source="testsrc"), replace(LOCAL, source="testsrc")) as (left, right):
        await connect(left, right)
        sharer = Sharer(left)
        good = await sharer.describe()
        anew = replace(good, ufrag="anew", pwd="another+password+of+32+letters/+", notes=(RoundNote(3),))
        offer = encode_negotiate(Negotiate("offer", anew.encode()))
        for _ in range(2):
            right.endpoint.change(offer)
        await right.wait_for(Change)
        (told,) = right.of(Change)
        assert isinstance(told, Change)
        answer = decode_negotiate_untrusted(told.data)
        assert answer.kind == "answer"
        described = decode_description_untrusted(answer.body)
        assert described.notes == (RoundNote(3),)
        assert described.fingerprint == first_fingerprint(right)
        assert isinstance(right.endpoint._ice, IceSession)
        remote = right.endpoint._ice.agent.remote
        assert remote is not None
        assert (remote.ufrag, remote.pwd) == (anew.ufrag, anew.pwd)
        assert await asyncio.wait_for(sharer.answers.get(), 5) == told.data, "by the control channel, too"
        await until(lambda: right.endpoint.statistics().counters.get("negotiate-old") == 1)


async def test_sound_only_takes_no_screen() -> None:
    """Who wants no pictures is not sent any."""
    async with ends(replace(LOCAL, source="testsrc"), replace(LOCAL, source="testsrc", video=False)) as (
        left,
        right,
    ):
        await connect(left, right)
        answer = await Sharer(left).share()
        assert answer.sections[-1].direction == "inactive"


async def test_call_outlives_its_source(tmp_path: Path) -> None:
    """A short film ends, the call goes on with silence."""
    film = tmp_path / "short.mkv"
    with av.open(str(film), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for frame in av.open("testsrc2=size=160x120:rate=30:duration=0.3", format="lavfi").decode(video=0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    async with ends(replace(LOCAL, source=str(film)), LOCAL) as (left, right):
        await connect(left, right)
        await left.wait_for(SourceEnded)
        before = right.endpoint.statistics().video.frames_received
        await asyncio.sleep(0.6)
        assert right.endpoint.statistics().video.frames_received > before
        assert left.of(SourceEnded) == [SourceEnded("video")]
        assert left.of(TransportLost) == right.of(TransportLost) == []


async def test_late_candidates_connect() -> None:
    """Candidates that come after the answer are used, and those before it are kept for it."""
    async with ends() as (left, right):
        offer = decode_description_untrusted(await left.endpoint.offer())
        bare = offer.with_candidates([], end=True).encode()
        answer = decode_description_untrusted(await right.endpoint.answer(bare))
        await left.endpoint.add_candidates(encode_candidates(answer.candidates))
        await left.endpoint.accept(answer.with_candidates([], end=True).encode())
        await right.endpoint.add_candidates(encode_candidates(offer.candidates))
        await asyncio.gather(left.wait_for(ControlOpen), right.wait_for(ControlOpen))


async def test_what_servers_tell_late_is_an_event_and_none_is_waited_for() -> None:
    """A STUN server that takes its time, and one that is dead: the offer is there at once."""
    loop = asyncio.get_running_loop()
    slow, dead = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with slow, dead:
        for sock in (slow, dead):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        servers = tuple(IceServer(f"stun:127.0.0.1:{sock.getsockname()[1]}") for sock in (slow, dead))
        async with ends(replace(LOCAL, ice_servers=servers)) as (left, _):
            begin = loop.time()
            offer = decode_description_untrusted(await left.endpoint.offer())
            assert loop.time() - begin < 1
            assert not offer.end_of_candidates
            data, source = await asyncio.wait_for(loop.sock_recvfrom(slow, 2048), 2)
            answer = answer_binding(decode_stun_untrusted(data), ("198.51.100.7", 4444), size=len(data))
            assert answer is not None
            await loop.sock_sendto(slow, answer, source)
            await left.wait_for(LocalCandidates)
            (told,) = left.of(LocalCandidates)
            assert isinstance(told, LocalCandidates)
            (candidate,) = decode_candidates_untrusted(told.candidates)
            assert (candidate.kind, candidate.address, candidate.port) == ("srflx", "198.51.100.7", 4444)


async def test_calls_of_one_port_follow_each_other() -> None:
    """Two nodes call each other again while the last call is being closed: each call is its own."""
    plan = MediaPlan(source="testsrc", video=False)
    ports = [await UdpPort.open(0), await UdpPort.open(0)]
    left, right = (IcePort(port) for port in ports)
    closing: list[asyncio.Task[None]] = []
    for _ in range(4):
        one, other = End(plan, left), End(plan, right)
        await connect(one, other)
        await asyncio.gather(one.wait_for(FirstMedia), other.wait_for(FirstMedia))
        assert one.endpoint.statistics().route.endswith(("(first)", "(better)")), "no path of the last call's"
        closing += [asyncio.create_task(end.finish()) for end in (one, other)]
        left, right = right, left
    await asyncio.gather(*closing)
    for port in ports:
        await port.close()


async def test_calls_between_the_same_two_addresses_disturb_each_other_not() -> None:
    """Three that begin one after the other and go on together: each hears its own peer, to the end."""
    plan = MediaPlan(allow_loopback=True, source="testsrc", video=False)
    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for _ in range(2):
            udp = await UdpPort.open(0)
            stack.push_async_callback(udp.close)
            ports.append(IcePort(udp))
        calls: list[tuple[End, End]] = []
        for number in range(3):
            calls.append((End(plan, ports[number % 2]), End(plan, ports[1 - number % 2])))
            for end in calls[-1]:
                stack.push_async_callback(end.finish)
            await connect(*calls[-1])
            for end in calls[-1]:
                await end.wait_for(FirstMedia)
        await asyncio.sleep(0.3)
        for number, (left, right) in enumerate(calls):
            left.endpoint.send_control(b"left %d" % number)
            right.endpoint.send_control(b"right %d" % number)
        for number, (left, right) in enumerate(calls):
            await asyncio.gather(left.wait_for(ControlMessage), right.wait_for(ControlMessage))
            assert left.of(ControlMessage) == [ControlMessage(b"right %d" % number)]
            assert right.of(ControlMessage) == [ControlMessage(b"left %d" % number)]
        await calls[1][0].finish()
        await calls[1][1].wait_for(TransportLost)
        for left, right in (calls[0], calls[2]):
            for end in (left, right):
                stats = end.endpoint.statistics()
                assert stats.audio.packets_lost == 0
                assert stats.audio.frames_received > 10
                assert not end.of(TransportLost)
                assert not end.of(Failed)


async def test_a_broken_path_is_told_and_its_return_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing arrives for a while: PathBroken, then IceConnected again, and the same channel carries on."""
    monkeypatch.setattr(limits, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(limits, "CONSENT_RETRY", 0.02)
    monkeypatch.setattr(limits, "CONSENT_REVIVE", 0.05)
    async with ends() as (left, right):
        await connect(left, right)
        assert isinstance(right.endpoint._ice, IceSession)
        with monkeypatch.context() as cut:
            cut.setattr(right.endpoint._ice, "_transmit", lambda data, destination, base: None)
            await left.wait_for(PathBroken)
            await right.wait_for(PathBroken)
            for one, other in ((left, right), (right, left)):
                # All candidates are told again: whatever still carries messages may bring them
                await one.wait_for(LocalCandidates)
                told = one.of(LocalCandidates)[-1]
                assert isinstance(told, LocalCandidates)
                assert decode_candidates_untrusted(told.candidates) == tuple(one.endpoint._ice.candidates)  # type: ignore[union-attr]
                await other.endpoint.add_candidates(told.candidates)
        await left.wait_for(IceConnected, 2)
        await right.wait_for(IceConnected, 2)
        assert left.of(IceConnected)[-1].why in ("revived", "failover")  # type: ignore[union-attr]
        left.endpoint.send_control(b"still here")
        await right.wait_for(ControlMessage)
        assert left.of(TransportLost) == []


async def test_a_poor_path_is_told_and_its_recovery_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer for a while, then packets that are lost: PathQuality with the word, and once with none."""
    monkeypatch.setattr(limits, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(limits, "CONSENT_FAILURES", 50)
    monkeypatch.setattr(limits, "QUALITY_SILENT", 0.2)
    monkeypatch.setattr(limits, "QUALITY_POLL", 0.05)
    monkeypatch.setattr(limits, "QUALITY_HOLD", 0.2)
    monkeypatch.setattr(limits, "QUALITY_WINDOW", 0.8)
    monkeypatch.setattr(limits, "QUALITY_PACKETS_MIN", 10)
    plan = replace(LOCAL, source="testsrc", video=False)
    async with ends(plan, plan) as (left, right):
        await connect(left, right)
        assert isinstance(right.endpoint._ice, IceSession)
        transmit = right.endpoint._ice._transmit
        with monkeypatch.context() as cut:
            cut.setattr(right.endpoint._ice, "_transmit", lambda data, destination, base: None)
            await left.wait_for(PathQuality)
            assert left.of(PathQuality) == [PathQuality("silent")]
        await left.wait_for_last(PathQuality(""))

        def lossy(data: bytes, destination: Address, base: Address) -> None:
            """Every third packet of sound never arrives, nor does the copy that is sent against loss."""
            sound = 128 <= data[0] < 192 and not 192 <= data[1] < 224  # RFC 5761 section 4
            if not sound or int.from_bytes(data[2:4], "big") % 3:
                transmit(data, destination, base)

        with monkeypatch.context() as worse:
            worse.setattr(right.endpoint._ice, "_transmit", lossy)
            await left.wait_for_last(PathQuality("loss"))
        await left.wait_for_last(PathQuality(""))
        assert not left.of(PathBroken)


# --- the end --------------------------------------------------------------------------------------


async def test_copies_of_packets_disturb_nothing() -> None:
    """During a change of path each packet goes out twice: none counts as lost, refused or received twice."""
    plan = replace(LOCAL, source="testsrc")
    async with ends(plan, plan) as (left, right):
        for end in (left, right):
            make = end.endpoint._make_ice

            def doubled(make: Callable[[], Connection] = make) -> Connection:
                connection = make()
                send, send_all = connection.session.send, connection.session.send_all

                def twice(data: bytes) -> None:
                    send(data)
                    send(data)

                def all_twice(datagrams: Sequence[bytes]) -> None:
                    send_all(datagrams)
                    send_all(datagrams)

                connection.session.send = twice  # type: ignore[method-assign]
                connection.session.send_all = all_twice  # type: ignore[method-assign]
                return connection

            end.endpoint._make_ice = doubled  # type: ignore[method-assign]
        await connect(left, right)
        for end in (left, right):
            await end.wait_for(FirstMedia, 2)
        for number in range(20):
            left.endpoint.send_control(b"%d" % number)
        await right.wait_for(ControlMessage, 20)
        await asyncio.sleep(0.5)
        messages = [event.data for event in right.of(ControlMessage) if isinstance(event, ControlMessage)]
        assert messages == [b"%d" % number for number in range(20)]
        for end in (left, right):
            stats = end.endpoint.statistics()
            assert stats.audio.packets_lost == stats.video.packets_lost == 0
            assert stats.counters == {}
            assert not end.of(Failed)


async def test_last_message_arrives_before_the_close() -> None:
    """A bye that is sent just before close() is not cut off; the peer then learns of the close."""
    async with ends() as (left, right):
        await connect(left, right)
        left.endpoint.send_control(b"bye")
        await left.endpoint.close()
        await right.wait_for(TransportLost, timeout=2)
        assert right.seen[-2:] == [ControlMessage(b"bye"), TransportLost("closed")]
        assert left.of(TransportLost) == []
        left.endpoint.send_control(b"too late")
        await left.endpoint.open_gate()
        assert await left.endpoint.close() == left.endpoint.statistics()


async def test_a_peer_that_ends_the_control_channel_is_gone() -> None:
    """Its media may go on: without messages it can neither be asked nor end the call."""
    async with ends() as (left, right):
        await connect(left, right)
        assert left.endpoint._pc is not None
        assert left.endpoint._pc.sctp is not None
        await left.endpoint._pc.sctp._abort()
        await right.wait_for(TransportLost, timeout=2)
        assert right.of(TransportLost) == [TransportLost("closed")]


async def test_silent_peer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that vanishes without a word is told as no-response."""
    monkeypatch.setattr(limits, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(limits, "CONSENT_RETRY", 0.05)
    monkeypatch.setattr(limits, "CONSENT_LOST", 0.5)
    async with ends() as (left, right):
        await connect(left, right)
        assert right.endpoint._pc is not None
        session = hooks.ice_connection(right.endpoint._pc).session
        monkeypatch.setattr(session, "_transmit", lambda data, destination, base: None)
        await left.wait_for(TransportLost, timeout=3)
        assert left.of(TransportLost) == [TransportLost("no-response")]


async def test_twenty_calls_leave_nothing_behind() -> None:
    """Tasks, descriptors and threads after twenty calls are those from before."""
    plan = replace(LOCAL, source="testsrc")

    async def one_call() -> None:
        async with ends(plan, plan) as (left, right):
            await connect(left, right)
            await asyncio.gather(left.wait_for(FirstMedia), right.wait_for(FirstMedia))

    def state() -> tuple[int, int, int]:
        gc.collect()
        return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    await one_call()
    before = state()
    for _ in range(20):
        await one_call()
    assert state() == before


@pytest.mark.parametrize("moment", ["made", "offered", "answered", "accepted", "connected"])
async def test_close_at_any_moment_leaves_nothing(moment: str) -> None:
    """Whatever an endpoint was doing, close() ends it."""
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    plan = replace(LOCAL, source="testsrc")
    async with ends(plan, plan) as (left, right):
        if moment != "made":
            offer = await left.endpoint.offer()
        if moment in ("answered", "accepted", "connected"):
            answer = await right.endpoint.answer(offer)
        if moment in ("accepted", "connected"):
            await left.endpoint.accept(answer)
        if moment == "connected":
            await left.wait_for(ControlOpen)
    for _ in range(100):
        if asyncio.all_tasks() == tasks:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads


@pytest.mark.parametrize("slow", ["source", "description"])
async def test_what_opens_after_the_close_is_closed_too(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that takes its time, and a user who does not: no socket is opened for a call that is over."""
    await make_endpoint(replace(LOCAL, source="testsrc")).close()
    go = asyncio.Event()

    async def waiting(plan: MediaPlan, on_ended: OnEnded) -> Source:
        await go.wait()
        return await open_source(plan, on_ended)

    async def described(pc: RTCPeerConnection) -> None:
        await go.wait()
        await set_local(pc)

    set_local = RTCPeerConnection.setLocalDescription
    if slow == "source":
        monkeypatch.setattr("meshcall.aio.media.studio.open_source", waiting)
    else:
        monkeypatch.setattr(RTCPeerConnection, "setLocalDescription", described)
    tasks, sockets, threads = asyncio.all_tasks(), open_sockets(), threading.active_count()
    left = End(replace(LOCAL, source="testsrc"))
    opening = asyncio.create_task(left.endpoint.offer())
    await asyncio.sleep(0.05)
    await left.finish()
    go.set()
    await asyncio.wait([opening])
    with pytest.raises((Rejected, InvalidStateError)):
        opening.result()
    for _ in range(100):
        if asyncio.all_tasks() == tasks and threading.active_count() == threads:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == tasks
    assert open_sockets() == sockets
    assert threading.active_count() == threads


def open_sockets() -> int:
    """How many this process has."""
    names = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return sum(name.is_symlink() and str(name.readlink()).startswith("socket:") for name in names)


async def test_cancelled_offer_is_closed() -> None:
    """Who gives up while an offer is being made leaves no socket."""
    left = End(replace(LOCAL, source="testsrc"))
    task = asyncio.create_task(left.endpoint.offer())
    await asyncio.sleep(0.002)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await left.finish()
    with pytest.raises(RuntimeError):
        await left.endpoint.offer()


# --- calls that do not work -----------------------------------------------------------------------


async def test_peer_that_never_answers_checks() -> None:
    """No path is a verdict within the deadline, and the endpoint closes itself."""
    plan = replace(LOCAL, connect_timeout=0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        candidate = Candidate("host", "udp", "127.0.0.1", silent.getsockname()[1], 1)
        async with ends(plan, LOCAL) as (left, right):
            answer = decode_description_untrusted(await right.endpoint.answer(await left.endpoint.offer()))
            await right.endpoint.close()
            await left.endpoint.accept(answer.with_candidates([candidate]).encode())
            await left.wait_for(Failed, timeout=3)
            assert left.of(Failed) == [Failed("no-path")]
            await asyncio.wait_for(left._reader, 2)


async def test_abandoned_offer_closes_itself() -> None:
    """An offer that nobody answers frees its sockets."""
    async with ends(replace(LOCAL, offer_timeout=0.1)) as (left, _):
        offer = await left.endpoint.offer()
        await left.wait_for(Failed, timeout=2)
        assert left.of(Failed) == [Failed("abandoned")]
        await asyncio.wait_for(left._reader, 2)
        port = decode_description_untrusted(offer).candidates[0].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))


async def test_forged_fingerprint_is_told() -> None:
    """Somebody in the middle with a certificate of his own gets no call."""
    async with ends() as (left, right):
        answer = decode_description_untrusted(await right.endpoint.answer(await left.endpoint.offer()))
        await left.endpoint.accept(replace(answer, fingerprint=bytes(range(32))).encode())
        await left.wait_for(Failed, timeout=5)
        assert left.of(Failed) == [Failed("fingerprint")]
        assert left.of(ControlOpen) == []


async def test_hostile_datagrams_do_not_disturb_a_call() -> None:
    """Three thousand datagrams from a stranger, of every look: no exception, and the call goes on."""
    rng = random.Random(2026)
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
    heads = (
        b"",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42",
        b"\x16\xfe\xfd",
        b"\x17\xfe\xfd",
        b"\x80\x60",
        b"\x80\xc8",
    )
    async with ends() as (left, right):
        await connect(left, right)
        (pair,) = left.of(IceConnected)
        assert isinstance(pair, IceConnected)
        family = socket.AF_INET6 if ":" in pair.local.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            for index in range(3000):
                head = rng.choice(heads)
                body = rng.randbytes(rng.choice((0, 1, 4, 12, 100)))
                if head[:1] == b"\x00":  # a STUN header whose length fits, so that attributes are parsed
                    body = rng.randbytes(12) + body[: len(body) & ~3]
                    head = head[:2] + (len(body) - 12).to_bytes(2, "big") + head[4:]
                stranger.sendto(head + body, (pair.local.address, pair.local.port))
                if index % 100 == 0:
                    await asyncio.sleep(0.005)
        left.endpoint.send_control(b"still here")
        await right.wait_for(ControlMessage)
        right.endpoint.send_control(b"here, too")
        await left.wait_for(ControlMessage)
        assert left.endpoint.statistics().counters["ice-stranger"] > 10
        assert left.of(TransportLost) == []
    assert trouble == []


@pytest.mark.parametrize("octets", [b"", b"\x01", b"garbage" * 20, bytes(354), b"\xff" * 2000])
async def test_garbage_is_rejected(octets: bytes) -> None:
    """Octets that are no description are rejected; a better answer is still taken."""
    async with ends() as (left, right):
        with pytest.raises(Rejected):
            await right.endpoint.answer(octets)
        offer = await left.endpoint.offer()
        with pytest.raises(Rejected):
            await left.endpoint.accept(octets)
        with pytest.raises(Rejected):
            await left.endpoint.add_candidates(octets or b"\x01")
        other = End(LOCAL)
        await left.endpoint.accept(await other.endpoint.answer(offer))
        await left.wait_for(ControlOpen)
        await other.finish()


async def test_answer_that_does_not_fit_the_offer_is_rejected() -> None:
    """Other sections, a second answer and an answer before the offer are rejected."""
    async with ends(LOCAL, replace(LOCAL, video=False)) as (left, right):
        with pytest.raises(Rejected):
            await left.endpoint.accept(b"")
        offer = await left.endpoint.offer()
        strange = await right.endpoint.offer()
        with pytest.raises(Rejected):
            await left.endpoint.accept(strange)
        other = End(LOCAL)
        answer = await other.endpoint.answer(offer)
        await left.endpoint.accept(answer)
        with pytest.raises(Rejected):
            await left.endpoint.accept(answer)
        await other.finish()


async def test_too_many_sections_are_rejected() -> None:
    """Each section costs a decoder and a thread, so an offer has one of each kind at most."""
    async with ends() as (left, right):
        offer = decode_description_untrusted(await left.endpoint.offer())
        audio, *rest = offer.sections
        twice = replace(offer, sections=(audio, *rest, replace(audio, mid="x", ssrcs=())))
        with pytest.raises(Rejected, match="sections"):
            await right.endpoint.answer(twice.encode())


async def test_flood_of_candidates_is_bounded() -> None:
    """However many candidates a peer names, few get packets."""
    async with ends() as (left, right):
        answer = await right.endpoint.answer(await left.endpoint.offer())
        await left.endpoint.accept(answer)
        for block in range(20):
            flood = [Candidate("host", "udp", f"10.9.{block}.{n}", 40_000, 1) for n in range(10)]
            await left.endpoint.add_candidates(encode_candidates(flood))
        assert left.endpoint._pc is not None
        known = hooks.ice_connection(left.endpoint._pc).remote_candidates
        assert len(known) <= limits.ICE_REMOTE_CANDIDATES_MAX
        assert left.endpoint.statistics().counters["candidate-too-many"] > 100


@pytest.mark.parametrize("late", [False, True])
async def test_addresses_that_a_peer_may_not_name_are_dropped(late: bool) -> None:
    """Whoever is called sends nothing to its own loopback, to a cloud's metadata or to a low port."""
    bad = [
        Candidate("host", "udp", "169.254.169.254", 5000, 3),
        Candidate("host", "udp", "192.0.2.7", 53, 2),
    ]
    expected = {"candidate-address": 1, "candidate-port": 1}
    if not late:  # later ones may name loopback on a machine that has no other network
        bad.append(Candidate("host", "udp", "127.0.0.1", 5000, 4))
        expected["candidate-loopback"] = 1
    good = Candidate("host", "udp", "192.0.2.7", 5000, 1)
    async with ends(LOCAL, replace(LOCAL, allow_loopback=False)) as (left, right):
        offer = decode_description_untrusted(await left.endpoint.offer())
        named = [*bad, good]
        await right.endpoint.answer(offer.with_candidates([good] if late else named).encode())
        if late:
            await right.endpoint.add_candidates(encode_candidates(named))
        counters = right.endpoint.statistics().counters
        assert {reason: counters.get(reason, 0) for reason in expected} == expected
        assert right.endpoint._pc is not None
        connection = hooks.ice_connection(right.endpoint._pc)
        assert {(c.host, c.port) for c in connection.remote_candidates} == {("192.0.2.7", 5000)}


async def test_no_network_is_said() -> None:
    """Interfaces without addresses are an error of ours, not a hanging call."""
    async with ends(replace(LOCAL, interfaces=("absent0",))) as (left, _):
        with pytest.raises(NoPath):
            await left.endpoint.offer()


async def test_unusable_source_or_target_stops_the_call_before_it_rings(tmp_path: Path) -> None:
    """A missing film and an existing recording are said by offer() and answer()."""
    taken = tmp_path / "taken.mkv"
    taken.write_bytes(b"precious")
    async with ends(replace(LOCAL, source=str(tmp_path / "missing.mkv")), LOCAL) as (left, right):
        with pytest.raises(SourceUnusable):
            await left.endpoint.offer()
        offer = await right.endpoint.offer()
        for plan, error in (
            (replace(LOCAL, record=taken), RecordTargetExists),
            (replace(LOCAL, source=str(taken)), SourceUnusable),
        ):
            other = End(plan)
            with pytest.raises(error):
                await other.endpoint.answer(offer)
            await other.finish()
    assert taken.read_bytes() == b"precious"


async def test_recording_that_fails_does_not_end_the_call(tmp_path: Path) -> None:
    """The folder vanishes after the check: one event, and media goes on."""
    folder = tmp_path / "gone"
    folder.mkdir()
    plan = replace(LOCAL, record=folder / "a.mkv")
    async with ends(replace(LOCAL, source="testsrc"), plan) as (left, right):
        await connect(left, right, gate=False)
        folder.rmdir()
        await left.endpoint.open_gate()
        await right.endpoint.open_gate()
        await right.wait_for(RecordFailed)
        before = right.endpoint.statistics().audio.frames_received
        await asyncio.sleep(0.3)
        assert right.endpoint.statistics().audio.frames_received > before
        assert right.of(RecordFailed) == right.of(RecordFailed)[:1]
        assert right.endpoint.statistics().recorded is None


async def test_control_messages_are_bounded_both_ways() -> None:
    """A message that is too large is our bug; a flood of unread ones is dropped and counted."""
    left, right = make_endpoint(LOCAL), make_endpoint(LOCAL)
    try:
        with pytest.raises(ValueError, match="octets"):
            left.send_control(bytes(limits.CONTROL_MESSAGE_MAX + 1))
        await left.accept(await right.answer(await left.offer()))
        events = left.events()
        async for event in events:
            if isinstance(event, ControlOpen):
                break
        with pytest.raises(ValueError, match="octets"):
            left.send_control(bytes(limits.CONTROL_MESSAGE_MAX + 1))
        for _ in range(limits.CONTROL_QUEUE_MAX + 20):
            left.send_control(b"x")
        for _ in range(200):
            if right.statistics().counters.get("control-flood"):
                break
            await asyncio.sleep(0.01)
        assert 0 < right.statistics().counters["control-flood"] <= 20
    finally:
        await left.close()
        await right.close()


async def test_errors_are_ours() -> None:
    """What an endpoint raises for this machine's faults is a MeshcallError with a sentence."""
    async with ends(replace(LOCAL, source="")) as (left, _):
        with pytest.raises(MeshcallError) as caught:
            await left.endpoint.offer()
        assert str(caught.value)


def test_the_interface_imports_no_codec() -> None:
    """The daemon imports aiortc and av only when a call starts."""
    code = (
        "import sys; import meshcall.media.endpoint, meshcall.media.plan; "
        "sys.exit(any(name in sys.modules for name in ('aiortc', 'av', 'aioice', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
