"""The seed corpus: small valid inputs, one file each, in ``corpus/<target>/``.

``python -m tests.fuzz.corpus`` writes it anew from the golden vectors; the same vectors give the same files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from meshcall.call.control import (
    Bye,
    Candidates,
    Chat,
    Confirm,
    Confirmed,
    Held,
    Layer,
    Rendezvous,
    Room,
    encode_control,
)
from meshcall.dht import messages as m
from meshcall.dht.contact import Contact
from meshcall.dht.saved import encode_table
from meshcall.discovery.lan import LanAnnouncement, encode_txt
from meshcall.ice.candidate import encode_candidates
from meshcall.ice.nat import Filtering, Mapping, Ports
from meshcall.ice.notes import AimNote, NatNote, SeenNote, encode_notes
from meshcall.identity.keys import SigningKey
from meshcall.signaling.description import decode_description_untrusted
from meshcall.signaling.rendezvous import RendezvousSecret

FOLDER = Path(__file__).parent / "corpus"
VECTORS = Path(__file__).parents[1] / "vectors"

Corpus = dict[str, list[bytes]]
"""Inputs by target, in the order of their files' names."""

TID = b"12345678"
NOTES = (
    NatNote(Mapping.EIM, Filtering.APDF, Ports.PRESERVING, ("203.0.113.9", 4600)),
    SeenNote(("198.51.100.7", 50000), bytes(8)),
    AimNote(("198.51.100.7", 40010)),
)
TOKEN = b"a-token!"
SENDER = b"\x31" * 20


def vectors(name: str) -> Any:
    """A file of golden vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="ascii"))


def load() -> Corpus:
    """What is in the folder."""
    return {
        folder.name: [path.read_bytes() for path in sorted(folder.iterdir())]
        for folder in sorted(FOLDER.iterdir())
    }


def frames() -> dict[str, bytes]:
    """One frame of every kind, with a golden record in it where one belongs."""
    golden = vectors("records")["records"][2]
    record, key = bytes.fromhex(golden["record"]), bytes.fromhex(golden["storage_key"])
    token, seen = TOKEN, b"\x0a\0\0\1\x10\0"
    nodes = b"".join(bytes([n]) * 20 + bytes([10, 1, 1, n, 1, 1]) for n in range(1, 6))
    nodes6 = b"\x09" * 20 + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x10\x00"
    all_kinds: list[m.Message] = [
        m.Ping(TID, SENDER, 0, b"c" * 16, bytes(20)),
        m.FindNode(TID, SENDER, 0, key, bytes(100)),
        m.FindValue(TID, SENDER, 0, key, b"\x11", b"\2" * 16, bytes(100)),
        m.Store(TID, SENDER, 0, token, record, 0),
        m.Deliver(TID, SENDER, 0, token, record, key, token),
        m.Watch(TID, SENDER, 0, token, key, 30, 1),
        m.Notify(TID, SENDER, 0, key, record, token, 0),
        m.DialBack(TID, SENDER, 0, token, bytes(8)),
        m.Dial(TID, SENDER, 0, token, bytes(8), seen),
        m.Pong(TID, SENDER, 0, seen, token, b"k" * 32, b"s" * 64),
        m.Nodes(TID, SENDER, 0, seen, token, nodes, nodes6),
        m.Values(TID, SENDER, 0, seen, token, nodes, b"", b"\3" * 8, [record], bytes(2)),
        m.Stored(TID, SENDER, 0, seen, 1),
        m.Delivered(TID, SENDER, 0, seen, 1, 1, 0),
        m.Watching(TID, SENDER, 0, seen, 30),
        m.Noted(TID, SENDER, 0, seen, 1),
        m.Dialling(TID, SENDER, 0, seen, 1),
        m.Vouch(TID, SENDER, 0, token, seen),
        m.Vouched(TID, SENDER, 0, seen, 1),
        m.RelayAsk(TID, SENDER, 0, token, bytes(32), bytes(240)),
        m.RelayGrant(TID, SENDER, 0, seen, 0, bytes(180)),
        m.Refused(TID, SENDER, 0, seen, 1, token),
        m.Acked(TID, SENDER, 0, 1),
        m.Dialled(TID, SENDER, 0, bytes(8)),
    ]
    return {type(message).__name__.lower(): m.encode_frame(message) for message in all_kinds}


def make() -> dict[str, dict[str, bytes]]:
    """All files: contents by target and name."""
    golden = {vector["name"]: vector for vector in vectors("records")["records"]}
    described = {v["name"]: bytes.fromhex(v["hex"]) for v in vectors("description")["vectors"]}
    peer_id = SigningKey.from_seed(bytes(32)).peer_id
    identity, rooms = vectors("identity"), vectors("rooms")
    contacts = [Contact(bytes([n]) * 20, (f"11.0.{n}.1", 4000), last_seen=0.0) for n in range(1, 4)]
    return {
        "frame": frames(),
        "record": {name: bytes.fromhex(vector["record"]) for name, vector in golden.items()},
        "body": {
            name: bytes([vector["kind"]]) + bytes.fromhex(vector["body"])
            for name, vector in golden.items()
            if "kind" in vector
        },
        "description": described,
        "candidates": {
            name: encode_candidates(decode_description_untrusted(data).candidates)
            for name, data in described.items()
        }
        | {"notes": encode_notes(NOTES)},
        "txt": {
            "hidden": encode_txt(LanAnnouncement.of(peer_id, 0)),
            "visible": encode_txt(LanAnnouncement.of(peer_id, 0, visible=True, name="Zoë")),
        },
        "control": {
            "confirm": encode_control(Confirm(bytes(64))),
            "confirmed": encode_control(Confirmed()),
            "bye": encode_control(Bye(failure=True)),
            "chat": encode_control(Chat("hello, wörld")),
            "rendezvous": encode_control(Rendezvous(RendezvousSecret(bytes(range(32)), 1_800_000_000))),
            "held": encode_control(Held(1_800_000_000)),
            "candidates": encode_control(Candidates(bytes(range(20)))),
            "room": encode_control(Room(bytes(range(40)))),
            "layer": encode_control(Layer("screen", 720, 30)),
        },
        "text": {
            "id": peer_id.text.encode(),
            "grouped": peer_id.grouped.encode(),
            **{f"uri-{n}": vector["uri"].encode() for n, vector in enumerate(identity["uris"])},
            "room": rooms["uri"].encode(),
            "code": b"7-acorn-zebra",
            **{f"invite-{n}": vector["uri"].encode() for n, vector in enumerate(identity["invites"])},
        },
        "grant": {"three": bytes.fromhex(vectors("relay")["grant"]["plain"])},
        "announcement": {"both": bytes.fromhex(vectors("relay")["announcement"]["record"])[48:-64]},
        "room-announcement": {
            name.replace(", ", "-").replace(" ", "-"): bytes.fromhex(text)
            for name, text in rooms["announcements"].items()
        },
        "room-letter": {
            name.replace(" ", "-"): bytes.fromhex(text) for name, text in rooms["letters"].items()
        },
        "room-memory": {"all": bytes.fromhex(rooms["memory"])},
        "room-message": {name: bytes.fromhex(text) for name, text in rooms["messages"].items()},
        "table": {"three": encode_table(contacts), "none": encode_table([])},
    }


def main() -> None:
    """Write the folder."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for target, files in make().items():
        (FOLDER / target).mkdir(parents=True)
        for name, data in files.items():
            (FOLDER / target / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main()
