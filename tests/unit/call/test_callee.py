"""The callee's way: ring, answer, connect; decline, busy, missed."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.events import EndReason
from meshcall.call.state import State
from tests.unit.call.helpers import ANSWER, CALL, OFFER, OTHER, One


def test_an_offer_rings_and_says_so() -> None:
    """No endpoint is opened, so no address of ours is known, before our user accepts."""
    one = One().incoming()
    assert one.state() is State.INCOMING
    one.the(c.Ring)
    one.the(c.SendRinging)
    assert not one.all(c.CreateAnswer)
    assert one.machine.role == "callee"


def test_the_whole_way_to_connected() -> None:
    """Answer, ICE, DTLS, confirms as the callee."""
    one = One().answering()
    assert one.the(c.CreateAnswer).offer == OFFER
    assert one.the(c.SendAnswer) == c.SendAnswer(CALL, ANSWER)
    one.the(c.StopRing)
    one.feed(
        e.IceConnected("lan"), e.Secured(), e.ControlOpen(), e.ConfirmReceived(True), e.ConfirmedReceived()
    )
    assert one.state() is State.CONNECTED
    assert one.the(c.SendConfirm).role == "callee"
    one.feed(e.Bye())
    ended = one.the(c.Ended)
    assert (ended.reason, ended.by_peer, ended.missed) == (EndReason.HANGUP, True, False)
    assert not one.all(c.SendHangup), "who said goodbye need not be told"


def test_auto_answer_does_not_ring() -> None:
    """The answer is the first thing the caller hears."""
    one = One()
    one.feed(e.OfferReceived(CALL, OFFER, auto_answer=True))
    assert one.state() is State.CONNECTING
    assert not one.all(c.Ring)
    assert not one.all(c.SendRinging)


def test_busy_is_said_and_shown_as_missed() -> None:
    """The second call does not ring."""
    one = One()
    one.feed(e.OfferReceived(CALL, OFFER, busy=True))
    assert one.the(c.SendReject) == c.SendReject(CALL, "busy")
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed) == (EndReason.BUSY, True)


@pytest.mark.parametrize("event", [e.Decline(), e.Hangup()])
def test_decline(event: e.Event) -> None:
    """Hanging up what rings is declining it; it is not missed."""
    one = One().incoming()
    one.feed(event)
    assert one.the(c.SendReject) == c.SendReject(CALL, "declined")
    one.the(c.StopRing)
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed) == (EndReason.DECLINED, False)


def test_decline_with_words() -> None:
    """They travel with the refusal."""
    one = One().incoming()
    one.feed(e.Decline(words="later"))
    assert one.the(c.SendReject) == c.SendReject(CALL, "declined", "later")


@pytest.mark.parametrize("word", ["cancelled", "timeout", "failed"])
def test_a_caller_that_gives_up_leaves_a_missed_call(word: str) -> None:
    """Ringing stops."""
    one = One().incoming()
    one.feed(e.HangupReceived(CALL, word))
    one.the(c.StopRing)
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed) == (EndReason.CANCELLED, True)


def test_a_stored_offer_whose_caller_has_hung_up_never_rings() -> None:
    """The hangup came first: a missed call, and the offer that follows is ignored."""
    one = One()
    one.feed(e.HangupReceived(CALL, "cancelled"))
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed) == (EndReason.CANCELLED, True)
    assert one.feed(e.OfferReceived(CALL, OFFER)) == []
    assert not one.all(c.Ring)


def test_nobody_answers_within_the_offer_s_life() -> None:
    """A caller whose hangup was lost does not ring for ever."""
    one = One()
    one.feed(e.OfferReceived(CALL, OFFER, life=30))
    one.wait(29.9)
    assert one.state() is State.INCOMING
    one.wait(0.1)
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed) == (EndReason.NO_ANSWER, True)
    assert one.the(c.SendHangup).reason == "timeout"


def test_a_renewed_offer_lets_it_ring_on() -> None:
    """The same call: no second ring."""
    one = One().incoming()
    one.wait(80)
    one.feed(e.OfferReceived(CALL, OFFER, 600))
    one.wait(80)
    assert one.state() is State.INCOMING
    assert len(one.all(c.Ring)) == 1


def test_ringing_is_said_again_a_few_times() -> None:
    """A caller that has not heard it by then hears the answer."""
    one = One().incoming()
    one.wait(60)
    assert len(one.all(c.SendRinging)) == 1 + limits.CALL_RESENDS_REPLY


def test_a_copy_of_the_offer_is_told_again_what_we_said() -> None:
    """Ringing while we ring, the answer when it was given; nothing once ICE proves that it arrived."""
    one = One().incoming()
    assert one.feed(e.OfferReceived(CALL, OFFER, 500)) == [c.SendRinging(CALL)]
    one.feed(e.Answer())
    assert one.feed(e.OfferReceived(CALL, OFFER, 500)) == []
    one.feed(e.AnswerReady(ANSWER))
    assert one.feed(e.OfferReceived(CALL, OFFER, 500)) == [c.SendAnswer(CALL, ANSWER, fresh=False)]


def test_an_answer_without_effect_is_sent_again_until_ice_connects() -> None:
    """The answer has no acknowledgement but ICE."""
    one = One().answering()
    one.wait(limits.CALL_PATH - 0.01)
    assert len(one.all(c.SendAnswer)) == 1 + limits.CALL_RESENDS_REPLY
    lucky = One().answering()
    lucky.feed(e.IceConnected("lan"))
    lucky.wait(4)
    assert len(lucky.all(c.SendAnswer)) == 1


def test_a_failure_before_the_answer_left_is_a_reject() -> None:
    """The caller is not left ringing."""
    one = One().incoming()
    one.feed(e.Answer(), e.MediaFailed(EndReason.SOURCE))
    assert one.the(c.SendReject) == c.SendReject(CALL, "failed")
    assert not one.all(c.SendHangup)
    one.the(c.CloseMedia)


def test_a_failure_after_the_answer_left_is_a_hangup() -> None:
    """The call was on."""
    one = One().answering()
    one.feed(e.MediaFailed())
    assert one.the(c.SendHangup) == c.SendHangup(CALL, "failed")
    assert not one.all(c.SendReject)


def test_a_reject_from_the_caller_means_nothing() -> None:
    """Only a callee can refuse."""
    one = One().answering()
    assert one.feed(e.RejectReceived(CALL, "declined")) == []
    assert one.state() is State.CONNECTING


def test_early_candidates_follow_the_answer_being_made() -> None:
    """They are kept while it rings."""
    one = One().incoming()
    one.feed(e.CandidatesReceived(CALL, b"1"))
    done = one.feed(e.Answer(), e.CandidatesReceived(CALL, b"2"))
    wanted = [command for command in done if isinstance(command, c.CreateAnswer | c.AddCandidates)]
    assert wanted == [c.CreateAnswer(OFFER), c.AddCandidates(b"1"), c.AddCandidates(b"2")]


@pytest.mark.parametrize("talking", [True, False])
def test_a_caller_that_begins_anew_gets_a_new_call(talking: bool) -> None:
    """An offer made after the present one: the old call ends, the new one rings by itself."""
    one = One().incoming()
    if talking:
        one.feed(e.Answer(), e.AnswerReady(ANSWER), e.IceConnected("lan"), e.Secured())
    newer = e.OfferReceived(OTHER, b"new", 501)
    done = one.feed(newer)
    assert done[-1] == c.StartIncoming(newer)
    ended = one.the(c.Ended)
    assert ended.reason is (EndReason.PEER_GONE if talking else EndReason.CANCELLED)
    assert not ended.missed


def test_an_older_offer_is_a_late_copy() -> None:
    """An attempt made before the present one changes nothing."""
    one = One().incoming()
    assert one.feed(e.OfferReceived(OTHER, b"old", 499)) == []
    assert one.state() is State.INCOMING
