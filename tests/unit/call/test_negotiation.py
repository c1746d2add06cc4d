"""Changes of a running session: their octets, and which of them are new."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.call.negotiation import (
    Negotiate,
    Rounds,
    decode_negotiate_untrusted,
    encode_negotiate,
    is_negotiate,
)
from meshcall.errors import Rejected
from meshcall.ice.notes import RoundNote


def test_octets_come_back() -> None:
    """The type, then the description."""
    for kind, octet in (("offer", b"\x10"), ("answer", b"\x11")):
        message = Negotiate(kind, b"body")  # type: ignore[arg-type]
        data = encode_negotiate(message)
        assert data == octet + b"body"
        assert is_negotiate(data)
        assert decode_negotiate_untrusted(data) == message
    for bad in (b"", b"\x10", b"\x12body", b"\x10" + bytes(limits.DESCRIPTION_MAX + 1)):
        with pytest.raises(Rejected):
            decode_negotiate_untrusted(bad)


def test_offers_are_taken_in_their_order_and_once() -> None:
    """What comes by two ways counts once; what was taken back before its successor came never does."""
    rounds = Rounds()
    assert rounds.take_untrusted("offer", [RoundNote(2)]) == 2
    for late in (1, 2):
        with pytest.raises(Rejected, match="old"):
            rounds.take_untrusted("offer", [RoundNote(late)])
    assert rounds.take_untrusted("offer", [RoundNote(5)]) == 5
    assert rounds.take_untrusted("offer", []) == 0, "an older peer numbers nothing"


def test_an_answer_is_to_the_last_offer_and_comes_once() -> None:
    """That of an offer which was taken back, a second copy, and one to nothing are refused."""
    rounds = Rounds()
    with pytest.raises(Rejected):
        rounds.take_untrusted("answer", [])
    assert not rounds.ask(1)
    assert rounds.ask(2), "the first one got no answer"
    with pytest.raises(Rejected):
        rounds.take_untrusted("answer", [RoundNote(1)])
    assert rounds.take_untrusted("answer", [RoundNote(2)]) == 2
    with pytest.raises(Rejected):
        rounds.take_untrusted("answer", [RoundNote(2)])
    assert not rounds.ask(3)
    assert rounds.take_untrusted("answer", []) == 0
