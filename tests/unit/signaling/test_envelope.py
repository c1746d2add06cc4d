"""Envelopes: every message arrives once, at the one it was written to, and everything else is refused.

The story: Alice calls Bob. Carol is another peer, Mallory means harm.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import AgreementKey, SigningKey, mac, open_untrusted, seal
from meshcall.identity.peer_id import PeerId
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.record.validation import check_record_untrusted
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import (
    KINDS,
    REPLY_PREKEY_ID,
    ClockRejected,
    Opened,
    open_message_untrusted,
    seal_message,
)
from meshcall.signaling.rendezvous import (
    Rendezvous,
    contact_rendezvous,
    epoch_of,
    inbox,
    invite_rendezvous,
    reply_box,
)
from meshcall.signaling.replay import ReplayCache

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "records.json").read_text(encoding="ascii")
)
SEALED = [vector for vector in VECTORS["records"] if "kind" in vector]
NOW_MS = 1_800_000_000_000
CALL = bytes(range(16))
PRESENCE_HASH = b"p" * 32
INBOX, MAILBOX = RecordType.INBOX, RecordType.MAILBOX


@dataclass
class Peer:
    """One peer with its identity, prekey, reply key and memory."""

    name: str
    prekey_id: int = 77
    replay: ReplayCache = field(default_factory=ReplayCache)

    def __post_init__(self) -> None:
        seed = hashlib.sha256(self.name.encode()).digest()
        self.identity = SigningKey.from_seed(seed)
        self.prekey = AgreementKey.from_private(hashlib.sha256(seed + b"prekey").digest())
        self.reply_key = AgreementKey.from_private(hashlib.sha256(seed + b"reply").digest())
        self.asked: list[tuple[PeerId, m.MessageKind]] = []

    @property
    def id(self) -> PeerId:
        """Its ID."""
        return self.identity.peer_id

    @property
    def inbox(self) -> Rendezvous:
        """Where it takes offers now."""
        return inbox(self.id, epoch_of(self.id, NOW_MS))

    def find_prekey(self, prekey_id: int) -> AgreementKey | None:
        """Its private halves."""
        return {self.prekey_id: self.prekey, REPLY_PREKEY_ID: self.reply_key}.get(prekey_id)

    def open(
        self,
        record: Record,
        place: Rendezvous | None = None,
        *,
        now_ms: int = NOW_MS,
        admits: bool = True,
        presences: Collection[bytes] | None = None,
    ) -> Opened:
        """Open a record as a node does: from its octets, at the place where it was found."""

        def admit(sender: PeerId, kind: m.MessageKind) -> bool:
            self.asked.append((sender, kind))
            return admits

        place = place or self.inbox
        return open_message_untrusted(
            check_record_untrusted(record.encode(), place.storage_key(record.type)),
            me=self.id,
            find_prekey=self.find_prekey,
            rendezvous=place,
            now_ms=now_ms,
            replay=self.replay,
            admit=admit,
            known_presences=presences,
        )

    def refuses(self, record: Record, place: Rendezvous | None = None, **how: Any) -> str:
        """The reason why it refuses a record."""
        with pytest.raises(Rejected) as caught:
            self.open(record, place, **how)
        return caught.value.reason


def write(
    sender: Peer,
    to: Peer,
    message: m.Message,
    place: Rendezvous | None = None,
    **changes: Any,
) -> tuple[Record, bytes]:
    """Seal as a node does: to the prekey at an inbox, to the reply key in a reply box."""
    to_box = place is not None and place.offer_hash is not None
    values: dict[str, Any] = {
        "identity": sender.identity,
        "to": to.id,
        "prekey_id": REPLY_PREKEY_ID if to_box else to.prekey_id,
        "prekey": to.reply_key.public if to_box else to.prekey.public,
        "rendezvous": place or to.inbox,
        "type": MAILBOX if to_box else INBOX,
        "call_id": CALL,
        "message": message,
        "bind": place.offer_hash if place is not None and to_box else PRESENCE_HASH,
        "now_ms": NOW_MS,
        "seq": 1,
        "ttl": 600,
    }
    return seal_message(**(values | changes))


def opened_inner(record: Record, owner: Peer, place: Rendezvous) -> bytes:
    """The padded inner, opened by the drawing and not by the code under test."""
    suite, masked = struct.unpack_from("!BI", record.value)
    prekey_id = masked ^ int.from_bytes(mac(place.mask_key, record.value[5:37])[:4], "big")
    key = owner.find_prekey(prekey_id)
    assert key is not None
    info = b"meshcall/1/seal\0" + bytes([suite]) + prekey_id.to_bytes(4, "big") + owner.id.key
    return open_untrusted(key, info, record.value[5:])


def resealed(inner: bytes, to: Peer, place: Rendezvous | None = None, *, record_type: RecordType) -> Record:
    """A record with any inner, as somebody who knows ``to`` can make it."""
    place = place or to.inbox
    prekey_id, key = (REPLY_PREKEY_ID, to.reply_key) if record_type is MAILBOX else (to.prekey_id, to.prekey)
    info = b"meshcall/1/seal\0\x01" + prekey_id.to_bytes(4, "big") + to.id.key
    sealed = seal(key.public, info, inner)
    masked = prekey_id ^ int.from_bytes(mac(place.mask_key, sealed[:32])[:4], "big")
    return sign_record(place.signer, record_type, 2, 600, struct.pack("!BI", 1, masked) + sealed)


@pytest.fixture
def alice() -> Peer:
    """The caller."""
    return Peer("alice")


@pytest.fixture
def bob() -> Peer:
    """The callee."""
    return Peer("bob")


@pytest.fixture
def carol() -> Peer:
    """Somebody else; her prekey has the same id as Bob's."""
    return Peer("carol")


