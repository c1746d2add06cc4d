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
    ("data", "copy"),
    [
        (b"\xf8\xff", False),  # CELT has none
        (b"\x48\x40", True),  # SILK wideband, 20 ms, mono: second bit
        (b"\x48\x80", False),
        (b"\x48", False),
        (b"\x4c\x10", True),  # stereo: the second channel's
        (b"\x4c\x40", True),
        (b"\x4a\x01\x40x", True),  # two frames, the first of one octet
        (b"\x4a\x00x", False),
        (b"\x4b\x41\x01\x40\x00", True),  # one frame and an octet of padding
        (b"\x4b\x82\x01\x40x", True),  # two frames of different length
        (b"\x4b\x82\x00\x40x", False),
        (b"\x58\x10", True),  # 60 ms: three flags of activity come first
    ],
)
def test_copy_of_the_packet_before(data: bytes, copy: bool) -> None:
    """The flag stands behind those of voice activity (RFC 6716 section 4.2.3)."""
    assert opus.carries_previous(data) is copy


@given(st.binary(max_size=80))
def test_any_octets_give_an_answer(data: bytes) -> None:
    """A peer can send anything."""
    assert 0 <= opus.length(data) <= 5760
    opus.carries_previous(data)
