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
    offer_screen,
)
from meshcall.errors import Rejected
from meshcall.ice.notes import RoundNote
from meshcall.signaling.codecs import CODEC_TYPES, Codec
from meshcall.signaling.description import Description, decode_description_untrusted
from meshcall.signaling.section import Section


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


def described(*sections: Section) -> Description:
    """What an end describes itself with."""
    return Description("ufrag", "p" * 24, bytes(range(32)), "active", sections)


def picture_section(mid: str, *, rtx: int | None = 97, rejected: bool = False) -> Section:
    """Pictures as they were negotiated: with payload types that a browser chose."""
    codec = next(item for item in CODEC_TYPES.values() if item.rtpmap == "VP8/90000")
    return Section("video", mid, "recvonly", (Codec(codec, 111, rtx),), (), (5, 6), rejected=rejected)


def test_a_screen_is_offered_behind_what_there_is() -> None:
    """With the payload types that are in use, SSRCs and a stream of its own; the rest stays as it is."""
    data = Section("application", "1")
    begun = described(picture_section("0"), data)
    offered = offer_screen(begun, 2, (7, 8), sends=True)
    assert offered is not None
    assert offered.sections[:2] == begun.sections
    screen = offered.sections[2]
    assert (offered.setup, screen.mid, screen.direction, screen.ssrcs, screen.stream) == (
        ("actpass", "2", "sendrecv", (7, 8), 1)
    )
    assert screen.codecs == begun.sections[0].codecs
    assert decode_description_untrusted(offered.encode()) == offered

    stopped = offer_screen(offered, 2, (7, 8), sends=False)
    assert stopped is not None
    assert [(one.mid, one.direction) for one in stopped.sections[1:]] == [
        ("1", "sendrecv"),
        ("2", "recvonly"),
    ]


def test_a_screen_has_a_place_of_its_own() -> None:
    """That of the peer, if it made one; a name that nobody has; no SSRC for repairs that are not sent."""
    theirs = described(picture_section("0"), Section("application", "1"), picture_section("their screen"[:5]))
    offered = offer_screen(theirs, 2, (7, 8), sends=True)
    assert offered is not None
    assert [one.mid for one in offered.sections] == ["0", "1", "their"]
    taken = offer_screen(described(picture_section("1", rtx=None)), 1, (7, 8), sends=True)
    assert taken is not None
    assert (taken.sections[1].mid, taken.sections[1].ssrcs) == ("2", (7,))


def test_a_call_without_pictures_offers_no_screen() -> None:
    """It has no codec for one."""
    for section in (Section("application", "0"), picture_section("0", rejected=True)):
        assert offer_screen(described(section), 1, (7, 8), sends=True) is None
