"""Chromium's ICE against ours, each as caller and as callee, twenty calls without a failure."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Page, async_playwright

from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.session import IceSession
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.connection import Connection
from meshcall.ice.events import Selected
from tests.browser.test_description_chromium import ARGUMENTS, CHROMIUM

RUNS = 20

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason="no Chromium here; install it with: apt-get install -y chromium"
    ),
]

PAGE = """<!doctype html><title>ICE</title><script>
let pc, channel, received;
async function make(settings = {iceServers: []}) {
  await navigator.mediaDevices.getUserMedia({audio: true});  // else host candidates are mDNS names
  pc = new RTCPeerConnection(settings);
  received = [];
  channel = pc.createDataChannel('control', {negotiated: true, id: 0});
  channel.onmessage = event => { received.push(event.data); channel.send('echo ' + event.data); };
}
async function gathered() {
  if (pc.iceGatheringState != 'complete')
    await new Promise(done => pc.addEventListener('icegatheringstatechange',
      () => { if (pc.iceGatheringState == 'complete') done(); }));
  return pc.localDescription.sdp;
}
async function offer(settings) { await make(settings); await pc.setLocalDescription(); return gathered(); }
async function answer(sdp, settings) {
  await make(settings);
  await pc.setRemoteDescription({type: 'offer', sdp});
  await pc.setLocalDescription();
  return gathered();
}
async function accept(sdp) { await pc.setRemoteDescription({type: 'answer', sdp}); }
function end() { pc.close(); }
</script>"""


@asynccontextmanager
async def page_with_webrtc(*arguments: str) -> AsyncIterator[Page]:
    """A page on http://127.0.0.1; ``arguments``: more of Chromium's."""

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
                executable_path=str(CHROMIUM), headless=True, args=[*ARGUMENTS, *arguments]
            )
            try:
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
                yield page
            finally:
                await browser.close()
    finally:
        await runner.cleanup()


class Peer:
    """aiortc on our ICE, with a control channel."""

    def __init__(self) -> None:
        hooks.install()
        self.paths: list[Selected] = []
        self.messages: asyncio.Queue[str] = asyncio.Queue()
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        with hooks.ice_by(self._make):
            self.channel = self.pc.createDataChannel("control", negotiated=True, id=0)
        self.channel.on("message", self.messages.put_nowait)
        self.channel.on("open", lambda: self.channel.send("hello"))

    def _make(self) -> Connection:
        session = IceSession(
            policy=HostPolicy(("lo",), allow_loopback=True),
            shared=None,
            servers=[],
            counters=Counter(),
            on_event=lambda event: self.paths.append(event) if isinstance(event, Selected) else None,
        )
        return Connection(session)

    async def finish(self) -> None:
        """The channel works; then all is closed."""
        try:
            assert await asyncio.wait_for(self.messages.get(), 10) == "echo hello"
            assert self.paths[0].why == "first"
        finally:
            await self.pc.close()


async def chromium_calls(page: Page) -> None:
    peer = Peer()
    offer = await page.evaluate("offer()")
    await peer.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.pc.setLocalDescription()
    await page.evaluate("sdp => accept(sdp)", peer.pc.localDescription.sdp)
    await peer.finish()
    await page.evaluate("end()")


async def we_call(page: Page) -> None:
    peer = Peer()
    await peer.pc.setLocalDescription()
    answer = await page.evaluate("sdp => answer(sdp)", peer.pc.localDescription.sdp)
    await peer.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await peer.finish()
    await page.evaluate("end()")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("ours", ["callee", "caller"])
async def test_twenty_calls_with_chromium(ours: str) -> None:
    """Ours controlled, then controlling: a channel opens each time."""
    async with page_with_webrtc() as page:
        for run in range(RUNS):
            print(f"run {run + 1} of {RUNS}")
            await (chromium_calls(page) if ours == "callee" else we_call(page))
