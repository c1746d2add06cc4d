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
