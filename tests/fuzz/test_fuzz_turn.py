"""Hostile packets at a relay, at a client of one, and in streams: 100,000 each."""

from __future__ import annotations

import random
import struct
import time
from collections import Counter

from meshcall.dht import messages as m
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
from meshcall.turn.credentials import Credentials
from meshcall.turn.events import Allocated, Ended
from meshcall.turn.frames import Frames, bare_frame, channel_data
from meshcall.turn.gateway import GatewayClient
from meshcall.turn.grant import Ask, Grant, Place, seal_grant
from meshcall.turn.policy import RelayPolicy
from tests.fuzz.mutation import mutate
from tests.unit.turn.world import CLIENT, PEER, UDP, Asker, Caller, World

INPUTS = 100_000
SEED = 20_261_124
NODE = b"\x07" * 20
GRANT = Grant(Credentials("9999999999:u", "p" * 28), 900, (Place("tls", 443),), False)
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
    bare = bare_frame(m.encode_frame(m.Ping(bytes(m.TID_SIZE), NODE, m.EPHEMERAL, b"", b"")))
    frames, rejected = Frames(), 0
    for _ in range(INPUTS):
        chunk = rng.choice((frame, binding, bare))
        chunk = mutate(rng, chunk, [frame, binding, bare]) if rng.random() < 0.5 else chunk
        try:
            frames.feed_untrusted(chunk)
        except Rejected:
            frames, rejected = Frames(), rejected + 1
        assert len(frames._rest) < 2048
    assert rejected > 1000


def test_100_000_hostile_octets_at_a_client_of_a_gateway() -> None:
    """Whatever a gateway answers, in and out of turn: no exception, one end, and memory that stays."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    asks = [Ask.new([bytes(32)], rng.randbytes) for _ in range(20)]
    sealed = {ask.key.public: seal_grant(GRANT, ask.key.public, NODE) for ask in asks}
    outcomes: Counter[str] = Counter()
    client: GatewayClient | None = None
    for index in range(INPUTS):
        if client is None or index % 20 == 0:
            ask, now = rng.choice(asks), 1000.0
            client = GatewayClient(
                ("198.51.100.1", 443), "tls", node_id=bytes(20), ask=ask, random=rng.randbytes
            )
            client.start(now)
            client.transmits()
        tid = client._asked or rng.randbytes(m.TID_SIZE)
        head = (tid, NODE, 0)
        answers = [
            m.Pong(*head, bytes(6), rng.randbytes(8), b"", b""),
            m.RelayGrant(*head, bytes(6), m.RELAY_GRANTED, sealed[ask.key.public]),
            m.RelayGrant(*head, bytes(6), m.RELAY_BUSY, b""),
            m.Refused(*head, bytes(6), m.REFUSED_TOKEN, b""),
        ]
        seeds = [bare_frame(m.encode_frame(one)) for one in answers]
        seeds.append(channel_data(0x4000, b"hello", stream=True))
        data = rng.choice(seeds[:2]) if rng.random() < 0.4 else mutate(rng, rng.choice(seeds), seeds)
        client.receive(data, now)
        client.send_to(PEER, b"\x04frame", now)
        client.send_to(PEER, b"\x80media", now)
        client.handle_timer(now + rng.random())
        client.deadline()
        client.transmits()
        ends = [event for event in client.events() if isinstance(event, Ended)]
        assert len(ends) <= 1
        outcomes.update(f"ended: {event.reason}" for event in ends)
        outcomes["allocating"] += client._turn is not None
        if ends:
            client = None
    print(dict(outcomes))
    assert outcomes["allocating"] > 100
    assert outcomes["ended: lost"] > 100
    assert outcomes["ended: refused"] > 100
