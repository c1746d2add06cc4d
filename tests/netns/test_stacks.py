"""The programs that a grid is made of call each other, and tell how it went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.lab import Host, Lab
from netsim.peer import start_testnet
from netsim.stacks.aiortc import AiortcStack
from netsim.stacks.attempt import Attempt, IceServer, Stack
from netsim.stacks.meshcall import MeshcallStack


async def attempt_of(stack: Stack, caller: Host, callee: Host) -> Attempt:
    """A call that is over."""
    call = await stack.begin(caller, callee)
    await call.end()
    await call.end()  # hanging up twice does no harm
    return call.attempt


@pytest.fixture
def aiortc() -> Iterator[AiortcStack]:
    """Workers that end with the test."""
    stack = AiortcStack(limit=5)
    yield stack
    stack.close()


async def test_plain_aiortc_calls_on_a_lan(lab: Lab, aiortc: AiortcStack) -> None:
    """A call is direct, and the next one works too; one without a way there fails and says so."""
    lan = await lab.lan(["alice", "bob"])
    other = await lab.lan(["carol"])
    for host in (*lan, *other):
        await aiortc.start(host, ())
    for _ in range(2):
        attempt = await attempt_of(aiortc, lan["alice"], lan["bob"])
        assert (attempt.route, attempt.reason) == ("direct", "")
        assert attempt.seconds is not None
        assert 0 < attempt.seconds < 3
    lost = await attempt_of(aiortc, lan["alice"], other["carol"])
    assert (lost.route, lost.seconds) == ("fail", None)
    assert lost.reason


async def test_a_dead_server_slows_plain_aiortc_down(lab: Lab, aiortc: AiortcStack) -> None:
    """The baseline shows aiortc as it is: servers that are silent are waited for, 5 s on each side."""
    lan = await lab.lan(["alice", "bob"])
    for host in lan:
        await aiortc.start(host, (IceServer(f"stun:{lan['bob'].ipv4}:9"),))
    attempt = await attempt_of(aiortc, lan["alice"], lan["bob"])
    assert attempt.route == "direct"
    assert attempt.total is not None
    assert attempt.total >= 9


async def test_meshcall_calls_by_id(lab: Lab) -> None:
    """Daemons find each other in the DHT; who is nowhere can't be called, and the reason is told."""
    lan = await lab.lan(["alice", "bob", "net"])
    stack = MeshcallStack(["--no-mdns", *await start_testnet(lan["net"], 8)])
    for name in ("alice", "bob"):
        await stack.start(lan[name], ())
    for peer in map(stack.peer, (lan["alice"], lan["bob"])):
        await peer.wait_for_status("its leases", lambda status: status["dht"]["watches"] > 0)
    attempt = await attempt_of(stack, lan["alice"], lan["bob"])
    assert (attempt.route, attempt.reason) == ("direct", "")
    assert attempt.seconds is not None
    await lan["bob"].run(["ip", "link", "set", lan["bob"].interface, "down"])
    lost = await attempt_of(stack, lan["alice"], lan["bob"])
    assert lost.route == "fail"
    assert "offline" in lost.reason or "answer" in lost.reason
