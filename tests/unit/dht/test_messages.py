"""Frames: golden octets, exact sizes, one exception type."""

from __future__ import annotations

import msgspec
import pytest

from meshcall.dht import messages as m
from meshcall.errors import Rejected
from meshcall.limits import DATAGRAM_MAX, DHT_FIND_REQUEST_MIN, DHT_PING_REQUEST_MIN

TID = b"\x01" * 8
ME = b"\x02" * 20
KEY = b"\x03" * 20
OBSERVED = bytes([192, 0, 2, 1, 0x10, 0x00])
HEAD = "c4080101010101010101c4140202020202020202020202020202020202020202"
KEY_HEX = "c414" + "03" * 20
SEEN_HEX = "c406c00002011000"
TOKEN = b"\x04" * 8
TOKEN_HEX = "c408" + "04" * 8

GOLDEN = [
    ("ping", m.Ping(TID, ME, 0, b"", b""), "0496 01" + HEAD + "00c400c400"),
    (
        "ping challenge",
        m.Ping(TID, ME, 1, b"\x05" * 16, b""),
        "0496 01" + HEAD + "01c410" + "05" * 16 + "c400",
    ),
    ("find_node", m.FindNode(TID, ME, 0, KEY, b"\0\0"), "0496 02" + HEAD + "00" + KEY_HEX + "c4020000"),
    (
        "find_value",
        m.FindValue(TID, ME, 0, KEY, b"\x01", b"", b""),
        "0498 03" + HEAD + "00" + KEY_HEX + "c40101c400c400",
    ),
    ("store", m.Store(TID, ME, 0, TOKEN, b"rec", 0), "0497 04" + HEAD + "00" + TOKEN_HEX + "c40372656300"),
    (
        "deliver",
        m.Deliver(TID, ME, 0, TOKEN, b"rec", KEY, b""),
        "0498 05" + HEAD + "00" + TOKEN_HEX + "c403726563" + KEY_HEX + "c400",
    ),
    ("watch", m.Watch(TID, ME, 1, TOKEN, KEY, 30, 1), "0498 06" + HEAD + "01" + TOKEN_HEX + KEY_HEX + "1e01"),
    (
        "notify",
        m.Notify(TID, ME, 0, KEY, b"rec", b"", 7),
        "0498 07" + HEAD + "00" + KEY_HEX + "c403726563c40007",
    ),
    (
        "pong",
        m.Pong(TID, ME, 0, OBSERVED, TOKEN, b"", b""),
        "0498 11" + HEAD + "00" + SEEN_HEX + TOKEN_HEX + "c400c400",
    ),
    (
        "nodes",
        m.Nodes(TID, ME, 0, OBSERVED, TOKEN, b"", b""),
        "0498 12" + HEAD + "00" + SEEN_HEX + TOKEN_HEX + "c400c400",
    ),
    (
        "values",
        m.Values(TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"\x07" * 8, [b"rec"], b"\0\x09"),
        "049b 13" + HEAD + "00" + SEEN_HEX + TOKEN_HEX + "c400c400c408" + "07" * 8 + "91c403726563c4020009",
    ),
    ("stored", m.Stored(TID, ME, 0, OBSERVED, 1), "0496 14" + HEAD + "00" + SEEN_HEX + "01"),
    (
        "delivered",
        m.Delivered(TID, ME, 0, OBSERVED, 1, 300, 2),
        "0498 15" + HEAD + "00" + SEEN_HEX + "01cd012c02",
    ),
    (
        "dial_back",
        m.DialBack(TID, ME, 1, TOKEN, b"\x08" * 8),
        "0496 08" + HEAD + "01" + TOKEN_HEX + "c408" + "08" * 8,
    ),
    (
        "dial",
        m.Dial(TID, ME, 0, TOKEN, b"\x08" * 8, OBSERVED),
        "0497 09" + HEAD + "00" + TOKEN_HEX + "c408" + "08" * 8 + SEEN_HEX,
    ),
    (
        "relay_ask",
        m.RelayAsk(TID, ME, 1, TOKEN, b"\x0a" * 32, b"\x0b" * 240),
        "0497 0a" + HEAD + "01" + TOKEN_HEX + "c420" + "0a" * 32 + "c4f0" + "0b" * 240,
    ),
    (
        "relay_grant",
        m.RelayGrant(TID, ME, 0, OBSERVED, 0, b"sealed"),
        "0497 19" + HEAD + "00" + SEEN_HEX + "00c4067365616c6564",
    ),
    ("dialling", m.Dialling(TID, ME, 0, OBSERVED, 1), "0496 18" + HEAD + "00" + SEEN_HEX + "01"),
    (
        "vouch",
        m.Vouch(TID, ME, 1, TOKEN, OBSERVED),
        "0496 0b" + HEAD + "01" + TOKEN_HEX + SEEN_HEX,
    ),
    ("vouched", m.Vouched(TID, ME, 0, OBSERVED, 1), "0496 1a" + HEAD + "00" + SEEN_HEX + "01"),
    ("dialled", m.Dialled(TID, ME, 0, b"\x08" * 8), "0495 29" + HEAD + "00c408" + "08" * 8),
    ("acked", m.Acked(TID, ME, 0, 2), "0495 28" + HEAD + "0002"),
    ("watching", m.Watching(TID, ME, 0, OBSERVED, 30), "0496 16" + HEAD + "00" + SEEN_HEX + "1e"),
    ("noted", m.Noted(TID, ME, 0, OBSERVED, 1), "0496 17" + HEAD + "00" + SEEN_HEX + "01"),
    (
        "refused",
        m.Refused(TID, ME, 0, OBSERVED, 1, TOKEN),
        "0497 1f" + HEAD + "00" + SEEN_HEX + "01" + TOKEN_HEX,
    ),
]


