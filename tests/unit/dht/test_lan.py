"""Where a LAN meets the internet: neither is told of the other's addresses."""

from __future__ import annotations

import pytest

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.dht.compact import is_public, unpack_nodes_untrusted
from tests.unit.dht.test_attacks import ask
from tests.unit.dht.universe import Universe

NEIGHBOUR: Address = ("192.168.1.9", 4000)
KEY = bytes(range(20))


def test_a_mixed_node_tells_the_internet_nothing_of_its_lan() -> None:
    """It has a neighbour in its table, and names it to neighbours only."""
    print("seed 95")
    universe = Universe(6, seed=95, public=True)
    neighbour = universe.add(universe.engine("neighbour", lan=True), NEIGHBOUR)
    mixed = universe.at(universe.join())
    mixed.start_bootstrap([neighbour], universe.now)
    universe.do(universe.addresses()[-1])
    universe.link.run(5.0)
    assert NEIGHBOUR in [address for _, address in mixed.contacts()]

    def told_to(asker: Address) -> set[Address]:
        request = m.FindNode(b"findnode", b"\x31" * 20, 1, universe.at(NEIGHBOUR).node_id, bytes(600))
        reply = next(r for r in ask(mixed, request, asker, universe.now) if isinstance(r, m.Nodes))
        return {address for _, address in unpack_nodes_untrusted(reply.nodes4, reply.nodes6)}

    assert NEIGHBOUR in told_to(("192.168.1.77", 4000))
    stranger = told_to(("99.1.2.3", 4000))
    assert stranger
    assert all(is_public(address) for address in stranger)


def test_a_lan_only_node_is_not_sent_to_the_internet_by_its_neighbours() -> None:
    """What a neighbour that has both knows of the internet is counted and left alone."""
    print("seed 96")
    universe = Universe(6, seed=96, public=True)
    mixed = universe.at(universe.join())
    gate: Address = ("192.168.1.8", 4000)
    universe.link.attach(gate, mixed)  # its other interface
    alone = universe.engine("alone", lan=True)
    universe.add(alone, NEIGHBOUR)
    alone.start_bootstrap([gate], universe.now)
    universe.do(NEIGHBOUR)
    universe.link.run(10.0)
    assert alone.statistics().counters["martian"] > 0
    assert [address for _, address in alone.contacts() if is_public(address)] == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (("5.1.2.3", 4000), True),
        (("2a05:d000::1", 4000), True),
        (("10.0.0.1", 4000), False),
        (("100.64.0.1", 4000), False),
        (("127.0.0.1", 4000), False),
        (("169.254.1.1", 4000), False),
        (("fd00::1", 4000), False),
        (("fe80::1%eth0", 4000), False),
        (("::ffff:5.1.2.3", 4000), False),
        (("5.1.2.3", 0), False),
        (("224.0.0.1", 4000), False),
        (("a.name", 4000), False),
    ],
)
def test_what_is_public(address: Address, public: bool) -> None:
    """Only what means the same to everybody; names never."""
    assert is_public(address) is public
