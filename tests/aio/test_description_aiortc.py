"""Two aiortc peer connections that know each other only through encoded descriptions.

Every candidate is 127.0.0.1, so nothing leaves the machine and no interface is needed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.sdp import SessionDescription
from av import VideoFrame

from meshcall.errors import Rejected
from meshcall.signaling.description import (
    Description,
    check_answer_untrusted,
    decode_description_untrusted,
)
from meshcall.signaling.sdp import from_sdp, to_sdp

GOLDEN = [
    bytes.fromhex(vector["hex"])
    for vector in json.loads((Path(__file__).parents[1] / "vectors" / "description.json").read_text())[
        "vectors"
    ]
]
DEADLINE = 15


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves loopback out; here it is all there is."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Plain(VideoStreamTrack):
    """A picture of one grey level, so that the receiver knows which track it got."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.full((120, 160, 3), self.level, dtype=np.uint8)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@dataclass
class Peer:
    """A peer connection, its control channel and what it received."""

    pc: RTCPeerConnection
    channel: RTCDataChannel | None = None
    tracks: list[MediaStreamTrack] = field(default_factory=list)
    messages: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def open_channel(self) -> None:
        self.channel = channel = self.pc.createDataChannel("control", negotiated=True, id=0)
        channel.on("message", self.messages.put_nowait)
        channel.on("open", self.opened.set)
        if channel.readyState == "open":
            self.opened.set()

    async def local(self) -> bytes:
        """The local description as it would be sent."""
        return from_sdp(self.pc.localDescription.sdp).encode()


@asynccontextmanager
async def peers() -> AsyncIterator[tuple[Peer, Peer]]:
    pair = []
    for _ in range(2):
        config = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        peer = Peer(RTCPeerConnection(config))
        peer.pc.on("track", peer.tracks.append)
        pair.append(peer)
    try:
        yield pair[0], pair[1]
    finally:
        for peer in pair:
            await peer.pc.close()


async def connect(caller: Peer, callee: Peer, callee_tracks: list[MediaStreamTrack]) -> tuple[bytes, bytes]:
    """Offer and answer by octets only; returns both."""
    await caller.pc.setLocalDescription(await caller.pc.createOffer())
    offer = await caller.local()
    offered = decode_description_untrusted(offer)
    await callee.pc.setRemoteDescription(RTCSessionDescription(to_sdp(offered, "offer"), "offer"))
    for track in callee_tracks:
        callee.pc.addTrack(track)
    callee.open_channel()
    await callee.pc.setLocalDescription(await callee.pc.createAnswer())
    answer = await callee.local()
    answered = decode_description_untrusted(answer)
    check_answer_untrusted(offered, answered)
    await caller.pc.setRemoteDescription(RTCSessionDescription(to_sdp(answered, "answer"), "answer"))
    return offer, answer


async def test_audio_video_and_data_flow_both_ways() -> None:
    """An offer and an answer of at most 150 octets make a whole call."""
    async with asyncio.timeout(DEADLINE), peers() as (caller, callee):
        for track in (AudioStreamTrack(), Plain(200)):
            caller.pc.addTrack(track)
        caller.open_channel()
        offer, answer = await connect(caller, callee, [AudioStreamTrack(), Plain(60)])
        assert max(len(offer), len(answer)) <= 150
        for left, right in ((caller, callee), (callee, caller)):
            await left.opened.wait()
            assert left.channel is not None
            left.channel.send(b"hello")
            assert await right.messages.get() == b"hello"
        for peer, level in ((caller, 60), (callee, 200)):
            assert [track.kind for track in peer.tracks] == ["audio", "video"]
            audio, video = peer.tracks
            for _ in range(3):
                assert (await audio.recv()).pts is not None
            assert abs(await level_of(video) - level) < 12


async def level_of(track: MediaStreamTrack) -> float:
    """The mean grey of the third frame."""
    for _ in range(3):
        frame = await track.recv()
    assert isinstance(frame, VideoFrame)
    return float(frame.to_ndarray(format="rgb24").mean())


