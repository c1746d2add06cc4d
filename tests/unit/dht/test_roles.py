"""Routers by proof: who is reached by strangers routes, who is behind a NAT never does."""

from __future__ import annotations

from collections import Counter

import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_address
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_DIAL_STABLE
from meshcall.relay_role import lends_by_itself
from meshcall.testing import seeded_random
from tests.unit.dht.test_attacks import ask, token_of
from tests.unit.dht.universe import Universe


class Nat:
    """Lets in only what comes from an IP that was sent to within two minutes (RFC 4787 REQ-5, REQ-8)."""

    def __init__(self, engine: DhtEngine) -> None:
        self.engine = engine
        self.now = 0.0
        self.open: dict[str, float] = {}
        self.refused: Counter[str] = Counter()

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """From outside."""
        self.now = now
        if now - self.open.get(address[0], -1000.0) <= 120.0:
            self.engine.receive(data, address, now)
        else:
            self.refused[address[0]] += 1

    def handle_timer(self, now: float) -> None:
        """From inside."""
        self.now = now
        self.engine.handle_timer(now)

    def deadline(self) -> float | None:
        """From inside."""
        return self.engine.deadline()

    def transmits(self) -> list[tuple[bytes, Address]]:
        """To the outside: opens the way back."""
        out = self.engine.transmits()
        self.open |= {to[0]: self.now for _, to in out}
        return out


def test_a_node_that_strangers_reach_becomes_a_router() -> None:
    """Not before it was stable for minutes; then by itself, and others put it into their tables."""
    print("seed 91")
    universe = Universe(14, seed=91, public=True)
    address = universe.join(router=False)
    engine = universe.at(address)
    universe.link.run(DHT_DIAL_STABLE - 60.0)
    assert not engine.routes
    assert universe.link.run_until(lambda: engine.routes, limit=1800.0)
    assert engine.statistics().counters["dialled"] >= 3
    universe.link.run(1200.0)
    assert engine.routes
    assert sum(address in [a for _, a in node.contacts()] for node in universe.nodes[:14]) >= 7
    assert lends_by_itself(engine.statistics(), False, {address[0]}), "and it lends a relay"
    assert not lends_by_itself(engine.statistics(), False, {"192.168.1.2"})
    engine.network_changed(universe.now)
    assert not engine.routes


def test_a_node_behind_a_nat_stays_ephemeral() -> None:
    """Dials from strangers do not pass its NAT, those that pass are from nodes that it spoke to."""
    print("seed 92")
    universe = Universe(14, seed=92, public=True)
    address = universe.join(router=False)
    engine = universe.at(address)
    nat = Nat(engine)
    nat.open = {a[0]: universe.now for a in universe.addresses()}
    universe.link.attach(address, nat)
    for _ in range(30):
        universe.link.run(60.0)
        assert not engine.routes
    assert nat.refused


def test_the_role_that_was_given_stays() -> None:
    """On a LAN every node routes at once; nobody is asked to dial."""
    universe = Universe(4, seed=93)
    lan = universe.engine("lan", router=False, lan=True)
    assert lan.routes
    address = universe.add(lan)
    lan.start_bootstrap([universe.place(0)], universe.now)
    universe.do(address)
    universe.link.run(120.0)
    assert lan.routes
    assert "sent-dialback" not in lan.statistics().counters


# --- attacks ---


@pytest.fixture
def dialler() -> tuple[DhtEngine, float]:
    """A router that knows nobody."""
    return DhtEngine(
        SigningKey.from_seed(bytes(32)), random=seeded_random("dialler"), now=0.0, router=True
    ), 1.0


def test_a_dial_needs_a_token_and_a_place_where_a_node_can_be(dialler: tuple[DhtEngine, float]) -> None:
    """Without the token nothing is sent; nor to a LAN, a group, port 0 or the helper itself."""
    engine, now = dialler
    helper: Address = ("45.1.1.1", 9)
    dial = m.Dial(b"12345678", b"\x31" * 20, 0, b"", b"nonce678", pack_address(("46.1.1.1", 9)))
    engine.receive(m.encode_frame(dial), helper, now)
    assert [to for _, to in engine.transmits() if to != helper] == []
    token = token_of(engine, helper, now)
    for index, bad in enumerate(["10.0.0.1", "127.0.0.1", "224.0.0.1", "0.1.1.1", "45.1.1.1"]):
        dial = m.Dial(bytes([index] * 8), b"\x31" * 20, 0, token, b"nonce678", pack_address((bad, 9)))
        (reply,) = ask(engine, dial, helper, now)
        assert isinstance(reply, m.Dialling)
        assert reply.dialling == 0
    assert engine.statistics().counters["dial-martian"] == 5


def test_dials_are_few_small_and_not_twice_to_a_victim(dialler: tuple[DhtEngine, float]) -> None:
    """A liar's thousand requests with one victim: one datagram, a short one; in all 5 a second."""
    engine, now = dialler
    helper: Address = ("45.1.1.1", 9)
    token = token_of(engine, helper, now)
    victim: list[int] = []
    others = 0
    for index in range(150):
        place = ("46.1.1.1", 1 + index) if index % 2 else (f"47.{index}.1.1", 9)
        dial = m.Dial(index.to_bytes(8, "big"), b"\x31" * 20, 0, token, b"nonce678", pack_address(place))
        frame = m.encode_frame(dial)
        engine.receive(frame, helper, now + index / 1000)
        for data, to in engine.transmits():
            if to[0] == "46.1.1.1":
                victim.append(len(data))
                assert len(data) < len(frame)
            others += to[0].startswith("47.")
    assert len(victim) <= 1
    assert others + len(victim) <= 6


def test_forged_dials_prove_nothing() -> None:
    """A nonce that we did not ask for, and one said by the helper's own network."""
    print("seed 94")
    universe = Universe(6, seed=94, public=True)
    address = universe.join(router=False)
    engine = universe.at(address)
    asked: list[tuple[m.DialBack, Address]] = []
    universe.link.detach(address)
    for _ in range(40):
        now = universe.clock.advance(1.0)
        engine.handle_timer(now)
        frames = [(m.decode_frame_untrusted(data), to) for data, to in engine.transmits()]
        asked += [(frame, to) for frame, to in frames if isinstance(frame, m.DialBack)]
    assert asked
    request, helper = asked[-1]
    near = (helper[0].rsplit(".", 1)[0] + ".99", 9)
    head = (bytes(8), b"\x31" * 20, 0)
    engine.receive(m.encode_frame(m.Dialled(*head, request.nonce)), near, universe.now)
    engine.receive(m.encode_frame(m.Dialled(*head, b"unasked!")), ("99.9.9.9", 9), universe.now)
    counters = engine.statistics().counters
    assert counters["dialled-unasked"] == 2
    assert "dialled" not in counters
