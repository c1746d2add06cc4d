"""Message bodies: round trips, golden octets, strictness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import AgreementKey
from meshcall.limits import BODY_MAX
from meshcall.signaling import messages as m

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "records.json").read_text(encoding="ascii")
)
SEALED = [vector for vector in VECTORS["records"] if "body" in vector]
REPLY_KEY = AgreementKey.from_private(b"r" * 32).public

MESSAGES: list[m.Message] = [
    m.Offer(b"d" * 300, REPLY_KEY, "Alice", m.Wants.AUDIO),
    m.Offer(b"", REPLY_KEY, "", m.Wants.NONE),
    m.Answer(b"d"),
    m.Candidates(b"c", end=False),
    m.Candidates(b"", end=True),
    m.Candidates(b"", change=b"\x10" + bytes(300)),
    *(m.Reject(reason) for reason in m.RejectReason),
    m.Reject(m.RejectReason.DECLINED, "Ich rufe zurück."),
    *(m.Hangup(reason) for reason in m.HangupReason),
    m.ContactRequest("Ålice", bytes(32)),
    m.ContactRequest(),
    m.Ringing(),
    m.Missed((m.MissedCall(bytes(16), 0),), 1),
    m.Missed(tuple(m.MissedCall(bytes([n]) * 16, n, cancelled=n % 2 == 1) for n in range(8)), 65_535),
    m.PingOffer(REPLY_KEY, "a+/Z", "0123456789abcdefghijkl", b"candidates"),
    m.PingAnswer("f" * 32, "p" * 64, b""),
]


def field(tag: int, value: bytes) -> bytes:
    """One field by the drawing."""
    return bytes([tag]) + len(value).to_bytes(2, "big") + value


def reason_of(kind: int, body: bytes) -> str:
    """Why a body is refused."""
    with pytest.raises(Rejected) as caught:
        m.decode_body_untrusted(kind, body)
    return caught.value.reason


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_every_message_comes_back(message: m.Message) -> None:
    """Encoding and decoding are inverse."""
    body = m.encode_body(message)
    assert m.decode_body_untrusted(m.kind_of(message), body) == message
    assert m.encode_body(m.decode_body_untrusted(m.kind_of(message), body)) == body


@pytest.mark.parametrize("vector", SEALED, ids=lambda vector: vector["name"])
def test_golden_bodies(vector: dict[str, Any]) -> None:
    """The bodies in the vectors decode and encode to the same octets."""
    body = bytes.fromhex(vector["body"])
    message = m.decode_body_untrusted(vector["kind"], body)
    assert m.kind_of(message) == vector["kind"]
    assert m.encode_body(message) == body


def test_the_kinds_are_those_on_the_wire() -> None:
    """Numbers never change their meaning."""
    assert {kind.name: kind.value for kind in m.MessageKind} == {
        "OFFER": 1,
        "ANSWER": 2,
        "CANDIDATES": 3,
        "REJECT": 4,
        "HANGUP": 5,
        "CONTACT_REQUEST": 6,
        "RINGING": 7,
        "MISSED": 8,
        "PING_OFFER": 9,
        "PING_ANSWER": 10,
        "ROOM": 11,
    }
    assert {kind.value for kind in m.MessageKind} == {vector["kind"] for vector in SEALED}


@pytest.mark.parametrize("kind", [0, 12, 255, -1])
def test_unknown_kinds_are_refused(kind: int) -> None:
    """A kind that does not exist is not parsed."""
    assert reason_of(kind, b"") == "kind"


def test_a_letter_about_a_room_is_bounded() -> None:
    """Something is said, in what fits a record; a reply key is one, or is not there."""
    assert m.decode_body_untrusted(11, field(12, b"d")) == m.RoomLetter(b"d")
    largest = m.RoomLetter(b"d" * (BODY_MAX - 38), REPLY_KEY)
    assert len(m.encode_body(largest)) == BODY_MAX
    assert m.decode_body_untrusted(11, m.encode_body(largest)) == largest
    for body in (b"", field(12, b""), field(12, b"d" * (BODY_MAX - 2)), field(2, REPLY_KEY)):
        assert reason_of(11, body) == "body"
    for key in (b"", REPLY_KEY[:-1], bytes(32)):
        assert reason_of(11, field(2, key) + field(12, b"d")) == "agreement"
    for wrong in (
        m.RoomLetter(b""),
        m.RoomLetter(b"d" * (BODY_MAX - 37), REPLY_KEY),
        m.RoomLetter(b"d", b"k"),
    ):
        with pytest.raises(ValueError, match="octets"):
            m.encode_body(wrong)


def test_the_tag_of_a_room_is_bounded() -> None:
    """8 to 16 octets, in offers alone."""
    for size in (8, 16):
        offer = m.Offer(b"d", REPLY_KEY, room=b"r" * size)
        assert m.decode_body_untrusted(1, m.encode_body(offer)) == offer
    known = field(1, b"d") + field(2, REPLY_KEY) + field(4, b"\x07")
    for size in (0, 7, 17):
        assert reason_of(1, known + field(132, b"r" * size)) == "body"
    for size in (1, 7, 17):
        with pytest.raises(ValueError, match="room tag"):
            m.encode_body(m.Offer(b"d", REPLY_KEY, room=b"r" * size))
    assert m.decode_body_untrusted(2, field(1, b"d") + field(132, b"")) == m.Answer(b"d")


def missed_body(calls: bytes, count: bytes) -> bytes:
    """A missed-call note by the drawing."""
    return field(9, calls) + field(10, count)


CALL_ENTRY = bytes(16) + bytes(8) + b"\x00"
OTHER_ENTRY = b"\x01" * 16 + bytes(8) + b"\x01"


def test_a_missed_call_note_is_bounded() -> None:
    """One to eight different calls, of as many or more; nothing else is read."""
    good = m.decode_body_untrusted(8, missed_body(CALL_ENTRY + OTHER_ENTRY, b"\x00\x09"))
    assert good == m.Missed((m.MissedCall(bytes(16), 0), m.MissedCall(b"\x01" * 16, 0, cancelled=True)), 9)
    entries = [bytes([number]) * 16 + bytes(9) for number in range(9)]
    for calls, count in [
        (b"", b"\x00\x00"),
        (b"", b"\x00\x01"),
        (CALL_ENTRY[:-1], b"\x00\x01"),
        (CALL_ENTRY + OTHER_ENTRY, b"\x00\x01"),
        (CALL_ENTRY, b"\x01"),
        (CALL_ENTRY, b"\x00\x00\x01"),
        (CALL_ENTRY[:-1] + b"\x02", b"\x00\x01"),
        (CALL_ENTRY + CALL_ENTRY, b"\x00\x02"),
        (b"".join(entries), b"\x00\x09"),
    ]:
        assert reason_of(8, missed_body(calls, count)) == "body"
    named = tuple(m.MissedCall(bytes([number]) * 16, 0) for number in range(9))
    for wrong in (m.Missed((), 0), m.Missed(named, 9), m.Missed(named[:2], 1), m.Missed(named[:1], 65_536)):
        with pytest.raises(ValueError, match="1 to 8"):
            m.encode_body(wrong)


PING_USER, PING_PASSWORD = b"a+/Z", b"0123456789abcdefghijkl"


@pytest.mark.parametrize(
    "ice",
    [
        b"",
        b"\x04a+/Z",
        b"\x03a+/" + b"\x16" + PING_PASSWORD,
        b"\x21" + b"a" * 33 + b"\x16" + PING_PASSWORD,
        b"\x04a+/Z" + b"\x15" + PING_PASSWORD[:-1],
        b"\x04a+/Z" + b"\x41" + b"p" * 65,
        b"\x04a+/Z" + b"\x16" + PING_PASSWORD + b"x",
        b"\x04a+/Z" + b"\x17" + PING_PASSWORD,
        b"\x04a+/\n" + b"\x16" + PING_PASSWORD,
        b"\x04a:/Z" + b"\x16" + PING_PASSWORD,
        b"\x04a+/Z" + b"\x16" + PING_PASSWORD[:-1] + b"\xff",
    ],
)
def test_the_ice_credentials_of_a_ping_are_strict(ice: bytes) -> None:
    """Two texts of the right lengths and letters, and nothing after them; who sends checks the same."""
    good = b"\x04" + PING_USER + b"\x16" + PING_PASSWORD
    assert m.decode_body_untrusted(10, field(5, b"") + field(11, good)) == m.PingAnswer(
        "a+/Z", "0123456789abcdefghijkl", b""
    )
    assert reason_of(10, field(5, b"") + field(11, ice)) == "body"
    for ufrag, pwd in (("a:b!", "p" * 22), ("abc", "p" * 22), ("abcd", "p" * 21), ("ab\xe9d", "p" * 22)):
        with pytest.raises(ValueError, match=r"ICE|ascii"):
            m.encode_body(m.PingAnswer(ufrag, pwd, b""))


def test_a_ping_does_not_show_its_password() -> None:
    """Who reads a log can't forge checks."""
    for message in (
        m.PingOffer(REPLY_KEY, "abcd", "s3cret" * 4, b""),
        m.PingAnswer("abcd", "s3cret" * 4, b""),
    ):
        assert "s3cret" not in repr(message)


