"""What was true once, said again: offers after a restart, presences of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshcall.aio.dht import DhtNode, Notify
from meshcall.dht.messages import Stored
from meshcall.node import Node
from meshcall.record.codec import Record, RecordType, decode_record_untrusted
from meshcall.signaling.presence import publish_presence
from meshcall.signaling.rendezvous import epoch_of, inbox
from meshcall.testing.testnet import Testnet
from tests.attacks.capture import Capture
from tests.attacks.nodes import SetClock, answered, config_of, ended, play_media, reachable, until
from tests.attacks.strangers import find
from tests.attacks.test_privacy import frames, records_in

SEED = 20264


async def test_a_captured_offer_does_not_ring_a_restarted_callee(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message record of a call, delivered and pushed again by nodes of the DHT: refused, each time.

    To the callee that took it, and to the one that was started again on the same home.
    """
    play_media(monkeypatch, SEED)
    capture, ids = Capture(), set[str]()
    async with Testnet(6) as testnet:
        capture.attach(testnet)
        async with Node(config_of(tmp_path / "alice", testnet)) as alice:
            config = config_of(tmp_path / "bob", testnet)
            async with Node(config) as bob:
                await reachable(alice)
                await reachable(bob)
                call = await alice.call(bob.peer_id)
                await (await answered(bob, ids)).decline()
                await ended(call)
                await replay(bob, testnet, capture)
                assert len(bob.calls()) == 1
            async with Node(config) as bob:
                await reachable(bob)
                await replay(bob, testnet, capture)
                assert bob.calls() == []
                assert bob.status().counters["letter-replay"] >= 1


async def replay(bob: Node, testnet: Testnet, capture: Capture) -> None:
    """All messages to an inbox, once more: through the DHT, and straight from a node that holds the watch."""
    place = inbox(bob.peer_id, epoch_of(bob.peer_id, bob._clock.now_ms()))
    offers = [
        record
        for record in records_in(datagram.data for datagram in capture.datagrams)
        if record[1] == RecordType.INBOX and decode_record_untrusted(record).key == place.signer.public
    ]
    assert offers, "there is something to deliver again"
    for record in offers:
        for node in testnet.nodes:
            delivery = await node.deliver(record)
            delivery.close()
        bob._post.on_notify(Notify(record, place.storage_key(RecordType.INBOX), testnet.addresses[0]))
    await until(lambda: not bob._work)


async def test_an_older_number_does_not_replace_a_presence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yesterday's octets, stored again under a key that has newer ones: every node refuses."""
    play_media(monkeypatch, SEED)
    capture = Capture()
    async with Testnet(6) as testnet:
        capture.attach(testnet)
        async with Node(config_of(tmp_path / "bob", testnet)) as bob:
            await reachable(bob)
            old = presences(bob, capture)[-1]
            bob._post.hasten()
            await until(lambda: presences(bob, capture)[-1].seq > old.seq)
            await until(lambda: not bob._work)
            before = sum(stale(node) for node in testnet.nodes)
            capture.datagrams.clear()
            assert await testnet.nodes[0].store(old.encode()) == 0, "nobody kept it"
            assert sum(stale(node) for node in testnet.nodes) > before
            answers = [f for f in frames(d.data for d in capture.datagrams) if isinstance(f, Stored)]
            assert answers
            assert not any(answer.stored for answer in answers)


async def test_a_reader_takes_the_newer_presence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows the ID puts an old presence under the current key, with the highest number, on most nodes.

    All of them have lost the newer one. The one node that has it is enough.
    """
    play_media(monkeypatch, SEED)
    clock = SetClock()
    async with Testnet(6) as testnet, Node(config_of(tmp_path / "bob", testnet), clock=clock) as bob:
        await reachable(bob)
        where = bob._post._where
        old, last = where._presences[-1], max(record.seq for _, record in where._shown.values())
        clock.shift_s += 4000  # more than half of its life: another one is made
        bob._post.hasten()
        await until(lambda: where._presences[-1] != old)
        # Shown at all, and nothing older: what was shown in epochs that are over goes first
        await until(lambda: where._shown and all(record.seq > last for _, record in where._shown.values()))
        await reachable(bob)
        new = where._presences[-1]
        assert new != old
        here = inbox(bob.peer_id, epoch_of(bob.peer_id, clock.now_ms()))
        forged = publish_presence(bob._identity, old, here, clock.now_ms() + 1_000_000)
        for node in testnet.nodes[1:]:
            store = node.engine._core.store
            for place in list(store._values.get(forged.storage_key, {})):
                store._drop(place)
            store.put(forged, "203.0.113.9", node._clock.now())
        # One reader only: it puts the highest number where it is missing, and on loopback all share one place
        found = await find(testnet.nodes[1], bob.peer_id, clock)
        assert found.presence == new


def stale(node: DhtNode) -> int:
    """Records that a node refused because it has a newer one."""
    return node.engine.statistics().counters.get("store-stale", 0)


def presences(node: Node, capture: Capture) -> list[Record]:
    """The presences of ``node`` in its current epoch that were seen, oldest first."""
    place = inbox(node.peer_id, epoch_of(node.peer_id, node._clock.now_ms()))
    found = [decode_record_untrusted(r) for r in records_in(d.data for d in capture.datagrams)]
    ours = [r for r in found if r.type is RecordType.PRESENCE and r.key == place.signer.public]
    return sorted(ours, key=lambda record: record.seq)
