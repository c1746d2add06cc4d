"""The compact description: golden octets, size, strictness, and what an answer may pick."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.ice.candidate import Candidate
from meshcall.limits import DESCRIPTION_MAX
from meshcall.signaling.codecs import G722, H264, OPUS, PCMA, PCMU, VP8, Codec, HeaderExtension
from meshcall.signaling.description import (
    Description,
    Section,
    check_answer_untrusted,
    decode_description_untrusted,
    flaw,
)

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "description.json").read_text()
)["vectors"]

AUDIO = Section(
    "audio",
    "0",
    codecs=(Codec(OPUS, 111, None, 1), Codec(G722, 9), Codec(PCMU, 0), Codec(PCMA, 8)),
    extensions=(HeaderExtension(1, 4), HeaderExtension(2, 1)),
    ssrcs=(0x01020304,),
)
VIDEO = Section(
    "video",
    "1",
    codecs=(Codec(VP8, 96, 97), Codec(H264, 108, 109, 31)),
    extensions=(HeaderExtension(1, 4), HeaderExtension(3, 2)),
    ssrcs=(0x05060708, 0x090A0B0C),
)
DATA = Section("application", "2")
CANDIDATES = (
    Candidate("host", "udp", "192.168.1.7", 50000, 2130706431),
    Candidate("host", "udp", "2001:db8::7", 50000, 2130706430),
    Candidate("srflx", "udp", "203.0.113.9", 50000, 1694498815),
)
OFFER = Description("ufra", "p" * 22, bytes(range(32)), "actpass", (AUDIO, VIDEO, DATA), CANDIDATES, True)
ANSWER = replace(OFFER, setup="active", ufrag="ANSW", fingerprint=bytes(range(1, 33)))

OFFER_HEX = (
    "01 23"
    " 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    " 04 75667261"
    " 16 70707070707070707070707070707070707070707070"
    # audio: sendrecv; one SSRC; four codecs, two extensions
    " 0c 40 01020304 42 41 6f01 02 03 04 14 21"
    # video: sendrecv; two SSRCs; two codecs, two extensions
    " 4c 80 05060708 090a0b0c 22 b0 60 61 d1 6c1f 6d 14 32"
    # data
    " 80"
    " 00 c0a80107 c350 7effffff"
    " 04 20010db8000000000000000000000007 c350 7efffffe"
    " 40 cb007109 c350 64ffffff"
)


def test_golden_octets_by_hand() -> None:
    """The layout in the documents is the layout on the wire."""
    assert OFFER.encode().hex() == bytes.fromhex(OFFER_HEX).hex()
    assert decode_description_untrusted(bytes.fromhex(OFFER_HEX)) == OFFER


def test_the_document_shows_the_same_octets() -> None:
    """Example and table of vectors in the protocol document are the ones tested here."""
    text = (Path(__file__).parents[3] / "docs" / "protocol" / "description.md").read_text()
    example = text.split("## Example")[1].split("```text\n")[1].split("```")[0]
    octets = "".join(re.split(r"  +", line)[0] for line in example.splitlines())
    assert bytes.fromhex(octets) == OFFER.encode()
    assert f"{len(OFFER.encode())} octets" in text
    for vector in VECTORS:
        assert f"| `{vector['name']}` | {vector['type']} | {vector['octets']} |" in text


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_golden_vectors_come_back(vector: dict[str, Any]) -> None:
    """A golden description decodes to a value that encodes to the same octets."""
    data = bytes.fromhex(vector["hex"])
    assert len(data) == vector["octets"]
    assert decode_description_untrusted(data).encode() == data


def test_a_typical_offer_has_120_to_150_octets() -> None:
    """Audio, video and data with two candidates."""
    assert 120 <= len(OFFER.with_candidates(CANDIDATES[:2]).encode()) <= 150
    sizes = {vector["name"]: vector["octets"] for vector in VECTORS}
    assert all(
        sizes[f"{stack}-{kind}"] <= 150 for stack in ("aiortc", "chromium") for kind in ("offer", "answer")
    )


def test_a_full_offer_with_six_candidates_fits_the_smaller_class() -> None:
    """Six IPv6 candidates, long credentials and all extensions: at most 354 octets."""
    extensions = tuple(HeaderExtension(code, code) for code in range(1, 10))
    full = replace(
        OFFER,
        ufrag="u" * 32,
        pwd="p" * 32,
        sections=(replace(AUDIO, extensions=extensions), replace(VIDEO, extensions=extensions), DATA),
        candidates=tuple(
            Candidate("host", "udp", f"2001:db8::{index}", 50000, 100 + index) for index in range(1, 7)
        ),
    )
    assert len(full.encode()) <= 354


def test_several_video_sections_with_names_and_streams() -> None:
    """A shared screen is one more section, in its own stream, with any mid."""
    screen = replace(VIDEO, mid="screen", stream=1, ssrcs=(77, 78), direction="sendonly")
    refused = replace(VIDEO, mid="cam.2", ssrcs=(), direction="inactive", rejected=True)
    shared = replace(OFFER, sections=(AUDIO, VIDEO, screen, refused, replace(DATA, mid="data")))
    assert decode_description_untrusted(shared.encode()) == shared


def test_uncommon_sctp_parameters_travel() -> None:
    """A port other than 5000 and a size other than 262144 come back."""
    data = replace(DATA, mid="0", sctp_port=5001, max_message_size=65536)
    only = replace(OFFER, sections=(data,))
    assert decode_description_untrusted(only.encode()).sections == (data,)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("version", {"version": 2}),
    ("setup", {"setup": "holdconn"}),
    ("fingerprint", {"fingerprint": bytes(20)}),
    ("fingerprint", {"fingerprint": bytes(32)}),
    ("fingerprint", {"fingerprint": b"x" * 31}),
    ("ufrag", {"ufrag": ""}),
    ("ufrag", {"ufrag": "abc"}),
    ("ufrag", {"ufrag": "a" * 33}),
    ("ufrag", {"ufrag": "abcd\r\na=x"}),
    ("ufrag", {"ufrag": "abcd\n"}),
    ("ufrag", {"ufrag": "ab d"}),
    ("pwd", {"pwd": "p" * 21}),
    ("pwd", {"pwd": "p" * 65}),
    ("pwd", {"pwd": "p" * 21 + "\n"}),
    ("sections", {"sections": ()}),
    ("sections", {"sections": tuple(replace(VIDEO, mid=f"v{n}", ssrcs=()) for n in range(17))}),
    ("sections", {"sections": (replace(AUDIO, rejected=True),)}),
    ("sections", {"sections": (DATA, replace(DATA, mid="3"))}),
    ("mid", {"sections": (AUDIO, replace(DATA, mid="0"))}),
    ("mid", {"sections": (replace(AUDIO, mid=""),)}),
    ("mid", {"sections": (replace(AUDIO, mid="a" * 17),)}),
    ("mid", {"sections": (replace(AUDIO, mid="0\r\na=x"),)}),
    ("mid", {"sections": (replace(AUDIO, mid="0 1"),)}),
    ("section", {"sections": (replace(DATA, kind="text"),)}),
    ("section", {"sections": (replace(AUDIO, direction="both"),)}),
    ("section", {"sections": (replace(DATA, direction="sendonly"),)}),
    ("section", {"sections": (replace(DATA, codecs=AUDIO.codecs),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=()),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=VIDEO.codecs),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=(Codec(OPUS, 72),)),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=(Codec(OPUS, 128),)),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=(Codec(OPUS, 111, None, 16),)),)}),
    ("codec", {"sections": (replace(AUDIO, codecs=(Codec(PCMU, 1),)),)}),
    ("codec", {"sections": (replace(VIDEO, codecs=(Codec(VP8, 96, 96),)),)}),
    ("codec", {"sections": (replace(VIDEO, codecs=(Codec(VP8, 96, 5),)),)}),
    ("codec", {"sections": (replace(VIDEO, codecs=(Codec(VP8, 96), Codec(H264, 96, None, 31))),)}),
    ("codec", {"sections": (replace(VIDEO, codecs=(Codec(H264, 96, None, 14),)),)}),
    ("codec", {"sections": (AUDIO, replace(VIDEO, codecs=(Codec(VP8, 111),)))}),
    ("codec", {"sections": (AUDIO, replace(VIDEO, codecs=(Codec(VP8, 96, 111),)))}),
    ("extension", {"sections": (replace(AUDIO, extensions=(HeaderExtension(1, 0),)),)}),
    ("extension", {"sections": (replace(AUDIO, extensions=(HeaderExtension(1, 15),)),)}),
    ("extension", {"sections": (replace(AUDIO, extensions=(HeaderExtension(1, 1), HeaderExtension(2, 1))),)}),
    ("extension", {"sections": (AUDIO, replace(VIDEO, extensions=(HeaderExtension(3, 4),)))}),
    ("ssrc", {"sections": (replace(AUDIO, ssrcs=(0,)),)}),
    ("ssrc", {"sections": (replace(AUDIO, ssrcs=(1, 2, 3)),)}),
    ("ssrc", {"sections": (AUDIO, replace(VIDEO, ssrcs=AUDIO.ssrcs))}),
    ("stream", {"sections": (replace(AUDIO, stream=8),)}),
    ("sctp", {"sections": (replace(DATA, sctp_port=0),)}),
    ("sctp", {"sections": (replace(DATA, max_message_size=0),)}),
    ("candidate", {"candidates": (replace(CANDIDATES[0], port=0),)}),
    ("candidate", {"candidates": (replace(CANDIDATES[0], address="evil.example"),)}),
    ("candidate", {"candidates": CANDIDATES * 5}),
]


@pytest.mark.parametrize(("reason", "change"), BAD, ids=[f"{row[0]}-{n}" for n, row in enumerate(BAD)])
def test_a_flawed_description_is_never_encoded(reason: str, change: dict[str, Any]) -> None:
    """Every field is checked before it is sent."""
    bad = replace(OFFER, **change)
    assert flaw(bad) == reason
    with pytest.raises(ValueError, match=reason):
        bad.encode()


def patched(old: str, new: str) -> bytes:
    """The golden offer with some octets replaced, once."""
    text = OFFER.encode().hex()
    assert text.count(old) == 1, old
    return bytes.fromhex(text.replace(old, new))


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("truncated", b""),
        ("version", b"\x02" + OFFER.encode()[1:]),
        ("setup", b"\x01\xe3" + OFFER.encode()[2:]),
        ("sections", b"\x01\x20" + OFFER.encode()[2:35] + b"abcd\x16" + b"p" * 22),
        ("fingerprint", patched(bytes(range(32)).hex(), bytes(32).hex())),
        ("ufrag", patched("0475667261", "0475660d0a")),
        ("ufrag", patched("0475667261", "047566c3bc")),
        ("ufrag", patched("0475667261", "0375667261"[:8])),
        ("pwd", patched("16" + "70" * 22, "16" + "70" * 21 + "0a")),
        ("pwd", patched("16" + "70" * 22, "15" + "70" * 21)),
        ("mid", patched("0c4001020304", "1c010a4001020304")),
        ("mid", patched("0c4001020304", "1c004001020304")),
        ("section", patched("4c80", "cc80")),
        ("section", patched("4c80", "4d80")),
        ("section", patched("4c80", "4c81")),
        ("codec", patched("416f01", "416f10")),
        ("codec", patched("416f01", "414801")),
        ("codec", patched("b06061", "b06060")),
        ("codec", patched("416f01", "216f01")),
        ("extension", patched("1432", "1030")),
        ("candidate", patched("c0a80107c350", "c0a801070000")),
        ("truncated", OFFER.encode()[:-1]),
        ("truncated", OFFER.encode() + b"\x00"),
        ("size", OFFER.encode() + b"\x00" * DESCRIPTION_MAX),
    ],
)
def test_bad_octets_are_rejected_with_their_reason(reason: str, data: bytes) -> None:
    """Whatever is wrong is named by one stable word."""
    with pytest.raises(Rejected) as caught:
        decode_description_untrusted(data)
    assert caught.value.reason == reason


def test_codecs_and_extensions_of_the_future_are_skipped() -> None:
    """A newer peer may offer codes we do not know; the known ones stay."""
    # an unknown codec (code 30) with two octets and rtx before VP8, and an unknown extension (code 15)
    newer = patched("22b06061", "33de7a017bb06061").replace(bytes.fromhex("1432"), bytes.fromhex("f71432"))
    assert decode_description_untrusted(newer) == OFFER


def test_a_section_of_unknown_codecs_only_is_rejected() -> None:
    """There is nothing to rebuild an m-line from."""
    only = replace(OFFER, sections=(replace(AUDIO, codecs=(Codec(PCMU, 0),), extensions=(), ssrcs=()),))
    data = only.encode().replace(bytes.fromhex("0c001003"), bytes.fromhex("0c00101f"))
    with pytest.raises(Rejected, match="codec"):
        decode_description_untrusted(data)


def test_more_candidates_than_we_keep() -> None:
    """The thirteenth candidate of a peer is checked and left out."""
    one = CANDIDATES[0]
    data = OFFER.with_candidates([one] * 12).encode() + OFFER.encode()[-11:]
    assert len(decode_description_untrusted(data).candidates) == 12


def test_too_large_for_a_record() -> None:
    """An own description that would not fit its record is an error here, not on the wire."""
    sections = tuple(
        replace(VIDEO, mid=f"a-long-name-{index:02}", ssrcs=(100 + 2 * index, 101 + 2 * index))
        for index in range(16)
    )
    with pytest.raises(ValueError, match="octets"):
        replace(OFFER, sections=sections).encode()


def test_an_answer_that_answers() -> None:
    """Picking fewer codecs, extensions and directions, or refusing a section, is allowed."""
    check_answer_untrusted(OFFER, ANSWER)
    picked = replace(
        AUDIO, codecs=AUDIO.codecs[1:], extensions=AUDIO.extensions[:1], direction="recvonly", ssrcs=()
    )
    check_answer_untrusted(OFFER, replace(ANSWER, sections=(picked, replace(VIDEO, rejected=True), DATA)))


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("setup", OFFER),
        ("sections", replace(ANSWER, sections=(AUDIO, VIDEO))),
        ("sections", replace(ANSWER, sections=(VIDEO, AUDIO, DATA))),
        ("sections", replace(ANSWER, sections=(AUDIO, replace(VIDEO, mid="x"), DATA))),
        (
            "codec",
            replace(ANSWER, sections=(AUDIO, replace(VIDEO, codecs=(Codec(H264, 120, None, 31),)), DATA)),
        ),
        (
            "extension",
            replace(ANSWER, sections=(replace(AUDIO, extensions=(HeaderExtension(4, 9),)), VIDEO, DATA)),
        ),
    ],
)
def test_an_answer_to_something_else_is_rejected(reason: str, answer: Description) -> None:
    """An answer leaves no role open and picks only what was offered, section by section."""
    with pytest.raises(Rejected, match=reason):
        check_answer_untrusted(OFFER, answer)


def test_an_answer_that_sends_where_nobody_listens_is_rejected() -> None:
    """Directions of offer and answer must fit (RFC 3264 section 6.1)."""
    listening = replace(OFFER, sections=(AUDIO, replace(VIDEO, direction="sendonly"), DATA))
    with pytest.raises(Rejected, match="direction"):
        check_answer_untrusted(listening, ANSWER)
