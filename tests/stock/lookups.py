"""Attacks on who searches. Each pair: True when the attack succeeds."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from kademlia.node import Node
from kademlia.routing import RoutingTable
from kademlia.utils import digest

from meshcall.address import Address
from meshcall.dht import FindDone, LookupDone, StoreDone, ValueFound
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_nodes
from meshcall.dht.contact import Contact
from meshcall.dht.table import Table
from meshcall.limits import DHT_HARD_TIMEOUT, DHT_LOOKUP_RPCS_MAX, DHT_LOOKUP_TIME_MAX
from tests.stock.wire import STRANGER, TIMEOUT, Wire, near, node_of
from tests.unit.dht.hostile import LIES, Hostile, Lie
from tests.unit.dht.test_attacks import sybil_network
from tests.unit.dht.test_killers import lone_engine
from tests.unit.dht.universe import Universe, inbox_record

RECORD = inbox_record(1)
KEY = RECORD.storage_key


async def raises(wire: Wire, reader: Any, key: str = "key") -> bool:
    """Whether a get ends with an exception."""
    try:
        await reader.get(key)
    except (TypeError, AttributeError, KeyError, ValueError, IndexError):
        return True
    return False


def turn(universe: Universe, lie: Lie, keep: int = 1) -> None:
    """All nodes but the first ``keep`` lie."""
    for address in universe.addresses()[keep:]:
        universe.link.attach(address, Hostile(universe.at(address), lie))


def find(universe: Universe, reader: Address) -> tuple[list[bytes], FindDone, float]:
    """(values, end, seconds) of a search for KEY."""
    number = universe.at(reader).start_find(KEY, universe.now)
    took, done = universe.wait(reader, FindDone, number)
    return [e.record for e in universe.seen(reader, ValueFound) if e.op == number], done, took


# --- B1: dead nodes hold up everybody --------------------------------------------------------------


async def dead_nodes_on_stock(wire: Wire) -> bool:
    """A lookup waits for a dead node's timeout, although living ones answer at once."""
    servers = wire.network(20)
    wire.deaf = {server.address for server in servers[1:9]}
    loop = asyncio.get_running_loop()
    started = loop.time()
    await servers[0].get("key")
    return loop.time() - started >= TIMEOUT


def dead_nodes_on_ours() -> bool:
    """Virtual time: with 40 % dead a lookup waits for nobody's end."""
    universe = Universe(20, seed=3)
    reader = universe.addresses()[0]
    universe.kill(0.4, spare=frozenset({reader}))
    number = universe.at(reader).start_lookup(KEY, universe.now)
    return universe.wait(reader, LookupDone, number)[0] >= DHT_HARD_TIMEOUT


# --- B2: the nearest nodes are not the nearest ------------------------------------------------------


async def wrong_neighbours_on_stock(wire: Wire) -> bool:
    """A table of 200 does not return the 20 that are closest."""
    table = RoutingTable(wire.server(0).protocol, 20, Node(digest("own")))
    for index in range(200):
        table.add_contact(Node(digest(f"n{index}"), f"11.1.{index}.1", 1))
    held = [node for bucket in table.buckets for node in bucket.get_nodes()]
    missed = 0
    for index in range(20):
        target = Node(digest(f"target {index}"))
        true = sorted(held, key=target.distance_to)[:20]
        missed += len({n.id for n in true} - {n.id for n in table.find_neighbors(target)})
    print(f"recall {1 - missed / 400:.2f}")
    return missed > 0


def wrong_neighbours_on_ours() -> bool:
    """The same table of ours does."""
    table = Table(digest("own"))
    for index in range(200):
        table.add_contact(Contact(digest(f"n{index}"), (f"11.1.{index}.1", 1), last_seen=0.0))
    for index in range(20):
        goal = int.from_bytes(digest(f"target {index}"), "big")
        true = sorted(table, key=lambda contact: contact.long_id ^ goal)[:20]
        if [contact.id for contact in table.closest(digest(f"target {index}"), 20)] != [n.id for n in true]:
            return True
    return False


# --- B7: one bad reply ends the caller's lookup -----------------------------------------------------

BAD_REPLIES: tuple[object, ...] = (7, [[1]], {}, {"value": [1, 2]}, [["x", "y", "z"]], "text", [None])


async def bad_replies_on_stock(wire: Wire) -> bool:
    """At least four of seven kinds of reply come out of ``get`` as exceptions."""
    reader = wire.server(0)
    failed = 0
    for index, reply in enumerate(BAD_REPLIES):
        address = (f"66.0.{index}.1", 1)
        wire.liars[address] = lambda name, arguments, asker, reply=reply: reply  # type: ignore[misc]
        reader.protocol.router.flush()
        reader.protocol.router.add_contact(Node(digest(f"liar {index}"), *address))
        failed += await raises(wire, reader)
    print(f"{failed} of {len(BAD_REPLIES)} replies raise")
    return failed >= 4


