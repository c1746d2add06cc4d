"""Links: what is read, what is written, and that the secret stays out of sight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import segno

from meshcall.errors import InvalidPeerId, InvalidUri
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import PeerUri, clean_name, parse_peer

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)
TEXT: str = VECTORS["ids"][0]["text"]
PEER = PeerId.parse(TEXT)


@pytest.mark.parametrize("vector", VECTORS["uris"], ids=lambda vector: vector["uri"][-20:])
def test_golden_links_in_both_directions(vector: dict[str, str]) -> None:
    """Value to link, link to value, and the QR form to the same value."""
    uri = PeerUri(PeerId(bytes.fromhex(vector["peer"])), vector["name"], vector["secret"])
    assert uri.format() == vector["uri"]
    assert uri.qr_text() == vector["qr"]
    assert PeerUri.parse(vector["uri"]) == uri
    assert PeerUri.parse(vector["qr"]) == uri


def test_a_pasted_id_or_link_names_the_same_peer() -> None:
    """Users paste either; both work."""
    assert parse_peer(TEXT.upper()) == PeerUri(PEER)
    assert parse_peer(f" <meshcall:{PEER.grouped}?n=Ann> \n") == PeerUri(PEER, "Ann")
    assert parse_peer(f"MeshCall:{TEXT}") == PeerUri(PEER)


def test_unknown_parameters_are_ignored() -> None:
    """A link of a newer meshcall still names its peer."""
    assert PeerUri.parse(f"meshcall:{TEXT}?zz=1&n=Ann&zz=2").name == "Ann"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "http://example.org/",
        f"meshcall:{TEXT}?n=A&n=B",
        f"meshcall:{TEXT}?n",
        f"meshcall:{TEXT}?n=%4",
        f"meshcall:{TEXT}?n=%zz",
        f"meshcall:{TEXT}?n=%ff",
        f"meshcall:{TEXT}#sec-ret",
        f"meshcall:{TEXT}#{'a' * 65}",
        f"meshcall:{TEXT}#a#b",
        f"meshcall:{TEXT}?n={'a' * 2000}",
    ],
)
def test_damaged_links_are_refused(text: str) -> None:
    """Damage is named, never guessed at."""
    with pytest.raises(InvalidUri):
        PeerUri.parse(text)


@pytest.mark.parametrize("text", ["meshcall:", f"meshcall:{TEXT[:-1]}", f"meshcall://{TEXT}"])
def test_a_link_with_a_bad_id_is_a_bad_id(text: str) -> None:
    """The ID's own sentence is more useful than "bad link"."""
    with pytest.raises(InvalidPeerId):
        PeerUri.parse(text)


@pytest.mark.parametrize("vector", VECTORS["weak_keys"], ids=lambda vector: vector["why"])
def test_weak_keys_do_not_enter_through_links(vector: dict[str, str]) -> None:
    """All 14 weak keys, in a link with a right checksum."""
    with pytest.raises(InvalidPeerId):
        parse_peer(f"meshcall:{vector['text']}?n=Mallory")


def test_the_secret_is_shown_only_on_purpose() -> None:
    """Neither repr nor str holds it."""
    uri = PeerUri(PEER, "Ann", "s3cr3t234567abcd")
    assert uri.secret in uri.format()
    assert uri.secret not in repr(uri)
    assert uri.secret not in str(uri)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ann", "Ann"),
        ("  Ann \t\n B ", "Ann B"),
        ("Ann\u202egnp.exe", "Anngnp.exe"),
        ("A\x00\x1b[31mB", "A[31mB"),
        ("e\u0301", "é"),
        ("e\u200d\u0301", "é"),
        ("\ud800x", "x"),
        ("é" * 40, "é" * 32),
        ("a" + "é" * 40, "a" + "é" * 31),
        ("\u200b", ""),
    ],
)
def test_names_are_cleaned(raw: str, clean: str) -> None:
    """One visible line of at most 64 octets, in one spelling; cleaning again changes nothing."""
    assert clean_name(raw) == clean
    assert clean_name(clean) == clean


def test_a_name_that_is_not_clean_is_refused_from_programs() -> None:
    """Only parsing cleans; a program that passes a dirty name has a bug."""
    with pytest.raises(InvalidUri):
        PeerUri(PEER, "two\nlines")


def test_a_bare_id_fits_a_small_qr_code() -> None:
    """Upper case reaches the alphanumeric mode: version 4 (33 x 33) at error level M."""
    code = segno.make(PeerUri(PEER).qr_text(), error="m", micro=False, boost_error=False)
    assert code.version == 4
    assert code.mode == "alphanumeric"
