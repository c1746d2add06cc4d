"""The figures of a network of 50 at 50 ms round trip, in virtual time, with generous bounds."""

from __future__ import annotations

from statistics import median

import pytest

from meshcall.dht import Notified, StoreDone, ValueFound
from tests.unit.dht.universe import Universe, inbox_record

OPERATIONS = 12


@pytest.mark.parametrize(
    ("dead", "put_goal", "put_max"), [(0.0, 0.30, 0.45), (0.2, 0.60, 1.0), (0.4, 0.60, 1.2)]
)
def test_store_find_and_push(dead: float, put_goal: float, put_max: float) -> None:
    """A store, a find and a pushed delivery take the few round trips that they need, also among the dead.

    The watches are older than the deaths, so their holders are among the dead.
    """
    universe = Universe(50, seed=1)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offers = [inbox_record(1000 + index) for index in range(OPERATIONS)]
    for offer in offers:
        universe.at(callee).start_watch(offer.storage_key, universe.now)
    universe.do(callee)
    universe.link.run(5.0)
    universe.kill(dead, spare=frozenset({callee, caller}))
    pushes, puts, gets = [], [], []
    for offer in offers:
        number = universe.at(caller).start_deliver(offer.encode(), universe.now)
        universe.do(caller)
        pushes.append(universe.wait(callee, Notified, limit=3.0)[0])
        universe.at(caller).cancel(number, universe.now)
        universe.link.run(1.0)
    for index in range(OPERATIONS):
        writer, reader = universe.random.sample(universe.addresses(), 2)
        record = inbox_record(index)
        number = universe.at(writer).start_store(record.encode(), universe.now)
        universe.do(writer)
        took, done = universe.wait(writer, StoreDone, number)
        assert done.stored >= 4
        puts.append(took)
        universe.link.run(2.0)
        number = universe.at(reader).start_find(record.storage_key, universe.now)
        universe.do(reader)
        gets.append(universe.wait(reader, ValueFound, number)[0])
    print(f"seed {universe.seed}, dead {dead}: put {median(puts):.3f}/{max(puts):.3f} s,", end=" ")
    print(f"get {median(gets):.3f}/{max(gets):.3f} s, push {median(pushes):.3f}/{max(pushes):.3f} s")
    assert median(puts) <= put_goal
    assert max(puts) <= put_max
    assert median(gets) <= 0.11
    assert median(pushes) <= 0.13
    assert max(pushes) <= 0.5
