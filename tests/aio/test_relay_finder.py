"""A node finds relays through the DHT and keeps credentials ready: real nodes on loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from meshcall.address import Address
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.udp import UdpPort
from meshcall.identity.keys import SigningKey
from meshcall.relay_finder import RelayFinder
from meshcall.turn.announcement import announce, epoch_of, shards_of
from meshcall.turn.grant import Place, contact_key
from meshcall.turn.lending import Lending
from tests.aio.coturn import LOOPBACK, SECRET
from tests.aio.test_relay import relay, until

CLOCK = SystemClock()
OURS = b"o" * 32


class Machine:
    """A DHT node of a test, which may lend."""

    def __init__(self, udp: UdpPort, *, routes: bool) -> None:
        self.udp = udp
        self.key = SigningKey.generate(system_random)
        self.node = DhtNode(udp, node_key=self.key, clock=CLOCK, random=system_random, router=routes)
        self.granted = 0

    @property
    def address(self) -> Address:
        return LOOPBACK, self.udp.port

    def lend(self, port: int) -> Lending:
        """A relay on that port, which is not tested."""
        lending = Lending(
            SECRET,
            self.node.node_id,
            places=lambda: [Place("udp", port), Place("tcp", port)],
            taken=lambda: 0.0,
            contacts=lambda: [contact_key(OURS)],
            now_ms=CLOCK.now_ms,
            random=system_random,
            now=CLOCK.now(),
        )
        self.node.engine.lend_by(lending.answer)
        return lending

    async def announce(self) -> int:
        """Copies that are kept."""
        stored, epoch = 0, epoch_of(CLOCK.now_ms())
        for shard in shards_of(self.node.node_id):
            record = announce(self.key, [self.address], ["udp"], epoch=epoch, shard=shard, seq=CLOCK.now_ms())
            stored += await self.node.store(record.encode())
        return stored

    async def close(self) -> None:
        await self.node.close()
        await self.udp.close()


@asynccontextmanager
async def machines(*roles: bool) -> AsyncIterator[list[Machine]]:
    """Nodes that have joined through the first one; True: it routes."""
    async with AsyncExitStack() as stack:
        made = [Machine(await UdpPort.open(0, hosts=(LOOPBACK,)), routes=routes) for routes in roles]
        for one in made:
            await one.node.start()
            stack.push_async_callback(one.close)
        for one in made[1:]:
            await one.node.bootstrap([made[0].address])
        yield made


@asynccontextmanager
async def finder_of(
    machine: Machine, *secrets: bytes, udp_blocked: bool = False
) -> AsyncIterator[RelayFinder]:
    """Its finder, at work."""
    counters: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        spawned: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None]) -> None:
            spawned.append(group.create_task(work))

        finder = RelayFinder(
            machine.node,
            clock=CLOCK,
            random=system_random,
            secrets=lambda: secrets,
            spawn=spawn,
            counters=counters,
            udp_blocked=lambda: udp_blocked,
        )
        running = group.create_task(finder.run())
        try:
            yield finder
        finally:
            for task in (running, *spawned):
                task.cancel()


async def test_relays_are_found_by_the_flag_of_nodes_that_answer() -> None:
    """Who lends says so in its frames: no search is needed. A contact's is known as such, and first."""
    async with relay() as turn, machines(True, True, True, False) as (_, friend, other, me):
        friend.lend(turn.port)
        stranger = other.lend(turn.port)
        stranger._contacts = list  # somebody else's relay
        await me.node.lookup(bytes(20))
        async with finder_of(me, b"x" * 32, OURS) as finder:
            await until(lambda: finder.ready() == 2)
            first = finder.pick(())
            assert first is not None
            assert first.node == friend.address
            assert [way.transport for way in first.ways] == ["udp", "tcp"]
            second = finder.pick({first.node})
            assert second is not None
            assert second.node == other.address
            views = await finder.views(
                [f"turn:127.0.0.1:{turn.port},u,p", "turn:127.0.0.1:9?transport=tcp,u,p"]
            )
            assert [(view.configured, view.of_contact) for view in views] == [
                (True, False), (True, False), (False, True), (False, False),
            ]  # fmt: skip
            assert views[0].rtt_ms is not None
            assert views[1].rtt_ms is None


async def test_relays_are_found_by_their_announcements() -> None:
    """A node that nobody asks anyway (it does not route) is found under the keys of the hour."""
    async with relay() as turn, machines(True, True, False, False) as (_, _, lender, me):
        lending = lender.lend(turn.port)
        assert await lender.announce() > 0
        async with finder_of(me) as finder:
            await until(lambda: finder.ready() == 1)
            assert lending.counters["grant"] == 1
            await asyncio.sleep(0.3)
            assert lending.counters["grant"] == 1, "an idle node asks once"


async def test_who_knows_no_node_is_not_woken_for_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a LAN, or without a network, there is nobody to ask: a search that is due must not keep it awake."""
    async with machines(False) as (me,):
        engine, looks = me.node.engine, []
        lenders = engine.lenders

        def look(now: float) -> Any:
            looks.append(now)
            return lenders(now)

        monkeypatch.setattr(engine, "lenders", look)
        async with finder_of(me):
            await asyncio.sleep(0.5)
        assert 1 <= len(looks) <= 3


async def test_without_udp_relays_are_reached_by_tcp_at_once() -> None:
    """Where UDP is known to be blocked nobody waits for it."""
    async with relay() as turn, machines(True, True, False) as (_, lender, me):
        lender.lend(turn.port)
        async with finder_of(me, udp_blocked=True) as finder:
            await until(lambda: finder.ready() == 1)
            found = finder.pick(())
            assert found is not None
            assert [way.transport for way in found.ways] == ["tcp"]


async def test_a_relay_that_failed_has_to_answer_again() -> None:
    """It is asked at once; if it is gone, it is handed to calls no more. Who listens is told of news."""
    async with relay() as turn, machines(True, True, False) as (_, lender, me):
        lending = lender.lend(turn.port)
        async with finder_of(me) as finder:
            told: list[int] = []
            end: Callable[[], None] = finder.subscribe(lambda: told.append(finder.ready()))
            await until(lambda: finder.ready() == 1)
            assert told == [1]
            finder.failed(lender.address)
            assert finder.pick(()) is None
            await until(lambda: finder.ready() == 1)
            assert lending.counters["grant"] == 2
            end()
            finder.worked(lender.address)
            await lender.close()
            finder.failed(lender.address)
            await asyncio.sleep(0.2)
            assert finder.pick(()) is None
            assert told == [1, 1]


async def test_a_relay_whose_port_is_closed_is_not_held() -> None:
    """It grants, but nobody answers on its UDP port: only TCP is left of it."""
    async with relay() as turn, machines(True, True, False) as (_, lender, me):
        closed = turn.port
        await turn.close()
        lender.lend(closed)
        async with finder_of(me) as finder:
            await until(lambda: finder.ready() == 1)
            found = finder.pick(())
            assert found is not None
            assert [way.transport for way in found.ways] == ["tcp"]
