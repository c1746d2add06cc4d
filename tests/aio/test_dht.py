"""The DHT on real sockets: a test network, calls pushed, the LAN path, cancelling, junk."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshcall.address import Address, parse_host_port
from meshcall.aio.clock import SystemClock, system_random
from meshcall.aio.dht import DhtNode, Notify
from meshcall.aio.udp import UdpPort
from meshcall.dht import messages as m
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_REPLICAS
from meshcall.testing import Testnet
from tests.unit.dht.universe import inbox_record, presence_record

HERE = "127.0.0.1"
NODES = 12
REPLY = inbox_record(4242)


class Peer:
    """A DHT node with its port and what it was notified of."""

    def __init__(self, port: UdpPort, node: DhtNode, notes: asyncio.Queue[Notify]) -> None:
        self.port, self.node, self.notes = port, node, notes

    @property
    def address(self) -> Address:
        """Where it is."""
        return HERE, self.port.port

    async def note(self) -> Notify:
        """The next notify."""
        async with asyncio.timeout(5):
            return await self.notes.get()


@asynccontextmanager
async def peer(bootstrap: list[Address] | None = None, *, state: bytes | None = None) -> AsyncIterator[Peer]:
    """An ephemeral node that has joined."""
    port = await UdpPort.open(0, hosts=(HERE,))
    notes: asyncio.Queue[Notify] = asyncio.Queue()

    def on_notify(note: Notify) -> bool:
        notes.put_nowait(note)
        return True

    node = DhtNode(
        port,
        node_key=SigningKey.generate(system_random),
        clock=SystemClock(),
        random=system_random,
        lan=False,
        state=state,
        on_notify=on_notify,
    )
    await node.start()
    try:
        if bootstrap is not None:
            assert await node.bootstrap(bootstrap) >= 1
        yield Peer(port, node, notes)
    finally:
        await node.close()
        await port.close()


async def records(
    node: DhtNode, key: bytes, *, at: tuple[Address, ...] = (), only: bool = False
) -> list[bytes]:
    """All records under a key."""
    async with asyncio.timeout(5):
        return [record async for record in node.find(key, at=at, only=only)]


async def test_store_and_find() -> None:
    """Eight copies; found by another node."""
    record = inbox_record(1)
    async with Testnet(NODES) as net, peer(net.addresses[:3]) as writer, peer(net.addresses[:3]) as reader:
        assert len(net.addresses) == NODES
        assert [parse_host_port(text) for text in net.bootstrap] == net.addresses[:3]
        assert await writer.node.store(record.encode()) == DHT_REPLICAS
        assert await records(reader.node, record.storage_key) == [record.encode()]
        assert await records(reader.node, inbox_record(2).storage_key) == []
        status = reader.node.status()
        assert status.contacts >= DHT_REPLICAS
        assert status.observed4 == reader.address
        assert len(await reader.node.lookup(record.storage_key)) == DHT_REPLICAS
        assert await reader.node.ping(net.addresses[5]) is not None
        assert reader.node.node_id == status.node_id
        assert len(reader.node.neighbours()) == 3
        assert set(reader.node.neighbours(99)) <= set(net.addresses)


async def test_a_call_is_pushed_and_answered() -> None:
    """The whole rendezvous: presence, watch, offer, answer by the way it came, a second answer, closed."""
    presence, offer = presence_record(1), inbox_record(1)
    async with Testnet(NODES) as net, peer(net.addresses[:3]) as callee, peer(net.addresses[:3]) as caller:
        watch = callee.node.watch(offer.storage_key)
        async with asyncio.timeout(5):
            await watch.wait_held(DHT_REPLICAS)
        assert len(watch.addresses()) == watch.holders == DHT_REPLICAS
        assert set(watch.addresses()) <= set(net.addresses)
        assert await callee.node.store(presence.encode()) >= 1
        assert await records(caller.node, presence.storage_key) == [presence.encode()]
        delivery = await caller.node.deliver(offer.encode(), reply_watch=REPLY.storage_key)
        assert delivery.watchers == 1
        assert delivery.stored >= 1
        assert delivery.report.asked == delivery.asked >= 1
        note = await callee.note()
        assert (note.record, note.storage_key) == (offer.encode(), offer.storage_key)
        assert note.via in net.addresses
        answer = await callee.node.deliver(REPLY.encode(), at=[note.via], only=True)
        assert answer.watchers == 1
        back = await caller.note()
        assert (back.record, back.via) == (REPLY.encode(), note.via)
        delivery.close()
        delivery.close()
        watch.close()
        watch.close()
        assert watch.addresses() == []
        gone = await caller.node.deliver(inbox_record(1, seq=2).encode())
        assert gone.watchers == 0
        assert callee.notes.empty()


async def test_the_lan_path_needs_no_network() -> None:
    """Two nodes that know each other's address: presence, offer and answer go straight."""
    presence, offer = presence_record(1), inbox_record(1)
    async with peer() as callee, peer() as caller:
        callee.node.local_put(presence.encode())
        watch = callee.node.watch(offer.storage_key)
        found = await records(caller.node, presence.storage_key, at=(callee.address,), only=True)
        assert found == [presence.encode()]
        delivery = await caller.node.deliver(
            offer.encode(), at=[callee.address], only=True, reply_watch=REPLY.storage_key
        )
        assert delivery.watchers == 1
        note = await callee.note()
        assert note.via == caller.address
        assert (await callee.node.deliver(REPLY.encode(), at=[note.via], only=True)).watchers == 1
        assert (await caller.note()).record == REPLY.encode()
        delivery.close()
        watch.close()
        assert callee.node.local_remove(presence)
        assert callee.node.status().counters["notified"] == 1


