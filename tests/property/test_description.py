"""Properties of descriptions and candidates: they come back, and no bytes break the readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    candidate_line,
    decode_candidates_untrusted,
    encode_candidates,
    filter_untrusted,
    parse_candidate_line,
    refusal,
)
from meshcall.limits import CANDIDATES_MAX, CANDIDATES_PER_ADDRESS_MAX, DESCRIPTION_MAX
from meshcall.signaling.codecs import (
    CODEC_TYPES,
    EXTENSION_URIS,
    H264,
    H264_LEVELS,
    OPUS,
    Codec,
    HeaderExtension,
)
from meshcall.signaling.description import Description, Section, decode_description_untrusted, flaw
from meshcall.signaling.sdp import from_sdp, to_sdp

GOLDEN = [
    bytes.fromhex(vector["hex"])
    for vector in json.loads((Path(__file__).parents[1] / "vectors" / "description.json").read_text())[
        "vectors"
    ]
]

ICE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
MIDS = st.text("abcXYZ019._-", min_size=1, max_size=16)
PORTS = st.integers(1, 65535)
PRIORITIES = st.integers(1, 2**31 - 1)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.uuids().map(lambda value: f"{value}.local"),
)
PROTOCOLS = st.sampled_from([("udp", ""), ("tcp", "active"), ("tcp", "passive"), ("tcp", "so")])


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    transport, tcptype = draw(PROTOCOLS)
    kind = draw(st.sampled_from(["host", "srflx", "prflx", "relay"]))
    return Candidate(kind, transport, draw(ADDRESSES), draw(PORTS), draw(PRIORITIES), tcptype=tcptype)


@st.composite
def sections(draw: st.DrawFn, kind: str, mid: str, ssrcs: list[int]) -> Section:
    """A section whose payload types and extension ids are functions of the codec, as in one bundle."""
    types = [item for item in CODEC_TYPES.values() if item.kind == kind]
    chosen = draw(st.lists(st.sampled_from(types), min_size=1, unique=True))
    codecs = []
    for item in chosen:
        parameter = {OPUS.code: 1, H264.code: 31}.get(item.code, 0)
        dynamic = 96 + item.code
        rtx = draw(st.sampled_from([None, 40 + item.code]))
        codecs.append(Codec(item, item.static if item.static is not None else dynamic, rtx, parameter))
    codes = draw(st.lists(st.sampled_from(sorted(EXTENSION_URIS)), unique=True))
    return Section(
        kind=kind,
        mid=mid,
        direction=draw(st.sampled_from(["inactive", "sendonly", "recvonly", "sendrecv"])),
        codecs=tuple(codecs),
        extensions=tuple(HeaderExtension(code, 15 - code) for code in codes),
        ssrcs=tuple(ssrcs),
        stream=draw(st.integers(0, 7)),
        rejected=draw(st.booleans()),
    )


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    mids = draw(st.lists(MIDS, min_size=1, max_size=6, unique=True))
    ssrcs = draw(st.lists(st.integers(1, 2**32 - 1), min_size=12, max_size=12, unique=True))
    parts = []
    for index, mid in enumerate(mids):
        count = draw(st.integers(0, 2))
        own = ssrcs[2 * index : 2 * index + count]
        parts.append(draw(sections(draw(st.sampled_from(["audio", "video"])), mid, own)))
    if draw(st.booleans()) or all(part.rejected for part in parts):
        port = draw(st.sampled_from([5000, 1, 65535]))
        size = draw(st.sampled_from([262144, 1024, 2**31 - 1]))
        parts.append(Section("application", "the-data", sctp_port=port, max_message_size=size))
    return Description(
        ufrag=draw(st.text(ICE, min_size=4, max_size=32)),
        pwd=draw(st.text(ICE, min_size=22, max_size=64)),
        fingerprint=draw(st.binary(min_size=32, max_size=32).filter(any)),
        setup=draw(st.sampled_from(["actpass", "active", "passive"])),
        sections=tuple(parts),
        candidates=tuple(draw(st.lists(candidates(), max_size=8))),
        end_of_candidates=draw(st.booleans()),
    )


def decoded(data: bytes) -> Description | None:
    """The description, or None if it was rejected; anything else raised fails the test."""
    try:
        return decode_description_untrusted(data)
    except Rejected:
        return None


def assert_sound(description: Description | None) -> None:
    """A decoded description has no flaw, comes back, and makes text with as many lines as it should."""
    if description is None:
        return
    assert flaw(description) is None
    assert decode_description_untrusted(description.encode()) == description
    text = to_sdp(description)
    assert text.count("a=ice-ufrag:") == text.count("\nm=") == len(description.sections)
    assert text.isascii()
    assert text.replace("\r\n", "").isprintable()


@given(descriptions())
def test_a_description_comes_back(description: Description) -> None:
    """decode(encode(x)) == x for every valid x."""
    assert decode_description_untrusted(description.encode()) == description


@given(descriptions())
def test_a_description_comes_back_through_sdp(description: Description) -> None:
    """Text built from a description has its credentials, mids, codecs and extensions."""
    again = from_sdp(to_sdp(description))
    assert (again.ufrag, again.pwd, again.fingerprint) == (
        description.ufrag,
        description.pwd,
        description.fingerprint,
    )
    assert again.setup == description.setup
    for left, right in zip(again.sections, description.sections, strict=True):
        assert (left.kind, left.mid, left.direction, left.rejected) == (
            right.kind,
            right.mid,
            right.direction,
            right.rejected,
        )
        assert (left.codecs, left.extensions) == (right.codecs, right.extensions)
        assert (left.sctp_port, left.max_message_size) == (right.sctp_port, right.max_message_size)
        assert left.ssrcs == (right.ssrcs if right.sends else ())


@given(st.binary(max_size=DESCRIPTION_MAX + 20))
def test_random_octets(data: bytes) -> None:
    """Any bytes give a sound description or Rejected."""
    assert_sound(decoded(data))
    assert_sound(decoded(GOLDEN[0][:65] + data))


@given(st.sampled_from(GOLDEN), st.data())
def test_mutated_octets(golden: bytes, data: st.DataObject) -> None:
    """Overwritten, cut out and inserted octets give a sound description or Rejected."""
    start = data.draw(st.integers(0, len(golden)))
    end = data.draw(st.integers(start, min(len(golden), start + 8)))
    assert_sound(decoded(golden[:start] + data.draw(st.binary(max_size=8)) + golden[end:]))


def test_every_truncation() -> None:
    """A description cut anywhere is rejected, or ends between two candidates."""
    for golden in GOLDEN:
        whole = decode_description_untrusted(golden)
        for length in range(len(golden)):
            cut = decoded(golden[:length])
            assert_sound(cut)
            if cut is not None:
                assert cut.with_candidates(()) == whole.with_candidates(())
                assert cut.candidates == whole.candidates[: len(cut.candidates)]


def test_every_bit_flip() -> None:
    """One flipped bit gives a sound description that differs, or Rejected."""
    accepted = 0
    for golden in GOLDEN:
        whole = decode_description_untrusted(golden)
        for bit in range(8 * len(golden)):
            flipped = bytearray(golden)
            flipped[bit // 8] ^= 1 << bit % 8
            description = decoded(bytes(flipped))
            assert_sound(description)
            assert description != whole
            accepted += description is not None
    assert accepted > 0


@given(descriptions(), st.integers(0, 2**16), st.integers(1, 255))
def test_a_changed_octet_of_any_description(description: Description, at: int, mask: int) -> None:
    """The same holds beyond the golden ones."""
    data = bytearray(description.encode())
    data[at % len(data)] ^= mask
    assert_sound(decoded(bytes(data)))


@given(st.lists(candidates(), max_size=CANDIDATES_MAX))
def test_candidates_come_back(items: list[Candidate]) -> None:
    """Octets and lines both give back the same candidates."""
    assert decode_candidates_untrusted(encode_candidates(items)) == tuple(items)
    assert [parse_candidate_line(candidate_line(item)) for item in items] == items


@given(st.binary(max_size=200))
def test_random_candidates(data: bytes) -> None:
    """Any bytes give at most twelve candidates or Rejected."""
    try:
        items = decode_candidates_untrusted(data)
    except Rejected:
        return
    assert len(items) <= CANDIDATES_MAX
    assert all("\n" not in candidate_line(item) for item in items)


@given(
    st.lists(candidates(), max_size=40),
    st.builds(
        CandidatePolicy,
        allow_loopback=st.booleans(),
        allow_lan=st.booleans(),
        allow_mdns=st.booleans(),
        link_local_scope=st.sampled_from(["", "eth0"]),
    ),
)
def test_the_filter_keeps_its_promises(items: list[Candidate], policy: CandidatePolicy) -> None:
    """Whatever comes in: few go out, none twice, none to a forbidden address, few to one address."""
    kept = filter_untrusted(items, policy)
    assert len(kept) <= policy.max
    targets: list[Any] = [(item.transport, item.address, item.port) for item in kept]
    assert len(set(targets)) == len(targets)
    assert all(refusal(item, policy) is None for item in kept)
    addresses = [item.address for item in kept]
    assert all(addresses.count(address) <= CANDIDATES_PER_ADDRESS_MAX for address in addresses)


@given(st.sampled_from(sorted(H264_LEVELS)), st.sampled_from(range(16)))
def test_codec_parameters_come_back_through_text(level: int, opus: int) -> None:
    """Every H.264 level and every set of Opus flags survives octets and text."""
    sections = (
        Section("audio", "0", codecs=(Codec(OPUS, 111, None, opus),)),
        Section("video", "1", codecs=(Codec(H264, 100, 101, level),)),
    )
    description = Description("ufra", "p" * 22, b"f" * 32, "active", sections)
    assert from_sdp(to_sdp(decode_description_untrusted(description.encode()))) == description
