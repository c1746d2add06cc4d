"""Forged and altered records, and identities that anybody can sign for."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import pytest

from meshcall.address import Address
from meshcall.aio.files import ContactRow, StateDb
from meshcall.dht import messages as m
from meshcall.dht.contact import node_id_of
from meshcall.errors import InvalidPeerId, InvalidUri, Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import parse_peer
from meshcall.limits import MESSAGE_TTL_MAX
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.validation import check_record_untrusted
from meshcall.signaling.messages import Ringing
from meshcall.signaling.presence import read_presence_untrusted
from meshcall.signaling.rendezvous import epoch_of, inbox, reply_box
from tests.unit.dht.test_gates import engine_of, frames
from tests.unit.signaling.test_envelope import (
    INBOX,
    MAILBOX,
    Peer,
    an_offer,
    opened_inner,
    resealed,
    write,
)

VECTORS = Path(__file__).parents[1] / "vectors"
RECORDS = json.loads((VECTORS / "records.json").read_text(encoding="ascii"))["records"]
WEAK = [
    bytes.fromhex(vector["key"])
    for vector in json.loads((VECTORS / "identity.json").read_text(encoding="ascii"))["weak_keys"]
]
NOW_MS = 1_800_000_000_000
FORGERIES = [key + bytes(32) for key in WEAK]
"""R of small order, S = 0: with a key of small order each verifies many messages, where nobody looks."""
KINDS = ((RecordType.PRESENCE, 196), (RecordType.INBOX, 565), (RecordType.MAILBOX, 821))


def more_records() -> list[bytes]:
    """Seven more than the golden ones: other keys, and numbers and lives at their bounds."""
    rng = random.Random(20)
    bounds = [(0, 1), (2**64 - 1, 60), (1, MESSAGE_TTL_MAX), (2**63, 2), (NOW_MS, 599), (2, 7), (3, 60)]
    records = []
    for index, (seq, ttl) in enumerate(bounds):
        kind, size = KINDS[index % 3]
        signer = SigningKey.from_seed(rng.randbytes(32))
        records.append(sign_record(signer, kind, seq, ttl, rng.randbytes(size)).encode())
    return records


@pytest.mark.parametrize("index", range(7))
def test_every_bit_flip_of_twenty_records_is_refused(index: int) -> None:
    """Golden ones of an inbox and a reply box stand in tests/property; here are seven more."""
    golden = [vector for vector in RECORDS if vector["rendezvous"] in ("inbox", "reply_box")]
    assert len(golden) + len(more_records()) >= 20
    data = more_records()[index]
    assert check_record_untrusted(data).encode() == data
    for bit in range(len(data) * 8):
        altered = bytearray(data)
        altered[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(Rejected):
            check_record_untrusted(bytes(altered))


# --- keys of small order: the 14 encodings ---------------------------------------------------------


def unchecked_id(key: bytes) -> PeerId:
    """A PeerId as it can not be made: only to see that the signatures under it are refused, too."""
    peer_id = object.__new__(PeerId)
    object.__setattr__(peer_id, "key", key)
    return peer_id


def id_text(key: bytes) -> str:
    """The text of an ID, checksum right."""
    return unchecked_id(key).text


def test_the_forgeries_are_fourteen_keys_and_as_many_signatures() -> None:
    """All encodings; each key is tried with each signature."""
    assert len(set(WEAK)) == len(set(FORGERIES)) == 14


@pytest.mark.parametrize("key", WEAK, ids=bytes.hex)
def test_a_key_of_small_order_is_refused_in_id_link_and_contacts(key: bytes, tmp_path: Path) -> None:
    """As a typed ID, in a link, from octets, and in a database that somebody wrote into."""
    with pytest.raises(InvalidPeerId):
        PeerId.parse(id_text(key))
    with pytest.raises((InvalidPeerId, InvalidUri)):
        parse_peer(f"meshcall:{id_text(key)}")
    with pytest.raises(Rejected):
        PeerId.from_key_untrusted(key)
    friend = SigningKey.from_seed(bytes(32)).peer_id
    state = StateDb.open(tmp_path / "state.db", now_ms=0)
    state.put_contact(ContactRow(friend, "friend"))
    with sqlite3.connect(tmp_path / "state.db") as raw:
        raw.execute("INSERT INTO contacts VALUES (?, 'M', 'm', 0, 0, x'', 0, 0, 0, 0, 0)", (key,))
    raw.close()
    assert [row.peer_id for row in state.contacts()] == [friend]
    state.close()


@pytest.mark.parametrize("key", WEAK, ids=bytes.hex)
def test_a_key_of_small_order_is_refused_in_presence_inbox_and_mailbox(key: bytes) -> None:
    """Whichever forged signature stands there."""
    alice, bob = Peer("alice"), Peer("bob")
    box = reply_box(bytes(32))
    offer = opened_inner(write(alice, bob, an_offer(alice))[0], bob, bob.inbox)
    ringing = opened_inner(write(bob, alice, Ringing(), box)[0], alice, box)
    for forged in FORGERIES:
        to_bob = resealed(_claim(offer, key, forged), bob, record_type=INBOX)
        assert bob.refuses(to_bob) == "peer-id"
        to_alice = resealed(_claim(ringing, key, forged), alice, box, record_type=MAILBOX)
        assert alice.refuses(to_alice, box) == "peer-id"
    weak = unchecked_id(key)
    place = inbox(weak, epoch_of(weak, NOW_MS))
    presence = sign_record(place.signer, RecordType.PRESENCE, 1, 60, FORGERIES[0] + bytes(132))
    with pytest.raises(Rejected):
        read_presence_untrusted(presence, weak, place, NOW_MS)


def _claim(inner: bytes, key: bytes, signature: bytes) -> bytes:
    """``inner`` said by ``key`` and signed so; its layout is drawn in ``signaling/envelope.py``."""
    end = 94 + int.from_bytes(inner[92:94], "big")
    return inner[:2] + key + inner[34:end] + signature + inner[end + 64 :]


@pytest.mark.parametrize("key", WEAK, ids=bytes.hex)
def test_a_key_of_small_order_is_refused_as_outer_key_and_as_node_key(key: bytes) -> None:
    """It signs no record for storage nodes, and no challenge for a table."""
    for forged in FORGERIES:
        for kind, size in KINDS:
            record = Record(kind, key, 1, 60, bytes(size), forged).encode()
            with pytest.raises(Rejected, match="signature"):
                check_record_untrusted(record)
    asker = engine_of(1)
    node_id = node_id_of(key)
    for index, forged in enumerate(FORGERIES):
        there: Address = (f"46.0.{index}.1", 4000)
        hello = m.Ping(b"1" * 8, node_id, 0, b"", bytes(60))
        asker.receive(m.encode_frame(hello), there, 1.0)
        (challenge,) = [frame for frame in frames(asker, there) if isinstance(frame, m.Ping)]
        proof = m.Pong(challenge.tid, node_id, 0, bytes([9, 9, 9, 9, 15, 160]), b"", key, forged)
        asker.receive(m.encode_frame(proof), there, 1.0)
    assert asker.contacts() == []
    assert asker.statistics().counters["proof-signature"] == len(FORGERIES)
