"""100,000 hostile packets at the port that calls share: STUN for everybody, checks, answers, media."""

from __future__ import annotations

import binascii
import random
import time
from collections import Counter

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.port import IcePort
from meshcall.aio.udp import Awaited, Handler
from meshcall.ice.agent import IceAgent
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Check, Credentials, encode_check
from meshcall.ice.events import Lost, NoPath
from meshcall.ice.pair import candidate_priority
from meshcall.stun.attributes import encode_xor_address, success
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from tests.fuzz.mutation import mutate
from tests.unit.stun.test_classic import REQUEST as CLASSIC

INPUTS = 100_000
SEED = 20_261_128
BASE: Address = ("0.0.0.0", 4000)
PEER: Address = ("198.51.100.9", 5000)
SLOW = 0.05


class Wire:
    """In the place of a UDP port: what is sent is kept until it is taken."""

    port = BASE[1]
    families = (4, 6)

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self._handlers: dict[int, tuple[Handler, Awaited | None]] = {}

    def register(self, octets: range, handler: Handler, awaited: Awaited | None = None) -> None:
        self._handlers |= dict.fromkeys(octets, (handler, awaited))

    def send(self, data: bytes, address: Address) -> None:
        self.sent.append((data, address))

    def give(self, data: bytes, source: Address) -> list[tuple[bytes, Address]]:
        """Hand one datagram to its protocol as the real port does; what is sent in answer to it."""
        found = self._handlers.get(data[0]) if data else None
        self.sent = []
        if found is not None:
            handler, awaited = found
            if awaited is not None:
                awaited(data, source)
            handler(data, source)
        return self.sent


class Call:
    """A session whose agent sends at once."""

    def __init__(self, wire: Wire, name: str, rng: random.Random, *, started: bool) -> None:
        self.wire = wire
        self._rng = rng
        self.local = Credentials(name, f"password-of-{name:>20}")
        self.peer = Credentials(f"p-{name}", "their-password-0123456789")
        self.ufrag = self.local.ufrag.encode()
        self.now = 1000.0
        self.counters: Counter[str] = Counter()
        self.agent = IceAgent(self.local, controlling=started, random=rng.randbytes, counters=self.counters)
        self.agent.add_local(Candidate("host", "udp", *BASE, candidate_priority("host", BASE[0])), self.now)
        if started:
            self.agent.start(self.peer, self.now)
        self.peers = self.agent.proven
        self.asked: list[StunMessage] = []
        self.media = 0
        self.over = 0

    def awaits(self, transaction: bytes) -> bool:
        return self.agent.awaits(transaction)

    def receive_stun(self, data: bytes, source: Address, base: Address) -> None:
        self.agent.receive(data, source, base, self.now)
        self.drain()

    def receive_media(self, data: bytes) -> None:
        self.media += 1

    def network_changed(self) -> None:
        raise AssertionError("nobody has changed it")

    def drain(self) -> None:
        for data, destination, _ in self.agent.transmits():
            self.wire.send(data, destination)
            if data[:2] == b"\0\1" and destination == PEER:
                self.asked = [*self.asked[-7:], decode_stun_untrusted(data)]
        self.over += sum(isinstance(event, Lost | NoPath) for event in self.agent.events())

    def check(self, *, nominates: bool = True) -> bytes:
        """A good check of its peer's."""
        check = Check(2**30, not self.agent.controlling, 7, nominates)
        return encode_check(check, self._rng.randbytes(12), self.peer, self.local)


def _signed(rng: random.Random, call: Call) -> bytes:
    """What somebody who knows the password of a call can send: the peer itself, say."""
    pool = [
        (AttributeType.USERNAME, f"{call.local.ufrag}:{call.peer.ufrag}".encode()),
        (AttributeType.USERNAME, call.ufrag + b":" + rng.randbytes(4)),
        (AttributeType.PRIORITY, rng.choice((b"", bytes(4), b"\xff" * 4, (2**30).to_bytes(4, "big")))),
        (AttributeType.ICE_CONTROLLING, rng.randbytes(rng.choice((8, 8, 7)))),
        (AttributeType.ICE_CONTROLLED, rng.randbytes(8)),
        (AttributeType.USE_CANDIDATE, rng.randbytes(rng.randrange(2))),
        (AttributeType.ERROR_CODE, rng.choice((b"", b"\0\0\4\x57", b"\0\0\4\0", rng.randbytes(6)))),
        (AttributeType.XOR_MAPPED_ADDRESS, rng.randbytes(rng.choice((4, 8, 20)))),
        (rng.randrange(65536), rng.randbytes(rng.randrange(12))),
    ]
    attributes = tuple(rng.sample(pool, rng.randrange(len(pool) + 1)))
    asked = rng.choice(call.asked) if call.asked and rng.random() < 0.5 else None
    kind = rng.choice(tuple(MessageClass))
    tid = rng.randbytes(12) if asked is None else asked.transaction_id
    if kind is MessageClass.REQUEST:
        attributes = (pool[0], *attributes)
    key = call.local.key if kind is MessageClass.REQUEST else call.peer.key
    return StunMessage(Method.BINDING, kind, tid, attributes).encode(key)


