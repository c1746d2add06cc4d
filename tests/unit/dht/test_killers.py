"""What kills the kademlia package (its known bugs, each by a test): none of it touches this engine."""

from __future__ import annotations

import random
import time

import msgspec
import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine, FindDone, LookupDone, StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_nodes
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_BUCKETS_MAX
from meshcall.testing import seeded_random
from tests.unit.dht.hostile import LIES, Hostile
from tests.unit.dht.universe import Universe, address_of, inbox_record

STRANGER: Address = ("10.200.0.1", 4000)


def lone_engine(seed: int = 1) -> DhtEngine:
    """A router that knows nobody."""
    key = SigningKey.from_seed(random.Random(seed).randbytes(32))
    return DhtEngine(key, random=seeded_random(seed), now=0.0, router=True)


def request(
    engine: DhtEngine, message: m.Request, address: Address = STRANGER, now: float = 1.0
) -> list[m.Frame]:
    """What the engine answers to a request."""
    engine.receive(m.encode_frame(message), address, now)
    out = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == address]
    return [frame for frame in out if isinstance(frame, m.Response)]


def test_b1_dead_nodes_hold_nobody_up() -> None:
    """No rounds: with 40 % dead a store among 40 nodes takes well under two seconds, not forty."""
    universe = Universe(40, seed=3)
    writer = universe.addresses()[0]
    universe.kill(0.4, spare=frozenset({writer}))
    store = universe.at(writer).start_store(inbox_record(1).encode(), universe.now)
    universe.do(writer)
    took, done = universe.wait(writer, StoreDone, store)
    assert took < 1.5
    assert done.stored >= 8


def test_b2_lookups_find_the_true_closest() -> None:
    """The eight closest of the whole network, in order, for any target."""
    universe = Universe(40, seed=4)
    user = universe.addresses()[7]
    for seed in range(10):
        target = random.Random(seed).randbytes(20)
        lookup = universe.at(user).start_lookup(target, universe.now)
        universe.do(user)
        _, done = universe.wait(user, LookupDone, lookup)
        expected = [a for a in universe.true_closest(target, 9) if a != user][:8]
        assert [address for _, address in done.closest] == expected


def test_b3_nothing_is_handed_off() -> None:
    """A new node near a key is sent nothing that it did not ask for."""
    universe = Universe(12, seed=5)
    writer = universe.addresses()[0]
    store = universe.at(writer).start_store(inbox_record(1).encode(), universe.now)
    universe.do(writer)
    universe.wait(writer, StoreDone, store)
    newcomer = universe.join()
    universe.link.run(30.0)
    counters = universe.at(newcomer).statistics().counters
    assert counters.get("received-store", 0) == counters.get("received-notify", 0) == 0


def test_b4_equal_integers_do_not_tie() -> None:
    """Ids that differ only in leading zero octets can't be sent: an id has exactly 20."""
    engine = lone_engine()
    for node_id in (b"\x01" * 20, b"\0" + b"\x01" * 20, b"\x01" * 19):
        frame = b"\x04" + msgspec.msgpack.encode([1, bytes(8), node_id, 0, b"", b""])
        engine.receive(frame, STRANGER, 1.0)
    counters = engine.statistics().counters
    assert (counters["received-ping"], counters["rejected-frame"]) == (1, 2)
    assert request(engine, m.FindNode(bytes(8), b"\x02" * 20, 0, bytes(20), bytes(300)))


def test_b5_buckets_do_not_split_for_ever() -> None:
    """A thousand would-be contacts with ids around ours: at most 160 buckets, at most 1 ms each."""
    engine = lone_engine()
    own = int.from_bytes(engine.node_id, "big")
    started = time.thread_time()
    for index in range(1000):
        node_id = (own ^ (index + 1)).to_bytes(20, "big")
        request(
            engine,
            m.Ping(index.to_bytes(8, "big"), node_id, 0, b"", bytes(60)),
            (f"10.9.{index >> 8}.{index & 255}", 1),
        )
    assert time.thread_time() - started < 1.0
    statistics = engine.statistics()
    assert statistics.contacts == 0
    assert statistics.buckets <= DHT_BUCKETS_MAX


def test_b6_ids_beyond_the_space() -> None:
    """An id above 2^160 is a frame with a field too long, counted and dropped."""
    engine = lone_engine()
    engine.receive(b"\x04" + msgspec.msgpack.encode([1, bytes(8), b"\xff" * 33, 0, b"", b""]), STRANGER, 1.0)
    assert engine.statistics().counters["rejected-frame"] == 1
    assert engine.transmits() == []