def bad_replies_on_ours() -> bool:
    """Every kind of liar, all nodes: the search ends with nothing."""
    for lie in LIES.values():
        universe = Universe(5, seed=6)
        turn(universe, lie)
        if find(universe, universe.addresses()[0])[1].values:
            return True
    return False


# --- §0.2: ever closer nodes ------------------------------------------------------------------------


async def endless_lookup_on_stock(wire: Wire) -> bool:
    """A liar that names ever closer nodes is asked for as long as it likes."""
    reader = wire.server(0)
    key = int.from_bytes(digest("key"), "big")
    asked = 0

    def lie(name: str, arguments: list[Any], asker: Address) -> Any:
        nonlocal asked
        asked += 1
        distance = (1 << 150) - asked * 3
        nodes = [((key ^ (distance - n)).to_bytes(20, "big"), "66.6.6.6", 6) for n in range(3)]
        return [list(node) for node in nodes]

    wire.liars[STRANGER] = lie
    reader.protocol.router.add_contact(Node(near(digest("key"), 2**159), *STRANGER))
    search = asyncio.ensure_future(reader.get("key"))
    while asked < 300 and not search.done():
        await wire.turn()
    going_on = not search.done()
    wire.liars[STRANGER] = lambda name, arguments, asker: []
    await asyncio.wait_for(search, 10)
    return going_on


def endless_lookup_on_ours() -> bool:
    """Requests and seconds have a cap."""
    universe = Universe(8, seed=2)
    turn(universe, LIES["invented nodes"])
    _, done, took = find(universe, universe.addresses()[0])
    return done.requests > DHT_LOOKUP_RPCS_MAX or took > DHT_LOOKUP_TIME_MAX + 0.1


# --- B9: cancelling leaks ---------------------------------------------------------------------------


async def cancelling_on_stock(wire: Wire) -> bool:
    """What ``wait_for`` cancels stays open, and its timer raises."""
    servers = wire.network(3)
    wire.deaf = {server.address for server in servers[1:]}
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(servers[0].get("key"), TIMEOUT / 4)
    await asyncio.sleep(2 * TIMEOUT)
    return bool(servers[0].protocol._outstanding) and "InvalidStateError" in wire.unhandled()


def cancelling_on_ours() -> bool:
    """Nothing is open once the hard timeout has passed, and no event follows."""
    universe = Universe(6, seed=7)
    reader = universe.addresses()[0]
    turn(universe, LIES["no reply"])
    engine = universe.at(reader)
    number = engine.start_find(KEY, universe.now)
    universe.do(reader)
    universe.link.run(0.02)
    engine.cancel(number, universe.now)
    universe.events[reader].clear()
    universe.link.run(DHT_HARD_TIMEOUT + 0.1)
    late = [e for _, e in universe.events[reader] if getattr(e, "op", None) == number]
    return bool(late) or engine.statistics().operations > 0


# --- B10: everybody is dead -------------------------------------------------------------------------


async def everybody_dead_on_stock(wire: Wire) -> bool:
    """``set`` raises ValueError."""
    servers = wire.network(4)
    wire.deaf = {server.address for server in servers[1:]}
    try:
        await servers[0].set("key", "value")
    except ValueError:
        return True
    return False


def everybody_dead_on_ours() -> bool:
    """A store ends with no copies."""
    universe = Universe(4, seed=8)
    writer = universe.addresses()[0]
    universe.kill(1.0, spare=frozenset({writer}))
    number = universe.at(writer).start_store(RECORD.encode(), universe.now)
    return universe.wait(writer, StoreDone, number)[1].stored > 0


# --- B11: names and impossible addresses in a reply -------------------------------------------------

IMPOSSIBLE = ("victim.example", "localhost", "255.255.255.255", "0.0.0.0")


async def names_in_replies_on_stock(wire: Wire) -> bool:
    """Whatever text stands in a reply is handed to ``sendto``, which resolves it in the loop."""
    reader = wire.server(0)
    wire.liars[STRANGER] = lambda name, arguments, asker: [[digest(host), host, 80] for host in IMPOSSIBLE]
    reader.protocol.router.add_contact(Node(digest("liar"), *STRANGER))
    await reader.get("key")
    return set(IMPOSSIBLE) <= {to[0] for _, to, _ in wire.sent}


