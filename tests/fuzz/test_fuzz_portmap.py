"""Hostile datagrams of a gateway: 100,000 mutated ones at each parser, 25,000 at a race that waits."""

from __future__ import annotations

import random
import struct
import time
from collections import Counter

import pytest

from meshcall.errors import Rejected
from meshcall.portmap import natpmp, pcp
from meshcall.portmap.ssdp import check_location_untrusted, decode_location_untrusted
from tests.fuzz.mutation import mutate
from tests.unit.portmap.gateway import GATEWAY, PUBLIC, SSDP_ANSWER, TCP, UDP, FakeGateway, World, packed

INPUTS = 100_000
AT_A_RACE = 25_000
SEED = 20_261_128
NONCE = bytes(range(12))
PCP = [
    struct.pack("!BBxBII12x", 2, 129, result, 3600, 9)
    + struct.pack("!12sB3xHH16s", NONCE, 17, 4242, 4242, packed(PUBLIC))
    for result in (0, 2, 8)
]
PCP += [struct.pack("!BBxBII12x", 2, 128, 0, 0, 9), struct.pack("!BBHI", 0, 129, 1, 9)]
NAT_PMP = [
    struct.pack("!BBHI", 0, 128, 0, 9) + bytes((5, 9, 1, 2)),
    struct.pack("!BBHIHHI", 0, 129, 0, 9, 4242, 4242, 3600),
    struct.pack("!BBHI", 0, 130, 2, 9),
]
PARSERS = {
    "pcp": (PCP, pcp.decode_answer_untrusted),
    "nat-pmp": (NAT_PMP, natpmp.decode_answer_untrusted),
    "ssdp": ([SSDP_ANSWER], lambda data: decode_location_untrusted(data, GATEWAY.host)),
}


@pytest.mark.parametrize("name", PARSERS)
def test_100_000_mutated_answers(name: str) -> None:
    """A parser raises Rejected or returns; what it lets pass of a URL leads to the gateway only."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    seeds, parse = PARSERS[name]
    outcomes: Counter[str] = Counter()
    for _ in range(INPUTS):
        data = mutate(rng, rng.choice(seeds), seeds)
        try:
            answer = parse(data)
        except Rejected as rejected:
            outcomes[rejected.reason] += 1
        else:
            outcomes["accepted"] += 1
            if isinstance(answer, str):
                assert answer.startswith("http://192.168.1.1")
                assert check_location_untrusted(answer, GATEWAY.host) == answer
                assert answer[len("http://192.168.1.1") :][:1] in ("", ":", "/")
    print(dict(outcomes))
    assert outcomes["accepted"] > 100
    assert len(outcomes) > 3


def test_25_000_mutated_datagrams_at_a_race() -> None:
    """From the gateway's own address, at any time: nothing is unhandled, each has a handful sent at most."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    states: Counter[str] = Counter()
    world, slowest = World(FakeGateway("pcp", "nat-pmp"), (UDP, TCP)), 0.0
    for index in range(AT_A_RACE):
        if index % 500 == 0:
            speaks = rng.sample(("pcp", "nat-pmp", "upnp"), rng.randrange(4))
            world = World(FakeGateway(*speaks), (UDP, TCP), lifetime=rng.choice((6, 600, 2**32 - 1)))
            world.run(rng.random())
        seeds = [*PCP, *NAT_PMP]
        good = [
            one for asked in world.gateway.requests[-4:] for one in world.gateway.answer(asked, world.now)
        ]
        del world.gateway.requests[:-4]
        data = mutate(rng, rng.choice(good or seeds), seeds) if rng.random() < 0.9 else rng.choice(seeds)
        begun = time.thread_time()
        dice = rng.random()
        if dice < 0.8:
            world.race.receive(data, world.now)
        elif dice < 0.9:
            world.race.announced(data, world.now)
        else:
            world.race.receive_ssdp(mutate(rng, SSDP_ANSWER, [SSDP_ANSWER]), world.now)
        slowest = max(slowest, time.thread_time() - begun)
        before = len(world.gateway.requests)
        world.drain()
        assert len(world.gateway.requests) - before <= 6
        if rng.random() < 0.05:
            world.run(rng.random() * rng.choice((0.1, 1, 1000)))
        states[world.race.state(world.now)] += 1
        assert len(world.race.mappings()) <= 2
        assert world.race.deadline() < float("inf")
    print(dict(states), f"slowest {slowest * 1000:.1f} ms")
    assert {"mapped", "silent", "refused"} <= set(states)
    assert slowest < 0.05
