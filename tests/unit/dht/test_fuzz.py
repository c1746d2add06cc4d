"""Octets of any kind, and replies that are never longer than what a stranger may provoke."""

from __future__ import annotations

import gc
import random
import time

import msgspec
import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine, StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.dht.core import digest
from meshcall.limits import (
    DATAGRAM_MAX,
    DHT_AMPLIFICATION_MAX,
    DHT_FIND_REQUEST_MIN,
    DHT_READS_PER_SECOND,
    DHT_VERIFY_MAX,
)
from tests.unit.dht.universe import Universe, address_of, inbox_record, presence_record

ME = b"\x31" * 20
STRANGER: Address = ("10.200.0.1", 4000)


def samples(universe: Universe) -> list[bytes]:
    """One honest frame of every kind."""
    record = inbox_record(1).encode()
    key = inbox_record(1).storage_key
    seen = b"\x0a\0\0\1\x10\0"
    tid, token = b"12345678", b"\1" * 8
    nodes = (b"\x09" * 20 + b"\x0a\1\1\1\1\1") * 5
    frames: list[m.Message] = [
        m.Ping(tid, ME, 0, b"c" * 16, b""),
        m.FindNode(tid, ME, 0, key, bytes(300)),
        m.FindValue(tid, ME, 0, key, b"\x11", b"\2" * 16, bytes(300)),
        m.Store(tid, ME, 0, token, record, 0),
        m.Deliver(tid, ME, 0, token, record, key, token),
        m.Watch(tid, ME, 0, token, key, 30, 1),
        m.Notify(tid, ME, 0, key, record, token, 0),
        m.Pong(tid, ME, 0, seen, token, b"k" * 32, b"s" * 64),
        m.Nodes(tid, ME, 0, seen, token, nodes, b""),
        m.Values(tid, ME, 0, seen, token, nodes, b"", b"\3" * 8, [record], bytes(2)),
        m.Stored(tid, ME, 0, seen, 1),
        m.Delivered(tid, ME, 0, seen, 1, 1, 0),
        m.Acked(tid, ME, 0, 1),
        m.DialBack(tid, ME, 0, token, bytes(8)),
        m.Dial(tid, ME, 0, token, bytes(8), seen),
        m.Dialling(tid, ME, 0, seen, 1),
        m.Vouch(tid, ME, 0, token, seen),
        m.Vouched(tid, ME, 0, seen, 1),
        m.RelayAsk(tid, ME, 0, token, bytes(32), bytes(240)),
        m.RelayGrant(tid, ME, 0, seen, 0, bytes(180)),
        m.Dialled(tid, ME, 0, bytes(8)),
        m.Watching(tid, ME, 0, seen, 30),
        m.Noted(tid, ME, 0, seen, 1),
        m.Refused(tid, ME, 0, seen, 1, token),
    ]
    return [m.encode_frame(frame) for frame in frames]


def mutate(rng: random.Random, frame: bytes) -> bytes:
    """One of: bits flipped, cut, extended, octets replaced, two frames joined, all random."""
    data = bytearray(frame)
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        data += rng.randbytes(rng.randrange(1, 40))
    elif kind == 3:
        start = rng.randrange(len(data))
        data[start : start + 8] = rng.randbytes(8)
    elif kind == 4:
        data = data[: rng.randrange(len(data))] + data[rng.randrange(len(data)) :]
    else:
        data = bytearray(b"\x04" + rng.randbytes(rng.randrange(0, 1300)))
    return bytes(data)


