"""Chromium, told to use a relay and nothing else, calls and is called through ours: data both ways."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiortc import RTCSessionDescription
from playwright.async_api import Page

from meshcall.aio.clock import SystemClock
from meshcall.turn.credentials import issue
from tests.aio.coturn import LOOPBACK, SECRET
from tests.aio.test_relay import relay, until
from tests.browser.test_description_chromium import CHROMIUM
from tests.browser.test_ice_chromium import Peer, page_with_webrtc

RUNS = 10

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason="no Chromium here; install it with: apt-get install -y chromium"
    ),
]

PATHS = """async () => {
  const stats = [...(await pc.getStats()).values()];
  const used = stats.find(one => one.type == 'transport').selectedCandidatePairId;
  const pair = stats.find(one => one.id == used);
  return stats.find(one => one.id == pair.localCandidateId);
}"""


def configuration(port: int, transport: str) -> str:
    """For an RTCPeerConnection that may use this relay only, with fresh credentials."""
    who = issue(SECRET, "chromium", SystemClock().now_ms() // 1000 + 60)
    server = {
        "urls": (
            f"turns:{LOOPBACK}:{port}?transport=tcp"
            if transport == "tls"
            else f"turn:{LOOPBACK}:{port}?transport={transport}"
        ),
        "username": who.username,
        "credential": who.password,
    }
    return json.dumps({"iceServers": [server], "iceTransportPolicy": "relay"})


async def call(page: Page, settings: str, peer: Peer, ours: str) -> None:
    """Until Chromium's echo of our message is there."""
    if ours == "callee":
        offer = await page.evaluate("settings => offer(JSON.parse(settings))", settings)
        kinds(offer)
        await peer.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.pc.setLocalDescription()
        await page.evaluate("sdp => accept(sdp)", peer.pc.localDescription.sdp)
    else:
        await peer.pc.setLocalDescription()
        sdp = peer.pc.localDescription.sdp
        answer = await page.evaluate(
            "([sdp, settings]) => answer(sdp, JSON.parse(settings))", [sdp, settings]
        )
        kinds(answer)
        await peer.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert await asyncio.wait_for(peer.messages.get(), 10) == "echo hello"


def kinds(sdp: str) -> None:
    """Chromium names relayed candidates and no other."""
    told = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert told
    assert all(" typ relay " in line for line in told), told


@pytest.mark.timeout(120)
@pytest.mark.parametrize("ours", ["callee", "caller"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_chromium_by_our_relay_alone(transport: str, ours: str) -> None:
    """Each call runs over the relay, both ways, and gives its allocation back.

    Of TLS Chromium wants a certificate that it trusts; here it is told not to ask for one.
    """
    trusting = ("--ignore-certificate-errors",) if transport == "tls" else ()
    async with relay() as lent, page_with_webrtc(*trusting) as page:
        for run in range(RUNS):
            print(f"run {run + 1} of {RUNS}")
            before = lent.statistics()
            peer = Peer()
            try:
                await call(page, configuration(lent.port, transport), peer, ours)
                assert peer.paths[0].remote.kind == "relay"
                used = await page.evaluate(PATHS)
                assert (used["candidateType"], used["relayProtocol"]) == ("relay", transport)
                after = lent.statistics()
                assert after.to_peers > before.to_peers
                assert after.to_clients > before.to_clients
            finally:
                await peer.pc.close()
                await page.evaluate("end()")
            await until(lambda: not lent.statistics().allocations)
        assert lent.statistics().counters.get("bugs") is None