async def test_a_restart_needs_no_bootstrap_address() -> None:
    """The saved table is enough."""
    async with Testnet(NODES) as net:
        async with peer(net.addresses[:1]) as first:
            state = first.node.save()
        async with peer(state=state) as second:
            assert await second.node.bootstrap() >= 1
            assert await second.node.store(inbox_record(1).encode()) == DHT_REPLICAS


async def test_cancelled_tasks_cancel_their_operations() -> None:
    """Nothing goes on in the engine for a caller that has gone."""
    async with peer() as alone:
        nobody: list[Address] = [(HERE, 9)]
        tasks = [
            asyncio.ensure_future(
                alone.node.deliver(inbox_record(1).encode(), at=nobody, reply_watch=b"r" * 20)
            ),
            asyncio.ensure_future(alone.node.bootstrap(nobody)),
            asyncio.ensure_future(alone.node.ping(nobody[0])),
            asyncio.ensure_future(records(alone.node, b"k" * 20, at=(nobody[0],))),
        ]
        await asyncio.sleep(0)  # each task runs up to its first wait
        assert alone.node.status().operations == 4
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert alone.node.status().operations == 0


async def test_find_may_be_left_early() -> None:
    """``break`` and ``async with``: the search ends at once."""
    record = inbox_record(1)
    async with Testnet(4) as net, peer(net.addresses) as user:
        await user.node.store(record.encode())
        async with user.node.find(record.storage_key) as find:
            async for found in find:
                assert found == record.encode()
                break
        assert user.node.status().operations == 0
        assert [r async for r in find] == []


async def test_closing_ends_what_is_under_way() -> None:
    """Whoever waits gets the empty result, before, during and after."""
    async with peer() as alone:
        waiting = asyncio.ensure_future(alone.node.bootstrap([(HERE, 9)]))
        search = asyncio.ensure_future(records(alone.node, b"k" * 20, at=((HERE, 9),)))
        watch = alone.node.watch(b"w" * 20)
        await asyncio.sleep(0)
        await alone.node.close()
        await alone.node.close()
        assert await waiting == 0
        assert await search == []
        assert await alone.node.store(inbox_record(1).encode()) == 0
        assert await records(alone.node, b"k" * 20) == []
        assert (await alone.node.deliver(inbox_record(1).encode())).asked == 0
        assert await alone.node.ping((HERE, 9)) is None
        assert await alone.node.lookup(b"k" * 20) == []
        watch.close()


