"""Presence: round trip, size, what is refused, renewal."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import AgreementKey, SigningKey, aead_open_untrusted, aead_seal
from meshcall.identity.peer_id import PeerId
from meshcall.identity.prekeys import Prekey
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.publisher import Publisher
from meshcall.record.validation import check_record_untrusted
from meshcall.signaling.presence import (
    Presence,
    presence_hash,
    publications,
    publish_presence,
    read_presence_untrusted,
    renew_presence,
)
from meshcall.signaling.rendezvous import (
    contact_rendezvous,
    epoch_of,
    epochs_near,
    inbox,
    invite_rendezvous,
    next_change_ms,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "records.json").read_text(encoding="ascii")
)
NOW_MS = 1_800_000_000_000
BOB = SigningKey.from_seed(b"b" * 32)
EPOCH = epoch_of(BOB.peer_id, NOW_MS)
KEY = AgreementKey.from_private(b"k" * 32)
PRESENCE = Presence(BOB.peer_id, 77, KEY.public, NOW_MS)


def altered(seq: int, body: bytes, *, signature: bytes | None = None) -> Record:
    """A record at Bob's inbox with any body, signed by Bob unless told otherwise."""
    place = inbox(BOB.peer_id, EPOCH)
    signed = body + (signature or BOB.sign(b"meshcall/1/presence", BOB.public + body))
    header = Record(RecordType.PRESENCE, place.signer.public, seq, 7200, bytes(196), b"").header
    value = aead_seal(place.mask_key, bytes(4) + seq.to_bytes(8, "big"), signed, header)
    return sign_record(place.signer, RecordType.PRESENCE, seq, 7200, value)


def body_of(presence: Presence) -> bytes:
    """The 116 octets that Bob signed."""
    record = publish_presence(BOB, presence, inbox(BOB.peer_id, EPOCH), 5)
    place = inbox(BOB.peer_id, EPOCH)
    nonce = bytes(4) + (5).to_bytes(8, "big")
    return aead_open_untrusted(place.mask_key, nonce, record.value, record.header)[:116]


def reason_of(record: Record, *, now_ms: int = NOW_MS, epoch: int = EPOCH, of: PeerId = BOB.peer_id) -> str:
    """Why a record is refused."""
    with pytest.raises(Rejected) as caught:
        read_presence_untrusted(record, of, inbox(of, epoch), now_ms)
    return caught.value.reason


PUBLISHED = [vector for vector in VECTORS["records"] if vector["type"] == "presence"]


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["name"])
def test_golden_presences(vector: dict[str, Any]) -> None:
    """They hold what the vectors list, and publishing the same again gives the same octets."""
    bob = SigningKey.from_seed(bytes.fromhex(VECTORS["identities"]["bob"]["seed"]))
    record = check_record_untrusted(bytes.fromhex(vector["record"]))
    place = {
        "inbox": lambda: inbox(bob.peer_id, VECTORS["epoch"]),
        "contact": lambda: contact_rendezvous(
            bytes.fromhex(VECTORS["contact"]["secret"]), VECTORS["contact"]["epoch"]
        ),
        "invite": lambda: invite_rendezvous(
            bytes.fromhex(VECTORS["invite"]["secret"]), VECTORS["invite"]["epoch"]
        ),
    }[vector["rendezvous"]]()
    presence = read_presence_untrusted(record, bob.peer_id, place, VECTORS["now_ms"])
    assert presence.prekey == AgreementKey.from_private(bytes.fromhex(VECTORS["prekey"]["private"])).public
    assert (presence.prekey_id, presence.name) == (VECTORS["prekey"]["id"], vector["shown_name"])
    assert list(presence.versions) == vector["versions"]
    assert presence_hash(presence).hex() == vector["presence_hash"]
    again = publish_presence(bob, presence, place, vector["seq"])
    assert again.encode().hex() == vector["record"]


@pytest.mark.parametrize("name", ["", "Bob", "Ω" * 32, "x" * 500])
def test_every_presence_has_one_size_and_comes_back(name: str) -> None:
    """A name does not leak its length; too long a name is cut."""
    presence = replace(PRESENCE, name=name, versions=(1, 2, 32))
    record = publish_presence(BOB, presence, inbox(BOB.peer_id, EPOCH), 9)
    assert len(record.encode()) == 308
    read = read_presence_untrusted(
        check_record_untrusted(record.encode()), BOB.peer_id, inbox(BOB.peer_id, EPOCH), NOW_MS
    )
    assert read == replace(presence, name=name[:64])
    assert presence_hash(read) == presence_hash(presence)