@pytest.mark.parametrize(("message", "octets"), [pytest.param(*g[1:], id=g[0]) for g in GOLDEN])
def test_frames_have_these_octets(message: m.Frame, octets: str) -> None:
    """Every kind is written exactly so, and read back as the same."""
    frame = bytes.fromhex(octets)
    assert m.encode_frame(message) == frame
    assert m.decode_frame_untrusted(frame) == message


@pytest.mark.parametrize("message", [pytest.param(g[1], id=g[0]) for g in GOLDEN])
def test_every_truncation_and_extension_is_rejected(message: m.Frame) -> None:
    """A frame is read whole or not at all."""
    frame = m.encode_frame(message)
    for end in range(len(frame)):
        with pytest.raises(Rejected):
            m.decode_frame_untrusted(frame[:end])
    with pytest.raises(Rejected):
        m.decode_frame_untrusted(frame + b"\0")


def _packed(*fields: object) -> bytes:
    return b"\x04" + msgspec.msgpack.encode(list(fields))


@pytest.mark.parametrize(
    ("reason", "frame"),
    [
        ("size", b""),
        ("size", b"\x04"),
        ("size", b"\x04" + bytes(DATAGRAM_MAX)),
        ("version", b"\x05" + m.encode_frame(m.Ping(TID, ME, 0, b"", b""))[1:]),
        ("frame", _packed(99, TID, ME, 0, b"", b"")),
        ("frame", _packed("ping", TID, ME, 0, b"", b"")),
        ("frame", _packed(1, TID[:7], ME, 0, b"", b"")),
        ("frame", _packed(1, TID, ME[:19], 0, b"", b"")),
        ("frame", _packed(1, TID, ME + b"\0", 0, b"", b"")),
        ("frame", _packed(1, TID, 12345, 0, b"", b"")),
        ("frame", _packed(1, TID, ME, 256, b"", b"")),
        ("frame", _packed(1, TID, ME, -1, b"", b"")),
        ("frame", _packed(1, TID, ME, 0, b"x" * 15, b"")),
        ("frame", _packed(1, TID, ME, 0, b"", b"", 0)),
        ("frame", _packed(1, TID, ME, 0, b"")),
        ("frame", _packed(2, TID, ME, 0, KEY[:-1], b"")),
        ("frame", _packed(3, TID, ME, 0, KEY, b"", b"1234567", b"")),
        ("frame", _packed(5, TID, ME, 0, TOKEN, b"rec", KEY[:5], b"")),
        ("frame", _packed(4, TID, ME, 0, TOKEN, b"", 0)),
        ("frame", _packed(4, TID, ME, 0, TOKEN, b"x" * 1025, 0)),
        ("frame", _packed(4, TID, ME, 0, TOKEN, [b"x"], 0)),
        ("frame", _packed(18, TID, ME, 0, OBSERVED, TOKEN, b"x" * 25, b"")),
        ("frame", _packed(18, TID, ME, 0, OBSERVED[:5], TOKEN, b"", b"")),
        ("frame", _packed(18, TID, ME, 0, OBSERVED + b"\0", TOKEN, b"", b"")),
        ("frame", _packed(18, TID, ME, 0, OBSERVED, TOKEN, b"x" * 26 * 21, b"")),
        ("frame", _packed(17, TID, ME, 0, OBSERVED, TOKEN, b"k" * 32, b"")),
        ("frame", _packed(19, TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"", [b"r"] * 17, bytes(34))),
        ("frame", _packed(19, TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"", [[b"r"]], bytes(2))),
        ("frame", _packed(19, TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"1234567", [], b"")),
        ("frame", _packed(19, TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"", [b"r"], b"")),
        ("frame", _packed(19, TID, ME, 0, OBSERVED, TOKEN, b"", b"", b"", [], bytes(2))),
        ("frame", _packed(4, TID, ME, 0, TOKEN, b"r", 7201)),
        ("frame", _packed(10, TID, ME, 0, TOKEN, b"k" * 31, b"p" * 240)),
        ("frame", _packed(10, TID, ME, 0, TOKEN, b"k" * 32, b"p" * 239)),
        ("frame", _packed(25, TID, ME, 0, OBSERVED, 0, b"s" * 513)),
        ("frame", b"\x04" + b"\x91" * 1100),
        ("frame", b"\x04\xdd\xff\xff\xff\xff\x01"),
        ("frame", b"\x04" + b"\x81\xa1a" * 300),
        ("frame", b"\x04\xc1"),
    ],
)
def test_wrong_frames_are_rejected_with_a_reason(reason: str, frame: bytes) -> None:
    """Unknown kinds, wrong types, sizes one off, deep nesting, huge lengths: Rejected, nothing else."""
    with pytest.raises(Rejected) as caught:
        m.decode_frame_untrusted(frame)
    assert caught.value.reason == reason


def test_padding_gives_the_wanted_size() -> None:
    """A find request has at least 400 octets, so that no reply is more than three times as long."""
    for wanted in (DHT_PING_REQUEST_MIN, DHT_FIND_REQUEST_MIN, 200, 255, 256, 300):
        empty = m.FindNode(TID, ME, 0, KEY, b"")
        padded = m.FindNode(TID, ME, 0, KEY, m.padding(empty, wanted))
        assert wanted <= len(m.encode_frame(padded)) + 1 <= wanted + 3
    assert m.padding(m.FindNode(TID, ME, 0, KEY, bytes(500)), 400) == b""


def test_summary_names_kind_and_sender() -> None:
    """What a log line says of a frame."""
    assert m.summary(m.Ping(TID, ME, 0, b"", b"")) == "ping from 02020202"
