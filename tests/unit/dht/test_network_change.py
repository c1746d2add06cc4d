"""Holders die, machines sleep, networks change: the watches are back at once."""

from __future__ import annotations

import pytest

from meshcall.dht import DhtEngine, Notified
from meshcall.limits import DHT_REPLICAS
from tests.unit.dht.test_engine import watch
from tests.unit.dht.universe import Universe, inbox_record

OFFER = inbox_record(1)


@pytest.mark.parametrize("seed", [71, 72, 73])
def test_all_holders_die_and_eight_new_ones_hold_the_watch_in_15_seconds(seed: int) -> None:
    """The callee notices by itself, and a caller reaches it again."""
    print("seed", seed)
    universe = Universe(40, seed=seed)
    callee, caller = universe.join(router=False), universe.join(router=False)
    number = watch(universe, callee, OFFER.storage_key)
    engine = universe.at(callee)
    universe.link.run(universe.random.random() * 12)
    dead = set(engine.watch_holders(number))
    assert len(dead) == DHT_REPLICAS
    for address in dead:
        universe.link.detach(address)
    start = universe.now

    def held_again() -> bool:
        return len(set(engine.watch_holders(number)) - dead) >= DHT_REPLICAS

    assert universe.link.run_until(held_again, limit=15.0)
    print(f"held again after {universe.now - start:.1f} s")
    universe.at(caller).start_deliver(OFFER.encode(), universe.now)
    universe.do(caller)
    assert universe.wait(callee, Notified)[0] < 1.0


def sleep(universe: Universe, engine: DhtEngine, seconds: float) -> None:
    """The machine is off: others go on, it hears and does nothing."""
    address = next(a for a in universe.addresses() if universe.at(a) is engine)
    universe.link.detach(address)
    universe.link.run(seconds)


def test_after_sleep_the_watch_is_back_within_a_second() -> None:
    """An offer that came meanwhile is pushed then, and the next one at once."""
    universe = Universe(20, seed=74)
    callee, caller = universe.join(router=False), universe.join(router=False)
    watch(universe, callee, OFFER.storage_key)
    engine = universe.at(callee)
    sleep(universe, engine, 50.0)
    universe.at(caller).start_deliver(OFFER.encode(), universe.now)
    universe.do(caller)
    universe.link.run(25.0)
    universe.link.attach(callee, engine)
    universe.link.run(1.0)
    assert [e.record for e in universe.seen(callee, Notified)] == [OFFER.encode()]
    assert engine.statistics().counters["network-changed"] == 1
    assert len(engine.contacts()) == 20


def test_at_a_new_address_the_watch_and_our_address_are_right_within_a_second() -> None:
    """The application says that the network changed: all follows from that."""
    universe = Universe(20, seed=75)
    callee, caller = universe.join(router=False), universe.join(router=False)
    number = watch(universe, callee, OFFER.storage_key)
    engine = universe.at(callee)
    universe.link.detach(callee)
    new = ("10.9.9.9", 4000)
    universe.events[new] = []
    engine.network_changed(universe.now)
    universe.link.attach(new, engine)
    universe.link.run(1.0)
    assert engine.statistics().observed4 == new
    assert len(engine.watch_holders(number)) == DHT_REPLICAS
    universe.at(caller).start_deliver(OFFER.encode(), universe.now)
    universe.do(caller)
    assert universe.wait(new, Notified)[0] <= 0.15


def test_answers_reach_a_caller_whose_address_changed() -> None:
    """The reply watch moves with it."""
    universe = Universe(20, seed=76)
    callee, caller = universe.join(router=False), universe.join(router=False)
    watch(universe, callee, OFFER.storage_key)
    engine = universe.at(caller)
    reply = inbox_record(2)
    engine.start_deliver(OFFER.encode(), universe.now, reply_watch=reply.storage_key)
    universe.do(caller)
    via = universe.wait(callee, Notified)[1].via
    universe.link.run(1.0)
    universe.link.detach(caller)
    new = ("10.9.9.8", 4000)
    universe.events[new] = []
    engine.network_changed(universe.now)
    universe.link.attach(new, engine)
    universe.link.run(1.0)
    universe.at(callee).start_deliver(reply.encode(), universe.now, at=(via,), only=True)
    universe.do(callee)
    assert universe.wait(new, Notified)[1].record == reply.encode()


def test_looking_around_hears_the_new_address_and_forgets_nothing() -> None:
    """The router in front of us has another address now, which only a lost path tells."""
    universe = Universe(20, seed=77)
    callee, caller = universe.join(router=False), universe.join(router=False)
    number = watch(universe, callee, OFFER.storage_key)
    engine = universe.at(callee)
    universe.link.detach(callee)
    new = ("10.9.9.7", 4000)
    universe.events[new] = []
    for _ in range(10):
        engine.look_around(universe.now)  # ten calls break at once
    assert engine.statistics().counters["look-around"] == 1
    contacts = len(engine.contacts())
    assert engine.statistics().observed4 == callee
    universe.link.attach(new, engine)
    universe.link.run(1.0)
    assert engine.statistics().observed4 == new
    assert len(engine.contacts()) == contacts
    assert len(engine.watch_holders(number)) == DHT_REPLICAS
    universe.at(caller).start_deliver(OFFER.encode(), universe.now)
    universe.do(caller)
    assert universe.wait(new, Notified)[0] <= 0.15