def test_without_the_id_nothing_can_be_read() -> None:
    """Neither the ID nor the prekey nor the name stands in the stored octets."""
    data = publish_presence(
        BOB, replace(PRESENCE, name="Bob the builder"), inbox(BOB.peer_id, EPOCH), 9
    ).encode()
    for secret in (BOB.public, KEY.public, b"Bob the builder", NOW_MS.to_bytes(8, "big")):
        assert all(secret[at : at + 8] not in data for at in range(len(secret) - 7))


def test_the_same_presence_looks_different_each_time() -> None:
    """Storing it again under the next number or in the next epoch shares no value octets."""
    first = publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH), 9).value
    for other in (
        publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH), 10),
        publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH + 1), 9),
    ):
        assert all(first[at : at + 8] not in other.value for at in range(len(first) - 7))


def test_wrong_place_type_and_epoch_are_refused() -> None:
    """A presence counts only at its owner's inbox of that epoch."""
    record = publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH), 9)
    assert reason_of(record, epoch=EPOCH + 1) == "rendezvous"
    assert reason_of(record, of=SigningKey.from_seed(bytes(32)).peer_id) == "rendezvous"
    assert reason_of(replace(record, type=RecordType.INBOX)) == "type"
    assert reason_of(replace(record, seq=10)) == "signature"


def test_who_knows_the_id_can_not_forge_it() -> None:
    """The outer key can be derived from the ID, the identity's signature can't."""
    body = body_of(PRESENCE)
    mallory = SigningKey.from_seed(b"m" * 32)
    forged = mallory.sign(b"meshcall/1/presence", BOB.public + body)
    assert reason_of(altered(9, body, signature=forged)) == "signature"
    for domain in (b"meshcall/1/inner", b"meshcall/1/outer"):
        assert reason_of(altered(9, body, signature=BOB.sign(domain, BOB.public + body))) == "signature"
    assert reason_of(altered(9, body, signature=BOB.sign(b"meshcall/1/presence", body))) == "signature"


def test_a_masked_value_moved_to_another_number_does_not_open() -> None:
    """The header is authenticated with the value."""
    place = inbox(BOB.peer_id, EPOCH)
    value = publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH), 9).value
    for seq, ttl in ((10, 7200), (9, 7199)):
        moved = sign_record(place.signer, RecordType.PRESENCE, seq, ttl, value)
        assert reason_of(moved) == "sealed"


@pytest.mark.parametrize(
    ("at", "new", "reason"),
    [
        (0, b"\x00", "version"),
        (0, b"\x02", "version"),
        (1, bytes(4), "body"),  # prekey id 0
        (5, bytes(32), "agreement"),  # a prekey nobody can seal to
        (45, bytes(2), "body"),  # ttl 0
        (45, b"\x1c\x21", "body"),  # ttl 7201
        (47, bytes(4), "body"),  # no version
        (51, b"\x41", "body"),  # name of 65 octets
        (52, b"x", "body"),  # octets after the name
        (115, b"x", "body"),
        (51, b"\x01\xff", "body"),  # not UTF-8
    ],
)
def test_bad_fields_are_refused_although_signed(at: int, new: bytes, reason: str) -> None:
    """A peer that signs nonsense is refused by name of the fault."""
    body = body_of(PRESENCE)
    assert reason_of(altered(9, body[:at] + new + body[at + len(new) :])) == reason


def test_a_name_that_disguises_itself_is_cleaned() -> None:
    """Direction marks and line breaks do not reach a screen, and the hash stays the same."""
    name = "Bob\u202e\ngnp".encode()
    body = body_of(PRESENCE)[:51] + bytes([len(name)]) + name.ljust(64, b"\0")
    presence = read_presence_untrusted(altered(9, body), BOB.peer_id, inbox(BOB.peer_id, EPOCH), NOW_MS)
    assert presence.name == "Bob gnp"
    assert presence_hash(presence) == presence_hash(PRESENCE)