def names_in_replies_on_ours() -> bool:
    """A name does not fit into a frame, and nothing is sent to where nobody can be."""
    try:
        pack_nodes([(bytes(20), ("localhost", 1))])
    except ValueError:
        pass
    else:
        return True
    universe = Universe(4, seed=11, public=True)
    sent: set[str] = set()
    carry = universe.link.send

    def send(data: bytes, source: Address, destination: Address) -> None:
        sent.add(destination[0])
        carry(data, source, destination)

    universe.link.send = send  # type: ignore[method-assign]
    turn(universe, LIES["martian addresses"])
    find(universe, universe.addresses()[0])
    return bool(sent & {"127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.9", "10.9.9.9"})


# --- B13: one lost datagram -------------------------------------------------------------------------


async def one_loss_on_stock(wire: Wire) -> bool:
    """A single lost reply costs a live contact its place."""
    servers = wire.network(2)
    wire.deaf = {servers[1].address}
    await servers[0].protocol.call_ping(node_of(servers[1]))
    wire.deaf = set()
    return not servers[0].protocol.router.find_neighbors(servers[0].node)


def one_loss_on_ours() -> bool:
    """The request is repeated, and a contact has more than one chance."""
    universe = Universe(4, seed=10)
    here, there = universe.addresses()[:2]
    universe.link.run(70.0)
    universe.at(here).start_ping(there, universe.now)
    universe.at(here).transmits()  # this one is lost
    universe.link.flush(here)
    universe.link.run(5.0)
    return there not in [address for _, address in universe.at(here).contacts()]


# --- B14: any attribute is a remote call ------------------------------------------------------------


async def any_attribute_on_stock(wire: Wire) -> bool:
    """A name with a typing error sends a datagram instead of raising."""
    server = wire.server(0)
    answer = server.protocol.welcom_if_new(STRANGER, 1)
    sent = bool(wire.sent)
    await answer
    return sent and hasattr(server.protocol, "no_such_thing")


def any_attribute_on_ours() -> bool:
    """There is one table of kinds, and attributes are attributes."""
    engine = lone_engine()
    return hasattr(engine, "no_such_thing") or hasattr(engine._core, "no_such_thing")


# --- replies from anywhere --------------------------------------------------------------------------


async def reply_from_elsewhere_on_stock(wire: Wire) -> bool:
    """Who sees a request can answer it from any address."""
    reader = wire.server(0)
    wire.deaf = {("12.0.0.1", 1)}
    ping = asyncio.ensure_future(reader.protocol.call_ping(Node(digest("asked"), "12.0.0.1", 1)))
    await wire.settle()
    message_id = wire.sent[0][2][1:21]
    wire.carry(b"\x01" + message_id + b"\xa4fake", STRANGER, reader.address)
    return bool((await ping)[0])


def reply_from_elsewhere_on_ours() -> bool:
    """It is counted, and the request stays open."""
    asker, asked = lone_engine(5), lone_engine(6)
    here: Address = ("10.0.0.1", 1)
    asker.start_ping(("10.0.0.2", 1), 1.0)
    ((ping, _),) = asker.transmits()
    asked.receive(ping, here, 1.0)
    pong = next(d for d, _ in asked.transmits() if isinstance(m.decode_frame_untrusted(d), m.Pong))
    asker.receive(pong, ("10.66.6.6", 6), 1.0)
    return asker.statistics().open_requests == 0 or "wrong-address" not in asker.statistics().counters


# --- §0.7: 20 sybils beside a predictable key -------------------------------------------------------


async def sybils_on_stock(wire: Wire) -> bool:
    """25 honest nodes, 20 ids beside the key, all at one address: no reader finds what was stored."""
    servers = wire.network(25)
    key = digest("key")
    ids = [near(key, index) for index in range(20)]
    for index, node_id in enumerate(ids):
        address = ("66.6.6.6", 100 + index)

        def lie(name: str, arguments: list[Any], asker: Address, own: bytes = node_id) -> Any:
            if name == "ping":
                return own
            return True if name == "store" else [[i, "66.6.6.6", 100 + n] for n, i in enumerate(ids)]

        wire.liars[address] = lie
        for server in servers:
            await wire.request(server, "ping", node_id, source=address)
    await servers[0].set("key", "value")
    found = [await server.get("key") for server in random.Random(1).sample(servers[1:], 5)]
    print(f"{sum(value == 'value' for value in found)} of 5 found")
    return found.count("value") == 0


def sybils_on_ours() -> bool:
    """40 honest nodes, 20 sybils of one /24 beside the key: readers find it."""
    universe = sybil_network(45)
    users = universe.addresses()[:40]
    store = universe.at(users[7]).start_store(RECORD.encode(), universe.now)
    universe.wait(users[7], StoreDone, store)
    found = sum(find(universe, reader)[0] == [RECORD.encode()] for reader in users[:20])
    print(f"{found} of 20 found")
    return found < 19
