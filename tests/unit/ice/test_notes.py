"""Notes among the candidates: golden octets, strictness, and that readers of candidates skip them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    decode_candidates_untrusted,
    decode_items_untrusted,
    encode_candidates,
)
from meshcall.ice.nat import Filtering, Mapping, Ports
from meshcall.ice.notes import AimNote, NatNote, Note, RoundNote, SeenNote, encode_notes
from meshcall.limits import NOTES_MAX
from meshcall.signaling.description import decode_description_untrusted
from tests.unit.signaling.test_description import OFFER

HOST = Candidate("host", "udp", "192.168.1.7", 50000, 2130706431)
NAT = NatNote(Mapping.APDM, Filtering.UNKNOWN, Ports.SEQUENTIAL)
WITNESSED = NatNote(Mapping.EIM, Filtering.APDF, Ports.PRESERVING, ("203.0.113.9", 4600))
SEEN = SeenNote(("198.51.100.7", 50000), bytes(range(8)))
AIM = AimNote(("198.51.100.7", 40010))

GOLDEN = [
    (NAT, "0c 03 04 00 02"),
    (WITNESSED, "0c 09 02 03 01 cb007109 11f8"),
    (
        replace(WITNESSED, witness=("2001:db8::7", 4600)),
        "0c 15 02 03 01 20010db8000000000000000000000007 11f8",
    ),
    (SEEN, "1c 0f 06 c6336407 c350 0001020304050607"),
    (AIM, "2c 06 c6336407 9c4a"),
    (RoundNote(258), "3c 04 00000102"),
]


@pytest.mark.parametrize(("note", "octets"), GOLDEN)
def test_golden_octets(note: Note, octets: str) -> None:
    """The layout in the documents is the layout on the wire, alone and behind candidates."""
    assert encode_notes([note]).hex() == octets.replace(" ", "")
    assert decode_items_untrusted(encode_candidates([HOST], [note])) == ((HOST,), (note,))


def test_a_description_carries_notes() -> None:
    """They come back, and change nothing of the rest."""
    told = replace(OFFER, notes=(WITNESSED, AIM))
    assert decode_description_untrusted(told.encode()) == told
    assert told.encode().startswith(OFFER.encode())


def test_readers_of_candidates_do_not_see_them() -> None:
    """Wherever they stand between candidates."""
    other = replace(HOST, port=50001)
    data = encode_candidates([HOST], [NAT]) + encode_candidates([other], [AIM])
    assert decode_candidates_untrusted(data) == (HOST, other)


def test_unknown_notes_are_skipped_and_few_are_kept() -> None:
    """A newer peer's note is no error; a flood of notes is cut."""
    assert decode_items_untrusted(bytes.fromhex("fc 03 010203")) == ((), ())
    assert decode_items_untrusted(encode_notes([AIM] * 30))[1] == (AIM,) * NOTES_MAX


@pytest.mark.parametrize(
    "octets",
    [
        "0c",  # no length
        "0c 02 04 00",  # no ports
        "0c 03 05 00 02",  # unknown mapping
        "0c 03 04 04 02",  # unknown filtering
        "0c 03 04 00 09",  # unknown ports
        "0c 05 04 00 02 0000",  # half an address
        "0d 03 04 00 02",  # reserved bit
        "0c 09 02 03 01 cb007109 0000",  # port 0
        "1c 07 06 c6336407 c350",  # no token
        "1c 18 06 c6336407 c350" + "00" * 17,  # a long token
        "1c 01 06",  # no address
        "2c 06 c6336407 0000",  # port 0
        "2c 07 c6336407 9c4a 00",  # one octet more
        "2c 06 c6336407 9c",  # one octet short
        "3c 04 00000000",  # round 0
        "3c 03 000001",  # one octet short
        "3c 05 0000000101",  # one octet more
        "fc 03 0102",  # unknown, and short
    ],
)
def test_bad_notes_are_rejected(octets: str) -> None:
    """Unknown values, sizes one off and ports of zero: Rejected, nothing else."""
    with pytest.raises(Rejected):
        decode_items_untrusted(bytes.fromhex(octets))


def test_mutated_notes_raise_nothing_else() -> None:
    """100,000 messages with flipped, cut and inserted octets."""
    rng = random.Random(7)
    whole = encode_candidates([HOST], [NAT, WITNESSED, SEEN, AIM, RoundNote(9)])
    read = 0
    for _ in range(100_000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        try:
            candidates, notes = decode_items_untrusted(bytes(data))
        except Rejected:
            continue
        read += 1
        assert len(notes) <= NOTES_MAX
        assert decode_items_untrusted(encode_candidates(candidates, notes)) == (candidates, notes)
    assert read > 100