async def test_a_handler_may_use_the_node() -> None:
    """An answer sent from within ``on_notify`` goes out in the same step."""
    offer = inbox_record(1)
    async with peer() as caller:
        port = await UdpPort.open(0, hosts=(HERE,))
        answers: list[asyncio.Task[object]] = []

        def answer(note: Notify) -> bool:
            task = asyncio.ensure_future(node.deliver(REPLY.encode(), at=[note.via], only=True))
            answers.append(task)
            node.watch(b"another key of mine!")
            return False

        node = DhtNode(
            port,
            node_key=SigningKey.generate(system_random),
            clock=SystemClock(),
            random=system_random,
            on_notify=answer,
        )
        await node.start()
        try:
            node.watch(offer.storage_key)
            delivery = await caller.node.deliver(
                offer.encode(), at=[(HERE, port.port)], only=True, reply_watch=REPLY.storage_key
            )
            assert (await caller.note()).record == REPLY.encode()
            await asyncio.gather(*answers)
            assert node.status().counters["notified-unwanted"] == 1
            delivery.close()
        finally:
            await node.close()
            await port.close()


async def test_junk_on_the_port_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Two thousand datagrams of junk: no exception, no line in the log, and a node that still answers."""
    caplog.set_level(logging.DEBUG, "meshcall")
    rng = random.Random(7)
    async with Testnet(3) as net, peer(net.addresses) as user:
        port = await UdpPort.open(0, hosts=(HERE,))
        good = m.encode_frame(m.FindNode(bytes(8), bytes(20), 0, bytes(20), bytes(100)))
        try:
            for index in range(2000):
                frame = bytearray(good)
                frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
                port.send(bytes(frame) if index % 2 else b"\x04" + rng.randbytes(60), net.addresses[0])
                if index % 50 == 0:
                    await asyncio.sleep(0)
        finally:
            await port.close()
        assert await user.node.ping(net.addresses[0]) is not None
        counters = net.nodes[0].status().counters
        assert counters["rejected-frame"] > 500
        assert caplog.messages == []
        assert (HERE, port.port) not in [a for _, a in net.nodes[0].engine.contacts()]


async def test_a_testnet_has_at_least_one_node() -> None:
    """Zero nodes are no network; one is."""
    with pytest.raises(ValueError, match="one"):
        Testnet(0)
    async with Testnet(1) as net:
        assert len(net.nodes) == 1


async def test_the_testnet_command() -> None:
    """Prints its addresses, serves until SIGTERM, leaves with 0 and quietly."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshcall.testing.testnet", "--nodes", "3"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
        addresses = [parse_host_port(line) for line in lines]
        async with peer(addresses) as user:
            assert await user.node.store(inbox_record(1).encode()) == 3
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    "arguments", [["--nodes", "0"], ["--nodes", "9", "--port", "65530"], ["--port", "x"]]
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a line."""
    from meshcall.testing.testnet import main

    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


async def test_the_table_is_handed_out_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash loses minutes only: what was handed out last starts a node that needs no bootstrap."""
    monkeypatch.setattr("meshcall.aio.dht.DHT_SAVE_INTERVAL", 0.05)
    kept: asyncio.Queue[bytes] = asyncio.Queue()
    async with Testnet(4) as net:
        port = await UdpPort.open(0, hosts=("127.0.0.1",))
        node = DhtNode(
            port,
            node_key=SigningKey.from_seed(b"\x41" * 32),
            clock=SystemClock(),
            random=system_random,
            on_state=kept.put_nowait,
        )
        await node.start()
        assert await node.bootstrap(net.addresses) == 4
        while not kept.empty():
            kept.get_nowait()
        state = await asyncio.wait_for(kept.get(), 5.0)
        assert await asyncio.wait_for(kept.get(), 5.0)
        await node.close()
        again = DhtNode(
            port,
            node_key=SigningKey.from_seed(b"\x42" * 32),
            clock=SystemClock(),
            random=system_random,
            state=state,
        )
        await again.start()
        assert await again.bootstrap() >= 3
        again.network_changed()
        assert again.status().counters["network-changed"] == 1
        await again.close()
        await port.close()
    assert kept.empty()


async def test_a_delivery_tells_that_it_reached_the_callee() -> None:
    """``acked`` counts the watcher that has it for certain."""
    record = inbox_record(1)
    async with Testnet(4) as net, peer(net.addresses) as callee, peer(net.addresses) as caller:
        watch = callee.node.watch(record.storage_key)
        await watch.wait_held(4)
        delivery = await caller.node.deliver(record.encode())
        await asyncio.wait_for(delivery.wait_acked(), 5.0)
        assert delivery.acked == 1
        watch.close()