def an_offer(caller: Peer, size: int = 250) -> m.Offer:
    """An offer of ``caller``."""
    return m.Offer(b"d" * size, caller.reply_key.public, "Alice")


# --- what must pass -------------------------------------------------------------------------------


def test_a_whole_conversation(alice: Peer, bob: Peer) -> None:
    """Offer, ringing, answer, candidates both ways and hang-up arrive, each bound to the offer."""
    record, offer_hash = write(alice, bob, an_offer(alice))
    opened = bob.open(record, presences=[b"older" * 6 + b"..", PRESENCE_HASH])
    assert opened == Opened(
        alice.id, CALL, m.MessageKind.OFFER, NOW_MS, 90, PRESENCE_HASH, an_offer(alice), offer_hash
    )
    box = reply_box(opened.inner_hash)
    for message in (m.Ringing(), m.Answer(b"a" * 250), m.Candidates(b"c"), m.Hangup(m.HangupReason.HANGUP)):
        answer = alice.open(write(bob, alice, message, box)[0], reply_box(offer_hash))
        assert (answer.sender, answer.message, answer.bind) == (bob.id, message, offer_hash)
    for message in (m.Candidates(b"x"), m.Candidates(b"y"), m.Hangup(m.HangupReason.CANCELLED)):
        later = bob.open(write(alice, bob, message, bind=offer_hash)[0], presences=[])
        assert (later.message, later.bind) == (message, offer_hash)
    assert len(bob.replay) == len(alice.replay) == 4


