"""Attacks on what is stored, and on third parties. Each pair: True when the attack succeeds."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch

from kademlia.network import Server
from kademlia.node import Node
from kademlia.utils import digest

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.limits import DHT_AMPLIFICATION_MAX, RECORDS_PER_SOURCE
from tests.stock.wire import Wire, node_of
from tests.unit.dht.test_attacks import ask, token_of
from tests.unit.dht.test_engine import get, put
from tests.unit.dht.universe import Universe, inbox_record, presence_record

ME = b"\x31" * 20
THIEF: Address = ("66.6.6.6", 6)
RECORD = presence_record(1)


def stored_network(seed: int, size: int = 8) -> Universe:
    """A network that holds RECORD."""
    universe = Universe(size, seed=seed)
    put(universe, universe.addresses()[0], RECORD.encode())
    return universe


def write_everywhere(universe: Universe, values: list[bytes]) -> None:
    """A thief with good tokens stores these at every node."""
    for address in universe.addresses():
        token = token_of(universe.at(address), THIEF, universe.now)
        for index, value in enumerate(values):
            store = m.Store(index.to_bytes(8, "big"), ME, 1, token, value, 0)
            ask(universe.at(address), store, THIEF, universe.now)
    universe.link.run(1.0)


def all_read(universe: Universe, record: bytes) -> bool:
    """Whether every node reads that record and nothing else."""
    return all(get(universe, reader, RECORD.storage_key) == [record] for reader in universe.addresses())


# --- B3: hand-off under a wrong key -----------------------------------------------------------------


async def hand_off_on_stock(wire: Wire) -> bool:
    """A newcomer is sent values that are not near it, and not those that are."""
    servers = wire.network(12, ksize=5)
    newcomer = wire.server(200)
    known = {server.node.id for server in servers}
    missing = misplaced = 0
    for server in servers:
        for index in range(40):
            server.storage[digest(f"value {index}")] = "x"
        server.protocol.welcome_if_new(node_of(newcomer))
    await wire.settle()
    given = {key for key, _ in newcomer.storage}
    for index in range(40):
        key = digest(f"value {index}")
        distance = Node(key).distance_to
        near = sorted(distance(Node(node_id)) for node_id in known)[4] > distance(newcomer.node)
        missing += near and key not in given
        misplaced += not near and key in given
    print(f"{misplaced} values misplaced, {missing} missing")
    return misplaced > 0


def hand_off_on_ours() -> bool:
    """Nobody is sent what it did not ask for."""
    universe = stored_network(5)
    newcomer = universe.join()
    universe.link.run(30.0)
    counters = universe.at(newcomer).statistics().counters
    return bool(counters.get("received-store") or counters.get("received-notify"))


# --- B8: a poison value -----------------------------------------------------------------------------


async def poison_on_stock(wire: Wire) -> bool:
    """A list as a value makes every reader's ``get`` raise."""
    servers = wire.network(5)
    for server in servers[1:]:
        await wire.request(server, "store", digest("thief"), digest("key"), [1, 2])
    try:
        await servers[0].get("key")
    except TypeError:
        return True
    return False


def poison_on_ours() -> bool:
    """What is no valid record is not stored."""
    universe = Universe(5, seed=8)
    write_everywhere(universe, [b"[1, 2]", bytes(308), bytes(677), bytes(933)])
    return any(node.statistics().records.values for node in universe.nodes)


# --- overwriting and rolling back -------------------------------------------------------------------


async def overwrite_on_stock(wire: Wire) -> bool:
    """One sender replaces a value at all holders."""
    servers = wire.network(8)
    await servers[0].set("key", "true")
    for server in servers:
        await wire.request(server, "store", digest("thief"), digest("key"), "false")
    return {await server.get("key") for server in servers} == {"false"}


def overwrite_on_ours() -> bool:
    """Neither an altered record nor one of another key is taken."""
    universe = stored_network(56)
    forged = bytearray(RECORD.encode())
    forged[-70] ^= 1
    write_everywhere(universe, [bytes(forged), presence_record(2, seq=99).encode()])
    return not all_read(universe, RECORD.encode())


async def rollback_on_stock(wire: Wire) -> bool:
    """An old value, stored again, hides the new one: there are no versions."""
    servers = wire.network(8)
    await servers[0].set("key", "old")
    await servers[0].set("key", "new")
    for server in servers:
        await wire.request(server, "store", digest("thief"), digest("key"), "old")
    return {await server.get("key") for server in servers} == {"old"}


def rollback_on_ours() -> bool:
    """Every reader still gets the new one."""
    universe = stored_network(57)
    new = presence_record(1, seq=2, fill=b"\7").encode()
    put(universe, universe.addresses()[0], new)
    write_everywhere(universe, [RECORD.encode()])
    return not all(new in get(universe, reader, RECORD.storage_key) for reader in universe.addresses())


# --- §0.1 c: a STORE to the reader itself -----------------------------------------------------------


async def poisoned_reader_on_stock(wire: Wire) -> bool:
    """One datagram of about 79 octets, and the reader believes its own store without a lookup."""
    servers = wire.network(8)
    await servers[1].set("key", "true")
    reader = servers[0]
    reader.storage = reader.protocol.storage = type(reader.storage)()
    await wire.request(reader, "store", digest("thief"), digest("key"), "false")
    before = len(wire.sent)
    return await reader.get("key") == "false" and len(wire.sent) == before