def test_a_full_note_is_as_large_as_any_small_message() -> None:
    """Its size class tells a storage node nothing."""
    calls = tuple(m.MissedCall(bytes([number]) * 16, 2**63) for number in range(8))
    assert len(m.encode_body(m.Missed(calls, 65_535))) <= 354


def test_unknown_tags_with_the_high_bit_are_skipped_others_refuse() -> None:
    """A later version can add what may be ignored, and what may not."""
    body = m.encode_body(m.Answer(b"d"))
    assert m.decode_body_untrusted(2, body + field(0x80, b"later") + field(0xFF, b"")) == m.Answer(b"d")
    assert reason_of(2, body + field(0x7F, b"later")) == "body"
    assert reason_of(2, body + field(5, b"known, but not in an answer")) == "body"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        field(1, b"d") + field(1, b"d"),
        field(0x81, b"") + field(1, b"d"),
        field(1, b"d") + b"\x80",
        field(1, b"d") + b"\x80\x00",
        field(1, b"d")[:-1],
        b"\x01\xff\xff",
        field(1, b"d") + field(0x80, b"") + field(0x80, b""),
        field(1, b"d" * BODY_MAX),
    ],
)
def test_malformed_answers_are_refused(body: bytes) -> None:
    """Missing, repeated, unordered, cut and oversized fields."""
    assert reason_of(2, body) == "body"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (1, field(1, b"d") + field(2, REPLY_KEY)),
        (1, field(1, b"d") + field(2, REPLY_KEY) + field(4, b"")),
        (1, field(1, b"d") + field(2, REPLY_KEY) + field(3, b"x" * 65) + field(4, b"\x07")),
        (1, field(1, b"d") + field(2, REPLY_KEY) + field(3, b"\xff") + field(4, b"\x07")),
        (1, field(1, b"d") + field(2, REPLY_KEY) + field(3, b"\xed\xa0\x80") + field(4, b"\x07")),
        (3, field(5, b"c") + field(6, b"\x02")),
        (3, field(5, b"c") + field(6, b"\x01\x01")),
        (4, field(7, b"")),
        (5, field(7, b"\x01\x01")),
        (6, field(8, bytes(33))),
        (7, field(1, b"")),
    ],
)
def test_bad_fields_are_refused(kind: int, body: bytes) -> None:
    """Fields of a wrong length or content refuse the message."""
    assert reason_of(kind, body) == "body"


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), REPLY_KEY[:31], REPLY_KEY + b"x", b""])
def test_a_reply_key_that_nobody_can_seal_to_is_refused(key: bytes) -> None:
    """Else answering would raise in the callee."""
    body = field(1, b"d") + field(2, key) + field(4, b"\x07")
    assert reason_of(1, body) == "agreement"


