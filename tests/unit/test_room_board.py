"""What a node tells who asks it directly about a room: only who knows the name can read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshcall.discovery.rooms import RoomAnnouncement, name_key, nameplate_key
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.record.codec import Record, RecordType, sign_record
from meshcall.room_board import board_of, read_board_untrusted, write_board
from meshcall.signaling.rendezvous import Rendezvous
from meshcall.testing.clock import seeded_random

RANDOM = seeded_random("board")
ANN = SigningKey.generate(RANDOM).peer_id
NOW_MS = 1_800_000_000_000


def place_of(key: bytes) -> Rendezvous:
    """Of this epoch."""
    series = board_of(key)
    return series.at(series.epoch(NOW_MS))


def announcement_of(name: str, *, secret: bool = False, nameplate: int = 0) -> RoomAnnouncement:
    """Ann's."""
    return RoomAnnouncement.of(RANDOM(16), name, ANN, NOW_MS, members=3, secret=secret, nameplate=nameplate)


@pytest.mark.parametrize("secret", [True, False])
def test_who_knows_the_name_reads_it(secret: bool) -> None:
    """However it is spelled; the largest fits."""
    for name in ("Tea time", "t" * 64):
        said = announcement_of(name, secret=secret)
        place = place_of(name_key(name.upper()))
        read = read_board_untrusted(write_board(said, place, 7).encode(), place)
        assert read == said
        assert read.announcer_untrusted(name_key(name)) == ANN


def test_who_knows_the_number_of_a_code_reads_it() -> None:
    """And learns who to try it with."""
    said = announcement_of("Tea", secret=True, nameplate=7)
    place = place_of(nameplate_key(7))
    assert read_board_untrusted(write_board(said, place, 7).encode(), place).announcer_untrusted() == ANN


def test_what_is_not_of_the_board_is_refused() -> None:
    """Another name, another type, one octet changed, something behind the announcement."""
    place, other = place_of(name_key("Tea")), place_of(name_key("Coffee"))
    record = write_board(announcement_of("Tea"), place, 7)
    data = record.encode()
    flipped = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    relabelled: Record = replace(record, signature=bytes(64))
    foreign = sign_record(place.signer, RecordType.PRESENCE, 7, 60, bytes(196))
    for octets, where in [
        (data, other),
        (flipped, place),
        (relabelled.encode(), place),
        (foreign.encode(), place),
        (b"", place),
    ]:
        with pytest.raises(Rejected):
            read_board_untrusted(octets, where)