@pytest.mark.parametrize("lie", ["an integer for the nodes", "a map for the reply", "ids one octet short"])
def test_b7_a_bad_reply_does_not_reach_the_caller(lie: str) -> None:
    """All nodes but ourselves lie: the find still ends, with nothing."""
    universe = Universe(6, seed=6)
    reader = universe.addresses()[0]
    for address in universe.addresses()[1:]:
        hostile = Hostile(universe.at(address), LIES[lie])
        universe.link.detach(address)
        universe.link.attach(address, hostile)
    find = universe.at(reader).start_find(inbox_record(1).storage_key, universe.now)
    universe.do(reader)
    assert universe.wait(reader, FindDone, find)[1].values == 0


def test_b8_a_poison_value_is_not_stored() -> None:
    """What is no valid record never gets into a store, with or without a token."""
    engine = lone_engine()
    pong = request(engine, m.Ping(bytes(8), b"\x02" * 20, 1, b"", bytes(60)))[0]
    assert isinstance(pong, m.Pong)
    for poison in (b"[1, 2]", bytes(308), bytes(677)):
        (reply,) = request(engine, m.Store(b"\3" * 8, b"\x02" * 20, 1, pong.token, poison, 0))
        assert isinstance(reply, m.Refused)
    engine.receive(
        b"\x04" + msgspec.msgpack.encode([4, bytes(8), b"\x02" * 20, 1, pong.token, [1, 2]]), STRANGER, 1.0
    )
    assert engine.statistics().records.values == 0


def test_b9_cancelling_leaves_nothing_behind() -> None:
    """Cancelled at any moment: no event of the operation follows, and no request stays open."""
    universe = Universe(10, seed=7)
    user = universe.addresses()[0]
    engine = universe.at(user)
    record = inbox_record(1).encode()
    for after in (0.0, 0.01, 0.06, 0.12, 0.3):
        numbers = [
            engine.start_find(inbox_record(1).storage_key, universe.now),
            engine.start_store(record, universe.now),
            engine.start_deliver(record, universe.now, reply_watch=b"r" * 20),
            engine.start_lookup(b"t" * 20, universe.now),
            engine.start_watch(b"w" * 20, universe.now),
            engine.start_ping(universe.addresses()[1], universe.now),
            engine.start_bootstrap([universe.addresses()[1]], universe.now),
        ]
        universe.do(user)
        universe.link.run(after)
        for number in numbers:
            engine.cancel(number, universe.now)
            engine.cancel(number, universe.now)
        engine.events()
        universe.events[user].clear()
        universe.do(user)
        universe.link.run(3.0)
        late = [e for _, e in universe.events[user] if getattr(e, "op", None) in numbers]
        assert late == []
        statistics = engine.statistics()
        assert statistics.own_watches == {}
        assert statistics.open_requests == 0


def test_b10_storing_when_everybody_is_dead() -> None:
    """Zero copies, no exception, soon."""
    universe = Universe(8, seed=8)
    writer = universe.addresses()[0]
    universe.kill(1.0, spare=frozenset({writer}))
    store = universe.at(writer).start_store(inbox_record(1).encode(), universe.now)
    universe.do(writer)
    took, done = universe.wait(writer, StoreDone, store)
    assert (done.stored, took <= 4.0) == (0, True)


def test_b10_storing_when_nobody_is_known() -> None:
    """The same for a node that is alone."""
    engine = lone_engine()
    number = engine.start_store(inbox_record(1).encode(), 1.0)
    assert StoreDone(number, 0, 0) in engine.events()


def test_b11_no_name_is_ever_sent_to() -> None:
    """Addresses are 4 or 16 octets on the wire, so a name can't be in a reply; a named host is no address."""
    with pytest.raises(ValueError, match="localhost"):
        pack_nodes([(bytes(20), ("localhost", 1))])


def test_b12_whoever_speaks_does_not_enter_the_table() -> None:
    """Only a node that signed our challenge does; ephemeral ones never do."""
    engine = lone_engine()
    for index in range(500):
        message = m.Ping(
            index.to_bytes(8, "big"), random.Random(index).randbytes(20), index % 2, b"", bytes(60)
        )
        engine.receive(m.encode_frame(message), (f"10.9.{index >> 8}.{index & 255}", 1), 1.0 + index / 100)
    for _ in range(100):
        engine.handle_timer(engine.deadline() or 0.0)
    assert engine.statistics().contacts == 0


def test_b12_a_stolen_proof_is_worth_nothing() -> None:
    """Somebody else's proof under an id of one's own does not fit the id."""
    universe = Universe(3, seed=9)
    victim, owner = universe.at(address_of(0)), universe.at(address_of(1))
    thief: Address = ("10.66.0.1", 1)
    victim.receive(m.encode_frame(m.Ping(b"1" * 8, b"\x11" * 20, 0, b"", bytes(60))), thief, universe.now)
    challenges = [m.decode_frame_untrusted(d) for d, to in victim.transmits() if to == thief]
    (challenge,) = [c for c in challenges if isinstance(c, m.Ping)]
    owner.receive(m.encode_frame(challenge), thief, universe.now)
    proofs = [m.decode_frame_untrusted(d) for d, to in owner.transmits() if to == thief]
    (proof,) = [p for p in proofs if isinstance(p, m.Pong)]
    stolen = m.Pong(proof.tid, b"\x11" * 20, 0, proof.observed, b"", proof.node_key, proof.signature)
    victim.receive(m.encode_frame(stolen), thief, universe.now)
    assert victim.statistics().counters["proof-id"] == 1
    assert thief not in [address for _, address in victim.contacts()]


