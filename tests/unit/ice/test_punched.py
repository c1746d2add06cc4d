"""Agents behind simulated NATs in virtual time: what plain checks can't do, and what helps."""

from __future__ import annotations

import random
import statistics

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.birthday import Probes
from meshcall.ice.candidate import Candidate
from meshcall.ice.pair import candidate_priority
from meshcall.ice.prediction import enclosed_ports, next_port
from tests.unit.ice.net import End, Nat, Net, call

LEFT, RIGHT = "10.0.0.2", "10.0.1.2"
NODES: list[Address] = [(f"45.{n}.0.1", 4600) for n in range(4)]


def ends(net: Net, left: Nat, right: Nat) -> tuple[End, End]:
    """Two ends, each behind its NAT, that have begun to check."""
    pair = (
        net.end(controlling=True).host(LEFT, left),
        net.end(controlling=False).host(RIGHT, right),
    )
    call(net, *pair)
    net.run(limits.PUNCH_HEAD_START)
    return pair


def dependent(ports: str, seed: int = 1) -> Nat:
    """A NAT with a port for each destination."""
    return Nat("198.51.100.10", mapping="port", ports=ports, random=random.Random(seed))


def mapped_of(end: End) -> Address:
    """The reflexive address that an end has told."""
    told = next(one for one in end.candidates if one.kind == "srflx")
    return told.address, told.port


class Fresh:
    """A fresh socket of an end: a check that comes in by it makes it a base."""

    def __init__(self, net: Net, end: End, nat: Nat, port: int) -> None:
        self.base = (LEFT if end is net.ends[0] else RIGHT, port)
        self._net, self._end, self._nat = net, end, nat
        self._adopted = False
        net.attach(self.base, self, nat)

    def send(self, target: Address) -> None:
        """An opening."""
        self._net.send(self._end.agent.lone_check(), self.base, target)

    def seen_by(self, node: Address) -> int:
        """The port that a node sees."""
        return self._nat.outgoing(self.base, node)[1]

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        if not self._adopted:
            self._adopted = True
            priority = candidate_priority("host", base[0], 1)
            self._end.agent.add_local(Candidate("host", "udp", *base, priority), self._net.now)
        self._end.receive(data, source, base)


@pytest.mark.parametrize("ports", ["sequential", "random"])
def test_plain_checks_do_not_cross(ports: str) -> None:
    """A port for each destination against a filter by port: no path, as without our help."""
    net = Net()
    left, right = ends(net, dependent(ports), Nat("198.51.100.20"))
    net.run(20.0)
    assert left.over
    assert right.over


@pytest.mark.parametrize("others", [0, 1, 2])
def test_the_port_between_two_questions_is_a_candidate(others: int) -> None:
    """Also when other hosts of the same network take ports in between."""
    net = Net()
    nat = dependent("sequential")
    left, right = ends(net, nat, Nat("198.51.100.20"))
    fresh = Fresh(net, left, nat, 6000)
    samples = {0: fresh.seen_by(NODES[0]), 1: fresh.seen_by(NODES[1])}
    for number in range(others):
        nat.outgoing(("10.0.0.99", 1000 + number), NODES[0])
    fresh.send(mapped_of(right))
    samples |= {3: fresh.seen_by(NODES[2]), 4: fresh.seen_by(NODES[3])}
    found = enclosed_ports(samples, 2)
    assert len(found) == 1 + others
    told = [Candidate("srflx", "udp", nat.address, port, 1_000_000) for port in found]
    net.at(0.3, lambda: right.agent.add_remote(told, net.now))
    assert net.run(3.0, lambda: left.connected and right.connected)
    assert left.path[0] == fresh.base
    left.send(b"\x80media")
    net.run(0.1)
    assert right.data == [b"\x80media"]


@pytest.mark.parametrize("left_shift", [0, 1, 15])
@pytest.mark.parametrize("right_shift", [0, 7, 15])
def test_two_sequential_nats_meet(left_shift: int, right_shift: int) -> None:
    """Sixteen sockets each, all at the other's aim; others may take 15 ports meanwhile at both ends."""
    net = Net()
    nats = dependent("sequential"), Nat("198.51.100.20", mapping="port", ports="sequential")
    pair = ends(net, *nats)
    aims: list[Address] = []
    for number, (end, nat) in enumerate(zip(pair, nats, strict=True)):
        survey = Fresh(net, end, nat, 5900)
        samples = {n: survey.seen_by(node) for n, node in enumerate(NODES)}
        port = next_port(samples, len(samples), limits.PUNCH_MEETING)
        assert port is not None
        aims.append((nat.address, port))
        for other in range((left_shift, right_shift)[number]):
            nat.outgoing(("10.0.9.9", 1000 + other), NODES[0])
    for end, nat, aim in zip(pair, nats, reversed(aims), strict=True):
        for socket in [Fresh(net, end, nat, 6000 + n) for n in range(limits.PUNCH_MEETING)]:
            socket.send(aim)
    assert net.run(3.0, lambda: all(one.connected for one in pair))


def probe(seed: int) -> int | None:
    """Probes of one try until both ends are connected; None: they never were."""
    net = Net(seed)
    nat = dependent("random", seed)
    left, right = ends(net, nat, Nat("198.51.100.20"))
    for number in range(limits.PUNCH_SOCKETS):
        Fresh(net, left, nat, 6000 + number).send(mapped_of(right))
    probes = Probes(net.random.randbytes, net.now)
    while not (left.connected and right.connected) and not probes.done:
        for port in probes.due(net.now):
            net.send(right.agent.lone_check(), (RIGHT, 5000), (nat.address, port))
        net.run(0.01)
    met = net.run(0.2, lambda: left.connected and right.connected)
    return probes.sent if met else None


def test_random_ports_are_found_by_chance() -> None:
    """20 of 20 tries within the cap: 256 sockets against one, 500 probes a second."""
    tries = [probe(seed) for seed in range(20)]
    assert None not in tries
    assert 50 < statistics.median(filter(None, tries)) < 500