async def test_several_video_sections_are_told_apart() -> None:
    """Tracks with the same payload types reach the right receiver, because SSRCs travel."""
    async with asyncio.timeout(DEADLINE), peers() as (caller, callee):
        for track in (Plain(30), Plain(120), Plain(220)):
            caller.pc.addTrack(track)
        caller.open_channel()
        offer, _ = await connect(caller, callee, [])
        assert len(decode_description_untrusted(offer).sections) == 4
        levels = [await level_of(track) for track in callee.tracks]
        assert [round(level / 10) * 10 for level in levels] == pytest.approx([30, 120, 220], abs=10)


async def test_data_alone() -> None:
    """A call without media."""
    async with asyncio.timeout(DEADLINE), peers() as (caller, callee):
        caller.open_channel()
        await connect(caller, callee, [])
        await caller.opened.wait()
        await callee.opened.wait()
        assert callee.channel is not None
        callee.channel.send(b"hello")
        assert await caller.messages.get() == b"hello"


async def test_without_bundle_policy() -> None:
    """An offerer that gathers one transport per section connects on the bundled one."""
    async with asyncio.timeout(DEADLINE), peers() as (_, callee):
        caller = Peer(RTCPeerConnection(RTCConfiguration(iceServers=[])))
        try:
            caller.pc.addTrack(AudioStreamTrack())
            caller.pc.addTrack(Plain(200))
            caller.open_channel()
            await connect(caller, callee, [])
            assert abs(await level_of(callee.tracks[1]) - 200) < 12
        finally:
            await caller.pc.close()


async def test_one_way_video() -> None:
    """Sendonly offers are answered recvonly, and the packed answer says so."""
    async with asyncio.timeout(DEADLINE), peers() as (caller, callee):
        caller.pc.addTransceiver(Plain(200), direction="sendonly")
        caller.open_channel()
        _, answer = await connect(caller, callee, [])
        section = decode_description_untrusted(answer).sections[0]
        assert section.direction == "recvonly"
        assert section.ssrcs == ()
        assert abs(await level_of(callee.tracks[0]) - 200) < 12


def parse_as_aiortc(data: bytes) -> Description | None:
    """What the octets decode to, after aiortc parsed its text; None if rejected."""
    try:
        description = decode_description_untrusted(data)
    except Rejected:
        return None
    session = SessionDescription.parse(to_sdp(description))
    assert [media.rtp.muxId for media in session.media] == [section.mid for section in description.sections]
    for media, section in zip(session.media, description.sections, strict=True):
        assert media.ice is not None
        assert media.ice.usernameFragment == description.ufrag
        assert media.ice.password == description.pwd
        assert media.dtls is not None
        assert [item.algorithm for item in media.dtls.fingerprints] == ["sha-256"]
        assert len(media.ice_candidates) == len(description.candidates)
        assert section.kind == "application" or media.rtp.codecs
    return description


@pytest.mark.parametrize("golden", GOLDEN)
def test_text_of_every_bit_flip_parses_in_aiortc(golden: bytes) -> None:
    """Whatever one bit does to a description, aiortc reads its text without an exception."""
    assert parse_as_aiortc(golden) is not None
    for bit in range(8 * len(golden)):
        flipped = bytearray(golden)
        flipped[bit // 8] ^= 1 << bit % 8
        parse_as_aiortc(bytes(flipped))


def test_text_of_mutated_descriptions_parses_in_aiortc() -> None:
    """The same for several changed octets at once."""
    seed = 20261123
    print("seed", seed)
    source = random.Random(seed)
    accepted = 0
    for _ in range(4000):
        data = bytearray(source.choice(GOLDEN))
        for _ in range(source.randint(1, 4)):
            data[source.randrange(2, len(data))] = source.randrange(256)
        accepted += parse_as_aiortc(bytes(data)) is not None
    assert accepted > 100
