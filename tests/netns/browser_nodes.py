"""Chromium on one host and our endpoint on another, which tell each other descriptions by a unix socket.

browser_nodes.py ours SOCKET      makes a call for each line that comes, with mDNS as a node has it
browser_nodes.py chromium SOCKET RUNS   calls, and is called, RUNS times each; tells how it went as JSON lines
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Page, async_playwright

from meshcall.aio.clock import SystemClock
from meshcall.aio.mdns import LanService
from meshcall.aio.rtc.endpoint import RtcEndpoint
from meshcall.discovery.lan import LanAnnouncement
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.media.endpoint import ControlMessage, ControlOpen, Failed, IceConnected, MediaEndpoint
from meshcall.media.plan import MediaPlan
from meshcall.signaling.description import Description, decode_description_untrusted
from meshcall.signaling.sdp import from_sdp, to_sdp

CHROMIUM = "/usr/bin/chromium"
PLAN = MediaPlan(audio=False, video=False)

PAGE = """<!doctype html><title>names</title><script>
let pc, channel;
function make() {
  pc = new RTCPeerConnection({iceServers: []});
  channel = pc.createDataChannel('control', {negotiated: true, id: 0});
  channel.binaryType = 'arraybuffer';
  channel.onmessage = event => channel.send(event.data);
}
async function gathered() {
  if (pc.iceGatheringState != 'complete')
    await new Promise(done => pc.addEventListener('icegatheringstatechange',
      () => { if (pc.iceGatheringState == 'complete') done(); }));
  return pc.localDescription.sdp;
}
async function offer() { make(); await pc.setLocalDescription(); return gathered(); }
async function answer(sdp) {
  make();
  await pc.setRemoteDescription({type: 'offer', sdp});
  await pc.setLocalDescription();
  return gathered();
}
async function accept(sdp) { await pc.setRemoteDescription({type: 'answer', sdp}); }
function end() { pc.close(); }
</script>"""


def tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


# --- ours -----------------------------------------------------------------------------------------


async def finish(endpoint: MediaEndpoint) -> dict[str, Any]:
    """How a call went: a message has come back, or not."""
    begin, path, sent = time.monotonic(), "", False
    async for event in endpoint.events():
        match event:
            case IceConnected():
                path = event.path
            case ControlOpen() if not sent:
                sent = True
                endpoint.send_control(b"there and back")
            case ControlMessage(data):
                assert data == b"there and back"
                return {"path": path, "seconds": time.monotonic() - begin}
            case Failed(reason, detail):
                return {"failed": f"{reason}: {detail}"}
            case _:
                pass
    return {"failed": "closed"}


async def ours(path: str) -> None:
    peer = PeerId.from_key(SigningKey.from_seed(bytes(32)).public)
    said = LanAnnouncement.of(peer, time.time_ns() // 1_000_000)
    service = LanService(4000, lambda: said, lambda seen: False, lambda gone: None, nonce=os.urandom(16))
    await service.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            asked = json.loads(line)
            async with RtcEndpoint(PLAN, SystemClock(), resolve=service.resolve_untrusted) as endpoint:
                if "offer" in asked:
                    mine = await endpoint.answer(bytes.fromhex(asked["offer"]))
                    writer.write(json.dumps({"answer": mine.hex()}).encode() + b"\n")
                else:
                    mine = await endpoint.offer()
                    writer.write(json.dumps({"offer": mine.hex()}).encode() + b"\n")
                    await endpoint.accept(bytes.fromhex(json.loads(await reader.readline())["answer"]))
                done = await finish(endpoint)
                done["counters"] = endpoint.statistics().counters
            writer.write(json.dumps(done).encode() + b"\n")

    server = await asyncio.start_unix_server(serve, path, limit=1 << 20)
    tell(event="ready")
    await server.serve_forever()


# --- Chromium -------------------------------------------------------------------------------------


async def chromium_calls(page: Page, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
    offer = await page.evaluate("offer()")
    names(offer)
    described = from_sdp(offer, end_of_candidates=True).encode()
    writer.write(json.dumps({"offer": described.hex()}).encode() + b"\n")
    answer = decode_description_untrusted(bytes.fromhex(json.loads(await reader.readline())["answer"]))
    await page.evaluate("sdp => accept(sdp)", to_sdp(nowhere(answer), "answer"))
    return json.loads(await reader.readline())


async def we_call(page: Page, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
    writer.write(b"{}\n")
    offer = decode_description_untrusted(bytes.fromhex(json.loads(await reader.readline())["offer"]))
    answer = await page.evaluate("sdp => answer(sdp)", to_sdp(nowhere(offer), "offer"))
    names(answer)
    described = from_sdp(answer, end_of_candidates=True).encode()
    writer.write(json.dumps({"answer": described.hex()}).encode() + b"\n")
    return json.loads(await reader.readline())


def nowhere(description: Description) -> Description:
    """Without our addresses: Chromium can't ask first, so the call needs what its name stands for."""
    return replace(description, candidates=())


def names(sdp: str) -> None:
    """Tell what Chromium says of its addresses."""
    hosts = [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")]
    tell(event="candidates", hosts=hosts)


async def chromium(path: str, runs: int) -> None:
    app = web.Application()
    app.router.add_get("/", lambda _: _page())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=["--no-sandbox", "--headless"]
        )
        page = await browser.new_page()
        await page.goto("http://127.0.0.1:8080/")
        for run in range(runs):
            for role, call in (("callee", chromium_calls), ("caller", we_call)):
                done = await call(page, reader, writer)
                tell(event="call", run=run, ours=role, **done)
                await page.evaluate("end()")
        await browser.close()
    await runner.cleanup()
    tell(event="done")


async def _page() -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


if __name__ == "__main__":
    Path(sys.argv[2]).parent.mkdir(exist_ok=True)
    asyncio.run(ours(sys.argv[2]) if sys.argv[1] == "ours" else chromium(sys.argv[2], int(sys.argv[3])))
