"""A tunnel on real sockets: a gateway with its node, a client whose DHT and calls go through the stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from meshcall.address import Address
from meshcall.aio.carrier import DhtCarrier
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.files import StateDb
from meshcall.aio.ice.port import IcePort, Session
from meshcall.aio.relay import Relay, server_context
from meshcall.aio.tunnel import TunnelLink
from meshcall.aio.udp import UdpPort
from meshcall.dht.messages import (
    EPHEMERAL,
    FIRST_OCTETS,
    FindNode,
    Message,
    Ping,
    Pong,
    decode_frame_untrusted,
    encode_frame,
)
from meshcall.errors import NoPath
from meshcall.identity.keys import SigningKey
from meshcall.limits import TUNNEL_ASKS_MAX
from meshcall.tunnels import Tunnels
from meshcall.turn.frames import Frames, bare_data, bare_frame
from meshcall.turn.gateways import Gateway
from meshcall.turn.grant import Ask, Place
from meshcall.turn.lending import Lending
from meshcall.turn.policy import RelayPolicy
from meshcall.turn.tunnelling import State

LOOPBACK = "127.0.0.1"
CLOCK = SystemClock()
SECRET = b"of the gateway"


@dataclass
class Gate:
    """A gateway: one UDP port, its node, its relay."""

    udp: UdpPort
    ice: IcePort
    dht: DhtNode
    relay: Relay

    def gateway(self, *, tls: bool = True) -> Gateway:
        """Where it listens."""
        return Gateway(LOOPBACK, self.relay.tcp_ports[0], tls)


@contextlib.asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    """One on the loopback interface."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    ice = IcePort(udp, hosts=(LOOPBACK,), answers=True)
    dht = DhtNode(
        udp, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random, router=True
    )
    await dht.start()
    relay = await Relay.open_on(
        udp,
        ice,
        tcp_ports=(udp.port,),
        secret=SECRET,
        policy=RelayPolicy(loopback=True),
        context=server_context(None, random=system_random, now_ms=CLOCK.now_ms()),
        clock=CLOCK,
        random=system_random,
        answer=dht.answer,
    )
    lending = Lending(
        SECRET,
        dht.node_id,
        places=lambda: [Place("udp", udp.port)],
        taken=lambda: 0.0,
        contacts=list,
        now_ms=CLOCK.now_ms,
        random=system_random,
        now=CLOCK.now(),
    )
    dht.engine.lend_by(lending.answer)
    try:
        yield Gate(udp, ice, dht, relay)
    finally:
        await relay.close()
        await dht.close()
        await udp.close()


async def open_link(gateway: Gateway) -> TunnelLink:
    """A tunnel of somebody."""
    ask = Ask.new((), system_random)
    return await TunnelLink.open(gateway, node_id=bytes(20), ask=ask, clock=CLOCK, random=system_random)


@pytest.mark.parametrize("tls", [True, False])
async def test_the_dht_of_a_client_goes_through_its_tunnel(tls: bool) -> None:
    """It joins at the gateway's node, and others ask it at its relayed address; by UDP it sends nothing."""
    async with gate() as ours:
        udp = await UdpPort.open(0, hosts=(LOOPBACK,))
        carrier = DhtCarrier(udp, random=system_random, all_far=True)
        dht = DhtNode(carrier, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random)
        await dht.start()
        link = await open_link(ours.gateway(tls=tls))
        link.register(FIRST_OCTETS, carrier.receive)
        carrier.tunnel = link
        try:
            assert link.node == (LOOPBACK, ours.udp.port)
            assert await dht.bootstrap([link.node]) == 1
            assert dht.engine.observed() == [link.relayed]
            assert await ours.dht.ping(link.relayed) is not None
            assert udp.statistics().sent == 0
            assert ours.dht.engine.contacts() == [], "who has no UDP routes for nobody"
        finally:
            await link.close()
            await dht.close()
            await udp.close()


