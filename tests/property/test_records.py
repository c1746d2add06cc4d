"""Records under attack: every bit flip, random and mutated octets, what a storage node can see."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.errors import Rejected
from meshcall.identity.keys import AgreementKey, SigningKey, mac, open_untrusted, seal
from meshcall.identity.peer_id import PeerId
from meshcall.record.codec import RECORD_SIZES, Record, RecordType, decode_record_untrusted, sign_record
from meshcall.record.store import RecordStore
from meshcall.record.validation import check_record_untrusted
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import REPLY_PREKEY_ID, Opened, open_message_untrusted, seal_message
from meshcall.signaling.presence import Presence, presence_hash, publish_presence, read_presence_untrusted
from meshcall.signaling.rendezvous import (
    Rendezvous,
    RendezvousSecret,
    Series,
    contact_rendezvous,
    epoch_of,
    inbox,
    reply_box,
)
from meshcall.signaling.replay import ReplayCache

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "records.json").read_text(encoding="ascii")
)
RECORDS: list[dict[str, Any]] = [
    vector for vector in VECTORS["records"] if vector["rendezvous"] in ("inbox", "reply_box")
]
"""Where every bit is turned these are enough: the other rendezvous differ in the key alone."""
SEALED = [vector for vector in RECORDS if "kind" in vector]
PRESENCES = [vector for vector in RECORDS if "kind" not in vector]
NOW_MS: int = VECTORS["now_ms"]
BOB = SigningKey.from_seed(bytes.fromhex(VECTORS["identities"]["bob"]["seed"]))
SEED = 20_240_229


def by_name(vector: dict[str, Any]) -> str:
    """Test id."""
    return str(vector["name"])


@dataclass(frozen=True)
class Reader:
    """Who can open a golden message, with all it needs."""

    me: PeerId
    key: AgreementKey
    prekey_id: int
    place: Rendezvous

    @classmethod
    def of(cls, vector: dict[str, Any]) -> Reader:
        """The recipient of a golden message."""
        to_bob = vector["rendezvous"] == "inbox"
        bob = PeerId.parse(VECTORS["identities"]["bob"]["id"])
        me = bob if to_bob else PeerId.parse(VECTORS["identities"]["alice"]["id"])
        private = bytes.fromhex(VECTORS["prekey" if to_bob else "reply_key"]["private"])
        place = inbox(bob, VECTORS["epoch"]) if to_bob else reply_box(bytes.fromhex(VECTORS["offer_hash"]))
        return cls(me, AgreementKey.from_private(private), vector["prekey_id"], place)

    def open(self, record: Record) -> Opened:
        """Open with every gate that could hide a fault set wide open."""
        return open_message_untrusted(
            record,
            me=self.me,
            find_prekey=lambda prekey_id: self.key,
            rendezvous=self.place,
            now_ms=NOW_MS,
            replay=ReplayCache(),
            admit=lambda sender, kind: True,
        )

    @property
    def info(self) -> bytes:
        """HPKE's info, by the document."""
        return b"meshcall/1/seal\0\x01" + self.prekey_id.to_bytes(4, "big") + self.me.key

    def inner(self, record: Record) -> bytes:
        """The padded inner."""
        return open_untrusted(self.key, self.info, record.value[5:])

    def seal(self, inner: bytes, record: Record) -> Record:
        """``record`` with another inner, sealed and signed afresh."""
        sealed = seal(self.key.public, self.info, inner)
        masked = self.prekey_id ^ int.from_bytes(mac(self.place.mask_key, sealed[:32])[:4], "big")
        value = struct.pack("!BI", 1, masked) + sealed
        return sign_record(self.place.signer, record.type, record.seq, record.ttl, value)


def flipped(data: bytes, bit: int) -> bytes:
    """``data`` with one bit turned."""
    at, mask = bit >> 3, 0x80 >> (bit & 7)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@pytest.mark.parametrize("vector", RECORDS, ids=by_name)