def test_reasons_and_wishes_of_later_versions_read_as_the_nearest_known() -> None:
    """A newer peer's reason still ends the call, and its unknown wishes are left out."""
    assert m.decode_body_untrusted(4, field(7, b"\xc8")) == m.Reject(m.RejectReason.FAILED)
    assert m.decode_body_untrusted(5, field(7, b"\x00")) == m.Hangup(m.HangupReason.HANGUP)
    offer = m.decode_body_untrusted(1, field(1, b"d") + field(2, REPLY_KEY) + field(4, b"\xf9"))
    assert isinstance(offer, m.Offer)
    assert offer.wants is m.Wants.AUDIO


def test_names_are_cleaned_by_who_sends_and_by_who_reads() -> None:
    """No direction mark, control character or line break reaches a screen."""
    sent = m.decode_body_untrusted(1, m.encode_body(m.Offer(b"d", REPLY_KEY, "A\u202eli\x1b[31mce\n" * 9)))
    assert isinstance(sent, m.Offer)
    raw = "Mal\u202el\u0007ory".encode()
    read = m.decode_body_untrusted(
        1, field(1, b"d") + field(2, REPLY_KEY) + field(3, raw) + field(4, b"\x07")
    )
    assert isinstance(read, m.Offer)
    assert read.caller_name == "Mallory"
    for name in (sent.caller_name, read.caller_name):
        assert len(name.encode()) <= 64
        assert not set(name) & {"\u202e", "\x1b", "\n", "\x07"}


def test_words_with_a_refusal_are_one_short_line() -> None:
    """Whatever the sender's program does; and they make no message larger than any small one."""
    sent = m.encode_body(m.Reject(m.RejectReason.DECLINED, "la‮ter\n" * 99))
    assert len(sent) <= 354
    read = m.decode_body_untrusted(4, sent)
    assert isinstance(read, m.Reject)
    assert read.words.startswith("later later")
    assert len(read.words.encode()) <= 200
    raw = m.decode_body_untrusted(4, field(7, b"\x01") + field(131, "a‮b\x1b".encode()))
    assert raw == m.Reject(m.RejectReason.DECLINED, "ab")
    assert reason_of(4, field(7, b"\x01") + field(131, b"a" * 201)) == "body"
    assert reason_of(4, field(7, b"\x01") + field(131, b"\xff")) == "body"


@pytest.mark.parametrize(
    "message",
    [
        m.Answer(b"d" * (BODY_MAX - 2)),
        m.Offer(b"d", bytes(31)),
        m.ContactRequest("", bytes(33)),
    ],
)
def test_messages_that_can_not_be_sent_are_a_bug(message: m.Message) -> None:
    """Too much for one record, or a field of a wrong length, raises ValueError before sealing."""
    with pytest.raises(ValueError, match="octets"):
        m.encode_body(message)


def test_the_largest_body_fits() -> None:
    """610 octets pass, and one more does not."""
    body = m.encode_body(m.Answer(b"d" * (BODY_MAX - 3)))
    assert len(body) == BODY_MAX
    assert m.decode_body_untrusted(2, body) == m.Answer(b"d" * (BODY_MAX - 3))


def test_secrets_are_not_shown() -> None:
    """A contact request in a log does not hold its secret."""
    assert "s3cret" not in repr(m.ContactRequest("Alice", b"s3cret"))
