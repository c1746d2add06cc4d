"""Rooms on the LAN: what an announcement shows to whom, and what a flood of them does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshcall import limits
from meshcall.discovery.lan import LanAnnouncement, decode_txt_untrusted, encode_txt
from meshcall.discovery.rooms import (
    RoomAnnouncement,
    RoomsSeen,
    decode_announcement_untrusted,
    name_key,
    room_tag,
    tags_near,
    txt_pairs,
)
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
ALICE, BOB, CAROL = (SigningKey.from_seed(bytes([n]) * 32).peer_id for n in (1, 2, 3))
ID, OTHER = bytes(16), bytes([1]) * 16


def announce(
    who: PeerId, room_id: bytes = ID, name: str = "Deck 7", *, members: int = 1,
    secret: bool = False, nameplate: int = 0, now_ms: int = NOON,
) -> RoomAnnouncement:  # fmt: skip
    return RoomAnnouncement.of(
        room_id, name, who, now_ms, members=members, secret=secret, nameplate=nameplate
    )  # fmt: skip


def test_an_open_room_shows_its_name_and_so_who_is_in_it() -> None:
    """And its count and code."""
    one = announce(ALICE, members=3)
    assert (one.name, one.members, one.announcer_untrusted()) == ("Deck 7", 3, ALICE)


def test_a_secret_room_shows_neither_its_name_nor_who_is_in_it() -> None:
    """Only who knows the name sees who announces it."""
    one = announce(ALICE, secret=True)
    assert one.name == ""
    octets = one.encode()
    assert b"Deck" not in octets
    assert ALICE.key not in octets
    with pytest.raises(Rejected, match="sealed"):
        one.announcer_untrusted()
    with pytest.raises(Rejected, match="sealed"):
        one.announcer_untrusted(name_key("deck 8"))
    assert one.announcer_untrusted(name_key(" DECK  7 ")) == ALICE
    assert one.is_called(name_key("deck 7"))
    assert not one.is_called(name_key("deck 8"))


def test_two_members_and_two_days_have_nothing_in_common() -> None:
    """But the tag of one day, which marks the room."""
    one, two = announce(ALICE, secret=True), announce(BOB, secret=True)
    assert one.tag == two.tag
    assert one.nonce != two.nonce
    assert one.sealed != two.sealed
    later = announce(ALICE, secret=True, now_ms=NOON + DAY)
    assert {one.tag, one.hint, one.nonce, one.sealed}.isdisjoint(
        {later.tag, later.hint, later.nonce, later.sealed}
    )  # fmt: skip
    assert announce(ALICE, secret=True, now_ms=NOON + 1000) == one  # nothing is announced anew without need


def test_tags_hold_around_midnight() -> None:
    """Whoever's clock is ahead or behind."""
    midnight = 20_001 * DAY
    for ahead in (-120_000, 0, 120_000):
        assert room_tag(ID, midnight + ahead) in tags_near(ID, midnight)
    assert room_tag(ID, midnight - 1) != room_tag(ID, midnight)
    assert room_tag(ID, midnight) not in tags_near(OTHER, midnight)


def test_a_txt_record_carries_four_rooms() -> None:
    """Beside all else, within one packet; a malformed one costs nothing but itself."""
    rooms = tuple(announce(ALICE, bytes([n]) * 16, "é" * 32) for n in range(6))
    announcement = LanAnnouncement.of(ALICE, NOON, visible=True, name="x" * 64, rooms=rooms)
    data = encode_txt(announcement)
    assert len(data) <= limits.LAN_TXT_MAX
    assert decode_txt_untrusted(data).rooms == rooms[:4]
    key, text = txt_pairs(rooms)[1]
    good = f"{key}={text}".encode()
    for bad in (good[:-5] + b"!!!!!", good[: len(key) + 1] + b"A" * (len(good) - len(key) - 1)):
        assert len(bad) == len(good)
        assert decode_txt_untrusted(data.replace(good, bad)).rooms == (rooms[0], *rooms[2:4])