@pytest.mark.parametrize("vector", SEALED, ids=lambda vector: vector["name"])
def test_golden_messages_open(vector: dict[str, Any]) -> None:
    """With the keys in the vectors, every golden record opens to the documented fields."""
    names = VECTORS["identities"]
    ids = {name: PeerId.parse(names[name]["id"]) for name in names}
    to_bob = vector["rendezvous"] != "reply_box"
    private = VECTORS["prekey" if to_bob else "reply_key"]["private"]
    key = AgreementKey.from_private(bytes.fromhex(private))
    places = {
        "inbox": inbox(ids["bob"], VECTORS["epoch"]),
        "contact": contact_rendezvous(
            bytes.fromhex(VECTORS["contact"]["secret"]), VECTORS["contact"]["epoch"]
        ),
        "invite": invite_rendezvous(bytes.fromhex(VECTORS["invite"]["secret"]), VECTORS["invite"]["epoch"]),
        "reply_box": reply_box(bytes.fromhex(VECTORS["offer_hash"])),
    }
    opened = open_message_untrusted(
        check_record_untrusted(bytes.fromhex(vector["record"]), bytes.fromhex(vector["storage_key"])),
        me=ids["bob" if to_bob else "alice"],
        find_prekey=lambda prekey_id: key if prekey_id == vector["prekey_id"] else None,
        rendezvous=places[vector["rendezvous"]],
        now_ms=VECTORS["now_ms"],
        replay=ReplayCache(),
        admit=lambda sender, kind: sender == ids[vector["sender"]] and kind == vector["kind"],
        known_presences=[bytes.fromhex(vector["bind"])],
    )
    assert opened.kind == vector["kind"]
    assert opened.call_id.hex() == vector["call_id"]
    assert (opened.created_ms, opened.valid_s) == (vector["created_ms"], vector["valid_s"])
    assert opened.bind.hex() == vector["bind"]
    assert opened.inner_hash.hex() == vector["inner_hash"]
    assert m.encode_body(opened.message).hex() == vector["body"]


@pytest.mark.parametrize(
    ("body", "size"), [(0, 677), (351, 677), (352, 933), (607, 933)], ids=lambda value: str(value)
)
def test_there_are_two_sizes(alice: Peer, bob: Peer, body: int, size: int) -> None:
    """A body of up to 354 octets makes 677, up to 610 makes 933; the sizes in between do not exist."""
    box = reply_box(bytes(32))
    record, _ = write(bob, alice, m.Answer(b"a" * body), box)
    assert len(record.encode()) == size
    assert alice.open(record, box).message == m.Answer(b"a" * body)


def test_the_same_message_sealed_twice_shares_nothing(alice: Peer, bob: Peer) -> None:
    """Two records of one message have no eight octets in common, and the prekey id is masked each time."""
    first, second = (write(alice, bob, an_offer(alice))[0].value for _ in range(2))
    assert all(first[at : at + 8] not in second for at in range(len(first) - 7))
    ids = {write(alice, bob, m.Candidates(b""), bind=bytes(32))[0].value[1:5] for _ in range(50)}
    assert len(ids) == 50
    assert (77).to_bytes(4, "big") not in ids


# --- misuse ---------------------------------------------------------------------------------------


def test_forwarding_an_offer_to_a_third_peer_is_refused(alice: Peer, bob: Peer, carol: Peer) -> None:
    """Bob opens Alice's offer and seals it to Carol: it was not written to her."""
    record, _ = write(alice, bob, an_offer(alice))
    inner = opened_inner(record, bob, bob.inbox)
    forwarded = resealed(inner, carol, record_type=INBOX)
    assert carol.refuses(forwarded) == "signature"
    assert bob.refuses(record, carol.inbox) == "key"
    as_is = sign_record(carol.inbox.signer, INBOX, 1, 600, record.value)
    assert carol.refuses(as_is) in ("prekey", "sealed")
    same_prekey = Peer("carol")
    same_prekey.prekey = bob.prekey
    assert same_prekey.refuses(resealed(inner, same_prekey, record_type=INBOX)) == "signature"


def test_sealing_to_another_prekey_of_the_same_peer_is_refused(alice: Peer, bob: Peer) -> None:
    """The prekey is signed: who learns an inner can't seal it again to a newer prekey."""
    record, _ = write(alice, bob, an_offer(alice))
    inner = opened_inner(record, bob, bob.inbox)
    bob.prekey = AgreementKey.from_private(b"n" * 32)
    assert bob.refuses(resealed(inner, bob, record_type=INBOX)) == "signature"
    renamed = Peer("bob", prekey_id=78)
    assert renamed.refuses(resealed(inner, renamed, record_type=INBOX)) == "signature"


