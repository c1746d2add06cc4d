"""What stands between a stranger's frame and a table, a store or the application, gate by gate."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine, FindDone, LookupDone, Notified, ValueFound
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_address, pack_nodes
from meshcall.dht.operations import LookupOperation
from meshcall.identity.keys import SigningKey
from meshcall.limits import (
    DHT_AMPLIFICATION_MAX,
    DHT_FIND_VALUES_MAX,
    DHT_LOOKUP_CANDIDATES_MAX,
    DHT_LOOKUP_TIME_MAX,
    DHT_VALUES_PER_KEY,
)
from meshcall.testing import seeded_random
from tests.unit.dht.universe import Universe, inbox_record, presence_record

HERE: Address = ("9.9.9.9", 4000)
THERE: Address = ("8.8.8.8", 4000)


def engine_of(seed: int, *, router: bool = True) -> DhtEngine:
    """An engine that knows nobody."""
    key = SigningKey.from_seed(bytes([seed]) * 32)
    return DhtEngine(key, random=seeded_random(seed), now=0.0, router=router)


def frames(engine: DhtEngine, to: Address) -> list[m.Frame]:
    """What the engine sends there now."""
    return [m.decode_frame_untrusted(data) for data, address in engine.transmits() if address == to]


def challenged(asker: DhtEngine, owner: DhtEngine) -> m.Pong:
    """The owner's answer to the challenge that the asker sends when it hears of it."""
    hello = m.Ping(b"1" * 8, owner.node_id, 0, b"", bytes(60))
    asker.receive(m.encode_frame(hello), THERE, 1.0)
    (challenge,) = [frame for frame in frames(asker, THERE) if isinstance(frame, m.Ping)]
    owner.receive(m.encode_frame(challenge), HERE, 1.0)
    (pong,) = [frame for frame in frames(owner, HERE) if isinstance(frame, m.Pong)]
    return pong


@pytest.mark.parametrize(("octet", "admitted"), [(None, True), (0, False), (40, False), (63, False)])
def test_a_proof_needs_its_signature(octet: int | None, admitted: bool) -> None:
    """The same proof with one bit of its signature changed opens no table."""
    asker, owner = engine_of(1), engine_of(2)
    pong = challenged(asker, owner)
    signature = bytearray(pong.signature)
    if octet is not None:
        signature[octet] ^= 1
    forged = m.Pong(
        pong.tid, pong.sender, pong.flags, pong.observed, pong.token, pong.node_key, bytes(signature)
    )
    asker.receive(m.encode_frame(forged), THERE, 1.0)
    assert [address for _, address in asker.contacts()] == ([THERE] if admitted else [])
    assert asker.statistics().counters.get("proof-signature", 0) == (not admitted)


def test_a_holder_can_only_push_valid_records_of_that_key() -> None:
    """A node that holds our watch may be anybody: forged, damaged and foreign records go no further."""
    universe = Universe(10, seed=23)
    callee = universe.join(router=False)
    engine = universe.at(callee)
    record = inbox_record(1)
    operation = engine.start_watch(record.storage_key, universe.now)
    universe.do(callee)
    universe.link.run(2.0)
    holder = engine.watch_holders(operation)[0]
    good = record.encode()
    for number, (data, reason) in enumerate(
        [
            (good[:-1] + bytes([good[-1] ^ 1]), "notify-signature"),
            (inbox_record(2).encode(), "notify-key"),
            (good[:100], "notify-size"),
        ]
    ):
        notify = m.Notify(bytes([number]) * 8, b"\x31" * 20, 0, record.storage_key, data, b"", 0)
        engine.receive(m.encode_frame(notify), holder, universe.now)
        assert frames(engine, holder) == [], "it is not acknowledged"
        assert engine.statistics().counters[reason] == 1
    assert engine.events() == []
    engine.receive(
        m.encode_frame(m.Notify(b"right---", b"\x31" * 20, 0, record.storage_key, good, b"", 0)),
        holder,
        universe.now,
    )
    assert engine.events() == [Notified(good, record.storage_key, holder)]