def test_fifty_thousand_datagrams() -> None:
    """No exception, at most 50 ms of CPU each, nobody in the table, counted by reason, and it still works."""
    universe = Universe(6, seed=1)
    victim = universe.at(address_of(0))
    rng = random.Random(20)
    honest = samples(universe)
    contacts = sorted(victim.contacts())
    # A request of the victim's own is open all the time, so that replies are matched against something
    slowest = 0.0
    for index in range(50_000):
        if index % 500 == 0:
            victim.start_find(rng.randbytes(20), universe.now)
            victim.start_watch(rng.randbytes(20), universe.now) if index % 5000 == 0 else None
            open_tids = [data[4:12] for data, _ in victim.transmits()] or [b"12345678"]
            universe.clock.advance(0.5)
            victim.handle_timer(universe.now)
        frame = rng.choice(honest)
        if rng.random() < 0.3:
            frame = frame.replace(b"12345678", rng.choice(open_tids))
        if rng.random() < 0.9:
            frame = mutate(rng, frame)
        source = (f"10.99.{rng.randrange(256)}.{rng.randrange(1, 255)}", rng.randrange(1, 65536))
        if rng.random() < 0.2:
            source = rng.choice(contacts)[1]
        gc.disable()  # a full collection of the test run's own heap is not the engine's time
        started = time.thread_time()
        victim.receive(frame, source, universe.now)
        slowest = max(slowest, time.thread_time() - started)
        gc.enable()
        if index % 50 == 0:
            victim.transmits()
            victim.events()
    statistics = victim.statistics()
    assert slowest < 0.05
    assert statistics.counters["rejected-frame"] > 10_000
    assert statistics.counters["rejected-size"] > 100
    assert statistics.counters["unsolicited"] > 1_000
    assert {address for _, address in victim.contacts()} <= {address for _, address in contacts}
    assert statistics.records.values == 0
    assert statistics.watches_held == 0
    victim.transmits()
    victim.receive(m.encode_frame(m.Ping(b"stillup?", ME, 1, b"", b"")), STRANGER, universe.now)
    replies = [m.decode_frame_untrusted(data) for data, to in victim.transmits() if to == STRANGER]
    assert [type(reply) for reply in replies] == [m.Pong]
    # And it still stores and finds
    universe.link.run(60.0)
    number = victim.start_store(inbox_record(3).encode(), universe.now)
    universe.do(address_of(0))
    assert universe.wait(address_of(0), StoreDone, number)[1].stored >= 1
    reader = address_of(3)
    find = universe.at(reader).start_find(inbox_record(3).storage_key, universe.now)
    universe.do(reader)
    assert universe.wait(reader, ValueFound, find)[1].record == inbox_record(3).encode()


def test_strangers_cost_a_bounded_number_of_challenges() -> None:
    """Ten thousand new node ids from as many addresses: at most 32 challenges are open at a time."""
    universe = Universe(seed=2)
    engine = universe.at(universe.add(universe.engine("x")))
    for index in range(10_000):
        node_id = random.Random(index).randbytes(20)
        source = (f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", 9)
        ping = m.encode_frame(m.Ping(bytes(8), node_id, 0, b"", bytes(60)))
        engine.receive(ping, source, universe.now)
    pings = [d for d, _ in engine.transmits() if isinstance(m.decode_frame_untrusted(d), m.Ping)]
    assert len(pings) == DHT_VERIFY_MAX
    # None of them has shown that it is where it says it is: nothing is sent there twice
    universe.clock.advance(0.5)
    engine.handle_timer(universe.now)
    assert engine.transmits() == []
    assert engine.statistics().counters["verify-full"] == DHT_READS_PER_SECOND - DHT_VERIFY_MAX


def test_challenges_signed_per_second_are_bounded() -> None:
    """A flood of challenges costs at most 500 signatures a second; pings without one are still answered."""
    universe = Universe(seed=3)
    engine = universe.at(universe.add(universe.engine("x")))
    for index in range(600):
        ping = m.Ping(index.to_bytes(8, "big"), ME, 1, b"c" * 16, bytes(40))
        engine.receive(m.encode_frame(ping), ("10.200.1.1", 1 + index), universe.now)
    assert len(engine.transmits()) == 500
    assert engine.statistics().counters["signatures-full"] == 100
    engine.receive(m.encode_frame(m.Ping(bytes(8), ME, 1, b"", b"")), STRANGER, universe.now)
    assert len(engine.transmits()) == 1


def _full_node(universe: Universe) -> DhtEngine:
    """A node with a full table and sixteen records under one key."""
    address = address_of(0)
    engine = universe.at(address)
    for index in range(16):
        record = inbox_record(1, seq=index + 1, fill=bytes([index])) if index < 8 else None
        record = record or presence_record(1, seq=index, fill=bytes([index]))
        source: Address = (f"10.3.3.{index + 1}", 9)
        engine.receive(
            m.encode_frame(m.Store(bytes(8), ME, 1, b"", record.encode(), 0)), source, universe.now
        )
        (refused,) = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == source]
        assert isinstance(refused, m.Refused)
        store = m.Store(bytes(8), ME, 1, refused.token, record.encode(), 0)
        engine.receive(m.encode_frame(store), source, universe.now)
        engine.transmits()
    assert engine.statistics().records.values >= 8
    return engine


@pytest.fixture(scope="module")
def full() -> tuple[Universe, DhtEngine]:
    """A node that has a lot to say."""
    universe = Universe(25, seed=4)
    return universe, _full_node(universe)


