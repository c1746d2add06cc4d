"""Links and codes of rooms, as people pass them on."""

from __future__ import annotations

import random

import pytest

from meshcall.errors import InvalidInvite, InvalidRoom, InvalidUri
from meshcall.identity.uri import parse_peer
from meshcall.room.codes import WORDS, is_code, nameplate_of, new_code, parse_code
from meshcall.room.uri import RoomInvite, is_room_uri
from meshcall.signaling.invite import Invite
from tests.unit.room.room_world import KEYS, make_room

PEERS = [key.peer_id for key in KEYS]


def test_a_link_reads_back() -> None:
    """With members and nodes, in capitals and brackets, too."""
    room = make_room(name="Zoë & Söhne #7")
    invite = RoomInvite.of(room, PEERS[0], PEERS[:9], [("192.0.2.7", 4000), ("fe80::1%2", 4), ("::1", 5)])
    assert invite.members == tuple(PEERS[:4])
    assert invite.nodes == (("192.0.2.7", 4000), ("::1", 5))
    for text in (invite.format(), invite.qr_text(), f" <{invite.format()}>\n"):
        assert is_room_uri(text)
        assert RoomInvite.parse(text) == invite
    assert str(invite) == f"room link of {PEERS[0].short}"
    assert "secret" not in repr(invite)


def test_a_link_of_a_room_is_no_invite_and_an_invite_no_link_of_a_room() -> None:
    """Each says what it is."""
    room = RoomInvite.of(make_room(), PEERS[0]).format()
    with pytest.raises(InvalidInvite, match="link into a room"):
        Invite.parse(room)
    with pytest.raises(InvalidUri, match="link into a room"):
        parse_peer(room)
    invite = Invite.create(PEERS[0], expires_ms=1000, random=random.Random(1).randbytes).format()
    assert not is_room_uri(invite)
    assert not is_room_uri("deck 7?r=1")
    with pytest.raises(InvalidRoom, match="names no room"):
        RoomInvite.parse(invite)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:-1], "not whole"),
        (lambda text: text.partition("#")[0], "not whole"),
        (lambda text: text[:-1] + "b", "damaged"),
        (lambda text: text.replace("r=", "r=a&r="), "names no room"),
        (lambda text: text.replace("deck%207", "%E2%80%AE"), "one short line"),
        (lambda text: text.replace("?", "?m=abc&"), "not a whole link"),
        (lambda text: text.replace("?", "?b=0.0.0.0:4&"), "can't be used"),
        (lambda text: text.replace("?", f"?m={PEERS[1]}&m={PEERS[2]}&m={PEERS[3]}&m={PEERS[4]}&"), "1 to 4"),
        (lambda text: "x" * 2000, "too long"),
        (lambda text: text[1:], "not a whole link"),
    ],
)
def test_damaged_links_are_told_as_such(change: object, says: str) -> None:
    """Each with what is wrong."""
    text = RoomInvite.of(make_room(), PEERS[0]).format()
    with pytest.raises(InvalidRoom, match=says):
        RoomInvite.parse(change(text))  # type: ignore[operator]


def test_words_of_codes_are_unlike() -> None:
    """256, short, and any two differ in two letters at least: a typing error gives no other code."""
    assert len(set(WORDS)) == len(WORDS) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)
    assert {len(word) for word in WORDS} <= set(range(3, 10))
    changed: dict[str, str] = {}
    for word in WORDS:
        for place in range(len(word)):
            assert word[:place] + word[place + 1 :] not in WORDS
            assert changed.setdefault(word[:place] + "?" + word[place + 1 :], word) == word


def test_a_code_is_typed_as_people_type() -> None:
    """Case, spaces and dashes make no difference; what is in no code is told."""
    for text in ("7-acorn-zebra", " 07 Acorn   ZEBRA ", "7 - acorn - zebra"):
        assert is_code(text)
        assert parse_code(text) == "7-acorn-zebra"
    for text in ("acorn-zebra", "0-acorn-zebra", "123-acorn-zebra", "7-acorn", "7-acorn-zebras", ""):
        with pytest.raises(InvalidRoom):
            parse_code(text)
    assert not is_code("7 happy friends")
    rng = random.Random(1)
    for _ in range(100):
        code = new_code(rng.randbytes, {1, 2, 3})
        assert parse_code(code) == code
        assert 3 < nameplate_of(code) < 100