@pytest.mark.parametrize("router", [True, False])
def test_an_ephemeral_node_keeps_nothing_for_others(router: bool) -> None:
    """Store and deliver with a good token are answered "not kept"."""
    engine = engine_of(1, router=router)
    record = inbox_record(1).encode()
    engine.receive(m.encode_frame(m.Ping(b"1" * 8, b"\x11" * 20, 1, b"", b"")), THERE, 1.0)
    (pong,) = frames(engine, THERE)
    assert isinstance(pong, m.Pong)
    engine.receive(m.encode_frame(m.Store(b"2" * 8, b"\x11" * 20, 1, pong.token, record, 0)), THERE, 1.0)
    (stored,) = frames(engine, THERE)
    assert isinstance(stored, m.Stored)
    engine.receive(
        m.encode_frame(m.Deliver(b"3" * 8, b"\x11" * 20, 1, pong.token, record, b"", b"")), THERE, 1.0
    )
    (delivered,) = frames(engine, THERE)
    assert isinstance(delivered, m.Delivered)
    assert (stored.stored, delivered.stored) == (int(router), int(router))
    assert engine.statistics().records.values == int(router)


def test_a_short_find_gets_a_short_answer() -> None:
    """An unpadded request is answered with what fits into three times its length, not with silence."""
    universe = Universe(20, seed=5)
    engine = universe.nodes[0]
    find = m.encode_frame(m.FindNode(b"1" * 8, b"\x11" * 20, 1, bytes(20), bytes(60)))
    engine.receive(find, THERE, universe.now)
    sent = [data for data, to in engine.transmits() if to == THERE]
    assert len(sent) == 1
    assert isinstance(m.decode_frame_untrusted(sent[0]), m.Nodes)
    assert sum(map(len, sent)) <= DHT_AMPLIFICATION_MAX * len(find)


def test_impossible_addresses_in_a_reply_are_not_asked() -> None:
    """A public node names multicast, private and loopback addresses: nothing is sent there."""
    engine = engine_of(1)
    engine.start_lookup(bytes(20), 1.0, at=[THERE])
    (find,) = frames(engine, THERE)
    bad: list[Address] = [("224.0.0.251", 5353), ("192.168.1.1", 80), ("127.0.0.1", 22), ("9.9.9.9", 0)]
    good: Address = ("7.7.7.7", 4000)
    nodes4, nodes6 = pack_nodes([(bytes([n]) * 20, address) for n, address in enumerate([*bad, good])])
    reply = m.Nodes(find.tid, b"\x11" * 20, 0, pack_address(HERE), b"t" * 8, nodes4, nodes6)
    engine.receive(m.encode_frame(reply), THERE, 1.0)
    asked = {to for data, to in engine.transmits() if isinstance(m.decode_frame_untrusted(data), m.FindNode)}
    assert asked == {good}
    assert engine.statistics().counters["martian"] == len(bad)


# --- lookups that others answer as they like ---

Answer = Callable[[m.FindNode | m.FindValue, Address], m.Nodes | m.Values]


def play(engine: DhtEngine, answer: Answer, delay: float, until: float) -> list[tuple[float, object]]:
    """Answer every find after ``delay`` seconds; the events of the engine, each with its time."""
    now = 1.0
    events: list[tuple[float, object]] = []
    open_ones: dict[bytes, tuple[float, bytes, Address]] = {}
    seen: set[bytes] = set()
    while now < until:
        for data, to in engine.transmits():
            find = m.decode_frame_untrusted(data)
            if isinstance(find, m.FindNode | m.FindValue) and find.tid not in seen:
                seen.add(find.tid)
                open_ones[find.tid] = (now + delay, m.encode_frame(answer(find, to)), to)
        events += [(now, event) for event in engine.events()]
        now = min([when for when, _, _ in open_ones.values()] + [engine.deadline() or until, until])
        for tid, (when, frame, at) in list(open_ones.items()):
            if when <= now:
                del open_ones[tid]
                engine.receive(frame, at, now)
        engine.handle_timer(now)
    return events


def public(number: int) -> Address:
    """An address that was not named yet."""
    return f"7.{number >> 16}.{number >> 8 & 255}.{number & 255}", 4000


