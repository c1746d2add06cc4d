"""The golden octets of rooms: what is written now is what was written then, and it is read as what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshcall.discovery.rooms import RoomAnnouncement, decode_announcement_untrusted, read_pairs_untrusted
from meshcall.identity.keys import SigningKey, hkdf, mac
from meshcall.room import messages as m
from meshcall.room.descriptor import Room
from meshcall.room.entry import MediaFlags, read_entry_untrusted
from meshcall.room.memory import decode_memory_untrusted
from meshcall.room.statements import read_removal_untrusted, read_said_untrusted, read_setting_untrusted
from meshcall.room.uri import RoomInvite
from tests.unit.room.golden import vectors

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "rooms.json").read_text(encoding="ascii")
)
ANN, BOB, EVE = (SigningKey.from_seed(bytes.fromhex(GOLDEN["seeds"][n])) for n in ("ann", "bob", "eve"))
SECRET = bytes.fromhex(GOLDEN["secret"])
ROOM = Room.decode_untrusted(bytes.fromhex(GOLDEN["room"]["descriptor"]), SECRET)


def golden(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name])


def test_the_same_is_written_as_then() -> None:
    """Octet by octet."""
    assert vectors() == GOLDEN


def test_keys_of_a_room() -> None:
    """As the page says, by other means than ours."""
    assert ROOM.id.hex() == GOLDEN["room"]["id"] == hkdf(SECRET, b"meshcall/1/room-id\0", 16).hex()
    assert ROOM.roster_key.hex() == GOLDEN["room"]["roster_key"]
    day = (GOLDEN["now_ms"] // 86_400_000).to_bytes(4, "big")
    assert GOLDEN["room"]["tag"] == mac(ROOM.id, b"meshcall/1/room-tag\0" + day)[:8].hex()
    proof = mac(hkdf(SECRET, b"meshcall/1/room-proof\0"), b"link\0", BOB.public, ANN.public)[:16]
    assert GOLDEN["room"]["link_proof_bob_to_ann"] == proof.hex()
    assert (ROOM.name, ROOM.creator, ROOM.created_ms) == ("Zoë's deck", ANN.peer_id, GOLDEN["now_ms"])


def test_what_was_signed_then_holds() -> None:
    """Entry, setting, removal and chat line."""
    entry = read_entry_untrusted(golden("entry"), ROOM.roster_key)
    assert (entry.peer, entry.seq, entry.name) == (BOB.peer_id, 7, "Bob")
    assert entry.flags == MediaFlags(audio=True, hand=True)
    setting = read_setting_untrusted(golden("setting"), ROOM)
    assert (setting.writer, setting.count, setting.locked) == (BOB.peer_id, 3, True)
    assert read_removal_untrusted(golden("removal"), ROOM) == EVE.peer_id
    assert read_said_untrusted(golden("said"), ROOM).text == "hello, wörld"


@pytest.mark.parametrize("name", GOLDEN["letters"])
def test_letters_read_back(name: str) -> None:
    """And are written as they were."""
    data = bytes.fromhex(GOLDEN["letters"][name])
    assert m.encode_letter(m.decode_letter_untrusted(data)) == data
    assert m.letter_tag_untrusted(data).hex() == GOLDEN["room"]["tag"]


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_messages_read_back(name: str) -> None:
    """With when they were said."""
    data = bytes.fromhex(GOLDEN["messages"][name])
    said, message = m.decode_message_untrusted(data)
    assert said == GOLDEN["said_ms"]
    assert not isinstance(message, m.UnknownMessage)
    assert m.encode_message(message, said) == data


def test_announcements_memory_and_link_read_back() -> None:
    """Each by its own reader."""
    rooms: list[RoomAnnouncement] = []
    for text in GOLDEN["announcements"].values():
        rooms.append(decode_announcement_untrusted(bytes.fromhex(text)))
        assert rooms[-1].encode().hex() == text
    assert [one.announcer_untrusted() for one in rooms] == [BOB.peer_id] * 2
    pairs = {key: value.encode() for key, value in GOLDEN["txt"].items()}
    assert read_pairs_untrusted(pairs) == tuple(rooms[:1])  # one tag counts once
    memory = decode_memory_untrusted(golden("memory"))
    assert memory.encode() == golden("memory")
    assert memory.members == (ANN.peer_id,)
    assert RoomInvite.parse(GOLDEN["uri"]).format() == GOLDEN["uri"]