def _mended(data: bytes) -> bytes:
    """With the length and the fingerprint that belong to it, so that it gets further."""
    body = data[20:-8] if len(data) > 28 else b""
    body += bytes(-len(body) % 4)
    head = data[:2] + (len(body) + 8).to_bytes(2, "big") + data[4:20].ljust(16, b"\0")
    crc = binascii.crc32(head + body) ^ 0x5354554E
    return head + body + b"\x80\x28\0\4" + crc.to_bytes(4, "big")


def _answer(call: Call, source: Address) -> bytes | None:
    """The right answer to a check that the call waits for."""
    open_ones = [one for one in call.asked if call.awaits(one.transaction_id)]
    if not open_ones:
        return None
    mapped = encode_xor_address(source, open_ones[-1].transaction_id)
    return success(open_ones[-1], (AttributeType.XOR_MAPPED_ADDRESS, mapped)).encode(call.peer.key)


def test_100_000_hostile_packets_at_the_port_of_calls() -> None:
    """Nothing is unhandled or slow, nothing sent back is more than three times what came, calls go on."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    wire = Wire()
    counters: Counter[str] = Counter()
    port = IcePort(wire, counters=counters, answers=True)  # type: ignore[arg-type]
    plain = StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)).encode()
    live = Call(wire, "live", rng, started=True)
    fresh: list[Call] = []
    port.add(live)
    seeds: list[bytes] = []
    sent: Counter[str] = Counter()
    longest = slowest = 0.0
    for index in range(INPUTS):
        if index % 500 == 0:
            # The real peer keeps its call alive. One call waits for a description, one has a hostile peer.
            wire.give(live.check(), PEER)
            for _ in range(3):
                live.now += 0.2
                live.agent.handle_timer(live.now)
                live.drain()
                if answer := _answer(live, PEER):
                    wire.give(answer, PEER)
            for call in fresh:
                port.remove(call)
            fresh = [Call(wire, name, rng, started=name == "insider") for name in ("waiting", "insider")]
            for call in fresh:
                port.add(call)
        if index % 50 == 0:
            checks, genuine = [one.check() for one in (live, *fresh)], _answer(live, PEER) or plain
            seeds = [plain, CLASSIC, *checks, genuine, b"\x16\xfe\xfd" + bytes(40), b"\x80" * 60]
        source: Address = PEER
        if rng.random() < 0.7:
            source = f"5.7.{rng.randrange(256)}.7", rng.randrange(65536)
        if rng.random() < 0.2:
            data = _signed(rng, rng.choice(fresh))
        else:
            data = mutate(rng, rng.choice(seeds), seeds)
            data = _mended(data) if rng.random() < 0.5 else data
        started = time.thread_time()
        back = wire.give(data, source)
        slowest = max(slowest, time.thread_time() - started)
        assert {destination for _, destination in back} <= {source, PEER}, (data.hex(), source, back)
        if source != PEER:
            longest = max(longest, sum(len(reply) for reply, to in back if to == source) / max(1, len(data)))
        sent[f"{len(back)} back"] += 1
        for one in (live, *fresh):
            assert len(one.agent._early) <= limits.ICE_EARLY_CHECKS_MAX
            assert len(one.agent._sent) <= limits.ICE_CHECKS_WAITED_MAX
    for one in (live, *fresh):
        assert len(one.agent.remote_candidates) <= limits.ICE_REMOTE_CANDIDATES_MAX
        assert len(one.agent.pairs) <= limits.ICE_PAIRS_MAX
    print(f"longest answer {longest:.2f}, slowest {slowest * 1000:.1f} ms, {dict(sent)}, media {live.media}")
    print(dict(counters), dict(live.counters))
    assert longest <= limits.STUN_REPLY_RATIO
    assert slowest < SLOW
    assert sent["1 back"] > 1000
    assert min(counters["stun-stun"], live.counters["ice-integrity"], live.counters["ice-username"]) > 100
    wire.give(live.check(), PEER)
    assert live.over == 0
    assert live.agent.selected is not None
    assert live.agent.selected.destination == PEER
    assert PEER in live.peers