@pytest.mark.parametrize(
    ("offset_s", "reason"),
    [(-600, "clock"), (-121, "clock"), (-120, ""), (0, ""), (7320, ""), (7321, "expired")],
)
def test_the_time_window(offset_s: int, reason: str) -> None:
    """From two minutes before it was made to two minutes after its life."""
    record = publish_presence(BOB, PRESENCE, inbox(BOB.peer_id, EPOCH), 9)
    now_ms = NOW_MS + offset_s * 1000
    if reason:
        assert reason_of(record, now_ms=now_ms) == reason
    else:
        assert read_presence_untrusted(record, BOB.peer_id, inbox(BOB.peer_id, EPOCH), now_ms) == PRESENCE


def test_publishing_nonsense_is_a_bug() -> None:
    """Fields out of bounds, or somebody else's presence, raise ValueError."""
    for wrong in (
        replace(PRESENCE, prekey_id=0),
        replace(PRESENCE, versions=()),
        replace(PRESENCE, versions=(0,)),
        replace(PRESENCE, versions=(33,)),
        replace(PRESENCE, ttl_s=0),
        replace(PRESENCE, ttl_s=7201),
        replace(PRESENCE, peer_id=SigningKey.from_seed(bytes(32)).peer_id),
    ):
        with pytest.raises(ValueError):
            publish_presence(BOB, wrong, inbox(BOB.peer_id, EPOCH), 9)


def test_a_presence_is_renewed_at_half_its_life_or_when_it_says_something_new() -> None:
    """So the last two of a peer are all that can still be valid."""
    prekey, other = Prekey(77, KEY, NOW_MS), Prekey(78, AgreementKey.from_private(b"o" * 32), NOW_MS)
    first = renew_presence(None, BOB.peer_id, prekey, NOW_MS)
    assert renew_presence(first, BOB.peer_id, prekey, NOW_MS + 3_599_999) is first
    assert renew_presence(first, BOB.peer_id, prekey, NOW_MS + 3_600_000).created_ms == NOW_MS + 3_600_000
    assert renew_presence(first, BOB.peer_id, other, NOW_MS + 1).prekey_id == 78
    assert renew_presence(first, BOB.peer_id, prekey, NOW_MS + 1, name="Bob").name == "Bob"
    assert renew_presence(first, BOB.peer_id, prekey, NOW_MS - 1) is not first, "the clock went back"


def test_a_publisher_keeps_the_presence_at_every_epoch_that_a_caller_may_look_at() -> None:
    """Through three epochs, whatever the caller's clock says within two minutes, a live copy is there."""
    publisher = Publisher()
    presence: Presence | None = None
    copies: dict[bytes, list[tuple[float, Record]]] = {}
    now_ms = NOW_MS
    while now_ms < NOW_MS + 2_700_000:
        now = (now_ms - NOW_MS) / 1000
        presence = renew_presence(presence, BOB.peer_id, Prekey(77, KEY, NOW_MS), now_ms)
        places = {str(epoch): inbox(BOB.peer_id, epoch) for epoch in epochs_near(BOB.peer_id, now_ms)}
        publisher.want(publications(BOB, presence, places), now)
        for name in publisher.due(now):
            record = publisher.next_record(name, now, now_ms)
            copies.setdefault(record.storage_key, []).append((now, record))
        for offset_ms in (-119_000, 0, 119_000):
            caller_ms = now_ms + offset_ms
            epoch = epoch_of(BOB.peer_id, caller_ms)
            key = inbox(BOB.peer_id, epoch).storage_key(RecordType.PRESENCE)
            stored, record = copies[key][-1]
            assert now < stored + record.ttl
            assert (
                read_presence_untrusted(record, BOB.peer_id, inbox(BOB.peer_id, epoch), caller_ms).prekey_id
                == 77
            )
        deadline = publisher.deadline()
        assert deadline is not None
        due_ms = NOW_MS + math.ceil(deadline * 1000)
        now_ms = min(due_ms, next_change_ms(BOB.peer_id, now_ms), now_ms + 30_000)
    assert len(copies) >= 4
    assert max(len(stored) for stored in copies.values()) <= 4, "not more often than needed"
    assert len(epochs_near(BOB.peer_id, NOW_MS)) in (1, 2)
