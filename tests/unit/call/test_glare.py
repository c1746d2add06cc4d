"""Both call at once: the lower peer id's offer wins, and late messages find their way."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.events import EndReason
from meshcall.call.glare import machine_for, our_offer_wins, take_theirs
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.errors import LocalProtocolError
from tests.unit.call.helpers import ANSWER, CALL, HIGH, LOW, OFFER, OTHER, One


def test_both_ends_agree_who_wins() -> None:
    """Exactly one of two offers that were both sent."""
    assert our_offer_wins(LOW, HIGH)
    assert not our_offer_wins(HIGH, LOW)
    assert take_theirs(LOW, HIGH, ours_sent=False), "what was not sent does not count"


def test_the_winner_keeps_its_offer_and_sends_it_again() -> None:
    """The peer is online and may never have got it."""
    one = One(low=True).calling()
    again = c.SendOffer(CALL, OFFER, limits.CALL_OFFER_LIFE, fresh=False)
    assert one.feed(e.OfferReceived(OTHER, b"theirs", 1)) == [again]
    assert one.state() is State.CALLING
    assert one.feed(e.OfferReceived(OTHER, b"theirs", 1)) == [], "a copy does not multiply copies"


def test_the_loser_answers_the_winner_s_offer_without_ringing() -> None:
    """Its user wanted the call; its own attempt is called back quietly."""
    one = One(low=False).calling()
    done = one.feed(e.OfferReceived(OTHER, b"theirs", 1))
    assert [type(command) for command in done] == [
        c.SendHangup,
        c.CloseMedia,
        c.AdoptCall,
        c.StateChanged,
        c.CreateAnswer,
    ]
    assert done[0] == c.SendHangup(CALL, "answered-elsewhere")
    assert (one.machine.call_id, one.machine.role) == (OTHER, "callee")
    assert one.machine.owns(CALL)
    one.feed(e.AnswerReady(ANSWER))
    assert one.the(c.SendAnswer) == c.SendAnswer(OTHER, ANSWER)


@pytest.mark.parametrize("low", [True, False])
def test_an_offer_that_was_not_sent_yet_gives_way(low: bool) -> None:
    """Nobody heard of our attempt, so there is no glare: the peer's is answered, and nobody is told."""
    for before in ((e.Dial(),), (e.Dial(), e.PresenceFound())):
        one = One(low=low)
        one.feed(*before)
        done = one.feed(e.OfferReceived(OTHER, b"theirs", 1))
        assert c.CreateAnswer(b"theirs") in done
        assert not one.all(c.SendHangup)
        assert one.feed(e.EndpointReady(OFFER), e.PresenceFound()) == [], "late news of the dropped attempt"


def test_replies_to_the_dropped_attempt_change_nothing() -> None:
    """The winner's side may have rung for it."""
    one = One(low=False).calling()
    one.feed(e.OfferReceived(OTHER, b"theirs", 1))
    late = (e.RingingReceived(CALL), e.AnswerReceived(CALL, b""), e.RejectReceived(CALL, "busy"))
    assert one.feed(*late) == []
    assert one.state() is State.CONNECTING


def test_dialling_who_rings_us_answers() -> None:
    """Both want the call, and there is one."""
    one = One().incoming()
    done = one.feed(e.Dial())
    assert c.CreateAnswer(OFFER) in done
    assert one.state() is State.CONNECTING


def test_a_winner_that_gives_up_also_refuses_the_attempt_it_overruled() -> None:
    """Else the peer would ring for a call that we have seen."""
    one = One(low=True).calling()
    one.feed(e.OfferReceived(OTHER, b"theirs", 1), e.Hangup())
    assert c.SendHangup(CALL, "cancelled") in one.log
    assert c.SendReject(OTHER, "declined") in one.log


def test_an_attempt_that_the_peer_called_back_is_over() -> None:
    """Its hangup overtook it: a late offer is no glare, and needs no refusal."""
    one = One(low=False).calling()
    one.feed(e.HangupReceived(OTHER, "cancelled"))
    assert one.feed(e.OfferReceived(OTHER, b"theirs", 1)) == []
    assert one.state() is State.CALLING
    one.feed(e.Hangup())
    assert not one.all(c.SendReject)


def test_the_loser_s_late_offer_does_not_end_the_winner_s_call() -> None:
    """It was made before the answer, by the peer's own clock."""
    one = One(low=True).connected()
    assert one.feed(e.OfferReceived(OTHER, b"theirs", 499)) == []
    assert one.state() is State.CONNECTED
    one.feed(e.OfferReceived(b"n" * 16, b"later", 501))
    assert one.the(c.Ended).reason is EndReason.PEER_GONE


def test_a_peer_s_offer_under_our_own_id_is_dropped() -> None:
    """A peer that copies our call's id can't make us answer ourselves."""
    one = One(low=False).calling()
    assert one.feed(e.OfferReceived(CALL, b"theirs", 1)) == []
    assert one.state() is State.CALLING


def test_messages_find_the_machine_of_their_call() -> None:
    """By id first, then the live call with the sender; never another peer's."""
    first, second = One(low=True).calling(), One(low=True)
    first.feed(e.OfferReceived(OTHER, b"theirs", 1), e.Hangup())
    machines = [first.machine, second.machine]
    assert machine_for(machines, HIGH, OTHER) is first.machine, "an ended call still owns its ids"
    assert machine_for(machines, HIGH, b"n" * 16) is second.machine
    assert machine_for(machines[:1], HIGH, b"n" * 16) is None
    assert machine_for(machines, LOW, CALL) is None


def test_other_attempts_remembered_are_capped() -> None:
    """A peer that makes thousands of attempts costs no memory."""
    one = One(low=True).calling()
    one.feed(*(e.OfferReceived(n.to_bytes(16, "big"), b"", 1) for n in range(1000)))
    one.feed(*(e.HangupReceived(n.to_bytes(16, "big"), "cancelled") for n in range(2000, 3000)))
    assert sum(one.machine.owns(n.to_bytes(16, "big")) for n in range(3000)) == 16


def test_a_call_needs_two_peers_and_an_id() -> None:
    """Our own caller's mistakes are found at once."""
    with pytest.raises(LocalProtocolError):
        CallMachine(LOW, LOW, CALL)
    with pytest.raises(LocalProtocolError):
        CallMachine(LOW, HIGH, b"short")
