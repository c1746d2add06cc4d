"""Our ICE under aiortc, and against stock aioice: the contract of the stand-in."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioice
import aioice.ice
import aiortc.rtcdtlstransport
import aiortc.rtcicetransport
import aiortc.rtcpeerconnection
import aiortc.stats
import pytest
from aiortc import InvalidStateError, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection

from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.session import IceSession
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.connection import Connection, from_aioice, to_aioice
from meshcall.ice.candidate import Candidate
from meshcall.ice.events import IceEvent

RUNS = 20


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves loopback out; here it is all there is."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


def ours(events: list[IceEvent] | None = None) -> Connection:
    """The stand-in, on loopback."""
    seen: list[IceEvent] = [] if events is None else events
    session = IceSession(
        policy=HostPolicy(("lo",), allow_loopback=True),
        shared=None,
        servers=[],
        counters=Counter(),
        on_event=seen.append,
    )
    return Connection(session)


@asynccontextmanager
async def introduced(ours_controls: bool) -> AsyncIterator[tuple[Connection, aioice.Connection]]:
    """Ours and aioice's, which know each other's credentials and candidates."""
    one, other = ours(), aioice.Connection(ice_controlling=not ours_controls)
    one.ice_controlling = ours_controls
    try:
        await one.gather_candidates()
        await other.gather_candidates()
        one.remote_username, one.remote_password = other.local_username, other.local_password
        other.remote_username, other.remote_password = one.local_username, one.local_password
        yield one, other
    finally:
        await one.close()
        await other.close()


async def exchange(one: Connection, other: aioice.Connection) -> None:
    """A datagram each way."""
    await one.send(b"\x80there")
    assert await asyncio.wait_for(other.recv(), 2) == b"\x80there"
    await other.send(b"\x80back")
    assert await asyncio.wait_for(one.recv(), 2) == b"\x80back"


@pytest.mark.parametrize("ours_controls", [True, False])
async def test_stock_aioice_twenty_times(ours_controls: bool) -> None:
    """Both roles, candidates before the start: connected each time, data both ways."""
    for run in range(RUNS):
        print(f"run {run + 1} of {RUNS}")
        async with introduced(ours_controls) as (one, other):
            for candidate in other.local_candidates:
                await one.add_remote_candidate(candidate)
            for candidate in one.local_candidates:
                await other.add_remote_candidate(candidate)
            await one.add_remote_candidate(None)
            await other.add_remote_candidate(None)
            await asyncio.wait_for(asyncio.gather(one.connect(), other.connect()), 5)
            await exchange(one, other)


@pytest.mark.parametrize("ours_controls", [True, False])
@pytest.mark.parametrize("known_to", ["ours", "aioice"])
async def test_stock_aioice_with_candidates_on_one_side(ours_controls: bool, known_to: str) -> None:
    """Whoever is not told learns the other as peer-reflexive."""
    async with introduced(ours_controls) as (one, other):
        tasks = asyncio.gather(one.connect(), other.connect())
        await asyncio.sleep(0.05)
        if known_to == "ours":
            for candidate in other.local_candidates:
                await one.add_remote_candidate(candidate)
        else:
            for candidate in one.local_candidates:
                await other.add_remote_candidate(candidate)
        await asyncio.wait_for(tasks, 5)
        await exchange(one, other)


@pytest.mark.parametrize("role", [True, False])
async def test_role_conflict_with_stock_aioice(role: bool) -> None:
    """Both begin with one role."""
    async with introduced(role) as (one, other):
        other.ice_controlling = role
        for candidate in other.local_candidates:
            await one.add_remote_candidate(candidate)
        for candidate in one.local_candidates:
            await other.add_remote_candidate(candidate)
        await asyncio.wait_for(asyncio.gather(one.connect(), other.connect()), 5)
        await exchange(one, other)
        assert one.ice_controlling != other.ice_controlling


async def test_ours_with_ours_connects_at_once() -> None:
    """No tick to wait for: a few milliseconds on loopback."""
    times = []
    for _ in range(RUNS):
        left, right = ours(), ours()
        left.ice_controlling = True
        await left.gather_candidates()
        await right.gather_candidates()
        for one, other in ((left, right), (right, left)):
            one.remote_username, one.remote_password = other.local_username, other.local_password
            for candidate in other.local_candidates:
                await one.add_remote_candidate(candidate)
        begin = time.monotonic()
        await asyncio.wait_for(asyncio.gather(left.connect(), right.connect()), 5)
        times.append(time.monotonic() - begin)
        await left.close()
        await right.close()
    assert sorted(times)[RUNS // 2] < 0.05


# --- the contract with aiortc ---------------------------------------------------------------------


def test_every_member_that_aiortc_uses_is_there() -> None:
    """What aiortc's modules take from its connection."""
    used: set[str] = set()
    for module in (
        aiortc.rtcicetransport,
        aiortc.rtcdtlstransport,
        aiortc.rtcpeerconnection,
        aiortc.stats,
    ):
        used |= set(re.findall(r"\b_connection\.(\w+)", inspect.getsource(module)))
    assert used >= {"connect", "recv", "send", "get_event", "close", "gather_candidates"}
    assert {name for name in used if not hasattr(ours_class(), name)} == set()


