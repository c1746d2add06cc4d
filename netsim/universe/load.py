"""What an engine costs on this machine: the one part of the universe that reads clocks and weighs memory.

``python -m netsim.universe.load --nodes 1000`` weighs engines in a process of its own and prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from netsim.bench.figure import Figure
from netsim.bench.router_process import Weights
from netsim.bench.router_process import weigh as weigh_process
from netsim.universe.chance import Octets, dice
from netsim.universe.frames import frame
from netsim.universe.places import public_addresses
from netsim.universe.scenario import record_of
from netsim.universe.settings import Settings
from netsim.universe.world import World

NODES = 1000
"""Size of the network whose tables the measured engine has."""
BATCH = 400
PAD = 300
SPACING = 0.01
"""Virtual seconds between two requests, so that no rate limit stops them."""
RECORDS = 1000
"""Kept by the bootstrap node that is weighed."""


def find_node_rates(batches: int, seed: int = 1) -> list[float]:
    """find_node requests answered per second of one core: decoded, answered, encoded."""
    engine, octets, now = _router(seed)
    askers = public_addresses(BATCH, dice(seed, "askers"))
    rates: list[float] = []
    for _ in range(batches):
        frames = [
            m.encode_frame(m.FindNode(octets(8), octets(20), m.EPHEMERAL, octets(20), bytes(PAD)))
            for _ in askers
        ]
        replies = _serve(engine, frames, askers, now, rates)
        now += BATCH * SPACING
        assert replies == BATCH, "a request was not answered"
    return rates


def store_rates(batches: int, seed: int = 1) -> list[float]:
    """Signed records checked and kept per second of one core; every signature is a new one."""
    rates: list[float] = []
    for batch in range(batches):
        engine, octets, now = _router(seed)
        writers = public_addresses(BATCH, dice(seed, f"writers {batch}"))
        frames: list[bytes] = []
        for number, writer in enumerate(writers):
            ask = m.FindNode(octets(8), octets(20), m.EPHEMERAL, octets(20), bytes(PAD))
            now += SPACING
            engine.receive(m.encode_frame(ask), writer, now)
            answer = m.decode_frame_untrusted(engine.transmits()[0][0])
            assert isinstance(answer, m.Nodes), "find_node was not answered"
            record = record_of(seed, f"load {batch} {number}").encode()
            frames.append(
                frame(m.Store, octets(8), octets(20), m.EPHEMERAL, token=answer.token, record=record)
            )
        _serve(engine, frames, writers, now, rates)
        kept = engine.statistics().records.values
        assert kept == BATCH, f"{kept} of {BATCH} records were kept"
    return rates


def _router(seed: int) -> tuple[DhtEngine, Callable[[int], bytes], float]:
    world = World(Settings(nodes=NODES, clients=2, seed=seed))
    return world.engine(world.living_routers()[0]), Octets(f"{seed} load"), world.now


def _serve(
    engine: DhtEngine, frames: list[bytes], sources: list[Address], now: float, rates: list[float]
) -> int:
    """Feed the frames; appends the rate, returns how many replies came."""
    replies = 0
    begun = time.process_time()
    for data, source in zip(frames, sources, strict=True):
        now += SPACING
        engine.receive(data, source, now)
        replies += len(engine.transmits())
        engine.events()
        engine.deadline()
    rates.append(len(frames) / (time.process_time() - begun))
    return replies


def resident(pid: int | str = "self") -> float:
    """Resident memory of a process, KiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def weigh_here(nodes: int, seed: int) -> dict[str, float]:
    """KiB per engine in this process: with a full table, fresh and after some traffic."""
    world = World(Settings(nodes=nodes, clients=2, seed=seed))
    routers = world.living_routers()
    gc.collect()
    before = resident()
    for node in routers:
        world.engine(node)
    gc.collect()
    fresh = resident()
    chance = dice(seed, "weigh")
    for node in routers[:: max(1, len(routers) // 200)]:
        world.engine(node).start_lookup(chance.randbytes(20), world.now)
        world.flush(node)
        world.run(0.2)
    world.run(20.0)
    gc.collect()
    contacts = sum(len(world.engine(node).contacts()) for node in routers) / len(routers)
    count = len(routers)
    return {"fresh": (fresh - before) / count, "used": (resident() - before) / count, "contacts": contacts}


def weigh(nodes: int, seed: int = 1) -> dict[str, float]:
    """The same in a process of its own, where nothing else was freed before."""
    command = [sys.executable, "-m", "netsim.universe.load", "--nodes", str(nodes), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def weigh_router(settle: float) -> Weights:
    """Octets of the process of a bootstrap node, as one of a network and with records."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(weigh_process(Path(folder) / "home", settle=settle, stores=RECORDS))


def make_figures(*, batches: int = 15, nodes: int = NODES, settle: float = 60.0) -> tuple[Figure, ...]:
    """The figures of this machine, with their goals. ``settle``: seconds before a process is weighed."""
    memory = weigh(nodes)
    router = weigh_router(settle)
    contacts = memory["contacts"]
    return (
        Figure(f"memory per node in one process, {nodes} nodes, {contacts:.0f} contacts each", "KiB",
               (round(memory["used"], 1),), 40),
        Figure("memory of a bootstrap node, one of 21", "MB", (round(router.joined / 1e6, 1),), 30),
        Figure(f"the same with {router.stored} records", "MB", (round(router.loaded / 1e6, 1),), 30),
        Figure("find_node served per core-second", "1/s", tuple(map(round, find_node_rates(batches))), 15_000,
               at_least=True),
        Figure("signed stores checked per core-second", "1/s", tuple(map(round, store_rates(batches))), 3_000,
               at_least=True),
    )  # fmt: skip


def main() -> None:
    """Weigh, print, end."""
    parser = argparse.ArgumentParser(prog="python -m netsim.universe.load", description=weigh_here.__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(weigh_here(options.nodes, options.seed)))


if __name__ == "__main__":
    main()
