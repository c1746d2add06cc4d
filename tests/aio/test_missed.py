"""Whole nodes, one of which was off when it was called, and how fast a caller learns how things are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.udp import UdpPort
from meshcall.config import Config
from meshcall.node import Node
from meshcall.testing.testnet import Testnet
from meshcall.views import Calling, HistoryView, Ringing
from tests.aio.test_node import ended, event_of, incoming, reachable

NODES = 20
ONE_WAY = 0.025
"""Seconds: 50 ms there and back."""

Start = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    """Routers enough for lookups."""
    async with Testnet(NODES) as net:
        yield net


@pytest.fixture
def start(testnet: Testnet, tmp_path: Path) -> Start:
    """Starts a node, as often as one likes."""

    @asynccontextmanager
    async def node(who: str, **changes: Any) -> AsyncIterator[Node]:
        config = Config(
            home=tmp_path / who, mdns=False, bootstrap=testnet.bootstrap, interfaces=("lo",), source="none"
        )
        async with Node(replace(config, **changes)) as made:
            await reachable(made)
            yield made

    return node


@pytest.fixture
def delay(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on every datagram takes 25 ms."""
    send = UdpPort.send

    def later(port: UdpPort, data: bytes, address: Address) -> None:
        asyncio.get_running_loop().call_later(ONE_WAY, send, port, data, address)

    return lambda: monkeypatch.setattr(UdpPort, "send", later)


async def acquainted(start: Start) -> tuple[str, str]:
    """The ids of Alice and Bob, who have each other in their books; both are off."""
    async with start("alice") as alice, start("bob") as bob:
        alice.contacts.add(bob.id_text(), "bob")
        bob.contacts.add(alice.id_text(), "alice")
        await asyncio.sleep(0.3)  # the presence gets to its nodes
        return alice.id_text(), bob.id_text()


async def missed(node: Node, count: int = 1) -> list[HistoryView]:
    """What the node has missed, as soon as it knows of so many calls."""
    async with asyncio.timeout(10):
        while node.status().missed < count:  # noqa: ASYNC110 - the tests look at what users look at
            await asyncio.sleep(0.02)
    return await node.history(missed=True)


async def test_a_callee_that_comes_back_while_the_caller_waits_is_rung(start: Start) -> None:
    """The stored offer rings, and nothing is missed."""
    await acquainted(start)
    async with start("alice") as alice:
        call = await alice.call("bob", wait=30)
        await asyncio.sleep(limits.CALL_OFFLINE_AFTER + 0.5)
        assert call.state == "calling"
        async with start("bob") as bob:
            theirs = await incoming(bob)
            assert theirs.id == call.id
            await theirs.decline()
            assert (await ended(call)).reason == "declined"
            assert bob.status().missed == 0


@pytest.mark.parametrize("caller_stays", [True, False])
async def test_a_callee_that_comes_back_too_late_finds_what_it_missed(
    start: Start, caller_stays: bool
) -> None:
    """Caller and time; whether the caller is still there, or only what the nodes keep."""
    alice_id, _ = await acquainted(start)
    async with start("alice") as alice:
        call = await alice.call("bob")
        assert (await ended(call)).reason == "offline"
        began = call.since_ms
        if caller_stays:
            async with start("bob") as bob:
                (entry,) = await missed(bob)
        else:
            await asyncio.sleep(0.5)  # the last message leaves
    if not caller_stays:
        async with start("bob") as bob:
            (entry,) = await missed(bob)
    assert (entry.peer_id, entry.name, entry.id) == (alice_id, "alice", call.id)
    assert (entry.direction, entry.missed, entry.seen, entry.connected_ms) == ("in", True, False, None)
    assert began <= entry.started_ms <= began + 10_000


async def test_a_contact_tells_later_what_nobody_kept(
    start: Start, testnet: Testnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away for longer than any node keeps a message: the caller's daemon tells, once it finds the callee."""
    monkeypatch.setattr(limits, "MISSED_FIRST", 0.2)
    monkeypatch.setattr(limits, "MISSED_PAUSE", 0.5)
    monkeypatch.setattr(limits, "MISSED_PAUSE_MAX", 0.5)
    alice_id, _ = await acquainted(start)
    async with start("alice") as alice:
        calls = [await alice.call("bob")]
        assert (await ended(calls[0])).reason == "offline"
        calls.append(await alice.call("bob", wait=60))
        await event_of(calls[1], Calling)
        await asyncio.sleep(0.2)
        await calls[1].hangup()
        await ended(calls[1])
    async with start("alice") as alice:  # her daemon was started again meanwhile
        for node in testnet.nodes:
            store = node.engine._core.store
            for place in [place for held in store._values.values() for place in held]:
                store._drop(place)
        async with start("bob") as bob:
            entries = await missed(bob, 2)
            assert [entry.id for entry in entries] == [call.id for call in reversed(calls)]
            assert [entry.reason for entry in entries] == ["cancelled", "offline"]
            assert {entry.peer_id for entry in entries} == {alice_id}
            assert bob.status().counters["taken-missed"] >= 1
            await bob.see_missed([entry.id for entry in entries])
            assert bob.status().missed == 0
            async with asyncio.timeout(10):
                while len(alice._missed):  # noqa: ASYNC110 - acknowledged, so she stops
                    await asyncio.sleep(0.02)


async def test_ringing_needs_no_lookup(start: Start, delay: Callable[[], None]) -> None:
    """Reached, then ringing: both come back through the node that delivered, without a second lookup."""
    async with start("alice") as alice, start("bob") as bob:
        await asyncio.sleep(0.5)
        delay()
        before = bob.status().counters
        call = await alice.call(bob.id_text())
        await event_of(call, Ringing)
        after = bob.status().counters
        for request in ("sent-findnode", "sent-findvalue"):
            assert after.get(request, 0) == before.get(request, 0)
        marks = call.machine.timeline.marks()
        assert list(marks).index("reached") < list(marks).index("ringing")
        offered = max(marks["presence"], marks["offer-ready"])
        assert marks["ringing"] - offered >= 4 * ONE_WAY * 1000, "four legs, by way of a node"
        assert marks["ringing"] - offered < 500
        assert [event.reached for event in call._history if isinstance(event, Calling)] == [False, True]
        await call.hangup()
        await ended(call)


@pytest.mark.parametrize("dead", [0.0, 0.4])
async def test_a_caller_learns_within_three_seconds_that_nobody_is_there(
    start: Start, testnet: Testnet, dead: float
) -> None:
    """The callee was killed a moment ago: nodes still hold its watch, and many of them are gone, too."""
    async with start("alice") as alice, start("bob") as bob:
        await asyncio.sleep(0.3)
        for port in testnet._ports[: int(dead * NODES)]:
            port.unregister(range(0x04, 0x10))
        bob._udp.unregister(range(0x04, 0x10))  # as if it had been killed: it says nothing any more
        call = await alice.call(bob.id_text())
        assert (await ended(call)).reason == "offline"
        marks = call.machine.timeline.marks()
        assert marks["ended"] - marks["dial"] <= 3000
        assert "reached" not in marks
