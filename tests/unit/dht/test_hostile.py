"""Nodes that lie: lookups end in time, never raise, never give a wrong value."""

from __future__ import annotations

import random

import pytest

from meshcall.address import Address
from meshcall.dht import FindDone, StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.limits import DHT_LOOKUP_RPCS_MAX, DHT_LOOKUP_TIME_MAX, DHT_PATHS
from tests.unit.dht.hostile import LIES, Hostile, Lie
from tests.unit.dht.universe import Universe, inbox_record


def turn(universe: Universe, share: float, lie: Lie) -> list[Hostile]:
    """Part of the nodes starts to lie."""
    liars = []
    for address in universe.random.sample(universe.addresses(), int(share * len(universe.nodes))):
        hostile = Hostile(universe.at(address), lie)
        universe.link.detach(address)
        universe.link.attach(address, hostile)
        liars.append(hostile)
    return liars


def honest(universe: Universe) -> list[Address]:
    """Where the nodes are that do not lie."""
    return [a for a in universe.addresses() if not isinstance(universe.link.machine(a), Hostile)]


@pytest.fixture(scope="module")
def network() -> Universe:
    """30 honest nodes; each test turns the same nine of them for itself."""
    return Universe(30, seed=5)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lookup_among_liars_ends_with_the_truth(network: Universe, lie: Lie) -> None:
    """With 30 % liars a stored record is found, nothing else is, all within 10 s and 64 requests."""
    network.random = random.Random(11)
    turn(network, 0.3, lie)
    try:
        users = honest(network)
        writer, reader = users[0], users[1]
        record = inbox_record(1, seq=1 + int(network.now))
        store = network.at(writer).start_store(record.encode(), network.now)
        network.do(writer)
        took, done = network.wait(writer, StoreDone, store, limit=DHT_LOOKUP_TIME_MAX + 2)
        assert took <= DHT_LOOKUP_TIME_MAX + 2
        assert done.stored >= 1
        find = network.at(reader).start_find(record.storage_key, network.now)
        network.do(reader)
        took, found = network.wait(reader, FindDone, find, limit=DHT_LOOKUP_TIME_MAX + 2)
        assert took <= DHT_LOOKUP_TIME_MAX + 0.1
        assert found.requests <= DHT_LOOKUP_RPCS_MAX + 16
        values = {e.record for e in network.seen(reader, ValueFound) if e.op == find}
        assert record.encode() in values
        older = {inbox_record(1, seq=seq).encode() for seq in range(1, record.seq + 1)}
        assert values <= older
    finally:
        for address in network.addresses():
            machine = network.link.machine(address)
            if isinstance(machine, Hostile):
                network.link.attach(address, machine.engine)
        network.link.run(70.0)


def test_a_search_for_nothing_among_liars_ends() -> None:
    """No value, no exception, in time, whatever is answered by a third of the nodes, all kinds at once."""
    universe = Universe(36, seed=8)
    lies = list(LIES.values())
    for index, address in enumerate(universe.addresses()[6:24]):
        hostile = Hostile(universe.at(address), lies[index])
        universe.link.detach(address)
        universe.link.attach(address, hostile)
    reader = universe.addresses()[0]
    for seed in range(5):
        find = universe.at(reader).start_find(inbox_record(500 + seed).storage_key, universe.now)
        universe.do(reader)
        _, done = universe.wait(reader, FindDone, find, limit=DHT_LOOKUP_TIME_MAX + 0.1)
        assert done.values == 0


def test_endless_closer_nodes() -> None:
    """A chain of live nodes that each name a closer one takes one path's share of the 64 requests."""
    universe = Universe(8, seed=2)
    target = inbox_record(3).storage_key
    chain = [(f"10.77.{i // 200}.{i % 200 + 1}", 7) for i in range(200)]

    def lie_at(index: int) -> Lie:
        def lie(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
            goal = int.from_bytes(target, "big")
            nxt = [(max(0, 150 - i), chain[i]) for i in range(index + 1, min(index + 5, len(chain)))]
            nodes = [((goal ^ (1 << bit)).to_bytes(20, "big"), a) for bit, a in nxt]
            own = (goal ^ (1 << max(0, 150 - index))).to_bytes(20, "big")
            return me.reply(request, address, nodes, sender=own if index >= 0 else None)

        return lie

    for index, address in enumerate(chain):
        universe.link.attach(address, Hostile(universe.engine(f"chain {index}"), lie_at(index)))
    entry = universe.addresses()[3]
    liar = Hostile(universe.at(entry), lie_at(-1))
    universe.link.detach(entry)
    universe.link.attach(entry, liar)
    reader = universe.addresses()[0]
    find = universe.at(reader).start_find(target, universe.now)
    universe.do(reader)
    took, done = universe.wait(reader, FindDone, find, limit=DHT_LOOKUP_TIME_MAX + 0.1)
    assert DHT_LOOKUP_RPCS_MAX // DHT_PATHS - 8 <= done.requests <= DHT_LOOKUP_RPCS_MAX
    assert took <= DHT_LOOKUP_TIME_MAX + 0.1


def test_a_victim_named_many_times_is_asked_once() -> None:
    """Twenty invented ids at one address cost that address one request and its repetition."""
    universe = Universe(20, seed=4)
    turn(universe, 0.5, LIES["all nodes at one victim"])
    victim = Hostile(universe.engine("victim"), LIES["no reply"])
    universe.link.attach(("10.66.6.6", 99), victim)
    reader = honest(universe)[0]
    find = universe.at(reader).start_find(inbox_record(77).storage_key, universe.now)
    universe.do(reader)
    universe.wait(reader, FindDone, find, limit=DHT_LOOKUP_TIME_MAX + 0.1)
    assert victim.asked <= 2
