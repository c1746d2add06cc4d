"""Attacks on the network, each by its name. All in virtual time; the seed of a run is printed."""

from __future__ import annotations

import random

import pytest

from meshcall.address import Address
from meshcall.dht import BootstrapDone, DhtEngine, FindDone, LookupDone, Notified, StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.dht.compact import unpack_nodes_untrusted
from meshcall.dht.contact import node_id_of
from meshcall.dht.limiter import READS, Limiter, sender_of
from meshcall.identity.keys import SigningKey
from meshcall.limits import (
    DHT_LIMITER_KEPT,
    DHT_READS_PER_SECOND,
    DHT_REQUESTS_BURST,
    DHT_REQUESTS_PER_SECOND,
    RECORDS_PER_NETWORK,
)
from meshcall.testing import seeded_random
from tests.unit.dht.hostile import LIES, Hostile, Lie
from tests.unit.dht.test_engine import get, put, watch
from tests.unit.dht.universe import Universe, inbox_record, presence_record

KEY = inbox_record(1).storage_key


def ask(engine: DhtEngine, message: m.Request, address: Address, now: float) -> list[m.Frame]:
    """What the engine sends back at once."""
    engine.receive(m.encode_frame(message), address, now)
    return [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to == address]


def token_of(engine: DhtEngine, address: Address, now: float) -> bytes:
    """A write token for ``address``."""
    pong = ask(engine, m.Ping(b"tokenget", b"\x31" * 20, 1, b"", b""), address, now)[0]
    assert isinstance(pong, m.Pong)
    return pong.token


def ground_key(target: bytes, rng: random.Random, tries: int) -> SigningKey:
    """The node key of ``tries`` whose id is closest to ``target``."""
    goal = int.from_bytes(target, "big")
    keys = (SigningKey.from_seed(rng.randbytes(32)) for _ in range(tries))
    return min(keys, key=lambda key: int.from_bytes(node_id_of(key.public), "big") ^ goal)


def test_an_evicting_flood_of_newcomers_only_makes_us_ping() -> None:
    """A full bucket, old contacts silent for a minute: the one silent longest is pinged, and it stays."""
    print("seed 41")
    universe = Universe(44, seed=41)
    engine = universe.nodes[0]
    before = set(engine.contacts())
    universe.link.run(70.0)
    for _ in range(8):
        universe.join()
    assert before - set(engine.contacts()) == set()


