"""What is read from Opus packets before they are decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.media import opus


@pytest.mark.parametrize(
    ("data", "samples"),
    [
        (b"", 0),
        (b"\xf8x", 960),  # CELT, 20 ms, one frame
        (b"\x78x", 960),  # hybrid, 20 ms
        (b"\xe0x", 120),  # CELT, 2.5 ms
        (b"\x18x", 2880),  # SILK, 60 ms
        (b"\x19xy", 5760),  # two of them
        (b"\x60x", 480),  # hybrid, 10 ms
        (b"\x7b\x03xyz", 2880),  # three frames of 20 ms
        (b"\x7b\x3f", 0),  # 63 of them: more than 120 ms
        (b"\x7b", 0),
        (b"\x7b\x00", 0),
    ],
)
def test_length(data: bytes, samples: int) -> None:
    """By the table of RFC 6716 section 3.1."""
    assert opus.length(data) == samples


@pytest.mark.parametrize(
    ("data", "copied"),
    [
        (b"\xf8\xff", 0),  # CELT has none
        (b"\x48\x40", 960),  # SILK wideband, 20 ms, mono: second bit
        (b"\x48\x80", 0),
        (b"\x48", 0),
        (b"\x4c\x10", 960),  # stereo: the second channel's
        (b"\x4c\x40", 960),
        (b"\x4a\x01\x40x", 960),  # two frames, the first of one octet
        (b"\x4a\x00x", 0),
        (b"\x4b\x41\x01\x40\x00", 960),  # one frame and an octet of padding
        (b"\x4b\x82\x01\x40x", 960),  # two frames of different length
        (b"\x4b\x82\x00\x40x", 0),
        (b"\x58\x10", 2880),  # 60 ms: three flags of activity come first
    ],
)
def test_copy_of_the_packet_before(data: bytes, copied: int) -> None:
    """The flag stands behind those of voice activity (RFC 6716 section 4.2.3); it speaks of one frame."""
    assert opus.carries_previous(data) is bool(copied)
    assert opus.copied(data) == copied


@given(st.binary(max_size=80))
def test_any_octets_give_an_answer(data: bytes) -> None:
    """A peer can send anything."""
    assert 0 <= opus.length(data) <= 5760
    assert 0 <= opus.copied(data) <= 2880


@given(st.lists(st.binary(max_size=700), min_size=1, max_size=6), st.sampled_from([0x48, 0x78, 0xF8, 0xFC]))
def test_frames_of_several_packets_in_one(frames: list[bytes], head: int) -> None:
    """It is as long as they are together, and holds their octets in order; one alone stays as it is."""
    packets = [bytes([head]) + frame for frame in frames]
    assert all(opus.joins(packets[0], packet) for packet in packets)
    joined = opus.join(packets)
    assert opus.length(joined) == sum(map(opus.length, packets))
    assert joined.endswith(b"".join(frames))
    if len(packets) == 1:
        assert joined == packets[0]


def test_which_packets_can_be_one() -> None:
    """Those of one configuration that have one frame each."""
    assert opus.joins(b"\x48a", b"\x48b")
    assert not opus.joins(b"\x48a", b"\x78b")
    assert not opus.joins(b"\x49aa", b"\x49bb")
    assert not opus.joins(b"", b"\x48b")
