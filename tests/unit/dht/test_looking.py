"""What people who look at the DHT are told: who a find asked, what a ping proves, how a node is."""

from __future__ import annotations

import pytest

from meshcall.dht import DhtEngine, FindDone, PingDone, ValueFound
from meshcall.dht import messages as m
from meshcall.limits import DHT_READS_PER_SECOND, DHT_REPLICAS
from tests.unit.dht.test_engine import put
from tests.unit.dht.universe import Universe, presence_record


def test_a_traced_find_tells_whom_it_asked() -> None:
    """Each node once, closest first, with the round trip that it took; an untraced one tells nothing."""
    universe = Universe(30, delay=0.02)
    record = presence_record(1)
    put(universe, universe.place(3), record.encode())
    universe.link.run(5.0)
    asker = universe.place(20)
    engine = universe.at(asker)
    for traced in (True, False):
        number = engine.start_find(record.storage_key, universe.now, traced=traced)
        universe.do(asker)
        done = universe.wait(asker, FindDone, number)[1]
        assert done.values == 1
        if not traced:
            assert done.asked == ()
            continue
        answered = [node for node in done.asked if node.answered]
        assert len(answered) >= DHT_REPLICAS // 2
        assert len({node.address for node in done.asked}) == len(done.asked)
        assert all(node.rtt == pytest.approx(0.04, abs=0.005) for node in answered)
        assert all(node.hop >= 1 for node in answered)
        goal = int.from_bytes(record.storage_key, "big")
        distances = [int.from_bytes(node.node_id or b"", "big") ^ goal for node in answered]
        assert distances == sorted(distances)
        assert any(node.closest for node in answered)
        others = [node for node in answered if node.closest and node.address != universe.place(3)]
        assert all(node.values == 1 for node in others)
        assert not any(node.silent for node in done.asked), "who was not waited for is not silent"


def test_a_value_is_told_with_its_age() -> None:
    """As the node says that holds it."""
    universe = Universe(10)
    record = presence_record(2)
    put(universe, universe.place(1), record.encode())
    universe.link.run(100.0)
    # the asker holds no copy itself only if it is not among the closest: ask from a newcomer
    asker = universe.join()
    universe.link.run(5.0)
    number = universe.at(asker).start_find(record.storage_key, universe.now)
    universe.do(asker)
    universe.wait(asker, FindDone, number)
    ages = [event.age for event in universe.seen(asker, ValueFound) if event.op == number]
    assert len(ages) == 1
    assert 100 <= ages[0] <= 110


@pytest.mark.parametrize("prove", [True, False])
def test_a_ping_tells_who_is_there(prove: bool) -> None:
    """Its id, and whether it proved that; whether it routes; where it sees us."""
    universe = Universe(3, delay=0.02)
    asker, other = universe.place(0), universe.place(1)
    number = universe.at(asker).start_ping(other, universe.now, prove=prove)
    universe.do(asker)
    done = universe.wait(asker, PingDone, number)[1]
    assert done.node_id == universe.at(other).node_id
    assert done.rtt == pytest.approx(0.04, abs=0.005)
    assert done.proof == ("proven" if prove else "")
    assert done.routes == universe.at(other).routes
    assert done.observed == asker


def test_a_ping_says_when_the_proof_is_missing() -> None:
    """A node that answers without a proof is there, and no more is believed."""
    universe = Universe(2)
    asker, liar = universe.place(0), ("10.9.9.9", 4000)
    engine: DhtEngine = universe.at(asker)
    number = engine.start_ping(liar, universe.now, prove=True)
    frames = [data for data, address in engine.transmits() if address == liar]
    request = m.decode_frame_untrusted(frames[0])
    assert isinstance(request, m.Ping)
    observed = bytes([10, 1, 0, 1]) + (4000).to_bytes(2, "big")
    pong = m.Pong(request.tid, b"\x01" * 20, 0, observed, b"", b"", b"")
    engine.receive(m.encode_frame(pong), liar, universe.now + 0.01)
    done = next(e for e in engine.events() if isinstance(e, PingDone) and e.op == number)
    assert (done.node_id, done.proof) == (b"\x01" * 20, "missing")


def test_statistics_tell_role_table_and_load() -> None:
    """Given roles are told from found ones; each request takes from the room of the limiter."""
    universe = Universe(5)
    now = universe.at(universe.place(0)).statistics()
    assert (now.decides, now.proofs, now.restored) == (False, 0, 0)
    assert now.contacts_by_family == {4: now.contacts, 6: 0}
    assert now.limiter.reads_left <= DHT_READS_PER_SECOND
    assert now.limiter.senders >= 1
