"""VP8 in RTP: what a picture is cut into."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshcall.media import vp8


def test_descriptor_says_where_a_picture_begins_and_which_one_it_is() -> None:
    """RFC 7741 section 4.2: X and S, then X; I; 15 bits of the picture's number."""
    assert [one.hex() for one in vp8.cut(b"abcdefg", 0x0123, 8)] == ["9080812361626364", "80808123656667"]
    assert [one.hex() for one in vp8.cut(b"a", vp8.PICTURES - 1, 8)] == ["9080ffff61"]


@given(st.binary(max_size=400), st.integers(0, vp8.PICTURES - 1), st.integers(5, 100))
def test_pieces_are_the_picture(data: bytes, picture: int, size: int) -> None:
    """In order, none longer than asked for, none without need."""
    pieces = vp8.cut(data, picture, size)
    assert b"".join(piece[4:] for piece in pieces) == data
    assert all(len(piece) == size for piece in pieces[:-1])
    assert len(pieces[-1]) <= size
    assert len(pieces) == max(1, -(-len(data) // (size - 4)))


@given(st.binary(max_size=400), st.integers(0, vp8.PICTURES - 1), st.integers(5, 100))
def test_a_piece_is_told_from_what_is_around_it(data: bytes, picture: int, size: int) -> None:
    assert b"".join(vp8.uncut(piece) or b"" for piece in vp8.cut(data, picture, size)) == data


def test_other_descriptors_are_left_to_others() -> None:
    """No X, no I, a short number, more after it, or nothing at all."""
    for payload in (
        b"",
        b"\x90\x80\x80",
        b"\x10abc",
        b"\x90\x00ab",
        b"\x90\x80\x01ab",
        b"\x90\xe0\x80\x01",
    ):
        assert vp8.uncut(payload) is None