def named(number: int, target: bytes) -> bytes:
    """The id of the node at ``public(number)``: the higher, the closer to the target."""
    return (int.from_bytes(target, "big") ^ (2**159 - number)).to_bytes(20, "big")


def number_of(address: Address) -> int:
    """The reverse of ``public``."""
    _, high, middle, low = map(int, address[0].split("."))
    return high << 16 | middle << 8 | low


def reply(find: m.FindNode | m.FindValue, at: Address, numbers: range) -> m.Nodes:
    """The node at ``at`` names others."""
    nodes4, nodes6 = pack_nodes([(named(n, find.target), public(n)) for n in numbers])
    sender = named(number_of(at), find.target)
    return m.Nodes(find.tid, sender, 0, pack_address(HERE), b"t" * 8, nodes4, nodes6)


def test_a_lookup_is_bounded_in_nodes_and_time() -> None:
    """Slow nodes that each name a closer one are left in time; a thousand names are not remembered."""
    engine = engine_of(1)
    engine.start_lookup(bytes(20), 1.0, at=[public(1)])

    def one(find: m.FindNode | m.FindValue, at: Address) -> m.Nodes:
        return reply(find, at, range(number_of(at) + 1, number_of(at) + 2))

    play(engine, one, 1.4, 1.0 + DHT_LOOKUP_TIME_MAX + 0.1)
    assert engine.statistics().operations == 0
    assert engine.statistics().counters["lookup-time"] == 1

    engine = engine_of(1)
    operation = engine._operations[engine.start_lookup(bytes(20), 1.0, at=[public(1)])]
    assert isinstance(operation, LookupOperation)
    remembered: list[int] = []
    fresh = itertools.count(2, 20)

    def many(find: m.FindNode | m.FindValue, at: Address) -> m.Nodes:
        remembered.append(len(operation.lookup._candidates))
        first = next(fresh)
        return reply(find, at, range(first, first + 20))

    play(engine, many, 0.01, 20)
    assert DHT_LOOKUP_CANDIDATES_MAX / 2 < max(remembered) <= DHT_LOOKUP_CANDIDATES_MAX


def test_one_id_counts_once() -> None:
    """Eight addresses that all answer with one id are one node, not the eight closest."""
    engine = engine_of(1)
    engine.start_lookup(bytes(20), 1.0, at=[public(number) for number in range(1, 9)])
    events = play(engine, lambda find, at: reply(find, public(7), range(0)), 0.01, 20)
    (closest,) = [event.closest for _, event in events if isinstance(event, LookupDone)]
    assert [node_id for node_id, _ in closest] == [named(7, bytes(20))]
    assert engine.statistics().counters["duplicate-id"] == 7


def test_a_flooded_key_does_not_flood_the_reader() -> None:
    """However many valid records others return, so many are handed out."""
    engine = engine_of(1)
    key = presence_record(1).storage_key
    engine.start_find(key, 1.0, at=[public(1)])
    made, fresh = itertools.count(1), itertools.count(2, 4)

    def flood(find: m.FindNode | m.FindValue, at: Address) -> m.Values:
        first = next(fresh)
        nodes = reply(find, at, range(first, first + 4))
        records = [presence_record(1, seq=next(made)).encode() for _ in range(3)]
        return m.Values(
            find.tid, nodes.sender, 0, nodes.observed, nodes.token, nodes.nodes4, b"", b"", records, bytes(6)
        )

    events = play(engine, flood, 0.01, 20)
    assert sum(isinstance(event, ValueFound) for _, event in events) == DHT_FIND_VALUES_MAX
    (done,) = [event for _, event in events if isinstance(event, FindDone)]
    assert done.values == DHT_FIND_VALUES_MAX


def values(
    find: m.FindNode | m.FindValue, sender: bytes, records: list[bytes], held: bytes = b""
) -> m.Values:
    """A reply with these records and the names of more."""
    ages = bytes(2 * len(records))
    return m.Values(find.tid, sender, 0, pack_address(HERE), b"t" * 8, b"", b"", held, records, ages)


