"""The ID text: what is accepted, what is refused, and that nothing weak ever becomes a PeerId."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import InvalidPeerId, Rejected
from meshcall.identity.keys import verify_untrusted
from meshcall.identity.peer_id import SMALL_ORDER_KEYS, PeerId

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)
IDS = VECTORS["ids"]
TEXT: str = IDS[0]["text"]
KEY = bytes.fromhex(IDS[0]["public"])
P = 2**255 - 19


@pytest.mark.parametrize("vector", IDS, ids=lambda vector: vector["short"])
def test_golden_ids_in_both_directions(vector: dict[str, str]) -> None:
    """Key to text and text to key are as the vectors say."""
    peer_id = PeerId.from_key(bytes.fromhex(vector["public"]))
    assert (peer_id.text, peer_id.short, peer_id.grouped) == (
        vector["text"],
        vector["short"],
        vector["grouped"],
    )
    assert str(peer_id) == vector["text"]
    assert PeerId.parse(vector["text"]) == peer_id


def test_the_text_is_base32_of_key_checksum_and_version() -> None:
    """The layout, computed here from its description alone."""
    raw = base64.b32decode(TEXT.upper())
    assert len(TEXT) == 56
    assert len(raw) == 35
    assert raw[:32] == KEY
    assert raw[32:34] == hashlib.sha256(b"meshcall/id\x00" + KEY + b"\x01").digest()[:2]
    assert raw[34] == 1


@pytest.mark.parametrize("vector", VECTORS["bad_ids"], ids=lambda vector: vector["why"])
def test_bad_ids_are_refused_with_a_sentence(vector: dict[str, str]) -> None:
    """Every bad text raises InvalidPeerId, with a hint, and never another exception."""
    with pytest.raises(InvalidPeerId) as caught:
        PeerId.parse(vector["text"])
    assert str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "written",
    [
        TEXT.upper(),
        IDS[0]["grouped"],
        IDS[0]["grouped"].upper().replace("-", " "),
        f"  {TEXT}\n",
        TEXT[:28] + "\r\n" + TEXT[28:],
        TEXT.replace("o", "0").replace("l", "1").replace("b", "8"),
        TEXT[:7] + "\u2013" + TEXT[7:],
        TEXT[:7] + "\u00a0\u200b" + TEXT[7:],
        "\ufeff" + TEXT,
    ],
)
def test_how_people_write_it_is_forgiven(written: str) -> None:
    """Case, dashes, spaces, line breaks, invisible characters and 0/1/8 do not matter."""
    assert PeerId.parse(written).key == KEY


def test_every_single_wrong_character_is_noticed() -> None:
    """All 56 * 31 texts with one other letter are refused (a 16-bit checksum could miss one in 65,536)."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    passed = []
    for place in range(56):
        for letter in alphabet.replace(TEXT[place], ""):
            try:
                passed.append(PeerId.parse(TEXT[:place] + letter + TEXT[place + 1 :]))
            except InvalidPeerId:
                continue
    assert passed == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no ID"),
        (TEXT[:7], "short form"),
        (TEXT[:-3], "that has 53"),
        (TEXT[:-1] + "9", "'9'"),
        (TEXT[:-1] + "\u00e9", "'é'"),
        (TEXT * 6, "too long"),
    ],
)
def test_the_sentence_says_what_is_wrong(text: str, says: str) -> None:
    """A user who mistypes learns how."""
    with pytest.raises(InvalidPeerId, match=says):
        PeerId.parse(text)


def test_a_newer_version_says_upgrade() -> None:
    """An ID of another version, checksum right, is told apart from a typing error."""
    raw = KEY + hashlib.sha256(b"meshcall/id\x00" + KEY + b"\x02").digest()[:2] + b"\x02"
    with pytest.raises(InvalidPeerId, match="version 2") as caught:
        PeerId.parse(base64.b32encode(raw).decode())
    assert caught.value.hint is not None
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("vector", VECTORS["weak_keys"], ids=lambda vector: vector["why"])
def test_weak_keys_are_refused_everywhere(vector: dict[str, str]) -> None:
    """All 14 encodings: as a key, as a stranger's key, as a text with a right checksum, in a signature."""
    key = bytes.fromhex(vector["key"])
    with pytest.raises(InvalidPeerId):
        PeerId.from_key(key)
    with pytest.raises(InvalidPeerId):
        PeerId(key)
    with pytest.raises(Rejected, match="peer-id"):
        PeerId.from_key_untrusted(key)
    with pytest.raises(InvalidPeerId):
        PeerId.parse(vector["text"])
    # R = the identity, S = 0 verifies every message for the key 01 00 ... in a library that does not look
    with pytest.raises(Rejected, match="signature"):
        verify_untrusted(key, b"\x01" + bytes(63), b"meshcall/1/inner", b"anything")


def test_the_deny_list_is_complete() -> None:
    """The 14 encodings, found here from the curve alone: 8 P = 0 in either spelling, with either sign bit."""
    d = -121665 * pow(121666, -1, P) % P

    def double_y(y: int) -> int:
        """y of 2 P from y of P: (y^2 + x^2) / (2 - (y^2 - x^2)), with x^2 from the curve."""
        x2 = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        return (y * y + x2) * pow(2 - (y * y - x2), -1, P) % P

    found = set()
    for key in SMALL_ORDER_KEYS:
        y = (int.from_bytes(key, "little") & (2**255 - 1)) % P
        assert double_y(double_y(double_y(y))) == 1
        found.add(y)
    # The torsion subgroup is cyclic of order 8: y is 1, -1, 0 (twice), and two more (twice each)
    assert len(found) == 5
    spellings = {
        (spelling | sign << 255).to_bytes(32, "little")
        for y in found
        for spelling in (y, y + P)
        if spelling < 2**255
        for sign in (0, 1)
    }
    assert spellings == SMALL_ORDER_KEYS
    assert len(spellings) == 14


@pytest.mark.parametrize("vector", VECTORS["non_canonical_keys"], ids=lambda vector: vector["key"])
def test_second_spellings_are_refused(vector: dict[str, str]) -> None:
    """y >= p is refused, whatever the point behind it."""
    with pytest.raises(InvalidPeerId, match="canonical"):
        PeerId.from_key(bytes.fromhex(vector["key"]))


def test_all_19_values_from_p_on_are_refused() -> None:
    """The canonical check is complete: every y from p to 2^255 - 1, with either sign."""
    for y in range(P, 2**255):
        for sign in (0, 1):
            with pytest.raises(InvalidPeerId):
                PeerId.from_key((y | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("vector", VECTORS["off_curve_keys"], ids=lambda vector: vector["y"])
def test_keys_off_the_curve_are_refused(vector: dict[str, str]) -> None:
    """A key that can't verify anything is no identity."""
    with pytest.raises(InvalidPeerId, match="curve"):
        PeerId.from_key(bytes.fromhex(vector["key"]))


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_other_lengths_are_refused(length: int) -> None:
    """A key has 32 octets."""
    with pytest.raises(InvalidPeerId, match="32 octets"):
        PeerId.from_key(bytes(length))


def test_order_equality_and_hash_are_those_of_the_key() -> None:
    """IDs sort by key octets, so that both ends of a call agree who is lower."""
    ids = [PeerId.from_key(bytes.fromhex(vector["public"])) for vector in IDS]
    assert sorted(ids) == sorted(ids, key=lambda peer_id: peer_id.key)
    assert len({*ids, *ids}) == len(ids)


def test_repr_is_short() -> None:
    """Logs hold the short form."""
    assert repr(PeerId.parse(TEXT)) == f"PeerId({TEXT[:7]}…)"