def test_every_bit_flip_of_a_golden_record_is_refused(vector: dict[str, Any]) -> None:
    """Not one of the octets that storage nodes hold can be altered, whether or not the key is checked too."""
    data = bytes.fromhex(vector["record"])
    assert check_record_untrusted(data).encode() == data
    accepted = []
    for bit in range(len(data) * 8):
        try:
            check_record_untrusted(flipped(data, bit))
        except Rejected:
            continue
        accepted.append(bit)
    assert accepted == []


@pytest.mark.parametrize("vector", SEALED, ids=by_name)
def test_every_bit_flip_of_a_golden_inner_is_refused(vector: dict[str, Any]) -> None:
    """Sealed and signed afresh around one altered bit, no message passes: kind, times, body, padding, all."""
    reader = Reader.of(vector)
    record = check_record_untrusted(bytes.fromhex(vector["record"]))
    inner = reader.inner(record)
    assert reader.open(reader.seal(inner, record)).inner_hash.hex() == vector["inner_hash"]
    accepted = []
    for bit in range(len(inner) * 8):
        try:
            reader.open(reader.seal(flipped(inner, bit), record))
        except Rejected:
            continue
        accepted.append(bit)
    assert accepted == []


@pytest.mark.parametrize("vector", SEALED, ids=by_name)
def test_every_bit_flip_of_a_golden_sealed_value_is_refused(vector: dict[str, Any]) -> None:
    """A storage node that knows the ID can sign an altered value; it does not open. Every third bit."""
    reader = Reader.of(vector)
    record = check_record_untrusted(bytes.fromhex(vector["record"]))
    accepted = []
    for bit in range(0, len(record.value) * 8, 3):
        value = flipped(record.value, bit)
        altered = sign_record(reader.place.signer, record.type, record.seq, record.ttl, value)
        try:
            reader.open(altered)
        except Rejected:
            continue
        accepted.append(bit)
    assert accepted == []


@pytest.mark.parametrize("vector", PRESENCES, ids=by_name)
def test_every_bit_flip_of_a_golden_presence_value_is_refused(vector: dict[str, Any]) -> None:
    """Who knows the ID can sign for the place, and still can't alter the presence."""
    place = inbox(BOB.peer_id, VECTORS["epoch"])
    record = check_record_untrusted(bytes.fromhex(vector["record"]))
    accepted = []
    for bit in range(len(record.value) * 8):
        value = flipped(record.value, bit)
        altered = sign_record(place.signer, record.type, record.seq, record.ttl, value)
        try:
            read_presence_untrusted(altered, BOB.peer_id, place, NOW_MS)
        except Rejected:
            continue
        accepted.append(bit)
    assert accepted == []


def feed(data: bytes) -> str:
    """What becomes of any octets on their way through everything that parses a record."""
    reader = Reader.of(SEALED[0])
    try:
        record = check_record_untrusted(data)
        if record.type is RecordType.PRESENCE:
            read_presence_untrusted(record, BOB.peer_id, inbox(BOB.peer_id, VECTORS["epoch"]), NOW_MS)
        else:
            reader.open(record)
    except Rejected as error:
        return error.reason
    return "accepted"


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Octets changed, inserted, removed, repeated or cut."""
    octets = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(6):
            case 0:
                octets[at:at] = chance.randbytes(chance.randint(1, 8))
            case 1:
                del octets[at : at + chance.randint(1, 64)]
            case 2:
                octets = octets[:at]
            case 3:
                octets[at:at] = octets[: chance.randint(1, 64)]
            case _:
                octets[at : at + 1] = chance.randbytes(1)
    return bytes(octets)


def test_20_000_random_and_mutated_inputs_are_refused() -> None:
    """Nothing is accepted, and nothing but Rejected is raised."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    golden = [bytes.fromhex(vector["record"]) for vector in RECORDS]
    reasons: Counter[str] = Counter()
    for number in range(20_000):
        original = chance.choice(golden)
        match number % 4:
            case 0:
                data = chance.randbytes(chance.choice([chance.randrange(1300), *RECORD_SIZES]))
            case 1:
                data = original[: chance.randrange(len(original))]
            case 2:  # a right header before noise, so that deeper checks are reached
                data = original[:48] + chance.randbytes(len(original) - 48)
            case _:
                data = mutated(original, chance)
                if data in golden:
                    continue
        reasons[feed(data)] += 1
    assert reasons["accepted"] == 0
    assert {"size", "version", "signature"} <= set(reasons), reasons


