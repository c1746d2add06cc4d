"""Whom a lookup asks on whose word: who invents nodes costs it a few requests, not all that it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.compact import NodeInfo, pack_address, pack_nodes
from meshcall.dht.lookup import Lookup
from meshcall.dht.operations import find_node
from meshcall.identity.keys import SigningKey
from meshcall.limits import (
    DHT_K,
    DHT_LOOKUP_CANDIDATES_MAX,
    DHT_LOOKUP_CREDIT,
)
from meshcall.record.store import RecordStore
from meshcall.testing.clock import seeded_random

TARGET = bytes(20)
STEP = 0.05


def node(bits: int, index: int) -> NodeInfo:
    """A node whose id differs from the target in ``bits`` bits, in a network of its own."""
    return ((1 << bits - 1) + index).to_bytes(20, "big"), (f"45.{bits}.{index}.7", 4000)


@dataclass
class Net:
    """Answers a lookup: nodes that are in ``says`` name those; all others are silent."""

    says: dict[Address, tuple[bytes, list[NodeInfo]]]
    asked: list[Address] = field(default_factory=list)

    def run(self, start: list[NodeInfo], *, paths: int = 1, seconds: float = 8.0) -> Lookup:
        """One lookup whose own side knows ``start``, to its end."""
        random = seeded_random(1)
        engine = DhtEngine(SigningKey.generate(random), random=random, now=0.0, store=RecordStore())
        core = engine._core
        for node_id, address in start:
            core.admit(node_id, address, 0.0)
        lookup = Lookup(
            core,
            TARGET,
            make=find_node(core, TARGET),
            on_answer=lambda candidate, message, now: None,
            on_settled=lambda now: None,
            on_finished=lambda now: None,
            paths=paths,
        )
        lookup.start(0.0)
        now = 0.0
        while not lookup.finished and now < seconds:
            sent = [(m.decode_frame_untrusted(data), address) for data, address in engine.transmits()]
            now += STEP
            engine.handle_timer(now)
            for request, address in sent:
                if isinstance(request, m.FindNode):
                    self.asked += [address] * (address not in self.asked)
                    if address in self.says:
                        engine.receive(self._reply(request, address), address, now)
        return lookup

    def _reply(self, request: m.FindNode, address: Address) -> bytes:
        node_id, nodes = self.says[address]
        four, six = pack_nodes(nodes)
        head = (request.tid, node_id, 0, pack_address(("198.51.99.1", 4000)))
        return m.encode_frame(m.Nodes(*head, b"\1" * 8, four, six))


def living(nodes: list[NodeInfo], names: list[NodeInfo]) -> dict[Address, tuple[bytes, list[NodeInfo]]]:
    """Each of ``nodes`` answers with ``names``."""
    return {address: (node_id, names) for node_id, address in nodes}


def test_who_invents_nodes_loses_its_turn() -> None:
    """Of twenty nodes that do not exist as many are asked as a teller has credit, and the rest is found."""
    liar, honest = node(150, 0), [node(150, i) for i in range(1, 6)]
    near = [node(140, i) for i in range(8)]
    invented = [node(30, i) for i in range(DHT_K)]
    net = Net(living([liar], invented) | living(honest, near) | living(near, near))
    lookup = net.run([liar, *honest])
    assert len({address for _, address in invented} & set(net.asked)) == DHT_LOOKUP_CREDIT
    assert [(c.node_id, c.address) for c in lookup.closest()] == near


def test_each_liar_costs_its_own_credit() -> None:
    """Five liars who invent different nodes take five credits; those who invent the same ones no more."""
    liars, honest = [node(150, i) for i in range(5)], [node(150, i) for i in range(5, 12)]
    near = [node(140, i) for i in range(8)]
    for alike in (False, True):
        says = living(honest, near) | living(near, near)
        for number, liar in enumerate(liars):
            says |= living([liar], [node(30 + number * (not alike), i) for i in range(DHT_K)])
        net = Net(says)
        lookup = net.run([*liars, *honest], paths=2)
        wasted = [address for address in net.asked if address not in says]
        assert DHT_LOOKUP_CREDIT <= len(wasted) <= len(liars) * DHT_LOOKUP_CREDIT
        assert {c.address for c in lookup.closest()} >= {address for _, address in near}


def test_who_names_the_dead_and_the_living_gets_by() -> None:
    """The one node that knows the neighbourhood names as many dead as living nodes: all those are found."""
    guide = node(150, 0)
    mixed = [node(140, i) for i in range(DHT_K)]
    alive = mixed[::2]
    net = Net(living([guide], mixed) | {address: (node_id, []) for node_id, address in alive})
    lookup = net.run([guide])
    assert [(c.node_id, c.address) for c in lookup.closest()] == alive[:8]
    assert len(set(net.asked) - set(net.says)) > DHT_LOOKUP_CREDIT


def test_invented_nodes_drive_no_honest_ones_out() -> None:
    """Ten liars name 200 nodes, more than a lookup remembers, before one honest node names the real ones."""
    liars, honest = [node(150, i) for i in range(10)], node(151, 0)
    near = [node(140, i) for i in range(8)]
    says = living([honest], near) | living(near, near)
    for number, liar in enumerate(liars):
        says |= living([liar], [node(30 + number, i) for i in range(DHT_K)])
    assert len(liars) * DHT_K > DHT_LOOKUP_CANDIDATES_MAX
    net = Net(says)
    lookup = net.run([*liars, honest], paths=2)
    assert {c.address for c in lookup.closest()} >= {address for _, address in near}
    assert len(lookup._candidates) <= DHT_LOOKUP_CANDIDATES_MAX


def test_real_nodes_under_wrong_ids_are_still_asked() -> None:
    """A liar names the addresses of real nodes, under ids too near or too far: all are found."""
    liar, honest = node(150, 0), [node(150, i) for i in range(1, 6)]
    near = [node(140, i) for i in range(DHT_K)]
    for bits in (20, 159):
        lies = [(node(bits, i)[0], address) for i, (_, address) in enumerate(near)]
        net = Net(living([liar], lies) | living(honest, near) | living(near, near))
        lookup = net.run([liar, *honest])
        assert [(c.node_id, c.address) for c in lookup.closest()] == near[:8]