def poisoned_reader_on_ours() -> bool:
    """The same: no token, no valid record, no change."""
    universe = stored_network(58)
    reader = universe.addresses()[3]
    for token in (b"", bytes(8), token_of(universe.at(reader), THIEF, universe.now)):
        size = 79 - len(m.encode_frame(m.Store(b"12345678", ME, 1, token, b"", 0)))
        store = m.Store(b"12345678", ME, 1, token, b"f" * size, 0)
        ask(universe.at(reader), store, THIEF, universe.now)
    return get(universe, reader, RECORD.storage_key) != [RECORD.encode()]


# --- values that never die --------------------------------------------------------------------------


async def immortal_values_on_stock(wire: Wire) -> bool:
    """The publisher is silent for ten days, the life of a value is seven: holders refresh each other."""
    servers = wire.network(6)
    now = 0.0
    with patch("kademlia.storage.time", SimpleNamespace(monotonic=lambda: now)):
        await servers[0].set("key", "value")
        for _ in range(240):
            now += 3601.0
            for server in servers[1:]:
                await Server._refresh_table(server)
        holders = [server for server in servers[1:] if server.storage.get(digest("key"))]
    return len(holders) > 0


def immortal_values_on_ours() -> bool:
    """Within 60 s after its life nobody holds it, although it was read and repaired all the time."""
    universe = Universe(8, seed=59)
    record = inbox_record(1, ttl=60)
    put(universe, universe.addresses()[0], record.encode())
    end = universe.now + 60 + 60
    for reader in universe.addresses():
        get(universe, reader, record.storage_key)
        universe.link.run(5.0)
    universe.link.run(end - universe.now)
    return any(node._core.store.get(record.storage_key, universe.now) for node in universe.nodes)


# --- a store without end ----------------------------------------------------------------------------


async def unbounded_store_on_stock(wire: Wire) -> bool:
    """3,000 values of one kilobyte from one sender are all kept."""
    server = wire.server(0)
    for index in range(3000):
        server.protocol.rpc_store(THIEF, digest("thief"), digest(f"key {index}"), bytes(1000))
    return len(server.storage.data) == 3000


def unbounded_store_on_ours() -> bool:
    """One address has 64 places, whatever it signs."""
    universe = Universe(1, seed=60)
    engine = universe.nodes[0]
    token = token_of(engine, THIEF, universe.now)
    for index in range(100):
        value = inbox_record(index).encode()
        store = m.Store(index.to_bytes(8, "big"), ME, 1, token, value, 0)
        ask(engine, store, THIEF, universe.now + index / 20)
    return engine.statistics().records.values > RECORDS_PER_SOURCE


# --- amplification ----------------------------------------------------------------------------------


async def amplified_find_node_on_stock(wire: Wire) -> bool:
    """A short question, a long answer, to whatever address it claims to come from."""
    server = wire.network(25)[0]
    await wire.request(server, "find_node", digest("thief"), digest("key"))
    return _told(wire) > DHT_AMPLIFICATION_MAX


async def amplified_find_value_on_stock(wire: Wire) -> bool:
    """A large value is a large answer."""
    server = wire.server(0)
    server.storage[digest("key")] = bytes(8000)
    await wire.request(server, "find_value", digest("thief"), digest("key"))
    return _told(wire) > DHT_AMPLIFICATION_MAX


async def amplified_ping_on_stock(wire: Wire) -> bool:
    """A ping with a new id is answered with everything that is stored."""
    server = wire.server(0)
    for index in range(200):
        server.storage[digest(f"key {index}")] = bytes(1000)
    await wire.request(server, "ping", digest("thief"))
    return _told(wire) > DHT_AMPLIFICATION_MAX


def _told(wire: Wire) -> float:
    print(f"x {wire.amplification:.1f}")
    return wire.amplification


def amplified(request: m.Request) -> bool:
    """All that a node with a full table and many records sends to the sender of one short request."""
    universe = Universe(25, seed=61)
    engine = universe.nodes[0]
    for index in range(8):
        source: Address = (f"10.3.3.{index + 1}", 9)
        record = inbox_record(1, seq=index + 1, fill=bytes([index])).encode()
        store = m.Store(b"12345678", ME, 1, token_of(engine, source, universe.now), record, 0)
        ask(engine, store, source, universe.now)
    frame = m.encode_frame(request)
    engine.receive(frame, THIEF, universe.now)
    back = sum(len(data) for data, to in engine.transmits() if to == THIEF)
    print(f"x {back / len(frame):.1f}")
    return back > DHT_AMPLIFICATION_MAX * len(frame)


KEY = inbox_record(1).storage_key
HEAD: tuple[bytes, bytes, int] = (b"12345678", ME, 0)


def amplified_find_node_on_ours() -> bool:
    """The answer has what fits into three times the question."""
    return amplified(m.FindNode(*HEAD, KEY, b""))


def amplified_find_value_on_ours() -> bool:
    """The same; a record does not fit."""
    return amplified(m.FindValue(*HEAD, KEY, b"", b"", b""))


def amplified_ping_on_ours() -> bool:
    """A pong, nothing else."""
    return amplified(m.Ping(*HEAD, b"", b""))
