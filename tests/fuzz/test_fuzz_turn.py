"""Hostile packets at a relay, at a client of one, and in streams: 100,000 each."""

from __future__ import annotations

import random
import struct
import time
from collections import Counter

from meshcall.errors import Rejected
from meshcall.limits import STUN_REPLY_RATIO
from meshcall.stun.attributes import encode_xor_address, failure, success
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from meshcall.turn.commands import Client
from meshcall.turn.events import Allocated
from meshcall.turn.frames import Frames, channel_data
from meshcall.turn.policy import RelayPolicy
from tests.fuzz.mutation import mutate
from tests.unit.turn.world import CLIENT, PEER, UDP, Asker, Caller, World

INPUTS = 100_000
SEED = 20_261_124
REQUESTS = (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND)


def _attributes(rng: random.Random, tid: bytes) -> tuple[tuple[int, bytes], ...]:
    """Some of those that requests have, in any order, right and wrong."""
    pool = [
        UDP,
        (AttributeType.LIFETIME, rng.choice((b"", bytes(4), b"\xff" * 4, struct.pack("!I", 600)))),
        (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(PEER, tid)),
        (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(("10.0.0.1", 1), tid)),
        (AttributeType.XOR_PEER_ADDRESS, rng.randbytes(rng.choice((0, 4, 8, 20)))),
        (AttributeType.CHANNEL_NUMBER, struct.pack("!HH", rng.randrange(0x3FFE, 0x4006), 0)),
        (AttributeType.REQUESTED_ADDRESS_FAMILY, bytes((rng.randrange(4), 0, 0, 0))),
        (AttributeType.DATA, rng.randbytes(rng.randrange(40))),
        (rng.randrange(65536), rng.randbytes(rng.randrange(12))),
    ]
    return tuple(rng.sample(pool, rng.randrange(len(pool))))


def test_100_000_hostile_packets_at_a_relay() -> None:
    """Nothing is unhandled, no answer is longer than three times its request, only friends get in."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    world = World(RelayPolicy(rate=1e9, total_rate=1e9))
    friends = [Asker(world, ((CLIENT[0], 40000 + n), n % 2 * (n + 1))) for n in range(4)]
    seeds: list[bytes] = [channel_data(0x4000, b"hello", stream=False)]
    longest, slowest, outcomes = 0.0, 0.0, Counter[str]()
    for index in range(INPUTS):
        if index % 1000 == 0:
            world.wait(100.0)
            for friend in friends:
                friend.challenge()
                friend.ask(Method.ALLOCATE, UDP)
                friend.about(Method.CREATE_PERMISSION, PEER)
                seeds.append(friend.last)
                friend.bind(0x4000, PEER)
                seeds.append(friend.last)
            del seeds[1:-16]
            for relayed in list(world.relays.values()):
                world.from_peer(rng.randbytes(20), relayed)
        friend = rng.choice(friends)
        client: Client = friend.client
        if rng.random() < 0.3:  # somebody with good credentials who sends whatever it likes
            tid = rng.randbytes(12)
            proof = (
                (AttributeType.USERNAME, friend.who.username.encode()),
                (AttributeType.REALM, b"meshcall"),
                (AttributeType.NONCE, friend.nonce),
            )
            attributes = (*_attributes(rng, tid), *proof)
            request = StunMessage(rng.choice(REQUESTS), MessageClass.REQUEST, tid, attributes)
            data = request.encode(friend.who.key("meshcall"))
        else:
            data = mutate(rng, rng.choice(seeds), seeds)
            if rng.random() < 0.5:
                client = ((f"5.7.{rng.randrange(256)}.7", rng.randrange(65536)), rng.randrange(2))
        started = time.thread_time()
        for reply in world.give(data, client):
            longest = max(longest, len(reply) / max(1, len(data)))
            outcomes[decode_stun_untrusted(reply).kind.name] += 1
        slowest = max(slowest, time.thread_time() - started)
    statistics = world.server.statistics()
    print(f"longest answer {longest:.2f}, slowest {slowest * 1000:.1f} ms, {outcomes}, {statistics}")
    assert longest <= STUN_REPLY_RATIO
    assert slowest < 0.05
    assert outcomes["SUCCESS"] > 100
    assert statistics.users <= 1
    assert statistics.allocations <= len(friends)
    assert {peer for _, peer, _ in world.sent} <= {PEER} | {(PEER[0], port) for port in range(65536)}


def test_100_000_hostile_packets_at_a_client() -> None:
    """From a hostile relay, with the right password for half of them: nothing is unhandled."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for transport in ("udp", "tcp"):
        caller: Caller | None = None
        allocated = 0
        for index in range(INPUTS // 2):
            if index % 50 == 0 or caller is None:
                caller = Caller(World(seed=index), transport, stream=int(transport == "tcp"))
                caller.turn.permit([PEER[0]], 1000.0)
                if index % 100 == 0:
                    caller.start()
                else:
                    caller.turn.start(1000.0)
            now = caller.world.now
            caller.turn.send_to(PEER, b"x", now)
            sent = [octets for octets, _ in caller.turn.transmits() if octets[0] < 4]
            asked = decode_stun_untrusted(rng.choice(sent)) if sent else None
            if asked is not None and rng.random() < 0.7:
                make = success if rng.random() < 0.7 else failure
                tid = asked.transaction_id
                extra = (
                    *_attributes(rng, tid),
                    (AttributeType.XOR_RELAYED_ADDRESS, encode_xor_address(PEER, tid)),
                    (AttributeType.XOR_MAPPED_ADDRESS, encode_xor_address(PEER, tid)),
                    (AttributeType.NONCE, rng.randbytes(16)),
                    (AttributeType.REALM, b"r"),
                )
                picked = tuple(rng.sample(extra, rng.randrange(len(extra) + 1)))
                response = make(asked, *picked) if make is success else _failure(asked, rng, picked)
                data = response.encode(caller.turn._key)
            else:
                data = mutate(rng, channel_data(0x4000, b"hello", stream=transport == "tcp"), sent or [b"\0"])
            caller.turn.receive(data, now)
            caller.turn.handle_timer(now + rng.random() * 1000)
            caller.turn.deadline()
            allocated += sum(isinstance(event, Allocated) for event in caller.turn.events())
        assert allocated > 10


def _failure(asked: StunMessage, rng: random.Random, picked: tuple[tuple[int, bytes], ...]) -> StunMessage:
    return failure(asked, rng.choice((300, 400, 401, 403, 437, 438, 486, 508, 699)), *picked)


def test_100_000_hostile_chunks_of_a_stream() -> None:
    """Frames come out, or the stream is rejected; what is kept for later has a cap."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    frame = channel_data(0x4000, b"hello", stream=True)
    binding = StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)).encode()
    frames, rejected = Frames(), 0
    for _ in range(INPUTS):
        chunk = rng.choice((frame, binding))
        chunk = mutate(rng, chunk, [frame, binding]) if rng.random() < 0.5 else chunk
        try:
            frames.feed_untrusted(chunk)
        except Rejected:
            frames, rejected = Frames(), rejected + 1
        assert len(frames._rest) < 2048
    assert rejected > 1000
