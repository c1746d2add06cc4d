"""Delivery: pushed at once, acknowledged back, and an honest "nobody is there"."""

from __future__ import annotations

import pytest

from meshcall.dht import DeliverDone, DeliverProgress, Notified
from meshcall.dht import messages as m
from meshcall.limits import DHT_REPLICAS
from tests.unit.dht.test_engine import watch
from tests.unit.dht.universe import Universe, inbox_record


def test_the_caller_hears_that_it_reached_the_callees_machine() -> None:
    """One round trip after the push, from the node that pushed it, with no second lookup."""
    universe = Universe(50, seed=61)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offer = inbox_record(1)
    watch(universe, callee, offer.storage_key)
    start = universe.now
    number = universe.at(caller).start_deliver(offer.encode(), start)
    universe.do(caller)
    rung = universe.wait(callee, Notified)[0]
    assert universe.link.run_until(lambda: acked(universe, caller, number) > 0, limit=1.0)
    assert universe.now - start <= rung + 0.06
    universe.link.run(3.0)
    assert universe.at(caller).statistics().operations == 0


def acked(universe: Universe, caller: tuple[str, int], number: int) -> int:
    """Most watchers that any progress told of."""
    progress = [e for e in universe.seen(caller, DeliverProgress) if e.op == number]
    return max((e.acked for e in progress), default=0)


def test_a_dead_watcher_is_not_acknowledged() -> None:
    """Its holders push in vain: watchers are told, but none that has it; the operation ends all the same."""
    universe = Universe(20, seed=62)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offer = inbox_record(1)
    watch(universe, callee, offer.storage_key)
    universe.link.detach(callee)
    number = universe.at(caller).start_deliver(offer.encode(), universe.now)
    done = universe.wait(caller, DeliverDone, number)[1]
    assert (done.watchers, done.acked) == (1, 0)
    universe.link.run(4.0)
    assert acked(universe, caller, number) == 0
    assert universe.at(caller).statistics().operations == 0


def test_a_direct_delivery_is_acknowledged_by_its_reply() -> None:
    """The callee itself was asked: its reply says that it has the record."""
    universe = Universe(4, seed=63)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offer = inbox_record(1)
    universe.at(callee).start_watch(offer.storage_key, universe.now)
    universe.do(callee)
    number = universe.at(caller).start_deliver(offer.encode(), universe.now, at=(callee,), only=True)
    assert universe.wait(caller, DeliverDone, number)[1].acked == 1


def test_forged_acknowledgements_do_nothing() -> None:
    """From another address, or for another transaction, they are counted and dropped."""
    universe = Universe(10, seed=64)
    engine = universe.nodes[0]
    number = engine.start_deliver(inbox_record(1).encode(), universe.now)
    sent = [(m.decode_frame_untrusted(data), to) for data, to in engine.transmits()]
    tids = [(frame.tid, to) for frame, to in sent if isinstance(frame, m.Deliver)]
    assert tids
    for tid, _ in tids:
        engine.receive(m.encode_frame(m.Acked(tid, b"\x31" * 20, 0, 9)), ("10.66.0.1", 1), universe.now)
    engine.receive(m.encode_frame(m.Acked(bytes(8), b"\x31" * 20, 0, 9)), tids[0][1], universe.now)
    assert engine.statistics().counters["unsolicited"] == len(tids) + 1
    assert not [e for e in engine.events() if isinstance(e, DeliverProgress) and e.op == number]


@pytest.mark.parametrize("dead", [0.0, 0.4])
def test_nobody_there_is_told_within_three_seconds(dead: float) -> None:
    """Nobody watches: the caller hears so in time, also when many of the nodes it asks are dead."""
    universe = Universe(60, seed=65)
    caller = universe.join(router=False)
    universe.kill(dead, spare=frozenset({caller}))
    for index in range(8):
        number = universe.at(caller).start_deliver(inbox_record(700 + index).encode(), universe.now)
        took, done = universe.wait(caller, DeliverDone, number)
        assert took <= 3.0
        assert done.watchers == 0
        assert done.stored >= DHT_REPLICAS // 2
