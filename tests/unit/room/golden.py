"""Makes tests/vectors/rooms.json: a room, what its members sign and say, what is announced of it.

    python -m tests.unit.room.golden            # refuses to overwrite
    python -m tests.unit.room.golden --force    # a deliberate change of the wire format

Everything comes from the seeds in the file, so a new run gives the same octets.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from meshcall.discovery.rooms import RoomAnnouncement, txt_pairs
from meshcall.identity.keys import SigningKey
from meshcall.room import messages as m
from meshcall.room.descriptor import Room
from meshcall.room.entry import MediaFlags, sign_entry
from meshcall.room.memory import Memory
from meshcall.room.statements import sign_removal, sign_said, sign_setting
from meshcall.room.uri import RoomInvite

NOW_MS = 1_800_000_000_000
TARGET = Path(__file__).parents[2] / "vectors" / "rooms.json"


def vectors() -> dict[str, Any]:
    """All of the file."""
    ann, bob, eve = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
    secret = bytes(range(32))
    room = Room.create(ann.peer_id, ann.sign, "Zoë's deck", now_ms=NOW_MS, random=lambda size: secret[:size])
    flags = MediaFlags(audio=True, hand=True)
    entry = sign_entry(
        bob.peer_id, bob.sign, room.roster_key,
        incarnation=NOW_MS, seq=7, left=False, flags=flags, name="Bob",
    )  # fmt: skip
    setting = sign_setting(bob.peer_id, bob.sign, room, 3, locked=True)
    removal = sign_removal(ann.sign, room, eve.peer_id)
    said = sign_said(bob.peer_id, bob.sign, room, NOW_MS, 1, "hello, wörld")
    tag = room.tag(NOW_MS)
    letters: dict[str, m.Letter] = {
        "join": m.Join(tag, "Bob"),
        "join with proof": m.Join(tag, "Bob", room.proof(b"join", bob.peer_id, ann.peer_id)),
        "welcome": m.Welcome(tag, room.encode(), secret, (eve.peer_id,)),
        "welcome by code": m.Welcome(tag, room.encode(), secret, (), bytes(32)),
        "refused": m.Refused(tag, m.RefusedReason.FULL),
        "waiting": m.Waiting(tag),
        "pake": m.Pake(tag, 7, 1, b"A" + bytes(32)),
        "here": m.Here(tag, entry.octets, asks=True),
        "out": m.Out(tag, removal),
    }
    messages: dict[str, m.Sayable] = {
        "beat": m.Beat(entry.octets, frozenset({m.short_key(ann.peer_id)}), bytes(8)),
        "sync": m.Sync(((1500, entry.octets),), (setting.octets,), (removal,)),
        "said": m.SaidLine(said),
        "knock": m.KnockNote(eve.peer_id, m.KnockState.WAITS, "Eve"),
        "has": m.Has(((m.short_key(bob.peer_id), NOW_MS, 1), (m.short_key(ann.peer_id), NOW_MS + 1, 7))),
        "wants": m.Wants(((m.short_key(bob.peer_id), NOW_MS, 1),)),
        "missed": m.Missed(((20_000, said),)),
    }
    announcements = {
        "open": RoomAnnouncement.of(room.id, room.name, bob.peer_id, NOW_MS, members=3),
        "secret, locked, with a code": RoomAnnouncement.of(
            room.id, room.name, bob.peer_id, NOW_MS, members=3, secret=True, locked=True, nameplate=7
        ),
    }
    return {
        "about": "golden octets of rooms; docs/protocol/rooms.md. All octets in hexadecimal.",
        "now_ms": NOW_MS,
        "seeds": {"ann": ann.seed.hex(), "bob": bob.seed.hex(), "eve": eve.seed.hex()},
        "secret": secret.hex(),
        "room": {
            "name": room.name,
            "id": room.id.hex(),
            "roster_key": room.roster_key.hex(),
            "descriptor": room.encode().hex(),
            "tag": tag.hex(),
            "link_proof_bob_to_ann": room.proof(b"link", bob.peer_id, ann.peer_id).hex(),
        },
        "entry": entry.octets.hex(),
        "setting": setting.octets.hex(),
        "removal": removal.hex(),
        "said": said.hex(),
        "letters": {name: m.encode_letter(letter).hex() for name, letter in letters.items()},
        "said_ms": 5000,
        "messages": {name: m.encode_message(message, 5000).hex() for name, message in messages.items()},
        "announcements": {name: one.encode().hex() for name, one in announcements.items()},
        "txt": dict(txt_pairs(announcements.values())),
        "memory": Memory((setting.octets,), (removal,), (eve.peer_id,), (ann.peer_id,)).encode().hex(),
        "uri": RoomInvite.of(room, bob.peer_id, [ann.peer_id], [("192.0.2.7", 4000)]).format(),
    }


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Make tests/vectors/rooms.json.")
    parser.add_argument("--force", action="store_true", help="overwrite: the wire format changes")
    if TARGET.exists() and not parser.parse_args().force:
        print(f"{TARGET} is there; --force replaces it", file=sys.stderr)
        return 1
    TARGET.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
