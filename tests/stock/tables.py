"""Attacks on the table and on the process. Each pair: True when the attack succeeds."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import tempfile
import time
from pathlib import Path

import msgspec
from kademlia.network import Server
from kademlia.utils import digest

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.dht.saved import decode_table_untrusted
from meshcall.errors import Rejected
from meshcall.limits import DHT_BUCKETS_MAX
from tests.stock.wire import Wire
from tests.unit.dht.test_engine import put
from tests.unit.dht.test_killers import lone_engine, request
from tests.unit.dht.universe import Universe, inbox_record


def ping_frame(node_id: bytes) -> bytes:
    """A ping in which that stands for a node id."""
    return b"\x04" + msgspec.msgpack.encode([1, b"pingping", node_id, 0, b"", bytes(60)])


# --- B4: two ids with one integer -------------------------------------------------------------------


async def equal_ids_on_stock(wire: Wire) -> bool:
    """Two datagrams, and every operation of the victim raises TypeError for good."""
    victim = wire.network(5)[0]
    for node_id in (b"\x01" * 20, b"\0" + b"\x01" * 20):
        await wire.request(victim, "ping", node_id)
    failed = 0
    for index in range(10):
        try:
            await victim.set(f"key {index}", "value")
        except TypeError:
            failed += 1
    print(f"{failed} of 10 stores raise")
    return failed == 10


def equal_ids_on_ours() -> bool:
    """Ids have exactly 20 octets; the node works on."""
    universe = Universe(5, seed=4)
    victim = universe.addresses()[0]
    for node_id in (b"\x01" * 20, b"\0" + b"\x01" * 20, b"\x01" * 19):
        universe.at(victim).receive(ping_frame(node_id), ("10.66.0.1", 6), universe.now)
    universe.do(victim)
    put(universe, victim, inbox_record(1).encode())
    return universe.at(victim).statistics().counters["rejected-frame"] != 2


# --- B5: buckets split for ever ---------------------------------------------------------------------


async def endless_splits_on_stock(wire: Wire) -> bool:
    """30 pings with zero-padded copies of the victim's id: far more buckets than an id has bits."""
    victim = wire.server(0)
    for index in range(30):
        await wire.request(victim, "ping", bytes(index + 1) + victim.node.id)
    buckets = len(victim.protocol.router.buckets)
    print(f"{buckets} buckets after 30 datagrams")
    return buckets > 160


def endless_splits_on_ours() -> bool:
    """No such id is one; 1,000 ids around ours cost less than a millisecond each."""
    engine = lone_engine()
    for index in range(1000):
        padded = bytes(index % 40 + 1) + engine.node_id
        near = (int.from_bytes(engine.node_id, "big") ^ (index + 1)).to_bytes(20, "big")
        for node_id in (padded, near):
            started = time.thread_time()
            engine.receive(ping_frame(node_id), (f"10.9.{index >> 8}.{index & 255}", 1), 1.0)
            if time.thread_time() - started > 0.05:
                return True
    return engine.statistics().buckets > DHT_BUCKETS_MAX


# --- B6: ids beyond the space -----------------------------------------------------------------------


async def too_long_ids_on_stock(wire: Wire) -> bool:
    """An id above 2^160 is an exception that nobody catches."""
    reply = await wire.request(wire.server(0), "ping", b"\xff" * 33)
    return reply is None and "TypeError" in wire.unhandled()


def too_long_ids_on_ours() -> bool:
    """It is a frame with a field too long."""
    engine = lone_engine()
    engine.receive(ping_frame(b"\xff" * 33), ("10.66.0.1", 6), 1.0)
    return engine.statistics().counters != {"rejected-frame": 1}


# --- B12: whoever speaks is believed ----------------------------------------------------------------


async def unverified_entry_on_stock(wire: Wire) -> bool:
    """One datagram from anywhere, never answered, is enough for a place in the table."""
    victim = wire.server(0)
    for index in range(20):
        await wire.request(victim, "ping", digest(f"invented {index}"), source=("66.6.6.6", 1 + index))
    return len(victim.protocol.router.find_neighbors(victim.node)) == 20


def unverified_entry_on_ours() -> bool:
    """Only who signs a challenge at its address gets one."""
    engine = lone_engine()
    for index in range(20):
        request(engine, m.Ping(b"pingping", digest(f"invented {index}"), 0, b"", bytes(60)))
    return bool(engine.contacts())


# --- junk -------------------------------------------------------------------------------------------


def junk(count: int) -> list[bytes]:
    """Random, cut and altered datagrams, from one seed."""
    print("seed 77")
    rng = random.Random(77)
    good = b"\x00" + bytes(20) + b"\x92\xa4ping\x91\xc4\x14" + bytes(20)
    datagrams = []
    for index in range(count):
        data = bytearray(good if index % 2 else good[:21] + rng.randbytes(40))
        for _ in range(3):
            data[rng.randrange(21, len(data))] = rng.randrange(256)
        datagrams.append(bytes(data))
    return datagrams


async def junk_on_stock(wire: Wire) -> bool:
    """Each of many datagrams is a traceback in the log."""
    victim = wire.server(0)
    for data in junk(300):
        wire.carry(data, ("66.6.6.6", 1), victim.address)
    await wire.settle()
    print(f"{len(wire.unhandled())} unhandled exceptions from 300 datagrams")
    return len(wire.errors) > 30


def junk_on_ours() -> bool:
    """Each is a counter."""
    engine = lone_engine()
    address: Address = ("66.6.6.6", 1)
    for data in junk(300):
        engine.receive(data, address, 1.0)
        engine.receive(b"\x04" + data[21:], address, 1.0)
    return engine.contacts() != [] or sum(engine.statistics().counters.values()) < 600


# --- the saved table --------------------------------------------------------------------------------


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


async def planted_state_on_stock(wire: Wire) -> bool:
    """The state file is a pickle: whoever writes it runs code."""
    with tempfile.TemporaryDirectory() as folder:
        state, mark = Path(folder) / "state", Path(folder) / "ran"
        state.write_bytes(pickle.dumps(Payload(mark)))
        with contextlib.suppress(TypeError):
            await Server.load_state(str(state), 0)
        return mark.exists()


def planted_state_on_ours() -> bool:
    """The same file is damaged state."""
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "ran"
        try:
            decode_table_untrusted(pickle.dumps(Payload(mark)))
        except Rejected:
            return mark.exists()
    return True