def ours_class() -> object:
    """The names that instances have."""
    return type(
        "Names", (Connection,), {"remote_username": "", "remote_password": "", "remote_is_lite": False}
    )


def test_aiortc_looks_the_class_up_when_it_makes_a_transport() -> None:
    """The one place where it is made, and what it is given."""
    source = inspect.getsource(aiortc.rtcicetransport)
    assert source.count(" Connection(") == 1
    assert "self._connection = Connection(\n            ice_controlling=False," in source


async def test_other_peer_connections_keep_stock_ice() -> None:
    """Who does not ask for ours gets aioice's."""
    hooks.install()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    pc.createDataChannel("x")
    assert pc.sctp is not None
    assert isinstance(pc.sctp.transport.transport._connection, aioice.Connection)
    await pc.close()


async def test_a_transport_that_was_closed_is_not_started() -> None:
    """aiortc raises in a task that nobody looks at when a call is closed while DTLS is being made."""
    hooks.install()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    with hooks.ice_by(ours):
        pc.createDataChannel("x")
    assert pc.sctp is not None
    transport = pc.sctp.transport.transport
    unguarded = transport.start
    hooks.guard_ice(pc)
    await transport.stop()
    with pytest.raises(InvalidStateError):
        await unguarded(aiortc.RTCIceParameters("u", "p"))
    await transport.start(aiortc.RTCIceParameters("u", "p"))
    assert transport.state == "closed"
    await pc.close()


async def test_close_ends_whoever_waits() -> None:
    """connect(), recv() and get_event() return; the ports are free; a second close is harmless."""
    one = ours()
    await one.gather_candidates()
    port = one.local_candidates[0].port
    one.remote_username, one.remote_password = "peer", "p" * 24
    waiting = [asyncio.create_task(work) for work in (one.connect(), one.recv())]
    ended = asyncio.create_task(one.get_event())
    await asyncio.sleep(0.02)
    await one.close()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
    assert [type(result) for result in results] == [ConnectionError, ConnectionError]
    assert isinstance(await asyncio.wait_for(ended, 1), aioice.ConnectionClosed)
    await one.close()
    with pytest.raises(ConnectionError):
        await one.send(b"\x80")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", port)
    )
    transport.close()


def test_candidates_survive_the_way_through_aiortc() -> None:
    """Kind, address, priority and foundation."""
    candidate = Candidate("srflx", "udp", "198.51.100.7", 4444, 77, "abc", related=("10.0.0.2", 5000))
    there = to_aioice(candidate)
    assert (there.related_address, there.related_port) == ("10.0.0.2", 5000)
    assert from_aioice(there) == candidate
    assert from_aioice(there).foundation == "abc"
