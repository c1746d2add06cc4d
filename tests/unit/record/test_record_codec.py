"""The outer layout: golden octets, bounds, signature, storage key."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.record.codec import (
    RECORD_SIZES,
    TTL_MAX,
    VALUE_SIZES,
    RecordType,
    decode_record_untrusted,
    sign_record,
    storage_key,
)
from meshcall.record.validation import check_record_untrusted, verify_record_untrusted

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "records.json").read_text(encoding="ascii")
)
RECORDS: list[dict[str, Any]] = VECTORS["records"]
SIGNER = SigningKey.from_seed(bytes(range(32)))


def a_record(record_type: RecordType = RecordType.INBOX, *, seq: int = 7, ttl: int = 60) -> bytes:
    """A valid record of zeros."""
    return sign_record(SIGNER, record_type, seq, ttl, bytes(VALUE_SIZES[record_type][0])).encode()


def resigned(data: bytes, at: int, new: bytes) -> bytes:
    """``data`` with ``new`` at an offset, signed again: only the layout can be wrong."""
    body = data[:at] + new + data[at + len(new) : -64]
    return body + SIGNER.sign(b"meshcall/1/outer", body)


def reason_of(data: bytes, at: bytes | None = None) -> str:
    """Why ``data`` is refused."""
    with pytest.raises(Rejected) as caught:
        check_record_untrusted(data, at)
    return caught.value.reason


@pytest.mark.parametrize("vector", RECORDS, ids=lambda vector: vector["name"])
def test_golden_records_have_the_documented_fields(vector: dict[str, Any]) -> None:
    """Every golden record passes, holds the fields the vectors list, and encodes to the same octets."""
    data = bytes.fromhex(vector["record"])
    record = check_record_untrusted(data, bytes.fromhex(vector["storage_key"]))
    assert record.encode() == data
    assert record.type is RecordType[vector["type"].upper()]
    assert (record.seq, record.ttl) == (vector["seq"], vector["ttl"])
    place = VECTORS[vector["rendezvous"]]
    assert record.key.hex() == place["outer_key"]


def test_golden_records_stand_at_the_documented_offsets() -> None:
    """The drawing in docs/protocol/records.md is what is on the wire."""
    data = bytes.fromhex(RECORDS[0]["record"])
    version, kind = data[0], data[1]
    seq, ttl, size = struct.unpack("!QIH", data[34:48])
    assert (version, kind, seq, ttl, size) == (1, 0x01, RECORDS[0]["seq"], 7200, 196)
    assert len(data) == 48 + size + 64


def test_only_four_sizes_exist() -> None:
    """A record's size tells relay, presence, small and large message apart, and nothing else."""
    assert sorted(RECORD_SIZES) == [233, 308, 677, 933]
    assert {len(v["record"]) // 2 for v in RECORDS if v["type"] != "presence"} == {677, 933}


def test_presence_and_inbox_share_their_storage_key() -> None:
    """One lookup finds both; a mailbox under the same outer key is elsewhere."""
    key = SIGNER.public
    expected = hashlib.sha256(b"meshcall/1/key\0\x11" + key).digest()[:20]
    assert storage_key(RecordType.INBOX, key) == storage_key(RecordType.PRESENCE, key) == expected
    mailbox = hashlib.sha256(b"meshcall/1/key\0\x10" + key).digest()[:20]
    assert storage_key(RecordType.MAILBOX, key) == mailbox


@pytest.mark.parametrize(
    ("at", "new", "reason"),
    [
        (0, b"\x00", "version"),
        (0, b"\x02", "version"),
        (1, b"\x00", "type"),
        (1, b"\x12", "type"),
        (1, b"\x01", "size"),  # a presence has one size, and it is not this one
        (42, struct.pack("!I", 0), "ttl"),
        (42, struct.pack("!I", 601), "ttl"),
        (42, struct.pack("!I", 2**32 - 1), "ttl"),
        (46, struct.pack("!H", 564), "size"),
        (46, struct.pack("!H", 566), "size"),
        (46, struct.pack("!H", 821), "size"),
        (46, struct.pack("!H", 65535), "size"),
    ],
)
def test_fields_out_of_bounds_are_refused(at: int, new: bytes, reason: str) -> None:
    """A field that its type does not allow is refused although the signature is right."""
    assert reason_of(resigned(a_record(), at, new)) == reason


@pytest.mark.parametrize("record_type", list(RecordType))
def test_the_longest_ttl_of_each_type_passes(record_type: RecordType) -> None:
    """The bound itself is allowed, one second more is not."""
    longest = TTL_MAX[record_type]
    assert check_record_untrusted(a_record(record_type, ttl=longest)).ttl == longest
    assert reason_of(resigned(a_record(record_type), 42, struct.pack("!I", longest + 1))) == "ttl"


@pytest.mark.parametrize("size", [0, 1, 47, 48, 111, 112, 307, 309, 676, 678, 932, 934, 1024, 65535])
def test_other_lengths_are_refused(size: int) -> None:
    """No length but the three is looked into."""
    assert reason_of((a_record() * 100)[:size]) == "size"


def test_a_record_of_another_key_is_refused() -> None:
    """A node that answers a lookup with a valid record of another key gains nothing."""
    data = a_record()
    own = decode_record_untrusted(data).storage_key
    assert check_record_untrusted(data, own).storage_key == own
    assert reason_of(data, storage_key(RecordType.MAILBOX, SIGNER.public)) == "key"
    assert reason_of(data, b"") == "key"


def test_signature_of_another_domain_is_refused() -> None:
    """What was signed for another purpose does not make a record."""
    body = a_record()[:-64]
    for domain in (b"meshcall/1/inner", b"meshcall/1/presence", b"meshcall/1/node"):
        assert reason_of(body + SIGNER.sign(domain, body)) == "signature"


def test_small_order_outer_key_is_refused() -> None:
    """With the key 01 00.. one fixed signature verifies everything; such a record is nobody's."""
    key = b"\x01" + bytes(31)
    body = b"\x01\x11" + key + struct.pack("!QIH", 1, 60, 565) + bytes(565)
    assert reason_of(body + key + bytes(32)) == "signature"


def test_decoding_alone_does_not_verify() -> None:
    """The two steps are separate on purpose; the second one finds the forgery."""
    record = decode_record_untrusted(a_record()[:-1] + b"\xff")
    with pytest.raises(Rejected, match="signature"):
        verify_record_untrusted(record)


def test_a_copy_with_other_fields_is_verified_again() -> None:
    """That a record passed once says nothing about a changed copy of it."""
    record = check_record_untrusted(a_record())
    assert record.verified
    for changed in (replace(record, seq=8), replace(record, value=b"\1" * 565), replace(record)):
        assert not changed.verified
    with pytest.raises(Rejected, match="signature"):
        verify_record_untrusted(replace(record, seq=8))


@pytest.mark.parametrize(
    ("record_type", "seq", "ttl", "size"),
    [
        (RecordType.INBOX, -1, 60, 565),
        (RecordType.INBOX, 2**64, 60, 565),
        (RecordType.INBOX, 1, 0, 565),
        (RecordType.INBOX, 1, 601, 565),
        (RecordType.PRESENCE, 1, 7201, 196),
        (RecordType.PRESENCE, 1, 7200, 195),
        (RecordType.MAILBOX, 1, 60, 0),
    ],
)
def test_own_records_out_of_bounds_are_a_bug(record_type: RecordType, seq: int, ttl: int, size: int) -> None:
    """Signing what everybody would refuse raises ValueError at once."""
    with pytest.raises(ValueError, match="out of bounds"):
        sign_record(SIGNER, record_type, seq, ttl, bytes(size))