async def test_udp_that_works_is_noticed() -> None:
    """While a tunnel carries: the answer to a probe by UDP is told, and disturbs the DHT in nothing."""
    async with gate() as ours:
        udp = await UdpPort.open(0, hosts=(LOOPBACK,))
        carrier = DhtCarrier(udp, random=system_random, all_far=True)
        heard = asyncio.Event()
        carrier.on_heard = heard.set
        dht = DhtNode(carrier, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random)
        await dht.start()
        try:
            carrier.probe([(LOOPBACK, ours.udp.port)], dht.node_id)
            async with asyncio.timeout(5):
                await heard.wait()
            assert "unsolicited" not in dht.status().counters
        finally:
            await dht.close()
            await udp.close()


async def test_who_listens_at_the_end_of_a_tunnel() -> None:
    """A dead port, a port that says nothing, and a gateway that goes: each ends, and says so once."""
    with pytest.raises(NoPath):
        await open_link(Gateway(LOOPBACK, 9))
    ended: list[bool] = []
    async with gate() as ours:
        link = await open_link(ours.gateway())
        link.on_ended = lambda: ended.append(True)
    async with asyncio.timeout(5):
        while not ended:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    link.send(b"\x04late", (LOOPBACK, 4000))
    await link.close()
    assert ended == [True]
    assert link.counters()["tunnel-closed"] == 1


async def test_a_host_that_the_gateway_refuses_is_asked_for_once() -> None:
    """Such as an address in the peer's LAN, which a call checks again and again."""
    async with gate() as ours:
        link = await open_link(ours.gateway())
        try:
            for _ in range(5):
                link.send(b"\x00check", ("192.168.0.2", 4000))
                await asyncio.sleep(0.05)
            assert ours.relay.statistics().counters["refused-403"] == 1
            assert link.counters()["tunnel-refused"] == 4
        finally:
            await link.close()


async def _answers(port: int, *messages: bytes) -> list[bytes]:
    """What a stream that says these octets is answered, until it is closed or silent."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    frames, found = Frames(), []
    try:
        writer.write(b"".join(messages))
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.5):
                while octets := await reader.read(4096):
                    found += frames.feed_untrusted(octets)
                found.append(b"closed")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return found


async def test_a_stream_may_ask_little() -> None:
    """Pings and asks of who routes for nobody; after ``TUNNEL_ASKS_MAX``, and at garbage, it is closed."""

    def bare(message: Message) -> bytes:
        return bare_frame(encode_frame(message))

    tid, somebody = bytes(8), bytes(20)
    ping = bare(Ping(tid, somebody, EPHEMERAL, b"", b""))
    async with gate() as ours:
        port = ours.gateway().port
        (answer,) = await _answers(port, ping)
        assert isinstance(decode_frame_untrusted(bare_data(answer)), Pong)
        refused = (
            bare(Ping(tid, somebody, 0, b"", b"")),
            bare(FindNode(tid, somebody, EPHEMERAL, somebody, b"")),
            bare_frame(b"\x04garbage"),
            bare_frame(b""),
        )
        for message in refused:
            assert await _answers(port, message) == []
        many = await _answers(port, *([ping] * (TUNNEL_ASKS_MAX + 1)))
        assert many[-1] == b"closed"
        for garbage in (b"\x04\x01\0\0", b"\x04\0\xff\xff", b"\x05\0\0\0"):
            assert (await _answers(port, garbage))[-1:] == [b"closed"]
        counters = ours.relay.statistics().counters
        assert counters["stream-asks"] == 1
        assert counters["stream-ask-unanswered"] == len(refused)
        assert counters["stream-garbage"] == 3
        assert ours.dht.engine.contacts() == []


@dataclass
class Blocked:
    """A node without UDP: its tunnels, its DHT, its calls' port."""

    tunnels: Tunnels
    carrier: DhtCarrier
    ice: IcePort
    changes: list[Address | None]


