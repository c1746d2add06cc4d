"""What a page sends about a call's media is checked as strictly as a peer's."""

from __future__ import annotations

import random

import msgspec
import pytest

from meshcall.errors import Rejected
from meshcall.media import page as p

MEDIA = "0123456789abcdef"
GOOD = [
    p.Described(media=MEDIA, kind="offer", sdp="v=0"),
    p.LocalCandidate(media=MEDIA, line=""),
    p.PathFound(
        media=MEDIA,
        local=p.End(kind="host", address="", port=0),
        remote=p.End(kind="relay", address="::1", port=9),
    ),
    p.PathGone(media=MEDIA),
    p.Secure(media=MEDIA, local=bytes(32), remote=bytes(32)),
    p.ControlOpened(media=MEDIA),
    p.ControlReceived(media=MEDIA, data=b"x"),
    p.Played(media=MEDIA, kind="audio"),
    p.Totals(media=MEDIA, audio=p.KindTotals(), video=p.KindTotals(codec="VP8"), rtt_ms=1.5),
    p.Ended(media=MEDIA, reason="closed"),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_good_messages_are_read(message: p.PageMessage) -> None:
    """Each kind as it was written, as text or as octets."""
    octets = msgspec.json.encode(message)
    assert p.decode_page_untrusted(octets) == message
    assert p.decode_page_untrusted(octets.decode()) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"told": "described"}', "\ud800", "[" * 20000,
        '{"told": "path-gone", "media": "short"}',
        '{"told": "path-gone", "media": "0123456789abcdef", "more": 1}',
        '{"told": "secured", "media": "0123456789abcdef", "local": "AAAA", "remote": "AAAA"}',
        '{"told": "control", "media": "0123456789abcdef", "data": ""}',
        '{"told": "ended", "media": "0123456789abcdef", "reason": "bored"}',
    ],
)  # fmt: skip
def test_all_else_is_rejected(text: str) -> None:
    """With one exception, whatever it is."""
    with pytest.raises(Rejected):
        p.decode_page_untrusted(text)


def test_what_is_too_long_is_not_even_read() -> None:
    """By its size."""
    with pytest.raises(Rejected, match="size"):
        p.decode_page_untrusted(b" " * (p.MESSAGE_MAX + 1))


def test_mutated_messages_never_raise_anything_else() -> None:
    """20,000 of them."""
    seed = 20267
    print(f"seed {seed}")
    chance = random.Random(seed)
    encoded = [msgspec.json.encode(message) for message in GOOD]
    read = 0
    for _ in range(20_000):
        octets = bytearray(chance.choice(encoded))
        for _ in range(chance.randrange(1, 4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        try:
            p.decode_page_untrusted(bytes(octets))
            read += 1
        except Rejected:
            pass
    assert 0 < read < 20_000
