"""Frames out of streams, and credentials that coturn would make, too."""

from __future__ import annotations

import random

import pytest

from meshcall.errors import Rejected
from meshcall.stun.message import MessageClass, Method, StunMessage
from meshcall.turn.credentials import Credentials, issue, parse_username_untrusted
from meshcall.turn.frames import Frames, channel_data


def test_frames_come_out_however_the_stream_is_cut() -> None:
    """One octet at a time, or all at once, or anything between."""
    binding = StunMessage(Method.BINDING, MessageClass.REQUEST, bytes(12)).encode()
    stream = b"".join(
        (
            binding,
            channel_data(0x4000, b"hello", stream=True),
            channel_data(0x4FFF, b"", stream=True),
            binding,
        )
    )
    expected = [binding, b"\x40\x00\x00\x05hello", b"\x4f\xff\x00\x00", binding]
    rng = random.Random(5)
    for step in (1, 3, 7, len(stream), 0):
        frames, found, at = Frames(), [], 0
        while at < len(stream):
            size = step or rng.randrange(1, 30)
            found += frames.feed_untrusted(stream[at : at + size])
            at += size
        assert found == expected


@pytest.mark.parametrize("garbage", [b"\x05\0\0\0", b"\x80\0\0\0", b"\x16\x03\x01\x02", b"\x40\0\x06\0"])
def test_what_begins_no_frame_is_rejected(garbage: bytes) -> None:
    """And what would be longer than any frame of ours."""
    with pytest.raises(Rejected):
        Frames().feed_untrusted(garbage)


def test_credentials_are_those_of_coturn() -> None:
    """`printf 1800000000:ada | openssl dgst -sha1 -hmac north -binary | base64`, and the key of RFC 8489."""
    assert issue(b"north", "ada", 1_800_000_000) == Credentials(
        "1800000000:ada", "RgrCQ8LW/vH5U93IENfd8YxpOx0="
    )
    assert "password" not in repr(issue(b"north", "ada", 1))
    assert Credentials("user", "pass").key("realm").hex() == "8493fbc53ba582fb4c044c456bdc40eb"  # RFC 5389


@pytest.mark.parametrize(
    "name", ["", "ada", "1:", "x:ada", "-1:ada", "1" * 13 + ":a", "²:ada", "1:" + "a" * 200]
)
def test_other_usernames_are_rejected(name: str) -> None:
    """Without a time or a user."""
    with pytest.raises(Rejected):
        parse_username_untrusted(name)


def test_a_user_may_hold_a_colon() -> None:
    """Only the first one divides."""
    assert parse_username_untrusted("17:ada:1") == (17, "ada:1")
