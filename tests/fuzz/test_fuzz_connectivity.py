"""100,000 mutated inputs for each parser of what finds a path: STUN, candidates, port mapping, grants."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    decode_items_untrusted,
    encode_candidates,
    filter_untrusted,
)
from meshcall.ice.nat import Filtering, Mapping, Ports
from meshcall.ice.notes import AimNote, NatNote, Note, SeenNote
from meshcall.identity.keys import SigningKey
from meshcall.portmap import natpmp, pcp
from meshcall.portmap.ssdp import decode_location_untrusted
from meshcall.record.codec import decode_record_untrusted
from meshcall.stun.attributes import error_untrusted, xor_addresses_untrusted
from meshcall.stun.classic import answer_classic_untrusted
from meshcall.stun.message import AttributeType, decode_stun_untrusted
from meshcall.turn.announcement import announce, read_announcement_untrusted
from meshcall.turn.credentials import Credentials
from meshcall.turn.grant import Grant, Place, _encode, decode_grant_untrusted
from tests.fuzz.mutation import mutate
from tests.unit.portmap.gateway import SSDP_ANSWER
from tests.unit.stun import test_classic, test_message

INPUTS = 100_000
SEED = 20_261_129
SLOW = 0.05
WHERE: Address = ("198.51.100.7", 4000)
POLICIES = (CandidatePolicy(), CandidatePolicy(allow_lan=False), CandidatePolicy(allow_mdns=True))


def stun(data: bytes) -> None:
    """A message, and every reading of it."""
    message = decode_stun_untrusted(data)
    message.has_integrity(test_message.PASSWORD)
    message.unknown_required()
    for read in (
        error_untrusted,
        lambda one: xor_addresses_untrusted(one, AttributeType.XOR_MAPPED_ADDRESS),
        lambda one: xor_addresses_untrusted(one, AttributeType.XOR_PEER_ADDRESS),
    ):
        try:
            read(message)
        except Rejected:
            continue


def classic(data: bytes) -> None:
    """An answer is never more than three times its request."""
    assert len(answer_classic_untrusted(data, ("2001:db8::7", 4000))) <= limits.STUN_REPLY_RATIO * len(data)


def items(data: bytes) -> None:
    """Candidates with notes: bounded, and through the filter nothing comes that is not an address."""
    candidates, notes = decode_items_untrusted(data)
    assert len(candidates) <= limits.CANDIDATES_MAX
    assert len(notes) <= limits.NOTES_MAX
    for policy in POLICIES:
        for one in filter_untrusted(candidates, policy, Counter()):
            assert one.port >= limits.CANDIDATE_PORT_MIN
            assert not one.address.startswith(("127.", "224.", "0.", "169.254.169.254"))
    encode_candidates(candidates, notes)


def _items() -> list[bytes]:
    candidates = [
        Candidate("host", "udp", "192.168.1.7", 4000, 2_130_706_431),
        Candidate("host", "udp", "2001:db8::7", 4000, 2_130_706_430),
        Candidate("srflx", "udp", "198.51.100.7", 4000, 1_694_498_815),
        Candidate("relay", "udp", "203.0.113.7", 50_000, 16_777_215),
        Candidate("host", "udp", "0fbcc2d0-1c0a-4e9b-8ac5-0d2a6d2f0a01.local", 4000, 2_113_937_151),
    ]
    notes: list[Note] = [
        NatNote(Mapping.APDM, Filtering.APDF, Ports.RANDOM, WHERE),
        SeenNote(WHERE, bytes(range(8))),
        AimNote(WHERE),
    ]
    return [
        encode_candidates(candidates, notes),
        encode_candidates(candidates[:1]),
        encode_candidates([], notes),
    ]


NAT_PMP = [
    bytes.fromhex("00800000" + "00000102" + "05090102"),
    bytes.fromhex("00810000" + "00000102" + "1092" + "1093" + "00001c20"),
    bytes.fromhex("00820002" + "00000102" + "00" * 8),
]


def _pcp() -> list[bytes]:
    """Answers to what we ask: the request with the bit of an answer, a result and an epoch."""
    asked = pcp.encode_map_request("192.168.1.7", bytes(range(12)), "udp", 4242, lifetime=7200)
    announced = pcp.encode_announce_request("192.168.1.7")
    return [
        bytes([one[0], one[1] | 0x80, 0, result]) + one[4:8] + (77).to_bytes(4, "big") + bytes(12) + one[24:]
        for one in (asked, announced)
        for result in (0, 8)
    ]


def _record() -> list[bytes]:
    made = announce(SigningKey.from_seed(bytes(32)), [WHERE], ["udp", "tls"], epoch=1, shard=1, seq=1)
    return [made.encode()]


GRANT = _encode(
    Grant(Credentials("1:u", "p" * 28), 900, (Place("udp", 3478), Place("tls", 443, "46.1.1.1")), True)
)

PARSERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "stun": (
        stun,
        [test_message.REQUEST, test_message.RESPONSE4, test_message.RESPONSE6, test_message.LONG_TERM],
    ),
    "stun of rfc 3489": (classic, [test_classic.REQUEST, test_classic.BARE]),
    "candidates and notes": (items, _items()),
    "nat-pmp": (natpmp.decode_answer_untrusted, NAT_PMP),
    "pcp": (pcp.decode_answer_untrusted, _pcp()),
    "ssdp": (lambda data: decode_location_untrusted(data, "192.168.1.1"), [SSDP_ANSWER]),
    "relay announcements": (
        lambda data: read_announcement_untrusted(decode_record_untrusted(data)),
        _record(),
    ),
    "grants": (decode_grant_untrusted, [GRANT]),
}


@pytest.mark.parametrize("name", PARSERS)
def test_100_000_mutated_inputs(name: str) -> None:
    """Each is taken or rejected with a reason, at once; nothing else is raised; both happen."""
    parse, seeds = PARSERS[name]
    for seed in seeds:
        parse(seed)
    rng = random.Random(f"{SEED} {name}")
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(INPUTS):
        data = mutate(rng, rng.choice(seeds), seeds)
        started = time.thread_time()
        try:
            parse(data)
            outcomes["taken"] += 1
        except Rejected as rejected:
            outcomes[rejected.reason] += 1
        slowest = max(slowest, time.thread_time() - started)
    print(f"{name}: {dict(outcomes)}, slowest {slowest * 1000:.2f} ms")
    assert outcomes.total() == INPUTS
    assert slowest < SLOW
    assert len(outcomes) > 1