def test_reflecting_an_offer_is_refused(alice: Peer, bob: Peer) -> None:
    """Bob sends Alice's own offer back to her, as an offer and as an answer."""
    record, offer_hash = write(alice, bob, an_offer(alice))
    inner = opened_inner(record, bob, bob.inbox)
    box = reply_box(offer_hash)
    assert alice.refuses(resealed(inner, alice, box, record_type=MAILBOX), box) == "kind"
    assert alice.refuses(resealed(inner, alice, record_type=INBOX)) == "reflected"
    as_answer = inner[:1] + b"\x02" + inner[2:]
    assert alice.refuses(resealed(as_answer, alice, box, record_type=MAILBOX), box) == "reflected"


def test_an_answer_used_as_an_offer_is_refused(alice: Peer, bob: Peer, carol: Peer) -> None:
    """Alice can't make a call in Bob's name out of the answer that he gave her."""
    box = reply_box(bytes(32))
    record, _ = write(bob, alice, m.Answer(b"a" * 250), box)
    inner = opened_inner(record, alice, box)
    assert carol.refuses(resealed(inner, carol, record_type=INBOX)) == "kind"
    as_offer = inner[:1] + b"\x01" + inner[2:]
    assert carol.refuses(resealed(as_offer, carol, record_type=INBOX)) == "signature"
    assert alice.refuses(resealed(as_offer, alice, record_type=INBOX)) == "signature"


def test_one_kind_used_as_another_is_refused(alice: Peer, bob: Peer) -> None:
    """Ringing does not become an answer, nor a rejection."""
    box = reply_box(bytes(32))
    record, _ = write(bob, alice, m.Ringing(), box)
    inner = opened_inner(record, alice, box)
    for kind in KINDS[MAILBOX] - {m.MessageKind.RINGING}:
        changed = inner[:1] + bytes([kind]) + inner[2:]
        assert alice.refuses(resealed(changed, alice, box, record_type=MAILBOX), box) == "signature"


def test_an_answer_to_another_offer_is_refused(alice: Peer, bob: Peer) -> None:
    """Even Bob can't put his answer to one call into the reply box of another."""
    first, second = reply_box(b"1" * 32), reply_box(b"2" * 32)
    record, _ = write(bob, alice, m.Answer(b"a"), first)
    inner = opened_inner(record, alice, first)
    assert alice.refuses(resealed(inner, alice, second, record_type=MAILBOX), second) == "bind"
    with pytest.raises(ValueError, match="bound"):
        write(bob, alice, m.Answer(b"a"), second, bind=b"1" * 32)


def test_a_message_that_claims_another_sender_is_refused(alice: Peer, bob: Peer) -> None:
    """Mallory writes Alice's key into his offer: the signature is not hers."""
    mallory = Peer("mallory")
    record, _ = write(mallory, bob, an_offer(mallory))
    inner = opened_inner(record, bob, bob.inbox)
    claimed = inner[:2] + alice.id.key + inner[34:]
    assert bob.refuses(resealed(claimed, bob, record_type=INBOX)) == "signature"


def test_a_sender_that_anybody_can_sign_for_is_refused(alice: Peer, bob: Peer) -> None:
    """Small-order and non-canonical keys are no senders."""
    record, _ = write(alice, bob, an_offer(alice))
    inner = opened_inner(record, bob, bob.inbox)
    for key in (b"\x01" + bytes(31), bytes(32), b"\xff" * 32):
        weak = inner[:2] + key + inner[34:]
        assert bob.refuses(resealed(weak, bob, record_type=INBOX)) == "peer-id"