@pytest.mark.parametrize(
    "change",
    [
        {"members": 0}, {"nameplate": 100}, {"name": ""}, {"secret": True}, {"name": "\u202egnp"},
        {"name": " x"},
    ],
)  # fmt: skip
def test_announcements_that_contradict_themselves_are_refused(change: dict[str, object]) -> None:
    """A secret room with a name, an open one without, nobody in it."""
    one = replace(announce(ALICE), **change)  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="room"):
        decode_announcement_untrusted(one.encode())


def test_rooms_are_listed_with_the_most_members_that_anybody_counts() -> None:
    """By name, secret ones last."""
    seen = RoomsSeen()
    assert seen.seen("a", [announce(ALICE, members=2), announce(ALICE, OTHER, "hidden", secret=True)])
    assert seen.seen("b", [announce(BOB, members=3, nameplate=7)])
    assert not seen.seen("b", [announce(BOB, members=3, nameplate=7)])
    first, last = seen.rooms()
    assert (first.name, first.members, first.code, first.secret) == ("Deck 7", 3, True, False)
    assert (last.name, last.members, last.code, last.secret) == ("", 1, False, True)
    assert seen.announcers(first.tag, "") == (ALICE, BOB)
    assert seen.announcers(last.tag, "") == ()
    assert seen.announcers(last.tag, "Hidden") == (ALICE,)
    assert [room.tag for room in seen.called("HIDDEN")] == [last.tag]
    assert seen.with_nameplate(7) == ((first.tag, BOB),)
    assert seen.nameplates() == {7}
    assert seen.gone("a")
    assert seen.gone("b")
    assert seen.rooms() == ()


def test_a_name_that_is_taken_twice_gives_both_rooms() -> None:
    """They are told apart by their tags."""
    seen = RoomsSeen()
    seen.seen("a", [announce(ALICE)])
    seen.seen("b", [announce(BOB, OTHER, "DECK 7")])
    assert {room.tag for room in seen.called("deck 7")} == {room_tag(ID, NOON), room_tag(OTHER, NOON)}


def test_one_number_of_two_codes_gives_both_members() -> None:
    """A few at most."""
    seen = RoomsSeen()
    for number in range(10):
        peer = SigningKey.from_seed(bytes([number + 10]) * 32).peer_id
        seen.seen(str(number), [announce(peer, bytes([number]) * 16, nameplate=7)])
    assert len(seen.with_nameplate(7)) == limits.ROOM_CODE_MEMBERS


def test_100_fake_rooms_do_not_drive_out_the_one_that_we_are_in() -> None:
    """Nor those that were there before; nor do 10,000, nor 1,000 that claim to be in ours."""
    seen = RoomsSeen()
    seen.seen("before", [announce(BOB, OTHER, "before")])
    for number in range(10_000):
        room_id = number.to_bytes(16, "big")
        seen.seen(f"fake {number}", [announce(CAROL, room_id, f"fake {number}")])
    assert len(seen.rooms()) == limits.ROOM_SIGHTINGS_MAX
    seen.know(tags_near(bytes([9]) * 16, NOON))
    assert seen.seen("ours", [announce(ALICE, bytes([9]) * 16, "ours")])
    assert {"before", "ours"} <= {room.name for room in seen.rooms()}
    ours = room_tag(bytes([9]) * 16, NOON)
    for number in range(1000):
        seen.seen(f"copy {number}", [announce(CAROL, bytes([9]) * 16, "ours")])
    assert ALICE in seen.announcers(ours, "")
    entry = next(room for room in seen.rooms() if room.tag == ours)
    assert len(entry.announcements) == limits.ROOM_SIGHTERS_MAX


def test_a_service_announces_four_rooms_at_most() -> None:
    """Whatever its record says."""
    seen = RoomsSeen()
    seen.seen("a", [announce(ALICE, bytes([n]) * 16) for n in range(20)])
    assert len(seen.rooms()) == limits.ROOM_SIGHTINGS_PER_SERVICE
