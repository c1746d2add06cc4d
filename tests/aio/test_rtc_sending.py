"""Sending, from one endpoint to the other: rooms share what is encoded, layers, late comers, silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from aiortc import RTCRtpSender

from meshcall import limits
from meshcall.aio.media import encoders, studio
from meshcall.aio.rtc.sending import Sending
from meshcall.media.endpoint import FirstMedia, PathQuality, Speaking
from meshcall.media.plan import MediaPlan
from tests.aio.test_rtc_endpoint import LOCAL, End, connect

ROOM = replace(LOCAL, source="testsrc", room="0123456789abcdef")


@contextlib.asynccontextmanager
async def room(peers: int, plan: MediaPlan = ROOM) -> AsyncIterator[list[tuple[End, End]]]:
    """One member's endpoints, each with that of a peer; not yet connected."""
    links = [(End(plan), End(LOCAL)) for _ in range(peers)]
    try:
        yield links
    finally:
        for link in links:
            for end in link:
                await end.finish()
        assert not studio._shared


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast machine and a wide way, whatever else runs here: no layer goes down by itself."""
    monkeypatch.setattr(limits, "CPU_HIGH", 9.0)
    monkeypatch.setattr(Sending, "set_rate", lambda self, bits: None)


async def until(done: Callable[[], bool], timeout: float = 8) -> None:
    async with asyncio.timeout(timeout):
        while not done():  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(0.02)


def received(end: End) -> int:
    return end.endpoint.statistics().video.frames_received


@pytest.mark.usefixtures("ample")
async def test_a_room_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three peers, one encoder of pictures and one of sound; who comes last has pictures at once."""
    made: list[str] = []
    make_pictures, make_sound = encoders.make_picture_encoder, encoders.make_sound_encoder

    def pictures(codec: str, width: int, height: int, rate: int, fps: int) -> encoders.PictureEncoder:
        made.append(f"{codec} {height}")
        return make_pictures(codec, width, height, rate, fps)

    def sound(codec: str, channels: int) -> encoders.SoundEncoder:
        made.append(codec)
        return make_sound(codec, channels)

    monkeypatch.setattr(studio, "make_picture_encoder", pictures)
    monkeypatch.setattr(studio, "make_sound_encoder", sound)
    async with room(3) as links:
        for left, right in links:
            await connect(left, right)
            await right.wait_for(FirstMedia, 2)
        await until(lambda: all(received(right) > 10 for _, right in links))
        assert sorted(made) == ["VP8 480", "opus"]
        first = links[0]
        await first[0].endpoint.close()
        seen = received(links[1][1])
        await until(lambda: received(links[1][1]) > seen + 10)


@pytest.mark.usefixtures("ample")
async def test_each_peer_is_sent_the_layer_that_it_asked_for() -> None:
    """One has the stage, the other a tile; then none at all; then the stage."""
    async with room(2) as links:
        (left, stage), (other, tile) = links
        await connect(left, stage)
        other.endpoint.set_layer("camera", 180, 0)
        await connect(other, tile)

        def height(end: End) -> int:
            return end.endpoint.statistics().video.height

        await until(lambda: (height(stage), height(tile)) == (480, 180))
        assert other.endpoint.statistics().video.layer == "180p15 asked"
        assert left.endpoint.statistics().video.layer == "720p30"
        other.endpoint.set_layer("camera", 0, 0)
        await asyncio.sleep(0.2)
        seen, shown = received(tile), received(stage)
        await until(lambda: received(stage) > shown + 5)
        assert received(tile) == seen
        assert other.endpoint.statistics().video.layer == "none asked"
        other.endpoint.set_layer("camera", 720, 30)
        await until(lambda: height(tile) == 480)


async def test_who_speaks_is_told() -> None:
    """The tone of the test source is loud; without sound nothing is told; who is muted does not speak."""
    async with room(1) as links:
        left, right = links[0]
        await connect(left, right)
        await left.wait_for_last(Speaking(True))
        assert right.of(Speaking) == []
        left.endpoint.set_muted("audio", muted=True)
        await left.wait_for_last(Speaking(False))
        left.endpoint.set_muted("audio", muted=False)
        await left.wait_for_last(Speaking(True))


@pytest.mark.parametrize("codec", ["video/H264", "audio/PCMU", "audio/G722"])
async def test_a_peer_with_another_codec_is_served(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was agreed is what is sent, and decodes."""
    kind = codec.partition("/")[0]
    capabilities = RTCRtpSender.getCapabilities(kind)
    only = [one for one in capabilities.codecs if one.mimeType == codec][-1:]
    left, right = End(replace(LOCAL, source="testsrc")), End(replace(LOCAL, source="testsrc"))
    wire = left.endpoint._wire

    def preferring(pc: object) -> None:
        assert left.endpoint._pc is not None
        for transceiver in left.endpoint._pc.getTransceivers():
            if transceiver.kind == kind:
                transceiver.setCodecPreferences(only)
        wire(pc)  # type: ignore[arg-type]

    monkeypatch.setattr(left.endpoint, "_wire", preferring)
    try:
        await connect(left, right)
        await asyncio.gather(left.wait_for(FirstMedia, 2), right.wait_for(FirstMedia, 2))
        for end in (left, right):
            stats = end.endpoint.statistics()
            assert codec.endswith(stats.video.codec if kind == "video" else stats.audio.codec)
    finally:
        await left.finish()
        await right.finish()


async def test_a_machine_that_is_too_slow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call goes on with fewer pictures; ``cpu`` is told as what is wrong."""
    monkeypatch.setattr(limits, "CPU_HIGH", 0.0)
    monkeypatch.setattr(limits, "CPU_HIGH_AFTER", 0.2)
    async with room(1) as links:
        left, right = links[0]
        await connect(left, right)
        await left.wait_for_last(PathQuality("cpu"))
        await until(lambda: left.endpoint.statistics().video.layer.endswith("cpu"))
        seen = received(right)
        await until(lambda: received(right) > seen + 5)