def test_a_signature_of_another_domain_is_refused(alice: Peer, bob: Peer) -> None:
    """What Alice signed for another purpose is no message."""
    record, _ = write(alice, bob, m.Candidates(b"c"), bind=bytes(32))
    inner = opened_inner(record, bob, bob.inbox)
    end = 94 + struct.unpack_from("!H", inner, 92)[0]
    context = b"\x01" + (77).to_bytes(4, "big") + bob.id.key + bob.prekey.public
    right = alice.identity.sign(b"meshcall/1/inner", context + inner[:end])
    assert inner[end : end + 64] == right, "the documented signature input"
    for domain in (b"meshcall/1/outer", b"meshcall/1/presence", b"meshcall/1/confirm"):
        signature = alice.identity.sign(domain, context + inner[:end])
        wrong = inner[:end] + signature + inner[end + 64 :]
        assert bob.refuses(resealed(wrong, bob, record_type=INBOX)) == "signature"


# --- gates ----------------------------------------------------------------------------------------


def test_the_wrong_prekey_is_refused(alice: Peer, bob: Peer) -> None:
    """A prekey that was deleted, and one that does not fit its id."""
    record, _ = write(alice, bob, an_offer(alice), prekey_id=78)
    assert bob.refuses(record) == "prekey"
    record, _ = write(alice, bob, an_offer(alice), prekey=alice.prekey.public)
    assert bob.refuses(record) == "sealed"


def test_the_wrong_rendezvous_is_refused(alice: Peer, bob: Peer) -> None:
    """A record of another epoch or another box is not opened at all."""
    epoch = epoch_of(bob.id, NOW_MS)
    record, _ = write(alice, bob, an_offer(alice), inbox(bob.id, epoch - 2))
    assert bob.refuses(record) == "key"
    with pytest.raises(Rejected, match="rendezvous"):
        open_message_untrusted(
            record,
            me=bob.id,
            find_prekey=bob.find_prekey,
            rendezvous=bob.inbox,
            now_ms=NOW_MS,
            replay=bob.replay,
            admit=lambda sender, kind: True,
        )


def test_the_outer_signature_is_verified_here_too(alice: Peer, bob: Peer) -> None:
    """A record that nobody checked before gains nothing."""
    record, _ = write(alice, bob, an_offer(alice))
    for wrong in (replace(record, seq=2), replace(record, signature=bytes(64))):
        with pytest.raises(Rejected, match="signature"):
            open_message_untrusted(
                wrong,
                me=bob.id,
                find_prekey=bob.find_prekey,
                rendezvous=bob.inbox,
                now_ms=NOW_MS,
                replay=bob.replay,
                admit=lambda sender, kind: True,
            )


def test_policy_is_asked_before_the_signature_and_ends_it(alice: Peer, bob: Peer) -> None:
    """Whom the policy refuses costs no verification, and leaves nothing behind."""
    record, _ = write(alice, bob, an_offer(alice))
    inner = opened_inner(record, bob, bob.inbox)
    unsigned = inner[:400] + bytes(len(inner) - 400)
    assert bob.refuses(resealed(unsigned, bob, record_type=INBOX), admits=False) == "policy"
    assert bob.asked == [(alice.id, m.MessageKind.OFFER)]
    assert bob.refuses(record, admits=False) == "policy"
    assert len(bob.replay) == 0
    assert bob.open(record).sender == alice.id