def test_martians_named_to_us_are_never_sent_to() -> None:
    """Nodes on the internet that name our LAN, ourselves, groups or ports 0 make us send nothing there."""
    print("seed 42")
    universe = Universe(4, seed=42, public=True)
    engine = universe.nodes[0]
    number = engine.start_lookup(KEY, universe.now)
    bad = ["10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "0.1.2.3", "224.0.0.1", "100.64.0.1"]
    frames = [(m.decode_frame_untrusted(data), to) for data, to in engine.transmits()]
    for request, to in frames:
        if isinstance(request, m.FindNode):
            nodes = b"".join(
                random.Random(i).randbytes(20) + bytes(map(int, ip.split("."))) + b"\x01\x00"
                for i, ip in enumerate(bad)
            )
            nodes += b"\1" * 20 + bytes([45, 0, 99, 9, 0, 0])
            head = (request.tid, universe.at(to).node_id, 0, bytes([45, 0, 0, 7, 15, 160]), b"")
            engine.receive(m.encode_frame(m.Nodes(*head, nodes, b"")), to, universe.now)
    targets = {to[0] for _, to in engine.transmits()}
    assert targets & {*bad, "45.0.99.9"} == set()
    assert engine.statistics().counters["martian"] >= len(bad) + 1
    engine.cancel(number, universe.now)


@pytest.mark.parametrize(
    "source", [("224.0.0.1", 5), ("0.0.0.0", 5), ("45.0.0.9", 0), ("255.255.255.255", 9)]
)
def test_martian_senders_are_not_answered(source: Address) -> None:
    """A request that seems to come from nowhere gets no reply."""
    universe = Universe(2, seed=43)
    engine = universe.nodes[0]
    assert ask(engine, m.Ping(b"12345678", b"\x31" * 20, 1, b"", b""), source, universe.now) == []
    assert engine.statistics().counters["martian-sender"] == 1


def test_strangers_learn_nothing_of_our_lan() -> None:
    """A node with contacts in its LAN names them there, and not to the internet."""
    print("seed 44")
    universe = Universe(6, seed=44)
    engine = universe.nodes[0]
    find = m.FindNode(b"12345678", b"\x31" * 20, 1, KEY, bytes(380))

    def named(address: Address) -> int:
        (reply,) = (f for f in ask(engine, find, address, universe.now) if isinstance(f, m.Nodes))
        return len(unpack_nodes_untrusted(reply.nodes4, reply.nodes6))

    assert named(("10.7.7.7", 9)) == 5
    assert named(("45.7.7.7", 9)) == 0


def sybil_network(seed: int) -> Universe:
    """40 honest nodes, and 20 from one /24 whose ids are ground to be next to ``KEY`` and that lie."""
    universe = Universe(40, seed=seed, public=True)
    rng = random.Random(seed)
    sybils: list[tuple[bytes, Address]] = []

    def lie(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
        return me.reply(request, address, sybils)

    machines: list[tuple[Address, Hostile]] = []
    for index in range(20):
        engine = DhtEngine(
            ground_key(KEY, rng, 40), random=seeded_random(f"sybil {index}"), now=universe.now, router=True
        )
        address = (f"99.1.2.{index + 1}", 4000)
        universe.link.attach(address, engine)
        engine.start_bootstrap([universe.place(index)], universe.now)
        universe.link.flush(address)
        sybils.append((engine.node_id, address))
        machines.append((address, Hostile(engine, lie)))
    universe.link.run(3.0)
    for address, machine in machines:
        universe.link.attach(address, machine)
    return universe


def test_lan_nodes_in_one_network_all_find_each_other() -> None:
    """The rule that stops sybils does not stop a LAN: 12 nodes of one /24 know each other."""
    universe = Universe(seed=46)
    for index in range(12):
        address = universe.join(lan=True, at=(f"45.1.1.{index + 1}", 4000))
        if index:
            number = universe.at(address).start_bootstrap([("45.1.1.1", 4000)], universe.now)
            universe.wait(address, BootstrapDone, number)
    universe.link.run(5.0)
    assert [len(node.contacts()) for node in universe.nodes] == [11] * 12
    here = ("45.1.1.5", 4000)
    number = universe.at(here).start_lookup(KEY, universe.now)
    assert len(universe.wait(here, LookupDone, number)[1].closest) == 8


@pytest.mark.parametrize(("paths", "found"), [(1, False), (2, True)])
def test_a_clique_that_names_only_itself(monkeypatch: pytest.MonkeyPatch, paths: int, found: bool) -> None:
    """A close contact leads to 12 liars, nearer to the key than all others, each in a network of its own.

    With one path the reader hears only them; with two the record is found.
    """
    monkeypatch.setattr("meshcall.dht.finding.DHT_PATHS", paths)
    seed = 47
    print("seed", seed)
    universe = Universe(60, seed=seed, public=True)
    users = universe.addresses()
    record = inbox_record(1).encode()
    store = universe.at(users[7]).start_store(record, universe.now)
    universe.wait(users[7], StoreDone, store)
    holders = set(universe.true_closest(KEY, 8))
    reader = next(a for a in users if a not in holders)
    goal = int.from_bytes(KEY, "big")
    clique = [((goal ^ index).to_bytes(20, "big"), (f"120.{index}.1.1", 7)) for index in range(1, 13)]

    def lie_as(own: bytes | None) -> Lie:
        def lie(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
            return me.reply(request, address, clique, sender=own)

        return lie

    for own, address in clique:
        universe.link.attach(address, Hostile(universe.engine(f"clique {address}"), lie_as(own)))
    first = universe.at(reader).closest_contacts(KEY, 1)[0][1]
    universe.link.attach(first, Hostile(universe.at(first), lie_as(None)))
    for address in universe.true_closest(KEY, 6):  # only the farther holders have it, so the way matters
        if address != first:
            universe.link.detach(address)
    number = universe.at(reader).start_find(KEY, universe.now)
    universe.wait(reader, FindDone, number)
    assert any(e.op == number for e in universe.seen(reader, ValueFound)) is found


# --- floods ---


def test_a_flood_from_one_address_is_answered_no_more_than_its_share() -> None:
    """10,000 finds a second from one address: 50 a second are answered, the rest costs a counter."""
    universe = Universe(4, seed=51)
    engine = universe.nodes[0]
    find = m.encode_frame(m.FindNode(b"12345678", b"\x31" * 20, 1, KEY, bytes(380)))
    answered = 0
    for index in range(20_000):
        engine.receive(find, ("45.9.9.9", 1 + index % 60_000), universe.now + index / 10_000)
        answered += len(engine.transmits())
    assert answered <= DHT_REQUESTS_BURST + 2 * DHT_REQUESTS_PER_SECOND + 1
    assert engine.statistics().counters["limited-sender"] >= 19_000


def test_a_flood_from_invented_addresses_does_not_push_out_who_has_a_token() -> None:
    """Finds from 20,000 addresses in a second: 5,000 answered; a store with a token in their midst works."""
    print("seed 52")
    universe = Universe(4, seed=52)
    engine = universe.nodes[0]
    friend: Address = ("46.1.1.1", 7)
    token = token_of(engine, friend, universe.now)
    find = m.encode_frame(m.FindNode(b"12345678", b"\x31" * 20, 1, KEY, bytes(380)))
    answered = 0
    for index in range(20_000):
        address = (f"{60 + index // 65536}.{index >> 8 & 255}.{index & 255}.9", 9)
        engine.receive(find, address, universe.now + index / 20_000)
        answered += len(engine.transmits())
        if index == 15_000:
            store = m.Store(b"22345678", b"\x31" * 20, 1, token, inbox_record(1).encode(), 0)
            (reply,) = ask(engine, store, friend, universe.now + index / 20_000)
            assert isinstance(reply, m.Stored)
            assert reply.stored == 1
    assert answered <= 2 * DHT_READS_PER_SECOND
    assert engine.statistics().counters["limited-reads"] >= 5_000


def test_a_flood_of_writers_with_tokens_does_not_push_out_pushes() -> None:
    """4,000 writes at once by hosts that hold tokens, then a push by a holder of our watch."""
    print("seed 53")
    universe = Universe(9, seed=53)
    callee = universe.addresses()[0]
    engine = universe.at(callee)
    record = inbox_record(3)
    holder = engine.watch_holders(watch(universe, callee, record.storage_key))[0]
    writers: list[Address] = [(f"47.{index}.1.1", 9) for index in range(100)]
    tokens = [token_of(engine, writer, universe.now) for writer in writers]
    for index in range(4000):
        junk = m.Store(index.to_bytes(8, "big"), b"\x31" * 20, 1, tokens[index % 100], b"junk", 0)
        engine.receive(m.encode_frame(junk), writers[index % 100], universe.now)
    assert engine.statistics().counters["limited-writes"] > 500
    engine.events()
    push = m.Notify(b"12345678", b"\x31" * 20, 0, record.storage_key, record.encode(), b"", 0)
    engine.receive(m.encode_frame(push), holder, universe.now)
    assert [event.record for event in engine.events() if isinstance(event, Notified)] == [record.encode()]


def test_pings_in_a_holders_name_do_not_push_out_its_pushes() -> None:
    """Who knows the holders of our watch and forges their address takes none of their share."""
    print("seed 54")
    universe = Universe(9, seed=54)
    callee = universe.addresses()[0]
    engine = universe.at(callee)
    record = inbox_record(3)
    for holder in engine.watch_holders(watch(universe, callee, record.storage_key)):
        for index in range(500):
            ping = m.Ping(index.to_bytes(8, "big"), b"\x31" * 20, 1, b"", b"")
            engine.receive(m.encode_frame(ping), holder, universe.now)
    assert engine.statistics().counters["limited-sender"] > 500
    engine.events()
    push = m.Notify(b"12345678", b"\x31" * 20, 0, record.storage_key, record.encode(), b"", 0)
    engine.receive(m.encode_frame(push), holder, universe.now)
    assert [event.record for event in engine.events() if isinstance(event, Notified)] == [record.encode()]


def test_the_limiter_has_a_fixed_memory() -> None:
    """A request from each of 50,000 addresses leaves at most 4,096 in memory, and the idle are forgotten."""
    limiter = Limiter(0.0)
    for index in range(50_000):
        limiter.refuse((f"60.{index >> 16}.{index >> 8 & 255}.{index & 255}", 9), READS, index / 20_000)
    assert len(limiter) <= DHT_LIMITER_KEPT
    limiter.refuse(("61.1.1.1", 9), READS, 100.0)
    limiter.refuse(("61.1.1.2", 9), READS, 100.0)
    assert len(limiter) <= DHT_LIMITER_KEPT - 2


@pytest.mark.parametrize("start", [0.0, 0.1, 1e7])
def test_a_sender_gets_its_burst_and_then_its_rate(start: float) -> None:
    """200 at once and none more; 50 in the next second; all 200 again after four, and no more than that."""
    limiter = Limiter(start)
    sender = ("60.1.1.1", 9)

    def taken(now: float, asked: int) -> int:
        return sum(limiter.refuse(sender, READS, now) is None for _ in range(asked))

    assert taken(start, 300) == DHT_REQUESTS_BURST
    assert sum(taken(start + n / 100, 1) for n in range(1, 101)) == DHT_REQUESTS_PER_SECOND
    assert taken(start + 5, 300) == DHT_REQUESTS_BURST
    assert taken(start + 100, 300) == DHT_REQUESTS_BURST


def test_senders_behind_one_ipv6_prefix_are_one_sender() -> None:
    """A /64 costs nothing, so its addresses are counted together; in a LAN each port counts by itself."""
    assert sender_of(("2600:1:2:3::1", 1)) == sender_of(("2600:1:2:3:ffff::2", 2))
    assert sender_of(("2600:1:2:3::1", 1)) != sender_of(("2600:1:2:4::1", 1))
    assert sender_of(("45.1.1.1", 1)) == sender_of(("45.1.1.1", 2)) != sender_of(("45.1.1.2", 1))
    assert sender_of(("127.0.0.1", 1)) != sender_of(("127.0.0.1", 2))


def test_a_call_rings_under_a_flood_of_junk() -> None:
    """Junk and finds at the callee and at every holder, thousands a second: the offer arrives in time."""
    seed = 53
    print("seed", seed)
    universe = Universe(16, seed=seed)
    callee, caller = universe.join(router=False), universe.join(router=False)
    offer = inbox_record(1)
    watch(universe, callee, offer.storage_key)
    rng = random.Random(seed)
    find = m.encode_frame(m.FindNode(b"12345678", b"\x31" * 20, 1, KEY, bytes(380)))
    number = universe.at(caller).start_deliver(offer.encode(), universe.now)
    universe.do(caller)
    start = universe.now
    log = universe.events[callee]
    while universe.now < start + 2.0 and not any(isinstance(e, Notified) for _, e in log):
        for address in universe.addresses():
            for _ in range(10):  # 10,000 a second at each
                junk = rng.randbytes(60) if rng.random() < 0.5 else find
                source = (f"{rng.randrange(60, 99)}.{rng.randrange(256)}.{rng.randrange(256)}.9", 9)
                universe.at(address).receive(junk, source, universe.now)
            universe.do(address)
        universe.link.run(0.001)
    assert any(isinstance(e, Notified) for _, e in log)
    assert universe.now - start <= 0.3
    assert number > 0


def test_a_flood_of_replies_is_dropped_unread() -> None:
    """Replies to nothing are known by their transaction id."""
    universe = Universe(2, seed=54)
    engine = universe.nodes[0]
    head = (b"\x77" * 8, b"\x31" * 20, 0, bytes([45, 0, 0, 7, 15, 160]), b"")
    engine.receive(m.encode_frame(m.Nodes(*head, b"", b"")), ("45.1.1.1", 1), universe.now)
    engine.receive(m.encode_frame(m.Nodes(*head, b"", b""))[:20], ("45.1.1.1", 1), universe.now)
    assert engine.statistics().counters["unsolicited"] == 2


# --- liars and forgers ---


def test_a_fifth_of_the_nodes_lies_in_all_ways() -> None:
    """20 % liars at random, of all kinds: at least 95 % of records are found, and never a wrong one."""
    seed = 55
    print("seed", seed)
    universe = Universe(50, seed=seed)
    kinds = list(LIES.values())
    for index, address in enumerate(universe.random.sample(universe.addresses(), 10)):
        universe.link.attach(address, Hostile(universe.at(address), kinds[(2 * index) % len(kinds)], seed))
    users = [a for a in universe.addresses() if not isinstance(universe.link.machine(a), Hostile)]
    found = 0
    for index in range(20):
        record = inbox_record(2000 + index)
        writer, reader = universe.random.sample(users, 2)
        store = universe.at(writer).start_store(record.encode(), universe.now)
        universe.wait(writer, StoreDone, store)
        find = universe.at(reader).start_find(record.storage_key, universe.now)
        universe.wait(reader, FindDone, find)
        values = [e.record for e in universe.seen(reader, ValueFound) if e.op == find]
        assert values in ([], [record.encode()])
        found += bool(values)
    print(f"{found} of 20 found")
    assert found >= 19


def test_overwriting_a_record_fails() -> None:
    """Whoever does not have its key stores nothing under it, neither altered nor under another's key."""
    print("seed 56")
    universe = Universe(12, seed=56)
    record = presence_record(1)
    put(universe, universe.addresses()[0], record.encode())
    thief: Address = ("45.66.6.6", 6)
    forged = bytearray(record.encode())
    forged[-70] ^= 1
    for holder in universe.addresses():
        engine = universe.at(holder)
        token = token_of(engine, thief, universe.now)
        for value in (bytes(forged), presence_record(2, seq=99).encode()):
            universe.link.flush(holder)
            ask(engine, m.Store(value[:8], b"\x31" * 20, 1, token, value, 0), thief, universe.now)
    universe.link.run(1.0)
    for reader in universe.addresses():
        assert get(universe, reader, record.storage_key) == [record.encode()]


def test_rolling_back_a_record_fails() -> None:
    """An old record, kept by somebody and stored again everywhere, hides the newer one from nobody."""
    print("seed 57")
    universe = Universe(12, seed=57, public=True)
    old, new = presence_record(1, seq=1), presence_record(1, seq=2, fill=b"\7")
    writer = universe.addresses()[0]
    put(universe, writer, old.encode())
    put(universe, writer, new.encode())
    for address in (writer, ("45.66.6.6", 6)):
        for holder in universe.addresses()[1:]:
            engine = universe.at(holder)
            token = token_of(engine, address, universe.now)
            ask(engine, m.Store(b"22345678", b"\x31" * 20, 1, token, old.encode(), 0), address, universe.now)
    for reader in universe.addresses()[1:]:
        assert new.encode() in get(universe, reader, new.storage_key)


def test_filling_a_node_leaves_room_for_others() -> None:
    """Thousands of valid records from one address, and from one network: the caps hold, others can store."""
    print("seed 58")
    universe = Universe(1, seed=58)
    store = universe.nodes[0]._core.store
    for index in range(3000):
        store.put(inbox_record(3000 + index % 200, seq=index), f"45.1.1.{index % 4 and index % 250}", 0.0)
    assert store.statistics().values <= RECORDS_PER_NETWORK
    assert store.put(inbox_record(1), "46.1.1.1", 0.0).kept