KEY = inbox_record(1).storage_key
RECORD = inbox_record(1).encode()


@pytest.mark.parametrize("source", [("10.200.0.1", 9), ("fd00::77", 9)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    "request_",
    [
        m.Ping(bytes(8), ME, 1, b"", b""),
        m.Ping(bytes(8), ME, 0, b"", b""),
        m.Ping(bytes(8), ME, 0, b"c" * 16, b""),
        m.Ping(bytes(8), ME, 0, b"c" * 16, bytes(16)),
        m.FindNode(bytes(8), ME, 0, KEY, b""),
        m.FindNode(bytes(8), ME, 0, KEY, bytes(100)),
        m.FindNode(bytes(8), ME, 0, KEY, bytes(350)),
        m.FindValue(bytes(8), ME, 0, KEY, b"", b"", b""),
        m.FindValue(bytes(8), ME, 0, KEY, b"", b"", bytes(100)),
        m.FindValue(bytes(8), ME, 0, KEY, b"", b"", bytes(350)),
        m.FindValue(bytes(8), ME, 0, KEY, b"", b"", bytes(1000)),
        m.Store(bytes(8), ME, 0, b"", b"x", 0),
        m.Store(bytes(8), ME, 0, b"", RECORD, 0),
        m.Deliver(bytes(8), ME, 0, b"", RECORD, KEY, b""),
        m.Deliver(bytes(8), ME, 0, b"", b"x", b"", b""),
        m.Watch(bytes(8), ME, 0, b"", KEY, 30, 1),
        m.Notify(bytes(8), ME, 0, KEY, b"x", b"", 0),
        m.Notify(bytes(8), ME, 0, KEY, RECORD, b"", 0),
    ],
    ids=m.summary,
)
def test_no_request_of_a_stranger_is_amplified(
    full: tuple[Universe, DhtEngine], request_: m.Request, source: Address
) -> None:
    """All that one datagram sets off towards an address without a token is at most three times as long."""
    universe, engine = full
    engine.transmits()
    frame = m.encode_frame(request_)
    engine.receive(frame, source, universe.now)
    back = sum(len(data) for data, to in engine.transmits() if to == source)
    assert back <= DHT_AMPLIFICATION_MAX * len(frame)


def test_a_padded_find_gets_a_record_at_once(full: tuple[Universe, DhtEngine]) -> None:
    """At 400 octets the reply has room for the largest record that the node holds, and nodes besides."""
    universe, engine = full
    empty = m.FindValue(bytes(8), ME, 1, KEY, b"", b"", b"")
    pad = m.padding(empty, DHT_FIND_REQUEST_MIN)
    engine.transmits()
    engine.receive(m.encode_frame(m.FindValue(bytes(8), ME, 1, KEY, b"", b"", pad)), STRANGER, universe.now)
    (data,) = [data for data, to in engine.transmits() if to == STRANGER]
    values = m.decode_frame_untrusted(data)
    assert isinstance(values, m.Values)
    assert len(values.values) >= 1
    assert len(values.nodes4) >= 26
    assert len(data) <= DATAGRAM_MAX


def test_what_is_known_is_not_sent_again(full: tuple[Universe, DhtEngine]) -> None:
    """A reader that names what it has gets the rest."""
    universe, engine = full
    known = b""
    seen: set[bytes] = set()
    for _ in range(20):
        empty = m.FindValue(bytes(8), ME, 1, KEY, b"", known, b"")
        pad = m.padding(empty, DHT_FIND_REQUEST_MIN)
        engine.transmits()
        engine.receive(
            m.encode_frame(m.FindValue(bytes(8), ME, 1, KEY, b"", known, pad)), STRANGER, universe.now
        )
        (data,) = [data for data, to in engine.transmits() if to == STRANGER]
        values = m.decode_frame_untrusted(data)
        assert isinstance(values, m.Values)
        assert not seen & set(values.values)
        seen |= set(values.values)
        known = values.held
        if not values.values:
            break
        known = b"".join(digest(record) for record in seen)
    assert len(seen) == engine.statistics().records.values


def test_frames_of_future_versions_are_counted() -> None:
    """First octets 0x05 to 0x0F belong to versions that we do not speak."""
    engine = Universe().engine("x")
    for octet in range(0x05, 0x10):
        engine.receive(bytes([octet]) + msgspec.msgpack.encode([1]), STRANGER, 1.0)
    assert engine.statistics().counters == {"rejected-version": 11}
