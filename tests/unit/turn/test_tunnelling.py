"""When a node takes to a tunnel, and when it leaves it: a machine in virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from meshcall.errors import UsageError
from meshcall.limits import (
    TUNNEL_AFTER,
    TUNNEL_GATEWAYS_KEPT,
    TUNNEL_PROBE,
    TUNNEL_PROBE_MAX,
    TUNNEL_RACERS,
    TUNNEL_RETRY_MAX,
    TUNNEL_SILENCE,
    TUNNEL_SILENT_NODES,
    TUNNEL_STAGGER,
)
from meshcall.turn.gateways import Gateway, Gateways, Source, is_gateway, of_node, parse_gateway
from meshcall.turn.tunnelling import Carry, Command, Open, Probe, Release, State, Tunnelling

NODE = ("5.0.9.9", 4000)
ONE, TWO, THREE = (Gateway(f"5.0.0.{n}", 443) for n in (1, 2, 3))


class World:
    """A machine with its timer; all that it wants is kept."""

    def __init__(self, *gateways: Gateway) -> None:
        self.now = 100.0
        self.gateways = Gateways()
        self.gateways.add(gateways, Source.USER)
        self.machine = Tunnelling(self.gateways, self.now)
        self.told: list[tuple[float, Command]] = []

    def look(self) -> list[Command]:
        """Carry out what is due now."""
        found = self.machine.look(self.now)
        self.told += [(round(self.now - 100.0, 3), command) for command in found]
        return found

    def wait(self, seconds: float) -> list[Command]:
        """Let time pass, with the timer on time; what was wanted."""
        before, end = len(self.told), self.now + seconds
        self.look()
        for _ in range(10_000):
            due = self.machine.deadline()
            if due is None or due > end:
                break
            assert due > self.now or self.machine.look(self.now) == [], "a deadline that is past is served"
            self.now = max(self.now, due)
            self.look()
        else:
            raise AssertionError("the timer never rests")
        self.now = end
        self.look()
        return [command for _, command in self.told[before:]]

    def opened(self, gateway: Gateway) -> list[Command]:
        """It lends an address."""
        self.machine.opened(gateway, self.now)
        return self.look()

    def tunnelled(self) -> World:
        """By the first gateway."""
        self.wait(TUNNEL_AFTER)
        self.opened(ONE)
        assert self.machine.state is State.TUNNELLED
        return self


def test_silence_after_the_start_leads_to_gateways_within_a_second() -> None:
    """Several are tried, each a little later; the first that lends carries, another is kept warm."""
    world = World(ONE, TWO, THREE)
    world.machine.sent(NODE, world.now)
    assert world.wait(TUNNEL_AFTER - 0.01) == []
    assert world.wait(0.4) == [Open(ONE), Open(TWO), Open(THREE)]
    assert world.told[-1][0] == TUNNEL_AFTER + 2 * TUNNEL_STAGGER < 1.0
    assert world.opened(TWO) == [Carry(TWO)]
    assert world.opened(ONE) == []
    assert (world.machine.current, world.machine.spare) == (TWO, ONE)
    assert world.opened(THREE) == [Release(THREE)]


def test_an_answer_by_udp_keeps_the_node_from_tunnels() -> None:
    """However slow the rest is; also when gateways are being tried already."""
    world = World(ONE, TWO)
    world.wait(TUNNEL_AFTER - 0.01)
    world.machine.heard(world.now)
    assert world.wait(60) == []
    late = World(ONE)
    assert late.wait(TUNNEL_AFTER) == [Open(ONE)]
    late.machine.heard(late.now)
    assert late.look() == [Release(ONE)]
    assert late.wait(60) == []


def test_udp_works_again() -> None:
    """It is looked for ever more rarely, and found: tunnels carry nothing new from then on."""
    world = World(ONE, TWO).tunnelled()
    world.opened(TWO)
    wanted = world.wait(2 * TUNNEL_PROBE_MAX)
    probes = [at for at, command in world.told if command == Probe()]
    assert set(wanted) == {Probe()}
    assert probes[0] == TUNNEL_AFTER + TUNNEL_PROBE
    assert max(b - a for a, b in pairwise(probes)) <= TUNNEL_PROBE_MAX
    world.machine.heard(world.now)
    assert set(world.look()) == {Release(ONE), Release(TWO)}
    assert world.machine.state is State.DIRECT


def test_a_lost_packet_is_no_blockade_and_a_blockade_is() -> None:
    """Where UDP has worked, one dead node is waited for; many nodes that are silent together are not."""
    world = World(ONE)
    world.machine.heard(world.now)
    for _ in range(10):
        world.machine.sent(NODE, world.now)
    assert world.wait(30) == []
    for number in range(TUNNEL_SILENT_NODES):
        world.machine.sent(("5.0.9.1", 4000 + number), world.now)
    assert world.wait(TUNNEL_SILENCE) == [Open(ONE)]


def test_the_spare_takes_over_at_once() -> None:
    """And another spare is looked for; without one, all gateways are tried."""
    world = World(ONE, TWO, THREE).tunnelled()
    world.opened(TWO)
    world.machine.ended(ONE, world.now)
    assert world.look()[0] == Carry(TWO)
    world.machine.ended(TWO, world.now)
    assert world.machine.state is State.SEEKING
    assert Open(THREE) in world.wait(60)


def test_a_change_of_network_begins_anew() -> None:
    """What was open is given up: the stream may be dead without a word. UDP is looked for at once."""
    world = World(ONE, TWO).tunnelled()
    world.machine.network_changed(world.now)
    wanted = world.look()
    assert wanted[0] == Release(ONE) or Release(ONE) in wanted
    assert {Probe(), Open(ONE)} <= set(wanted)
    direct = World(ONE)
    direct.machine.heard(direct.now)
    direct.machine.network_changed(direct.now)
    assert direct.wait(TUNNEL_AFTER) == [Open(ONE)]


def test_dead_gateways_are_tried_ever_more_rarely() -> None:
    """So many at a time, and each with a pause that doubles up to a minute."""
    world = World(*(Gateway(f"5.0.1.{n}", 443) for n in range(8)))
    began: dict[Gateway, list[float]] = {}
    for _ in range(3000):
        for command in world.wait(0.1):
            assert isinstance(command, Open)
            began.setdefault(command.gateway, []).append(world.now)
            world.machine.failed(command.gateway, world.now)
    assert len(began) == 8
    for times in began.values():
        pauses = [b - a for a, b in pairwise(times)]
        assert pauses == sorted(pauses) or pauses[-1] >= TUNNEL_RETRY_MAX - 1
        assert len(times) < 14
    silent = World(*(Gateway(f"5.0.1.{n}", 443) for n in range(8)))
    assert len(silent.wait(10)) == TUNNEL_RACERS


def test_gateways_that_others_name_are_bounded() -> None:
    """Those of the user stay, and come first; those that worked come before what is only named."""
    gateways = Gateways()
    gateways.add([ONE], Source.USER)
    gateways.add((Gateway(f"5.1.0.{n}", 443) for n in range(100)), Source.NETWORK)
    gateways.add([TWO], Source.LENT)
    assert len(gateways) == TUNNEL_GATEWAYS_KEPT + 1
    gateways.worked(TWO)
    assert gateways.next(0.0, lambda one: False) == ONE
    assert gateways.next(0.0, lambda one: one == ONE) == TWO
    assert gateways.best() == [TWO], "the user's has not been seen to work"
    gateways.worked(ONE)
    assert gateways.best() == [ONE, TWO]


def test_how_gateways_are_written() -> None:
    """A scheme before HOST:PORT; what has none is a node to ask by UDP."""
    for text in ("tls:example.org:443", "tcp:5.0.0.1:80", "tls:[2a05:d000::1]:443"):
        assert is_gateway(text)
        assert parse_gateway(text).text == text
    assert not is_gateway("example.org:4000")
    assert not is_gateway("tls:443"), "a host of that name"
    for text in ("tls:host", "tls:host:0", "udp:host:4000", "tls::443"):
        with pytest.raises(UsageError):
            parse_gateway(text)
    assert of_node(("5.0.0.1", 4000), 443) == [Gateway("5.0.0.1", 443), Gateway("5.0.0.1", 4000)]