@pytest.mark.parametrize("valid", [False, True])
def test_one_liar_s_flood_does_not_keep_a_record_out(valid: bool) -> None:
    """It answers first, names ever more and fills every reply, with junk or with records that it signed.

    The holder answers after all of that, and is heard.
    """
    engine = engine_of(1)
    record = inbox_record(1)
    number = engine.start_find(record.storage_key, 1.0, at=[HERE, THERE])
    finds = {to: m.decode_frame_untrusted(data) for data, to in engine.transmits()}
    junk = itertools.count(1)
    asked = 0
    find = finds[HERE]
    while isinstance(find, m.FindValue):
        asked += 1
        records = [next(junk).to_bytes(4, "big") for _ in range(16)]
        if valid:
            records = [presence_record(1, seq=next(junk)).encode() for _ in range(3)]
        held = next(junk).to_bytes(8, "big")
        engine.receive(m.encode_frame(values(find, b"\x66" * 20, records, held)), HERE, 1.0)
        more = [frame for frame in frames(engine, HERE) if isinstance(frame, m.FindValue)]
        find = more[0] if more else m.Ping(b"1" * 8, b"\x66" * 20, 0, b"", b"")
    assert asked == (1 + DHT_VALUES_PER_KEY if valid else 1)
    true = inbox_record(1, seq=999)
    find = finds[THERE]
    assert isinstance(find, m.FindValue)
    engine.receive(m.encode_frame(values(find, b"\x11" * 20, [true.encode()])), THERE, 1.1)
    assert true.encode() in [e.record for e in engine.events() if isinstance(e, ValueFound)]
    engine.cancel(number, 1.1)


def test_a_stolen_id_does_not_keep_its_owner_out() -> None:
    """A liar answers under the id of a node that we were told of; that node's record is still taken."""
    engine = engine_of(1)
    record = inbox_record(1)
    liar, owner, owner_id = public(1), public(2), named(2, record.storage_key)
    engine.start_find(record.storage_key, 1.0, at=[liar, public(3)])
    first = {to: m.decode_frame_untrusted(data) for data, to in engine.transmits()}
    teller = first[public(3)]
    assert isinstance(teller, m.FindValue)
    nodes = reply(teller, public(3), range(2, 3))
    engine.receive(m.encode_frame(nodes_as_values(nodes)), public(3), 1.0)
    (asked,) = [f for f in frames(engine, owner) if isinstance(f, m.FindValue)]
    find = first[liar]
    assert isinstance(find, m.FindValue)
    engine.receive(m.encode_frame(values(find, owner_id, [])), liar, 1.01)
    engine.receive(m.encode_frame(values(asked, owner_id, [record.encode()])), owner, 1.02)
    events = engine.events()
    assert record.encode() in [e.record for e in events if isinstance(e, ValueFound)]


def nodes_as_values(nodes: m.Nodes) -> m.Values:
    """The same nodes as an answer to find_value."""
    return m.Values(
        nodes.tid, nodes.sender, 0, nodes.observed, nodes.token, nodes.nodes4, nodes.nodes6, b"", [], b""
    )


def test_an_id_is_its_owner_s_place_among_the_closest() -> None:
    """Who answers under an id that was said to be elsewhere makes room for the node that is there."""
    engine = engine_of(1)
    target = bytes(20)
    liar, owner, teller = public(256), public(512), public(768)
    engine.start_lookup(target, 1.0, at=[liar, teller])
    finds = {to: m.decode_frame_untrusted(data) for data, to in engine.transmits()}
    to_liar, to_teller = finds[liar], finds[teller]
    assert isinstance(to_liar, m.FindNode)
    assert isinstance(to_teller, m.FindNode)
    engine.receive(m.encode_frame(reply(to_teller, teller, range(512, 513))), teller, 1.0)
    (asked,) = [f for f in frames(engine, owner) if isinstance(f, m.FindNode)]
    engine.receive(m.encode_frame(reply(to_liar, owner, range(0))), liar, 1.01)
    engine.receive(m.encode_frame(reply(asked, owner, range(0))), owner, 1.02)
    (done,) = [event for event in engine.events() if isinstance(event, LookupDone)]
    assert done.closest == ((named(768, target), teller), (named(512, target), owner))