def test_20_000_random_and_mutated_inners_are_refused() -> None:
    """Behind the seal too: whoever can seal to us finds nothing that raises or passes."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    readers = [(Reader.of(vector), vector) for vector in SEALED]
    pairs = []
    for reader, vector in readers:
        record = check_record_untrusted(bytes.fromhex(vector["record"]))
        pairs.append((reader, record, reader.inner(record)))
    reasons: Counter[str] = Counter()
    for number in range(20_000):
        reader, record, inner = chance.choice(pairs)
        if number % 4:
            size = chance.choice([512, 768])
            data = mutated(inner, chance)[:size].ljust(size, b"\0")
        else:
            data = chance.randbytes(chance.choice([512, 768]))
        if data in (inner, inner.ljust(768, b"\0")):
            continue
        try:
            reader.open(reader.seal(data, record))
        except Rejected as error:
            reasons[error.reason] += 1
        else:
            reasons["accepted"] += 1
    assert reasons["accepted"] == 0
    assert {"inner", "signature", "kind"} <= set(reasons), reasons


@given(st.binary(max_size=1200))
def test_any_octets_give_a_record_or_rejected(data: bytes) -> None:
    """The parser has one exception."""
    try:
        record = decode_record_untrusted(data)
    except Rejected:
        return
    assert record.encode() == data


@given(st.integers(-1, 9), st.binary(max_size=700))
def test_any_octets_give_a_message_or_rejected(kind: int, body: bytes) -> None:
    """The body parser has one exception, and what it takes can be encoded again."""
    try:
        message = m.decode_body_untrusted(kind, body)
    except Rejected:
        return
    assert m.decode_body_untrusted(kind, m.encode_body(message)) == message


@given(
    st.sampled_from(RECORDS),
    st.lists(st.tuples(st.integers(0, 7463), st.integers(1, 255)), min_size=1, max_size=8),
)
def test_any_change_of_octets_is_refused(vector: dict[str, Any], changes: list[tuple[int, int]]) -> None:
    """Several octets at once, too."""
    data = bytearray.fromhex(vector["record"])
    original = bytes(data)
    for at, mask in changes:
        data[at % len(data)] ^= mask
    if bytes(data) != original:
        with pytest.raises(Rejected):
            check_record_untrusted(bytes(data))


_NAMES = st.text(max_size=80)
_MESSAGES: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(
        m.Offer,
        st.binary(max_size=490),
        st.binary(min_size=32, max_size=32).map(lambda seed: AgreementKey.from_private(seed).public),
        _NAMES,
        st.sampled_from([m.Wants(value) for value in range(8)]),
    ),
    st.builds(m.Answer, st.binary(max_size=607)),
    st.builds(m.Candidates, st.binary(max_size=600), st.booleans()),
    st.builds(m.Reject, st.sampled_from(m.RejectReason)),
    st.builds(m.Hangup, st.sampled_from(m.HangupReason)),
    st.builds(
        m.ContactRequest,
        _NAMES,
        st.binary(max_size=32),
        st.none()
        | st.builds(RendezvousSecret, st.binary(min_size=32, max_size=32), st.integers(1, 2**32 - 1)),
        st.integers(0, 2**32 - 1),
    ),
    st.just(m.Ringing()),
)


@given(_MESSAGES)
def test_every_message_survives_encoding(message: m.Message) -> None:
    """Encoding is the inverse of decoding; only names may be cleaned on the way, once."""
    once = m.decode_body_untrusted(m.kind_of(message), m.encode_body(message))
    assert m.decode_body_untrusted(m.kind_of(once), m.encode_body(once)) == once
    if not isinstance(message, m.Offer | m.ContactRequest):
        assert once == message


@given(st.integers(1, 2**32 - 1), st.text(max_size=90), st.sets(st.integers(1, 32), min_size=1))
def test_every_presence_survives_encoding(prekey_id: int, name: str, versions: set[int]) -> None:
    """What is published is what is read, in one size, with one hash."""
    key = AgreementKey.from_private(b"k" * 32).public
    presence = Presence(BOB.peer_id, prekey_id, key, NOW_MS, versions=tuple(sorted(versions)), name=name)
    place = inbox(BOB.peer_id, epoch_of(BOB.peer_id, NOW_MS))
    record = publish_presence(BOB, presence, place, 1)
    read = read_presence_untrusted(record, BOB.peer_id, place, NOW_MS)
    assert (read.prekey_id, read.versions) == (prekey_id, presence.versions)
    assert presence_hash(read) == presence_hash(presence)
    assert len(record.encode()) == 308


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # outer key
            st.integers(0, 5),  # seq
            st.integers(0, 2),  # content
            st.sampled_from(["11.0.0.1", "11.0.0.2", "12.0.0.1", "192.168.0.1", "2600::1", "own"]),
            st.integers(0, 300),  # seconds passed
        ),
        max_size=60,
    )
)
def test_a_store_keeps_its_promises_whatever_is_put(puts: list[tuple[int, int, int, str, int]]) -> None:
    """Caps hold, nothing outlives its ttl, and what was acknowledged is there and the newest of its place."""
    store = RecordStore(max_values=5, max_octets=3000, per_source=3, per_network=4, per_key_and_type=3)
    now = 0.0
    own: dict[bytes, bytes] = {}
    for key, seq, fill, source, passed in puts:
        now += passed
        record = Record(RecordType.MAILBOX, bytes([key]) * 32, seq, 600, bytes([fill]) * 565, bytes(64))
        result = store.put(record, source, now, pinned=source == "own")
        assert (record.encode() in store.get(record.storage_key, now)) >= result.kept
        statistics = store.statistics()
        assert statistics.values <= 5
        assert statistics.octets == 677 * statistics.values <= 3000
        if source == "own" and result.kept and result != "unchanged":
            own[record.storage_key] = record.encode()
    deadline = store.deadline()
    assert (deadline is None) == (len(store) == 0)
    store.expire(now + 600)
    assert len(store) == 0
    assert store.statistics().octets == 0


def windows(data: bytes) -> set[bytes]:
    """All runs of eight octets."""
    return {data[at : at + 8] for at in range(len(data) - 7)}


def test_storage_nodes_see_nothing_of_100_calls() -> None:
    """No eight octets of any ID, name, credential, fingerprint, address or call id occur in what is stored.

    Sizes are 308 for presences, 677 or 933 for messages; no storage key serves two epochs or two calls.
    """
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    seen: set[bytes] = set()
    secrets: list[bytes] = []
    sizes: Counter[int] = Counter()
    keys: Counter[bytes] = Counter()
    shared = chance.randbytes(32)
    for number in range(100):
        caller, callee = (SigningKey.from_seed(chance.randbytes(32)) for _ in range(2))
        prekey, reply_key = (AgreementKey.from_private(chance.randbytes(32)) for _ in range(2))
        now_ms = NOW_MS + number * 900_000
        epoch = epoch_of(callee.peer_id, now_ms)
        ip, ip6 = f"198.51.100.{number + 100}".encode(), chance.randbytes(16)
        ufrag, pwd = chance.randbytes(4).hex().encode(), chance.randbytes(12).hex().encode()
        fingerprint, call_id = chance.randbytes(32), chance.randbytes(16)
        description = b"|".join([ufrag, pwd, fingerprint, ip, ip6])
        presence = Presence(
            callee.peer_id, chance.randrange(1, 2**32), prekey.public, now_ms, name="Bob " * 3
        )
        box = inbox(callee.peer_id, epoch)
        # Half of the calls go by the callee's rendezvous secret, the same for all; both show the presence
        by_secret = contact_rendezvous(shared, Series("contact", shared).epoch(now_ms))
        records = [publish_presence(callee, presence, place, now_ms) for place in (box, by_secret)]
        box = by_secret if number % 2 else box

        def send(message: m.Message, bind: bytes, place: Rendezvous) -> bytes:
            to_box = place.offer_hash is not None
            record, inner_hash = seal_message(
                identity=callee if to_box else caller,  # noqa: B023 - called within this round only
                to=(caller if to_box else callee).peer_id,  # noqa: B023
                prekey_id=REPLY_PREKEY_ID if to_box else presence.prekey_id,  # noqa: B023
                prekey=(reply_key if to_box else prekey).public,  # noqa: B023
                rendezvous=place,
                type=RecordType.MAILBOX if to_box else RecordType.INBOX,
                call_id=call_id,  # noqa: B023
                message=message,
                bind=bind,
                now_ms=now_ms,  # noqa: B023
                seq=now_ms,  # noqa: B023
                ttl=600,
            )
            records.append(record)  # noqa: B023
            return inner_hash

        offer = m.Offer(description.ljust(chance.randint(120, 500), b"."), reply_key.public, "Alice Liddell")
        offer_hash = send(offer, presence_hash(presence), box)
        replies = reply_box(offer_hash)
        send(m.Ringing(), offer_hash, replies)
        send(m.Answer(description), offer_hash, replies)
        send(m.Candidates(ip + ip6), offer_hash, box)
        send(m.Hangup(m.HangupReason.HANGUP), offer_hash, replies)
        handed = RendezvousSecret(shared, number + 1)
        send(m.ContactRequest("Alice", b"", handed), presence_hash(presence), box)
        for record in records:
            data = record.encode()
            seen |= windows(data)
            sizes[len(data)] += 1
        keys.update({record.storage_key for record in records})
        secrets += [
            *(key.public for key in (caller, callee, prekey, reply_key)),
            *(key.peer_id.text.encode() for key in (caller, callee)),
            *(ip, ip6, ufrag, pwd, fingerprint, call_id, offer_hash, presence_hash(presence)),
            *(b"Bob Bob Bob", b"Alice Liddell", shared),
        ]
    assert set(sizes) == {308, 677, 933}
    assert sizes[308] == 200
    assert max(keys.values()) == 1
    assert len(keys) == 300
    leaked = [secret for secret in secrets if windows(secret) & seen]
    assert leaked == []


def test_one_caller_in_two_calls_can_not_be_linked() -> None:
    """Two offers of one caller to one callee in neighbouring epochs share no eight octets of key or value."""
    caller = SigningKey.from_seed(hashlib.sha256(b"caller").digest())
    prekey = AgreementKey.from_private(b"p" * 32)
    first, second = (
        seal_message(
            identity=caller,
            to=BOB.peer_id,
            prekey_id=5,
            prekey=prekey.public,
            rendezvous=inbox(BOB.peer_id, epoch),
            type=RecordType.INBOX,
            call_id=bytes(16),
            message=m.Offer(b"same", prekey.public),
            bind=bytes(32),
            now_ms=NOW_MS,
            seq=NOW_MS + epoch * 2**40,
            ttl=600,
        )[0]
        for epoch in (1, 2)
    )
    assert windows(first.value).isdisjoint(windows(second.value))
    assert windows(first.key).isdisjoint(windows(second.key))
    assert windows(first.signature).isdisjoint(windows(second.signature))