def _relay(asker: DhtEngine, owner: DhtEngine, thief: Address, way_out: Address, now: float) -> None:
    """The thief names the owner's id, and has the owner sign the asker's challenge."""
    asker.transmits()
    owner.transmits()
    asker.receive(m.encode_frame(m.Ping(b"1" * 8, owner.node_id, 0, b"", bytes(60))), thief, now)
    sent = [(m.decode_frame_untrusted(data), data) for data, to in asker.transmits() if to == thief]
    (challenge,) = [data for message, data in sent if isinstance(message, m.Ping)]
    owner.receive(challenge, way_out, now)
    answers = [(m.decode_frame_untrusted(data), data) for data, to in owner.transmits() if to == way_out]
    (proof,) = [data for message, data in answers if isinstance(message, m.Pong)]
    asker.receive(proof, thief, now)


def test_b12_a_relayed_proof_is_refused() -> None:
    """A challenge passed on through the port that was asked: the owner's proof names the thief."""
    universe = Universe(2, seed=9)
    asker = lone_engine(5)
    thief: Address = ("10.66.0.1", 1)
    _relay(asker, universe.at(address_of(1)), thief, thief, universe.now)
    assert asker.contacts() == []
    assert asker.statistics().counters["proof-relayed"] == 1


def _public_asker(witnesses: int) -> tuple[DhtEngine, DhtEngine]:
    """A node that so many others see at 8.8.8.8, and the owner of an id that it does not know yet."""
    asker, owner = lone_engine(5), lone_engine(6)
    for index in range(witnesses):
        witness = lone_engine(100 + index)
        address: Address = (f"9.9.{index}.9", 4000)
        asker.start_ping(address, 1.0)
        (ping,) = [data for data, to in asker.transmits() if to == address]
        witness.receive(ping, ("8.8.8.8", 4000), 1.0)
        (pong,) = [d for d, _ in witness.transmits() if isinstance(m.decode_frame_untrusted(d), m.Pong)]
        asker.receive(pong, address, 1.0)
        asker.transmits()
    return asker, owner


def test_b12_a_relay_with_two_addresses_is_refused_too() -> None:
    """Four others see us at another address than the one that the proof names."""
    asker, owner = _public_asker(witnesses=4)
    _relay(asker, owner, ("6.6.6.6", 1), ("6.6.6.7", 1), 1.0)
    assert asker.contacts() == []
    assert asker.statistics().counters["proof-relayed"] == 1


def test_b12_an_honest_proof_names_us() -> None:
    """The same node, asked where it is, is admitted: also from another port, as behind many NATs."""
    asker, owner = _public_asker(witnesses=4)
    here: Address = ("7.7.7.7", 4000)
    _relay(asker, owner, here, ("8.8.8.8", 4001), 1.0)
    assert asker.contacts() == [(owner.node_id, here)]


def test_b12_too_few_witnesses_judge_nobody() -> None:
    """With three of them a node can't tell its own address yet, and believes the proof."""
    asker, owner = _public_asker(witnesses=3)
    _relay(asker, owner, ("6.6.6.6", 1), ("6.6.6.7", 1), 1.0)
    assert asker.contacts() == [(owner.node_id, ("6.6.6.6", 1))]


def test_b13_one_lost_datagram_costs_nobody_its_place() -> None:
    """At 20 % loss for ten minutes no live contact leaves a table for good, and records are found."""
    universe = Universe(15, seed=10)
    universe.link.loss = 0.2
    writer, reader = universe.addresses()[0], universe.addresses()[9]
    found = 0
    for seed in range(10):
        record = inbox_record(seed)
        universe.at(writer).start_store(record.encode(), universe.now)
        universe.do(writer)
        universe.link.run(10.0)
        find = universe.at(reader).start_find(record.storage_key, universe.now)
        universe.do(reader)
        universe.wait(reader, FindDone, find)
        found += any(e.op == find for e in universe.seen(reader, ValueFound))
        universe.link.run(50.0)
    assert found == 10
    assert min(len(node.contacts()) for node in universe.nodes) >= 12


def test_b14_a_request_names_no_code() -> None:
    """There is one table of kinds; an unknown one is a wrong frame."""
    engine = lone_engine()
    for name in ("ping", "rpc_ping", "__init__", 8, 0, 16, 255, -1):
        engine.receive(
            b"\x04" + msgspec.msgpack.encode([name, bytes(8), bytes(20), 0, b"", b""]), STRANGER, 1.0
        )
    assert engine.statistics().counters == {"rejected-frame": 8}
    assert not hasattr(engine, "no_such_thing")