@contextlib.asynccontextmanager
async def blocked(home: Path, *gateways: Gateway) -> AsyncIterator[Blocked]:
    """One whose user named these gateways."""
    udp = await UdpPort.open(0, hosts=(LOOPBACK,))
    carrier = DhtCarrier(udp, random=system_random, all_far=True)
    ice = IcePort(udp, hosts=(LOOPBACK,))
    dht = DhtNode(carrier, node_key=SigningKey.generate(system_random), clock=CLOCK, random=system_random)
    await dht.start()
    state = StateDb.open(home / "state.db", now_ms=CLOCK.now_ms())
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        tasks.add(task)
        return task

    changes: list[Address | None] = []
    tunnels = Tunnels(
        carrier,
        dht,
        ice,
        clock=CLOCK,
        random=system_random,
        state=state,
        gateways=[gateway.text for gateway in gateways],
        lenders=list,
        contact_keys=list,
        on_changed=changes.append,
        spawn=spawn,
        counters=Counter(),
    )
    spawn(tunnels.run())
    try:
        yield Blocked(tunnels, carrier, ice, changes)
    finally:
        tunnels.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await tunnels.close()
        await dht.close()
        await udp.close()
        state.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_a_node_without_udp_takes_to_gateways_and_leaves_them(tmp_path: Path) -> None:
    """One carries, another is kept; when one dies the other carries; an answer by UDP ends it. Next time the
    gateways are known without being named."""
    async with gate() as one, gate() as two:
        first = one.gateway()
        second = Gateway("127.0.0.2", two.gateway().port)
        async with blocked(tmp_path, first, second) as node:
            await until(lambda: one.relay.allocations + two.relay.allocations == 2)
            await until(lambda: node.tunnels.state is State.TUNNELLED)
            assert node.changes == [node.tunnels.node]
            (base,) = node.ice.relayed[0].bases
            carrying = node.tunnels.shown
            dying, other = (one, second) if carrying == first.text else (two, first)
            await dying.relay.close()
            await until(lambda: node.tunnels.shown == other.text)
            assert node.ice.relayed[0].bases != [base]
            assert len(node.ice.relayed) == 1
            node.carrier.on_heard()
            assert node.tunnels.state is State.DIRECT
            assert node.tunnels.shown == ""
            assert node.changes[-1] is None
            assert node.ice.relayed == []
            await until(lambda: one.relay.allocations + two.relay.allocations == 0)
        alive = one if dying is two else two
        async with blocked(tmp_path) as again:
            await until(lambda: again.tunnels.state is State.TUNNELLED)
            assert alive.relay.allocations == 1
    assert alive.relay.statistics().counters["allocate"] == 2


async def test_a_call_keeps_the_tunnel_that_it_uses(tmp_path: Path) -> None:
    """After UDP works again, until the call has ended; and it is told when a tunnel goes."""

    class Watcher:
        def __init__(self) -> None:
            self.ports: list[IcePort] = []

        def relayed_added(self, port: IcePort) -> None:
            self.ports.append(port)

        def relayed_lost(self, port: IcePort) -> None:
            self.ports.remove(port)

    async with gate() as ours, blocked(tmp_path, ours.gateway()) as node:
        watcher = Watcher()
        node.ice.watch(watcher)
        await until(lambda: node.tunnels.state is State.TUNNELLED)
        (port,) = watcher.ports
        session = cast("Session", object())
        port.add(session)
        node.carrier.on_heard()
        await asyncio.sleep(1.2)
        assert ours.relay.allocations == 1
        port.remove(session)
        await until(lambda: ours.relay.allocations == 0)
        node.tunnels.network_changed()
        await until(lambda: len(node.ice.relayed) == 1)
        await ours.relay.close()
        await until(lambda: watcher.ports == [port])
        node.ice.unwatch(watcher)
