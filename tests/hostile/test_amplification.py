"""Nobody can have this node send more than three octets for one to an address that did not ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_address
from meshcall.limits import DATAGRAM_MAX, DHT_AMPLIFICATION_MAX
from tests.unit.dht.test_fuzz import _full_node
from tests.unit.dht.universe import Universe, inbox_record

KEY = inbox_record(1).storage_key
RECORD = inbox_record(1).encode()
PADS = (0, 1, 20, 60, 100, 255, 256, 300, 350, 430, 600, 1000, 1100)
TOKENS = (b"", bytes(8), bytes(16))
STRANGER: Address = ("46.200.0.1", 9)


def requests() -> Iterator[m.Request]:
    """Every kind of request, short and long, with and without what makes the answer long."""
    who = b"\x31" * 20
    for flags in (0, m.EPHEMERAL):
        head = (b"fresh---", who, flags)
        for pad in map(bytes, PADS):
            yield m.Ping(*head, b"", pad)
            yield m.Ping(*head, b"c" * 16, pad)
            for target in (KEY, bytes(20), who):
                yield m.FindNode(*head, target, pad)
                for types in (b"", b"\x01", b"\x11"):
                    for have in (b"", bytes(8)):
                        yield m.FindValue(*head, target, types, have, pad)
        for token in TOKENS:
            for record in (b"x", bytes(308), RECORD):
                yield m.Store(*head, token, record, 0)
                yield m.Notify(*head, KEY, record, token, 0)
                for reply_watch in (b"", KEY):
                    yield m.Deliver(*head, token, record, reply_watch, token)
            for lease in (0, 30):
                yield m.Watch(*head, token, KEY, lease, 1)
            yield m.DialBack(*head, token, bytes(8))
            yield m.Dial(*head, token, bytes(8), pack_address(("46.9.9.9", 9)))
            yield m.Vouch(*head, token, pack_address(("46.9.9.9", 9)))
            yield m.RelayAsk(*head, token, bytes(32), bytes(240))


def others() -> Iterator[m.Message]:
    """Every kind of response and notice, to nothing that was asked."""
    head = (b"fresh---", b"\x31" * 20, 0, pack_address(STRANGER))
    yield m.Pong(*head, b"t" * 8, b"", b"")
    yield m.Nodes(*head, b"t" * 8, b"", b"")
    yield m.Values(*head, b"t" * 8, b"", b"", b"", [RECORD], bytes(2))
    yield m.Stored(*head, 1)
    yield m.Delivered(*head, 1, 1, 1)
    yield m.Watching(*head, 30)
    yield m.Noted(*head, 1)
    yield m.Dialling(*head, 1)
    yield m.Vouched(*head, 1)
    yield m.RelayGrant(*head, 0, b"s" * 180)
    yield m.Refused(*head, m.REFUSED_TOKEN, b"t" * 8)
    yield m.Acked(*head[:3], 1)
    yield m.Dialled(*head[:3], bytes(8))


@pytest.fixture(scope="module")
def full() -> tuple[Universe, DhtEngine]:
    """A node with a full table, watches, and sixteen records under one key."""
    universe = Universe(25, seed=4)
    return universe, _full_node(universe)


def sent_to(engine: DhtEngine, victims: frozenset[str], now: float) -> int:
    """Octets towards these addresses from now on, for ten seconds of timers."""
    end, octets = now + 10.0, 0
    while now <= end:
        octets += sum(len(data) for data, to in engine.transmits() if to[0] in victims)
        now = max(now + 0.001, engine.deadline() or end + 1)
        engine.handle_timer(now)
    return octets


def test_no_kind_of_message_is_amplified_from_a_fresh_address(full: tuple[Universe, DhtEngine]) -> None:
    """Each request of each kind, IPv4 and IPv6: all that it sets off, also later, is <= 3.0 times as long."""
    universe, engine = full
    now, worst, count, kinds = universe.now, (0.0, ""), 0, set()
    for request in requests():
        frame = m.encode_frame(request)
        if len(frame) > DATAGRAM_MAX:
            continue
        for family in (4, 6):
            count += 1
            kinds.add(type(request))
            octets = count.to_bytes(2, "big")
            host = f"46.{octets[0]}.{octets[1]}.1" if family == 4 else f"2600:{count:x}::1"
            victims = frozenset({host, "46.9.9.9"})
            engine.transmits()
            engine.receive(frame, (host, 9), now)
            back = sent_to(engine, victims, now)
            worst = max(worst, (back / len(frame), m.summary(request)))
            assert back <= DHT_AMPLIFICATION_MAX * len(frame), m.summary(request)
            now += 11.0
    print(f"{count} requests of {len(kinds)} kinds; most: x {worst[0]:.2f} for {worst[1]}")
    assert kinds == set(m.Request.__subclasses__())


def test_what_was_not_asked_for_is_not_answered(full: tuple[Universe, DhtEngine]) -> None:
    """Responses and notices of every kind, from a fresh address: not one octet."""
    universe, engine = full
    kinds = set()
    for message in others():
        kinds.add(type(message))
        engine.transmits()
        engine.receive(m.encode_frame(message), STRANGER, universe.now)
        assert [to for _, to in engine.transmits() if to == STRANGER] == []
    assert kinds == {*m.Response.__subclasses__(), *m.Notice.__subclasses__()}


def test_a_token_of_one_address_is_worth_nothing_at_another(full: tuple[Universe, DhtEngine]) -> None:
    """So nobody can have records pushed to somebody else by a watch in its name."""
    universe, engine = full
    engine.receive(
        m.encode_frame(m.Ping(b"12345678", b"\x31" * 20, 1, b"", b"")), STRANGER, universe.now + 10_000
    )
    (pong,) = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == STRANGER]
    assert isinstance(pong, m.Pong)
    victim: Address = ("46.200.0.2", 9)
    watch = m.encode_frame(m.Watch(b"22345678", b"\x31" * 20, 1, pong.token, KEY, 30, 1))
    engine.receive(watch, victim, universe.now + 10_000)
    (refused,) = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == victim]
    assert isinstance(refused, m.Refused)