@pytest.mark.parametrize(
    ("type_", "kind"), [(t, k) for t in KINDS for k in m.MessageKind if k not in KINDS[t]]
)
def test_what_may_be_said_where(alice: Peer, bob: Peer, type_: RecordType, kind: m.MessageKind) -> None:
    """Callers do not answer, callees do not offer."""
    box = reply_box(bytes(32))
    place = bob.inbox if type_ is INBOX else box
    record, _ = write(alice, bob, m.Hangup(m.HangupReason.FAILED), place, prekey_id=77, type=type_)
    record, _ = write(alice, bob, m.Hangup(m.HangupReason.FAILED), place)
    inner = opened_inner(record, bob, place)
    changed = inner[:1] + bytes([kind]) + inner[2:]
    assert bob.refuses(resealed(changed, bob, place, record_type=type_), place) == "kind"


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, b"\x00"),
        (0, b"\x02"),
        (58, bytes(2)),  # valid for no time
        (58, b"\x01\x2d"),  # 301 s
        (92, b"\x01\x63"),  # 355: the signature would pass the end
        (92, b"\xff\xff"),
        (511, b"\x01"),  # padding that is not zero
    ],
)
def test_a_malformed_inner_is_refused(alice: Peer, bob: Peer, at: int, new: bytes) -> None:
    """Layout faults are told before anything is verified."""
    record, _ = write(alice, bob, m.Candidates(b"c"), bind=bytes(32))
    inner = opened_inner(record, bob, bob.inbox)
    changed = inner[:at] + new + inner[at + len(new) :]
    assert bob.refuses(resealed(changed, bob, record_type=INBOX)) == "inner"


def test_a_bad_body_with_a_good_signature_is_refused(alice: Peer, bob: Peer) -> None:
    """A peer that signs nonsense is refused at the last gate, and nothing is remembered."""
    record, _ = write(alice, bob, m.Candidates(b"c"), bind=bytes(32))
    head = opened_inner(record, bob, bob.inbox)[:92]
    context = b"\x01" + (77).to_bytes(4, "big") + bob.id.key + bob.prekey.public
    signed = head + b"\x00\x03\x01\x00\x00"
    inner = (signed + alice.identity.sign(b"meshcall/1/inner", context + signed)).ljust(512, b"\0")
    assert bob.refuses(resealed(inner, bob, record_type=INBOX)) == "body"
    assert len(bob.replay) == 0


def test_an_unknown_suite_is_refused(alice: Peer, bob: Peer) -> None:
    """Suite 2 is reserved; this version does not guess."""
    record, _ = write(alice, bob, an_offer(alice))
    other = sign_record(bob.inbox.signer, INBOX, 1, 600, b"\x02" + record.value[1:])
    assert bob.refuses(other) == "suite"


def test_an_offer_from_an_old_presence_is_refused(alice: Peer, bob: Peer) -> None:
    """An offer must be bound to one of the callee's last two presences (downgrade, old prekey)."""
    record, _ = write(alice, bob, an_offer(alice), bind=b"o" * 32)
    assert bob.refuses(record, presences=[PRESENCE_HASH, b"q" * 32]) == "bind"
    assert bob.open(record, presences=[PRESENCE_HASH, b"o" * 32]).bind == b"o" * 32


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-120, -60, 0, 60, 120, 210])
def test_clocks_two_minutes_apart_still_call(alice: Peer, bob: Peer, skew_s: int) -> None:
    """From 120 s before it was made to 120 s after its 90 s."""
    record, _ = write(alice, bob, an_offer(alice))
    assert bob.open(record, now_ms=NOW_MS + skew_s * 1000).sender == alice.id


@pytest.mark.parametrize("skew_s", [-600, -121, 211, 600])
def test_clocks_ten_minutes_apart_are_told(alice: Peer, bob: Peer, skew_s: int) -> None:
    """The refusal says who, which call and how far, so that the callee can answer; nothing is remembered."""
    record, offer_hash = write(alice, bob, an_offer(alice))
    with pytest.raises(ClockRejected) as caught:
        bob.open(record, now_ms=NOW_MS + skew_s * 1000)
    refusal = caught.value
    assert (refusal.reason, refusal.sender, refusal.call_id) == ("clock", alice.id, CALL)
    assert refusal.skew_s == skew_s
    assert refusal.opened.inner_hash == offer_hash
    assert len(bob.replay) == 0
    offer = refusal.opened.message
    assert isinstance(offer, m.Offer)
    answer, _ = write(
        bob,
        alice,
        m.Reject(m.RejectReason.CLOCK),
        reply_box(refusal.opened.inner_hash),
        prekey=offer.reply_key,
        now_ms=NOW_MS + skew_s * 1000,
    )
    if abs(skew_s) >= 600:  # Alice's window for Bob's answer is wrong by the same amount: she learns it too
        with pytest.raises(ClockRejected) as told:
            alice.open(answer, reply_box(offer_hash))
        assert told.value.opened.message == m.Reject(m.RejectReason.CLOCK)
        assert told.value.sender == bob.id


