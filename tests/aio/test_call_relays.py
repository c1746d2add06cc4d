"""The relays of a call, on real sockets: two at once, a spare in the place of a dead one, TCP without UDP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import SystemClock
from meshcall.aio.ice.allocation import allocate_first
from meshcall.aio.ice.servers import LentRelay, TurnServer
from meshcall.aio.relay import Relay
from meshcall.ice.candidate import Candidate
from meshcall.ice.events import Selected
from meshcall.turn.credentials import issue
from tests.aio.coturn import LOOPBACK, SECRET, free_port
from tests.aio.test_ice_session import LOOPBACK as ON_LOOPBACK
from tests.aio.test_ice_session import End, connect, shared_port
from tests.aio.test_relay import relay

BACK_WITHIN = 3.0
"""Seconds from a relay's death until packets arrive again."""


def only_relayed(local: Candidate, remote: Candidate) -> bool:
    """In the place of ``can_pair``: all other paths are blocked."""
    return local.kind == "relay" and ":" not in remote.address


def ways(port: int, *transports: str) -> tuple[TurnServer, ...]:
    """To our relay on that port."""
    made = issue(SECRET, "ada", SystemClock().now_ms() // 1000 + 60)
    return tuple(
        TurnServer(
            LOOPBACK, port, "udp" if name == "udp" else "tcp", name == "tls", made.username, made.password
        )
        for name in transports
    )


class Shelf:
    """A book of relays that is written by hand."""

    def __init__(self) -> None:
        self.relays: dict[Address, LentRelay] = {}
        self.failures: list[Address] = []
        self.works: list[Address] = []
        self.listeners: list[Callable[[], None]] = []

    def add(self, made: Relay) -> Address:
        node = (LOOPBACK, made.port)
        self.relays[node] = LentRelay(node, ways(made.port, "udp"))
        for told in self.listeners:
            told()
        return node

    def pick(self, taken: Collection[Address]) -> LentRelay | None:
        return next((one for node, one in self.relays.items() if node not in taken), None)

    def failed(self, node: Address) -> None:
        self.failures.append(node)
        self.relays.pop(node, None)

    def worked(self, node: Address) -> None:
        self.works.append(node)

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(on_change)
        return lambda: self.listeners.remove(on_change)


@asynccontextmanager
async def relayed_call(shelf: Shelf) -> AsyncIterator[tuple[End, End]]:
    """Two ends, of which one can be reached by relays of the shelf alone."""
    async with shared_port(lenders=shelf) as port:
        left, right = End(ON_LOOPBACK, shared=port), End(ON_LOOPBACK)
        try:
            yield left, right
        finally:
            await left.close()
            await right.close()


async def flows(left: End, right: End, since: float) -> float:
    """Seconds from ``since`` until a packet of each end has arrived at the other one."""
    text = b"\x80%d" % time.monotonic_ns()

    async def heard(one: End) -> None:
        while await one.recv() != text:
            pass

    async def say() -> None:
        while True:
            for one in (left, right):
                if one.agent.selected is not None:
                    one.send(text)
            await asyncio.sleep(0.02)

    saying = asyncio.create_task(say())
    try:
        async with asyncio.timeout(15):
            await asyncio.gather(heard(left), heard(right))
    finally:
        saying.cancel()
    return time.monotonic() - since


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_a_spare_takes_over_and_another_relay_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three relays are used; one dies: back within 3 s, and the third one is the new spare."""
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    shelf = Shelf()
    async with relay() as one, relay() as two, relay() as three, relayed_call(shelf) as (left, right):
        by_node = {shelf.add(made): made for made in (one, two, three)}
        await connect(left, right)
        await flows(left, right, time.monotonic())
        await until(lambda: sum(made.allocations for made in by_node.values()) == 2)
        assert left.agent.selected is not None
        carrier = next(
            node
            for node, allocation in left._relays._allocations.items()
            if allocation.relayed == left.agent.selected.base
        )
        assert isinstance(carrier, tuple)
        await asyncio.sleep(1.0)  # the spare pair has been checked
        died = time.monotonic()
        await by_node[carrier].close()
        back = await flows(left, right, died)
        print(f"back {back:.2f} s after the relay died")
        assert back <= BACK_WITHIN
        await until(lambda: carrier in shelf.failures)
        assert any(event.why == "failover" for event in left.seen if isinstance(event, Selected))
        alive = [made for node, made in by_node.items() if node != carrier]
        await until(lambda: all(made.allocations == 1 for made in alive))


async def test_the_last_relay_is_lost_and_a_new_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no spare the call waits for the book, and goes on when that has another one."""
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    shelf = Shelf()
    async with relay() as one, relay() as two, relayed_call(shelf) as (left, right):
        shelf.add(one)
        await connect(left, right)
        await flows(left, right, time.monotonic())
        await one.close()
        await until(lambda: shelf.failures)
        told = time.monotonic()
        shelf.add(two)
        back = await flows(left, right, told)
        print(f"back {back:.2f} s after another relay was known")
        assert back <= BACK_WITHIN
        assert two.allocations == 1


async def test_dead_relays_hold_up_no_description() -> None:
    """Two relays that answer nothing, and two servers: the candidates are there at once."""
    shelf = Shelf()
    for _ in range(2):
        node = (LOOPBACK, free_port())
        shelf.relays[node] = LentRelay(node, ways(node[1], "udp", "tcp", "tls"))
    dead = ways(free_port(), "udp") + ways(free_port(), "tls")
    async with shared_port(lenders=shelf) as port:
        took = []
        for _ in range(5):
            end = End(ON_LOOPBACK, shared=port, servers=list(dead))
            began = time.monotonic()
            await end.gather()
            took.append(time.monotonic() - began)
            assert end.candidates
            assert end.expects_more
            await end.close()
    print(f"gathered in {min(took) * 1000:.1f} ms at best, {max(took) * 1000:.1f} ms at worst")
    assert min(took) < limits.ICE_SERVER_PATIENCE + 0.02


@pytest.mark.parametrize("left_over", ["tcp", "tls"])
async def test_without_udp_a_relay_is_reached_by_tcp_or_tls(left_over: str) -> None:
    """UDP gets no answer: after 0.3 s the other ways are tried together, and one of them gives an address."""
    dead = free_port()
    async with relay() as made:
        known = ways(dead, "udp") + ways(made.port, left_over)
        began = time.monotonic()
        allocation = await allocate_first(known, lambda *_: None, lambda lost: None)
        took = time.monotonic() - began
        print(f"an address by {left_over} after {took:.2f} s")
        assert limits.RELAY_WAY_PAUSE * 0.9 <= took < 3.0
        assert allocation.server is known[1]
        allocation.close()
        await until(lambda: not made.allocations)


async def test_the_ways_that_lose_the_race_leave_no_allocation() -> None:
    """UDP answers late: whatever wins, one allocation is left, and none when it is given back."""
    async with relay() as slow, relay() as fast:
        known = ways(free_port(), "udp") + ways(slow.port, "udp", "tls") + ways(fast.port, "tcp", "udp")
        allocation = await allocate_first(known, lambda *_: None, lambda lost: None)
        await until(lambda: slow.allocations + fast.allocations == 1)
        allocation.close()
        await until(lambda: slow.allocations + fast.allocations == 0)


async def test_a_call_that_ends_gives_all_relays_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were being asked at that moment."""
    monkeypatch.setattr("meshcall.ice.checklist.can_pair", only_relayed)
    shelf = Shelf()
    async with relay() as one, relay() as two, relayed_call(shelf) as (left, right):
        shelf.add(one)
        shelf.add(two)
        await connect(left, right)
        await left.close()
        await until(lambda: one.allocations + two.allocations == 0)
        assert shelf.listeners == []


async def test_a_named_interface_is_the_only_way_to_a_relay() -> None:
    """The allocation is asked for from its address; a server of another family is not asked."""
    async with relay() as made:
        (server,) = ways(made.port, "udp")
        allocation = await allocate_first([server], lambda *_: None, lambda lost: None, ["127.0.0.5"])
        assert allocation.mapped[0] == "127.0.0.5"
        allocation.close()
        with pytest.raises(ConnectionError, match="interface"):
            await allocate_first([server], lambda *_: None, lambda lost: None, ["::1"])
