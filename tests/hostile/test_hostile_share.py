"""A share of the nodes lies, or sits beside a key: readers get the record, seldom nothing, never another."""

from __future__ import annotations

import pytest

from meshcall.dht import FindDone, StoreDone, ValueFound
from meshcall.limits import DHT_PER_NETWORK
from netsim.universe import Settings
from netsim.universe.hostile import KINDS
from netsim.universe.scenario import Outcome, Scenario
from tests.unit.dht.test_attacks import KEY, sybil_network
from tests.unit.dht.universe import inbox_record

SEED = 20_241_123
FOURTEEN = (
    "silent", "garbage", "an integer for the nodes", "a map for the reply", "deep nesting",
    "ids one octet short", "more nodes than allowed", "martian addresses", "endless closer nodes",
    "all nodes at one victim", "a new id each time", "wrong ids", "junk for values", "forged values",
)  # fmt: skip
"""The kinds of reply that are known to break or to hold up other implementations; the rest is our own."""


def run(share: float, kind: str | None, nodes: int = 50) -> Outcome:
    """One universe of 50 nodes and 8 clients: 20 puts, 30 gets, 20 pushes."""
    print("seed", SEED)
    settings = Settings(nodes=nodes, clients=8, operations=20, hostile=share, hostile_kind=kind, seed=SEED)
    outcome = Scenario(settings).run()
    print(
        f"{share:.0%} {kind or 'all kinds'}: put {outcome.put_failed}, get {outcome.get_failed}, push "
        f"{outcome.push_failed} failed; {outcome.wrong_values} wrong values"
    )
    return outcome


def asked(outcome: Outcome) -> int:
    """How many gets there were."""
    return outcome.settings.operations + outcome.settings.operations // 2


def test_all_fourteen_kinds_of_reply_are_among_ours() -> None:
    """And more, which aim at this engine."""
    assert set(FOURTEEN) <= set(KINDS)
    assert len(FOURTEEN) == 14


@pytest.mark.parametrize("kind", KINDS)
def test_a_fifth_of_the_nodes_gives_one_kind_of_hostile_reply(kind: str) -> None:
    """20 % of the nodes, at random: >= 95 % of gets and puts succeed, never a wrong value or an exception."""
    outcome = run(0.2, kind)
    assert outcome.wrong_values == 0
    assert outcome.get_failed <= 0.05 * asked(outcome)
    assert outcome.put_failed <= 0.05 * outcome.settings.operations
    assert outcome.push_failed <= 0.05 * outcome.settings.operations
    assert outcome.lookup_failed == 0


def test_a_fifth_of_the_nodes_gives_all_kinds_of_hostile_replies() -> None:
    """The same with every kind in turn, in a larger network."""
    outcome = run(0.2, None, nodes=200)
    assert outcome.wrong_values == 0
    assert outcome.get_failed <= 0.05 * asked(outcome)
    assert outcome.put_failed <= 0.05 * outcome.settings.operations
    assert outcome.lookup_failed == 0


@pytest.mark.timeout(300)
def test_a_fifth_of_1000_nodes_invents_nodes() -> None:
    """Where a lookup meets many of them: all succeeds, and copies lie on the closest nodes."""
    outcome = run(0.2, "endless closer nodes", nodes=1000)
    assert outcome.wrong_values == outcome.stale_only == 0
    assert outcome.get_failed == outcome.put_failed == outcome.push_failed == outcome.lookup_failed == 0
    assert sum(outcome.coverage) / len(outcome.coverage) >= 0.97


def test_half_of_the_nodes_hostile_is_reported_and_never_gives_a_wrong_value() -> None:
    """No share is promised at 50 %: what succeeds is printed. What is handed out is still true."""
    outcome = run(0.5, None, nodes=100)
    assert outcome.wrong_values == 0
    assert outcome.lookup_failed == 0
    assert outcome.get_failed < asked(outcome)


@pytest.mark.parametrize("seed", [45, 46, 47])
def test_twenty_sybils_of_one_network_beside_a_predictable_key(seed: int) -> None:
    """40 honest nodes, 20 sybils of one /24 with ids ground to the key: >= 95 % of lookups succeed."""
    print("seed", seed)
    universe = sybil_network(seed)
    users = universe.addresses()[:40]
    for node in universe.nodes:
        assert sum(there[0].startswith("99.1.2.") for _, there in node.contacts()) <= 4 * DHT_PER_NETWORK
    record = inbox_record(1).encode()
    store = universe.at(users[7]).start_store(record, universe.now)
    assert universe.wait(users[7], StoreDone, store)[1].stored >= 6
    found = 0
    for reader in users:
        number = universe.at(reader).start_find(KEY, universe.now)
        universe.wait(reader, FindDone, number)
        values = [e.record for e in universe.seen(reader, ValueFound) if e.op == number]
        assert values in ([], [record])
        found += bool(values)
    print(f"{found} of 40 found")
    assert found >= 38
