"""Chromium calls aiortc, aiortc calls Chromium, Chromium calls itself: only encoded descriptions pass.

Both ends use loopback candidates alone, so nothing leaves the machine and no interface is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from playwright.async_api import Page, async_playwright

from meshcall.ice.candidate import CandidatePolicy, filter_untrusted
from meshcall.signaling.description import check_answer_untrusted, decode_description_untrusted
from meshcall.signaling.sdp import from_sdp, to_sdp

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
DEADLINE = 30

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason="no Chromium here; install it with: apt-get install -y chromium"
    ),
]

PAGE = """<!doctype html><title>call</title><script>
const peers = {};
async function make(name, screen) {
  const pc = new RTCPeerConnection({iceServers: []});
  const streams = [await navigator.mediaDevices.getUserMedia({audio: true, video: true})];
  if (screen) streams.push(await navigator.mediaDevices.getDisplayMedia({video: true}));
  const channel = pc.createDataChannel('control', {negotiated: true, id: 0});
  channel.binaryType = 'arraybuffer';
  const peer = peers[name] = {pc, streams, channel, received: [], remote: new Set()};
  channel.onmessage = event => peer.received.push(new TextDecoder().decode(event.data));
  channel.onopen = () => channel.send(new TextEncoder().encode('hello from ' + name));
  pc.ontrack = event => {
    if (peer.remote.has(event.streams[0].id)) return;
    peer.remote.add(event.streams[0].id);
    const video = document.createElement('video');  // audio is decoded only where it is played
    video.srcObject = event.streams[0];
    video.play();
  };
}
function addTracks(peer) {
  for (const stream of peer.streams) for (const track of stream.getTracks()) peer.pc.addTrack(track, stream);
}
async function gathered(pc) {
  if (pc.iceGatheringState != 'complete')
    await new Promise(done => pc.addEventListener('icegatheringstatechange',
      () => { if (pc.iceGatheringState == 'complete') done(); }));
  return pc.localDescription.sdp;
}
async function offer({name, screen}) {
  await make(name, screen);
  addTracks(peers[name]);
  await peers[name].pc.setLocalDescription();
  return gathered(peers[name].pc);
}
async function answer({name, sdp}) {
  await make(name, false);
  await peers[name].pc.setRemoteDescription({type: 'offer', sdp});
  addTracks(peers[name]);
  await peers[name].pc.setLocalDescription();
  return gathered(peers[name].pc);
}
async function accept({name, sdp}) {
  await peers[name].pc.setRemoteDescription({type: 'answer', sdp});
}
async function stats(name) {
  const peer = peers[name];
  const result = {state: peer.pc.connectionState, received: peer.received, streams: [...peer.remote],
                  framesDecoded: 0, audioSamples: 0};
  for (const report of (await peer.pc.getStats()).values())
    if (report.type == 'inbound-rtp') {
      result.framesDecoded += report.framesDecoded || 0;
      result.audioSamples += report.kind == 'audio' ? report.totalSamplesReceived || 0 : 0;
    }
  return result;
}
</script>"""


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves loopback out; here it is all there is."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def chromium_page() -> AsyncIterator[Page]:
    """A page on http://127.0.0.1, where browsers allow cameras."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS
            )
            try:
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
                yield page
            finally:
                await browser.close()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def aiortc_peer() -> AsyncIterator[
    tuple[RTCPeerConnection, list[MediaStreamTrack], asyncio.Queue[bytes]]
]:
    """A peer connection, the tracks it receives, and what its control channel receives."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    tracks: list[MediaStreamTrack] = []
    pc.on("track", tracks.append)
    try:
        yield pc, tracks, asyncio.Queue()
    finally:
        await pc.close()


def open_channel(pc: RTCPeerConnection, messages: asyncio.Queue[bytes]) -> None:
    channel = pc.createDataChannel("control", negotiated=True, id=0)
    channel.on("message", messages.put_nowait)
    channel.on("open", lambda: channel.send(b"hello from aiortc"))


def carried(sdp: str) -> bytes:
    """A local description as octets, with its loopback candidates only."""
    description = from_sdp(sdp, end_of_candidates=True)
    policy = CandidatePolicy(allow_loopback=True, allow_lan=False)
    only = [item for item in filter_untrusted(description.candidates, policy) if item.address == "127.0.0.1"]
    assert only
    return description.with_candidates(only).encode()


def rebuilt(data: bytes, kind: str) -> str:
    return to_sdp(decode_description_untrusted(data), kind)


async def chromium_stats(page: Page, name: str, message: str) -> dict[str, Any]:
    """What Chromium received, once both media and the message arrived."""
    while True:
        stats: dict[str, Any] = await page.evaluate("name => stats(name)", name)
        if stats["framesDecoded"] > 5 and stats["audioSamples"] > 0 and message in stats["received"]:
            return stats
        await asyncio.sleep(0.05)


async def assert_media_from_chromium(tracks: list[MediaStreamTrack], kinds: list[str]) -> None:
    assert [track.kind for track in tracks] == kinds
    for track in tracks:
        for _ in range(5):
            await track.recv()


async def test_chromium_calls_aiortc() -> None:
    """Chromium's offer with all its codecs, packed; aiortc's answer, packed; media and data both ways."""
    async with (
        asyncio.timeout(DEADLINE),
        chromium_page() as page,
        aiortc_peer() as (pc, tracks, messages),
    ):
        offer = carried(await page.evaluate("offer({name: 'caller'})"))
        await pc.setRemoteDescription(RTCSessionDescription(rebuilt(offer, "offer"), "offer"))
        pc.addTrack(AudioStreamTrack())
        pc.addTrack(VideoStreamTrack())
        open_channel(pc, messages)
        await pc.setLocalDescription(await pc.createAnswer())
        answer = carried(pc.localDescription.sdp)
        check_answer_untrusted(decode_description_untrusted(offer), decode_description_untrusted(answer))
        await page.evaluate("accept", {"name": "caller", "sdp": rebuilt(answer, "answer")})
        await assert_media_from_chromium(tracks, ["audio", "video"])
        assert await messages.get() == b"hello from caller"
        stats = await chromium_stats(page, "caller", "hello from aiortc")
        assert stats["state"] == "connected"
        assert stats["streams"] == ["meshcall-0"]
        assert max(len(offer), len(answer)) <= 150


async def test_aiortc_calls_chromium() -> None:
    """The other way round."""
    async with (
        asyncio.timeout(DEADLINE),
        chromium_page() as page,
        aiortc_peer() as (pc, tracks, messages),
    ):
        pc.addTrack(AudioStreamTrack())
        pc.addTrack(VideoStreamTrack())
        open_channel(pc, messages)
        await pc.setLocalDescription(await pc.createOffer())
        offer = carried(pc.localDescription.sdp)
        answer = carried(await page.evaluate("answer", {"name": "callee", "sdp": rebuilt(offer, "offer")}))
        check_answer_untrusted(decode_description_untrusted(offer), decode_description_untrusted(answer))
        await pc.setRemoteDescription(RTCSessionDescription(rebuilt(answer, "answer"), "answer"))
        await assert_media_from_chromium(tracks, ["audio", "video"])
        assert await messages.get() == b"hello from callee"
        stats = await chromium_stats(page, "callee", "hello from aiortc")
        assert stats["state"] == "connected"
        assert max(len(offer), len(answer)) <= 150


async def test_chromium_shares_its_screen_with_aiortc() -> None:
    """Camera and screen are two video sections with equal payload types, told apart by SSRC."""
    async with (
        asyncio.timeout(DEADLINE),
        chromium_page() as page,
        aiortc_peer() as (pc, tracks, messages),
    ):
        offer = carried(await page.evaluate("offer({name: 'caller', screen: true})"))
        sections = decode_description_untrusted(offer).sections
        assert [(section.kind, section.stream) for section in sections] == [
            ("audio", 0),
            ("video", 0),
            ("video", 1),
            ("application", 0),
        ]
        await pc.setRemoteDescription(RTCSessionDescription(rebuilt(offer, "offer"), "offer"))
        open_channel(pc, messages)
        await pc.setLocalDescription(await pc.createAnswer())
        answer = carried(pc.localDescription.sdp)
        await page.evaluate("accept", {"name": "caller", "sdp": rebuilt(answer, "answer")})
        await assert_media_from_chromium(tracks, ["audio", "video", "video"])
        sizes = {(frame.width, frame.height) for frame in [await track.recv() for track in tracks[1:]]}  # type: ignore[union-attr]
        assert len(sizes) == 2


async def test_chromium_calls_chromium() -> None:
    """Two browsers' connections with a shared screen: camera and screen arrive in their own streams."""
    async with asyncio.timeout(DEADLINE), chromium_page() as page:
        offer = carried(await page.evaluate("offer({name: 'caller', screen: true})"))
        answer = carried(await page.evaluate("answer", {"name": "callee", "sdp": rebuilt(offer, "offer")}))
        check_answer_untrusted(decode_description_untrusted(offer), decode_description_untrusted(answer))
        await page.evaluate("accept", {"name": "caller", "sdp": rebuilt(answer, "answer")})
        callee = await chromium_stats(page, "callee", "hello from caller")
        caller = await chromium_stats(page, "caller", "hello from callee")
        assert callee["streams"] == ["meshcall-0", "meshcall-1"]
        assert caller["state"] == callee["state"] == "connected"
        assert len(answer) <= 180
