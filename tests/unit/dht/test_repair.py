"""Readers keep presences alive at the closest nodes, and nothing beyond its time."""

from __future__ import annotations

from meshcall.address import Address
from meshcall.dht import FindDone
from meshcall.limits import DHT_FIND_QUORUM, DHT_REPAIRS_MAX
from meshcall.record.codec import Record
from tests.unit.dht.test_engine import get, put
from tests.unit.dht.universe import Universe, inbox_record, presence_record


def copies(universe: Universe, record: Record) -> list[Address]:
    """Who has it."""
    return [
        a
        for a in universe.addresses()
        if record.encode() in universe.at(a)._core.store.get(record.storage_key, universe.now)
    ]


def lose_holders(universe: Universe, record: Record, count: int) -> None:
    """The closest ``count`` holders die."""
    for address in universe.true_closest(record.storage_key, count):
        universe.link.detach(address)


def test_a_reader_puts_a_presence_where_it_is_missing() -> None:
    """Four of eight holders die; a find makes eight again, with no more than four stores."""
    universe = Universe(40, seed=81)
    record = presence_record(1, ttl=600)
    put(universe, universe.true_closest(record.storage_key, 40)[-1], record.encode())
    universe.link.run(1.0)
    lose_holders(universe, record, 4)
    left = len(copies(universe, record))
    reader = universe.true_closest(record.storage_key, 40)[-1]
    assert get(universe, reader, record.storage_key) == [record.encode()]
    universe.link.run(1.0)
    assert len(copies(universe, record)) == left + DHT_REPAIRS_MAX
    assert universe.counters()["repaired"] == DHT_REPAIRS_MAX


def test_other_records_are_not_repaired() -> None:
    """An offer is its sender's business: it lives for a minute, and its sender repeats it."""
    universe = Universe(30, seed=82)
    record = inbox_record(1)
    put(universe, universe.true_closest(record.storage_key, 30)[-1], record.encode())
    lose_holders(universe, record, 4)
    get(universe, universe.true_closest(record.storage_key, 26)[-1], record.storage_key)
    assert universe.counters()["repaired"] == 0


def test_a_dead_record_is_gone_everywhere_within_a_minute() -> None:
    """Readers repair it all its life, the last one shortly before its end: nobody has it 60 s after that."""
    universe = Universe(30, seed=83)
    record = presence_record(1, ttl=300)
    start = universe.now
    put(universe, universe.true_closest(record.storage_key, 30)[-1], record.encode())
    for count, when in enumerate((100.0, 200.0, 235.0, 239.0), 1):
        universe.link.run(start + when - universe.now)
        lose_holders(universe, record, 2)
        reader = universe.true_closest(record.storage_key, 30)[-count]
        assert get(universe, reader, record.storage_key) == [record.encode()]
    universe.link.run(1.0)
    assert len(copies(universe, record)) >= 4
    universe.link.run(start + 300.0 + 60.0 - universe.now)
    assert copies(universe, record) == []
    for address in universe.addresses():
        assert get(universe, address, record.storage_key) == []


def test_no_version_of_a_record_outlives_its_time_among_churn() -> None:
    """Its owner stores a newer one each half life, readers repair, nodes die and come; then the owner stops.

    Each version is gone everywhere 60 s after the ttl of its own store, whoever brought copies to whom.
    """
    ttl, rounds = 240.0, 4
    universe = Universe(30, seed=87)
    owner = universe.join(router=False)
    ends: list[tuple[Record, float]] = []

    def check() -> None:
        for record, end in ends:
            if universe.now > end + 60.0:
                assert copies(universe, record) == []

    for seq in range(1, rounds + 1):
        record = presence_record(1, seq=seq, ttl=int(ttl), fill=bytes([seq]))
        put(universe, owner, record.encode())
        ends.append((record, universe.now + ttl))
        for _ in range(3):
            lose_holders(universe, record, 1)
            routers = [a for a in universe.addresses() if a != owner]
            newcomer = universe.add(universe.engine(f"newcomer {len(universe.nodes)}"))
            universe.at(newcomer).start_bootstrap(routers[:3], universe.now)
            universe.do(newcomer)
            universe.link.run(ttl / 6 - 2.0)
            reader = universe.random.choice(universe.addresses())
            assert record.encode() in get(universe, reader, record.storage_key)
            universe.link.run(2.0)
            check()
    assert universe.counters()["repaired"] > 0
    late = universe.true_closest(record.storage_key, 30)[-1]
    universe.link.run(max(0.0, ends[-1][1] - 70.0 - universe.now))
    assert record.encode() in get(universe, late, record.storage_key)
    universe.link.run(ends[-1][1] + 60.5 - universe.now)
    check()
    assert get(universe, late, record.storage_key) == []
    assert sum(node.statistics().records.values for node in map(universe.at, universe.addresses())) == 0


def test_the_newest_presence_is_the_one_repaired() -> None:
    """Some holders have an older one: they get the newer, and the reader is told of both."""
    universe = Universe(30, seed=84)
    old, new = presence_record(1, seq=1, ttl=600), presence_record(1, seq=2, ttl=600, fill=b"\7")
    owner = universe.true_closest(old.storage_key, 30)[-1]
    put(universe, owner, old.encode())
    universe.link.run(1.0)
    away = universe.true_closest(old.storage_key, 3)
    engines = {address: universe.at(address) for address in away}
    for address in away:
        universe.link.detach(address)
    put(universe, owner, new.encode())
    universe.link.run(3.0)
    for address, engine in engines.items():
        universe.link.attach(address, engine)
    universe.link.run(70.0)
    reader = universe.true_closest(old.storage_key, 30)[-2]
    assert new.encode() in get(universe, reader, old.storage_key)
    universe.link.run(1.0)
    assert set(away) <= set(copies(universe, new))


def test_a_find_waits_for_a_quorum() -> None:
    """It says that it is done when at least three nodes were heard."""
    universe = Universe(30, seed=85)
    record = presence_record(1)
    put(universe, universe.true_closest(record.storage_key, 30)[-1], record.encode())
    reader = universe.true_closest(record.storage_key, 30)[-2]
    number = universe.at(reader).start_find(record.storage_key, universe.now)
    done = universe.wait(reader, FindDone, number)[1]
    assert done.requests >= DHT_FIND_QUORUM


def test_copies_take_no_place_from_owners() -> None:
    """Repairs fill at most half of a key's places, and the same octets take one place."""
    store = Universe(1, seed=86).nodes[0]._core.store
    for index in range(20):
        store.put(presence_record(1, seq=index + 1, fill=bytes([index])), f"45.{index}.1.1", 0.0, age=5)
        store.put(presence_record(1, seq=1, fill=b"\0"), f"46.{index}.1.1", 0.0, age=5)
    assert len(store) == 4
    owner = store.put(presence_record(1, seq=99), "47.1.1.1", 0.0)
    assert owner.kept
    assert store.put(presence_record(2, ttl=100), "47.1.1.1", 0.0, age=100) == "too-old"
