"""Browsers are members of rooms: what they play of packets that hold several frames of Opus."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiortc import RTCSessionDescription

from meshcall.aio.media.encoded import Encoded, Outlet
from meshcall.aio.media.encoders import OpusEncoder
from meshcall.aio.media.readers import AUDIO_BASE, FRAME_SAMPLES
from meshcall.aio.media.sources import Tone
from meshcall.aio.rtc import hooks
from meshcall.media import opus
from tests.browser import test_description_chromium as description
from tests.browser.test_description_chromium import loopback_only, pytestmark

__all__ = ["loopback_only", "pytestmark"]

FRAMES = 3
SECONDS = 3.0
STATS = """async () => {
  for (const report of (await peers.callee.pc.getStats()).values())
    if (report.type == 'inbound-rtp' && report.kind == 'audio') return report;
}"""


async def speak(outlet: Outlet) -> None:
    """A tone, in packets of 60 ms, in real time."""
    encoder, tone = OpusEncoder(1), Tone(440)
    begin = time.monotonic()
    for packet in range(int(SECONDS / 0.06)):
        await asyncio.sleep(max(0.0, begin + packet * 0.06 - time.monotonic()))
        frames = [data for _ in range(FRAMES) for data in encoder.encode(tone.next())]
        if all(opus.joins(frames[0], frame) for frame in frames):
            outlet.put(Encoded(opus.join(frames), packet * FRAMES * FRAME_SAMPLES, AUDIO_BASE, level=-20))


async def test_chromium_plays_every_frame_of_a_packet() -> None:
    """Who played one frame of three would make up two thirds."""
    outlet = Outlet("audio", lambda: None)
    async with (
        asyncio.timeout(description.DEADLINE),
        description.chromium_page() as page,
        description.aiortc_peer() as (pc, _, messages),
    ):
        sender = pc.addTrack(outlet)
        description.open_channel(pc, messages)
        hooks.send_by(sender, outlet)
        await pc.setLocalDescription(await pc.createOffer())
        offer = description.carried(pc.localDescription.sdp)
        told = {"name": "callee", "sdp": description.rebuilt(offer, "offer")}
        answer = description.carried(await page.evaluate("answer", told))
        await pc.setRemoteDescription(RTCSessionDescription(description.rebuilt(answer, "answer"), "answer"))
        await messages.get()
        outlet.open()
        await speak(outlet)
        stats: dict[str, Any] = await page.evaluate(STATS)
    packets, samples = stats["packetsReceived"], stats["totalSamplesReceived"]
    assert packets >= 40
    assert stats["totalAudioEnergy"] > 0
    assert stats["concealedSamples"] < samples / 3
