"""Makes tests/vectors/records.json: one golden record of each kind, with the private keys that open them.

    python scripts/make_vectors.py            # refuses to overwrite
    python scripts/make_vectors.py --add      # adds those of new kinds, keeps the octets of all others
    python scripts/make_vectors.py --force    # a deliberate change of the wire format

How they were made: every key, id and text comes from the counter-mode generator below, started with SEED, so
the plaintexts, signatures, rendezvous and storage keys come out the same each time. HPKE draws its ephemeral
key inside the library, so sealed octets (and with them the outer signatures) differ with each run. That is
why the file is kept, not made again: a new run gives other records that are just as right.
The descriptions are stand-ins of realistic length; envelopes carry them as opaque octets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshcall.identity.keys import AgreementKey, SigningKey
from meshcall.record.codec import Record, RecordType
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import REPLY_PREKEY_ID, seal_message
from meshcall.signaling.presence import Presence, presence_hash, publish_presence
from meshcall.signaling.rendezvous import (
    Rendezvous,
    RendezvousSecret,
    Series,
    epoch_of,
    inbox,
    reply_box,
)

SEED = b"meshcall record vectors 1"
NOW_MS = 1_800_000_000_000
TARGET = Path(__file__).parent.parent / "tests" / "vectors" / "records.json"


class Generator:
    """SHA-256(SEED, counter): predictable on purpose."""

    def __init__(self) -> None:
        self._counter = 0

    def __call__(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            out += hashlib.sha256(SEED + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return out[:size]


@dataclass(frozen=True)
class Cast:
    """Who takes part."""

    alice: SigningKey
    """The caller."""
    bob: SigningKey
    """The callee."""
    prekey: AgreementKey
    prekey_id: int
    reply_key: AgreementKey
    """Made by Alice for this call."""
    call_id: bytes


def _rendezvous(place: Rendezvous) -> dict[str, str]:
    return {
        "outer_seed": place.signer.seed.hex(),
        "outer_key": place.signer.public.hex(),
        "mask_key": place.mask_key.hex(),
        **{f"{kind.name.lower()}_storage_key": place.storage_key(kind).hex() for kind in RecordType},
    }


def _outer(name: str, record: Record) -> dict[str, Any]:
    return {
        "name": name,
        "type": record.type.name.lower(),
        "seq": record.seq,
        "ttl": record.ttl,
        "storage_key": record.storage_key.hex(),
        "record": record.encode().hex(),
    }


def make() -> dict[str, Any]:
    """The vectors as JSON values."""
    random = Generator()
    cast = Cast(
        alice=SigningKey.generate(random),
        bob=SigningKey.generate(random),
        prekey=AgreementKey.generate(random),
        prekey_id=int.from_bytes(random(4), "big"),
        reply_key=AgreementKey.generate(random),
        call_id=random(16),
    )
    bob = cast.bob.peer_id
    epoch = epoch_of(bob, NOW_MS)
    box = inbox(bob, epoch)
    records: list[dict[str, Any]] = []
    seq = NOW_MS

    def presence(name: str, shown: str, place: Rendezvous = box, where: str = "inbox") -> Presence:
        nonlocal seq
        seq += 1
        value = Presence(bob, cast.prekey_id, cast.prekey.public, NOW_MS, name=shown)
        record = publish_presence(cast.bob, value, place, seq)
        records.append(
            _outer(name, record)
            | {
                "rendezvous": where,
                "shown_name": shown,
                "prekey_id": cast.prekey_id,
                "created_ms": NOW_MS,
                "ttl_s": value.ttl_s,
                "versions": list(value.versions),
                "presence_hash": presence_hash(value).hex(),
            }
        )
        return value

    def message(name: str, content: m.Message, bind: bytes, place: Rendezvous, where: str = "inbox") -> bytes:
        nonlocal seq
        seq += 1
        to_callee = place.offer_hash is None
        sender, recipient = (cast.alice, cast.bob) if to_callee else (cast.bob, cast.alice)
        prekey = cast.prekey if to_callee else cast.reply_key
        record, inner_hash = seal_message(
            identity=sender,
            to=recipient.peer_id,
            prekey_id=cast.prekey_id if to_callee else REPLY_PREKEY_ID,
            prekey=prekey.public,
            rendezvous=place,
            type=RecordType.INBOX if to_callee else RecordType.MAILBOX,
            call_id=cast.call_id,
            message=content,
            bind=bind,
            now_ms=NOW_MS,
            seq=seq,
            ttl=600,
        )
        records.append(
            _outer(name, record)
            | {
                "kind": int(m.kind_of(content)),
                "rendezvous": where if to_callee else "reply_box",
                "sender": "alice" if to_callee else "bob",
                "prekey_id": cast.prekey_id if to_callee else REPLY_PREKEY_ID,
                "call_id": cast.call_id.hex(),
                "created_ms": NOW_MS,
                "valid_s": 90,
                "bind": bind.hex(),
                "body": m.encode_body(content).hex(),
                "inner_hash": inner_hash.hex(),
            }
        )
        return inner_hash

    known = presence_hash(presence("presence", ""))
    presence("presence-named", "Bob’s camera")
    offer_hash = message("offer", m.Offer(random(250), cast.reply_key.public, "Alice"), known, box)
    replies = reply_box(offer_hash)
    message("offer-large", m.Offer(random(500), cast.reply_key.public, "", m.Wants.DATA), known, box)
    message("candidates-caller", m.Candidates(random(48), end=True), offer_hash, box)
    message("hangup-caller", m.Hangup(m.HangupReason.CANCELLED), offer_hash, box)
    message("contact-request", m.ContactRequest("Alice", random(16)), known, box)
    message("ringing", m.Ringing(), offer_hash, replies)
    message("answer", m.Answer(random(250)), offer_hash, replies)
    message("answer-large", m.Answer(random(600)), offer_hash, replies)
    message("candidates-callee", m.Candidates(random(48)), offer_hash, replies)
    message("reject", m.Reject(m.RejectReason.BUSY), offer_hash, replies)
    message("hangup-callee", m.Hangup(m.HangupReason.HANGUP), offer_hash, replies)
    missed = m.MissedCall(cast.call_id, NOW_MS - 3_600_000), m.MissedCall(bytes(16), NOW_MS, cancelled=True)
    message("missed", m.Missed(missed, 3), known, box)

    # Bob's rendezvous secret, which Alice was handed, and an invite of his
    secrets = {"contact": Series("contact", random(32)), "invite": Series("invite", random(16))}
    places = {kind: series.at(series.epoch(NOW_MS)) for kind, series in secrets.items()}
    ours = RendezvousSecret(random(32), NOW_MS // 1000)
    presence("presence-contact", "", places["contact"], "contact")
    presence("presence-invite", "", places["invite"], "invite")
    message("offer-contact", m.Offer(random(250), cast.reply_key.public), known, places["contact"], "contact")
    request = m.ContactRequest("Alice", secrets["invite"].secret, ours)
    message("contact-request-invite", request, known, places["invite"], "invite")
    request = m.ContactRequest("Alice", b"", ours, ours.generation - 1000)
    message("contact-request-contact", request, known, places["contact"], "contact")

    ping = m.PingOffer(cast.reply_key.public, "Fg7x", "pWd+/0123456789abcdefghij", random(46))
    message("ping-offer", ping, known, box)
    answer = m.PingAnswer("aB3d", "0123456789abcdefghij+/pWd", random(23))
    message("ping-answer", answer, offer_hash, replies)

    link = m.Offer(random(250), cast.reply_key.public, "Alice", m.Wants.AUDIO, random(8))
    message("offer-room", link, known, box)
    message("room", m.RoomLetter(random(150), cast.reply_key.public), known, box)
    message("room-reply", m.RoomLetter(random(500)), offer_hash, replies)

    return {
        "about": "golden records; docs/protocol/records.md and envelopes.md; made by scripts/make_vectors.py",
        "now_ms": NOW_MS,
        "identities": {
            name: {"seed": key.seed.hex(), "id": key.peer_id.text}
            for name, key in (("alice", cast.alice), ("bob", cast.bob))
        },
        "prekey": {"id": cast.prekey_id, "private": cast.prekey.private.hex()},
        "reply_key": {"private": cast.reply_key.private.hex()},
        "epoch": epoch,
        "offer_hash": offer_hash.hex(),
        "inbox": _rendezvous(box),
        **{
            kind: {"secret": series.secret.hex(), "epoch": series.epoch(NOW_MS)} | _rendezvous(places[kind])
            for kind, series in secrets.items()
        },
        "reply_box": _rendezvous(replies),
        "records": records,
    }


def main() -> int:
    """Write the file; 1 when it exists and --force was not given."""
    parser = argparse.ArgumentParser(description="Make tests/vectors/records.json.")
    parser.add_argument("--add", action="store_true", help="keep the octets in the file and add new kinds")
    parser.add_argument("--force", action="store_true", help="overwrite: only when the wire format changed")
    arguments = parser.parse_args()
    vectors = make()
    if TARGET.exists() and arguments.add:
        there = json.loads(TARGET.read_text(encoding="ascii"))["records"]
        kept = {record["name"]: record["record"] for record in there}
        for record in vectors["records"]:
            record["record"] = kept.get(record["name"], record["record"])
    elif TARGET.exists() and not arguments.force:
        print(
            f"{TARGET} exists; golden vectors change only with the wire format (--add, --force)",
            file=sys.stderr,
        )
        return 1
    TARGET.write_text(json.dumps(vectors, indent=1) + "\n", encoding="ascii")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