def test_a_forged_message_never_gives_a_clock_refusal(alice: Peer, bob: Peer) -> None:
    """Only what its sender signed can make the callee answer."""
    record, _ = write(alice, bob, an_offer(alice))
    inner = bytearray(opened_inner(record, bob, bob.inbox))
    inner[50:58] = (NOW_MS - 600_000).to_bytes(8, "big")
    with pytest.raises(Rejected) as caught:
        bob.open(resealed(bytes(inner), bob, record_type=INBOX))
    assert type(caught.value) is Rejected
    assert caught.value.reason == "signature"


# --- replay ---------------------------------------------------------------------------------------


def test_a_replay_is_refused_also_after_a_restart_and_under_another_outer(alice: Peer, bob: Peer) -> None:
    """The same inner never passes twice: same octets, sealed again, or after the state's round trip."""
    record, _ = write(alice, bob, an_offer(alice))
    bob.open(record)
    assert bob.refuses(record) == "replay"
    bob.replay = ReplayCache.from_state(json.loads(json.dumps(bob.replay.to_state())))
    assert bob.refuses(record) == "replay"
    inner = opened_inner(record, bob, bob.inbox)
    assert bob.refuses(resealed(inner, bob, record_type=INBOX)) == "replay"
    other_epoch = inbox(bob.id, epoch_of(bob.id, NOW_MS) + 1)
    assert bob.refuses(resealed(inner, bob, other_epoch, record_type=INBOX), other_epoch) == "replay"


def test_a_second_offer_of_one_call_is_refused(alice: Peer, bob: Peer) -> None:
    """One call id rings once, whatever the second offer says."""
    bob.open(write(alice, bob, an_offer(alice))[0])
    assert bob.refuses(write(alice, bob, an_offer(alice, 251))[0]) == "replay"
    assert bob.open(write(alice, bob, an_offer(alice), call_id=b"n" * 16)[0]).call_id == b"n" * 16


def test_a_replay_stays_refused_to_the_last_millisecond_of_its_window(alice: Peer, bob: Peer) -> None:
    """The cache forgets only when the clock gate refuses; there is no gap between the two."""
    record, _ = write(alice, bob, an_offer(alice), valid_s=300)
    bob.open(record)
    last_ms = NOW_MS + (300 + 120) * 1000
    bob.replay.expire(last_ms)
    assert bob.refuses(record, now_ms=last_ms) == "replay"
    bob.replay.expire(last_ms + 1)
    assert bob.refuses(record, now_ms=last_ms + 1) == "clock"
    assert bob.refuses(record, now_ms=last_ms) == "replay", "and the clock that goes back reopens nothing"


# --- our own bugs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"call_id": b"short"},
        {"bind": b"short"},
        {"valid_s": 0},
        {"valid_s": 301},
        {"ttl": 601},
        {"type": MAILBOX},
        {"type": RecordType.PRESENCE},
    ],
)
def test_messages_out_of_bounds_are_a_bug(alice: Peer, bob: Peer, changes: dict[str, Any]) -> None:
    """Sealing what every callee would refuse raises ValueError at once."""
    with pytest.raises(ValueError):
        write(alice, bob, an_offer(alice), **changes)


def test_a_prekey_that_can_not_be_sealed_to_is_refused(alice: Peer, bob: Peer) -> None:
    """A hostile key raises the one exception for hostile octets."""
    with pytest.raises(Rejected, match="agreement"):
        write(alice, bob, an_offer(alice), prekey=bytes(32))
