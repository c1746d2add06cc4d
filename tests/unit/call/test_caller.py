"""The caller's way: look up, offer, ring, connect, confirm; and every way that ends early."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.events import EndReason
from meshcall.call.state import State
from meshcall.errors import LocalProtocolError
from tests.unit.call.helpers import ANSWER, CALL, OFFER, OTHER, One


def test_dial_looks_up_and_gathers_at_the_same_time() -> None:
    """Neither waits for the other: the offer leaves when both are done."""
    one = One()
    commands = one.feed(e.Dial())
    assert {type(command) for command in commands} == {c.StateChanged, c.CreateOffer, c.FindPresence}
    one.feed(e.PresenceFound())
    assert not one.all(c.SendOffer)
    one.feed(e.EndpointReady(OFFER))
    assert one.the(c.SendOffer) == c.SendOffer(CALL, OFFER, limits.CALL_OFFER_LIFE, fresh=True)


def test_the_whole_way_to_connected_and_a_hangup() -> None:
    """Every state in its order, the gate opened once, and both ways of saying goodbye."""
    one = One().connected()
    states = [command.state for command in one.all(c.StateChanged)]
    assert states == [
        State.LOOKING_UP,
        State.CALLING,
        State.RINGING,
        State.CONNECTING,
        State.CONFIRMING,
        State.CONNECTED,
    ]
    assert one.the(c.SendConfirm).role == "caller"
    assert one.the(c.AcceptAnswer).answer == ANSWER
    one.the(c.OpenGate)
    assert one.machine.deadline() is None
    one.feed(e.Hangup())
    ended = one.the(c.Ended)
    assert (ended.reason, ended.missed, ended.by_peer) == (EndReason.HANGUP, False, False)
    assert one.the(c.SendBye) == c.SendBye(failure=False)
    assert one.the(c.SendHangup) == c.SendHangup(CALL, "hangup")
    order = [type(command) for command in one.log]
    assert order.index(c.SendBye) < order.index(c.CloseMedia) < order.index(c.Ended)


def test_connected_needs_dtls_the_peer_s_confirm_and_ours_verified() -> None:
    """Each of the steps alone leaves the call unconnected, whatever their order."""
    one = One().connecting()
    one.feed(e.IceConnected("lan"), e.ControlOpen(), e.ConfirmReceived(True))
    assert one.state() is State.CONNECTING
    assert not one.all(c.OpenGate)
    one.feed(e.Secured())
    assert one.state() is State.CONFIRMING
    one.the(c.OpenGate)
    one.feed(e.ConfirmedReceived())
    assert one.state() is State.CONNECTED


def test_a_confirmed_before_ours_left_counts_for_nothing() -> None:
    """A peer can't say that it verified what was never sent."""
    one = One().confirming()
    one.feed(e.ConfirmedReceived(), e.ControlOpen(), e.ConfirmReceived(True))
    assert one.state() is State.CONFIRMING
    assert one.machine.statistics()["confirmed too early"] == 1


@pytest.mark.parametrize("steps", [(e.ControlOpen(),), (e.ControlOpen(), e.ConfirmReceived(True)), ()])
def test_confirms_that_do_not_come_end_the_call(steps: tuple[e.Event, ...]) -> None:
    """Five seconds after DTLS an unproven peer is hung up on."""
    one = One().confirming()
    one.feed(*steps)
    one.wait(limits.CALL_CONFIRM - 0.01)
    assert one.state() is State.CONFIRMING
    one.wait(0.01)
    assert one.the(c.Ended).reason is EndReason.CONFIRM_FAILED
    assert one.the(c.SendHangup).reason == "failed"
    one.the(c.CloseMedia)


def test_a_confirm_that_does_not_verify_ends_the_call_at_once() -> None:
    """No second try, and no media."""
    one = One().confirming()
    one.feed(e.ControlOpen(), e.ConfirmReceived(False))
    assert one.the(c.Ended).reason is EndReason.CONFIRM_FAILED
    assert not one.all(c.OpenGate)


def test_dtls_that_does_not_come_up_after_ice_ends_the_call() -> None:
    """ICE alone is not a call."""
    one = One().connecting()
    one.feed(e.IceConnected("lan"))
    one.wait(limits.CALL_CONFIRM)
    assert one.the(c.Ended).reason is EndReason.CONFIRM_FAILED


def test_no_pair_in_ten_seconds_is_no_path() -> None:
    """The verdict is plain and on time."""
    one = One().connecting()
    one.wait(limits.CALL_PATH - 0.01)
    assert one.state() is State.CONNECTING
    one.wait(0.01)
    assert one.the(c.Ended).reason is EndReason.NO_PATH


def test_a_peer_without_presence_is_offline() -> None:
    """At once, with the endpoint closed and nobody told, for nobody knows of the call."""
    one = One()
    one.feed(e.Dial(), e.PresenceMissing())
    assert one.the(c.Ended).reason is EndReason.OFFLINE
    one.the(c.CloseMedia)
    assert not one.all(c.SendHangup)


def test_a_lookup_that_never_reports_is_offline() -> None:
    """The machine does not depend on the shell's own time limit."""
    one = One()
    one.feed(e.Dial(), e.EndpointReady(OFFER))
    one.wait(limits.CALL_LOOKUP)
    assert one.the(c.Ended).reason is EndReason.OFFLINE


def test_no_watcher_and_no_ringing_in_three_seconds_is_offline() -> None:
    """The stored offer is called back, so that it does not ring later."""
    one = One().calling()
    one.feed(e.Delivered(0, 8))
    one.wait(limits.CALL_OFFLINE_AFTER - 0.01)
    assert one.state() is State.CALLING
    one.wait(0.01)
    assert one.the(c.Ended).reason is EndReason.OFFLINE
    assert one.the(c.SendHangup) == c.SendHangup(CALL, "timeout")


def test_an_acknowledgement_takes_the_verdict_back() -> None:
    """The callee's machine has the offer: the user is told so once, and it may take its time to ring."""
    one = One().calling()
    one.feed(e.Delivered(0, 1), e.Delivered(2, 8))
    one.wait(0.5)
    one.feed(e.Reached(), e.Reached())
    one.wait(10)
    assert one.state() is State.CALLING, "ringing is what the callee itself says"
    assert one.all(c.Notify) == [c.Notify("reached")]
    assert one.machine.timeline.at("reached") == 500.0


def test_an_acknowledgement_before_the_report_counts() -> None:
    """It overtakes the answers of slow and dead nodes."""
    one = One().calling()
    one.feed(e.Reached(), e.Delivered(1, 8))
    one.wait(10)
    assert one.state() is State.CALLING


def test_a_watcher_that_died_a_moment_ago_is_offline_in_time() -> None:
    """Nodes hold its watch for up to 30 s more; nobody acknowledges."""
    one = One().calling()
    one.feed(e.Delivered(3, 8))
    one.wait(3.0)
    assert one.the(c.Ended).reason is EndReason.OFFLINE


def test_a_slow_report_of_a_watcher_leaves_time_for_its_acknowledgement() -> None:
    """The verdict of the nodes may take 2.5 s by itself."""
    one = One().calling()
    one.wait(limits.CALL_OFFLINE_AFTER - 0.1)
    one.feed(e.Delivered(1, 8))
    one.wait(limits.CALL_ACK - 0.01)
    assert one.state() is State.CALLING
    one.wait(0.01)
    assert one.the(c.Ended).reason is EndReason.OFFLINE


def test_watchers_but_no_ringing_at_all_is_offline_after_the_ring_time() -> None:
    """A node that lies: it never rang, so it is not `no answer`."""
    one = One().calling(ring_timeout=20)
    one.feed(e.Delivered(1, 8), e.Reached())
    one.wait(20)
    assert one.the(c.Ended).reason is EndReason.OFFLINE


def test_ringing_that_comes_late_goes_on_normally() -> None:
    """A callee that comes back within the offer's life gets the call."""
    one = One().calling(wait=60)
    one.feed(e.Delivered(0, 8))
    one.wait(40)
    assert one.state() is State.CALLING
    one.feed(e.RingingReceived(CALL))
    assert one.state() is State.RINGING
    one.wait(limits.CALL_RING - 1)
    one.feed(e.AnswerReceived(CALL, ANSWER))
    assert one.state() is State.CONNECTING


def test_waiting_looks_up_every_two_seconds_until_the_wait_is_over() -> None:
    """An absent presence is asked for again, and the user is told once that we wait."""
    one = One()
    one.feed(e.Dial(wait=10), e.EndpointReady(OFFER), e.PresenceMissing())
    for attempt in range(2, 6):
        one.wait(limits.CALL_LOOKUP_EVERY)
        assert one.all(c.FindPresence)[-1].attempt == attempt
        one.feed(e.PresenceMissing())
    assert one.state() is State.LOOKING_UP
    one.wait(2)
    assert one.the(c.Ended).reason is EndReason.OFFLINE
    assert one.now == 1010.0
    assert one.all(c.Notify) == [c.Notify("waiting")]


def test_waiting_with_a_stored_offer_renews_it_before_its_life_ends() -> None:
    """Whoever comes back finds an offer that is still valid."""
    one = One().calling(wait=200)
    one.feed(e.Delivered(0, 8))
    one.wait(199)
    fresh = [command for command in one.all(c.SendOffer) if command.fresh]
    assert len(fresh) == 3
    one.wait(1)
    assert one.the(c.Ended).reason is EndReason.OFFLINE


def test_waiting_when_nobody_stored_the_offer_looks_up_again() -> None:
    """An offer that nobody keeps has to be delivered anew."""
    one = One().calling(wait=60)
    one.feed(e.Delivered(0, 0))
    one.wait(limits.CALL_OFFLINE_AFTER + limits.CALL_LOOKUP_EVERY)
    assert one.state() is State.LOOKING_UP
    assert one.all(c.FindPresence)[-1].attempt == 2
    copies = len(one.all(c.SendOffer))
    one.feed(e.PresenceFound())
    assert len(one.all(c.SendOffer)) == copies + 1
    one.feed(e.Delivered(1, 8), e.RingingReceived(CALL))
    assert one.state() is State.RINGING


def test_an_answer_to_an_earlier_copy_is_taken_while_looking_up_again() -> None:
    """The offer was sent; whoever got it may answer at any time."""
    one = One().calling(wait=60)
    one.feed(e.Delivered(0, 0))
    one.wait(limits.CALL_OFFLINE_AFTER)
    one.feed(e.AnswerReceived(CALL, ANSWER))
    assert one.state() is State.CONNECTING


def test_an_offer_without_reaction_is_sent_again_with_growing_pauses() -> None:
    """1, 2, 4, 8 s: a lost datagram costs one second, a dead peer costs little."""
    one = One().calling()
    one.feed(e.Delivered(1, 8), e.Reached())
    one.wait(31)
    assert len(one.all(c.SendOffer)) == 1 + 6
    assert [command.fresh for command in one.all(c.SendOffer)] == [True] + [False] * 6


def test_ringing_stops_the_copies() -> None:
    """Whoever rings has the offer."""
    one = One().ringing()
    one.wait(limits.CALL_RING - 1)
    assert len(one.all(c.SendOffer)) == 1


def test_no_answer_after_the_ring_time() -> None:
    """It rang for as long as the caller wanted."""
    one = One().ringing()
    one.wait(limits.CALL_RING)
    assert one.the(c.Ended).reason is EndReason.NO_ANSWER
    assert one.the(c.SendHangup).reason == "timeout"


def test_a_long_ring_renews_the_offer() -> None:
    """The callee may look at a copy only while it is valid."""
    one = One().calling(ring_timeout=900)
    one.feed(e.RingingReceived(CALL))
    one.wait(600)
    assert sum(command.fresh for command in one.all(c.SendOffer)) == 3
    assert all(command.life == limits.CALL_OFFER_LIFE_MAX for command in one.all(c.SendOffer))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("declined", EndReason.DECLINED),
        ("busy", EndReason.BUSY),
        ("unsupported", EndReason.UNSUPPORTED),
        ("clock", EndReason.CLOCK),
        ("failed", EndReason.FAILED),
        ("a word of a later version", EndReason.FAILED),
    ],
)
@pytest.mark.parametrize("rings", [True, False])
def test_a_reject_ends_the_call_for_its_reason(word: str, reason: EndReason, rings: bool) -> None:
    """The callee is not told again, and the endpoint is closed."""
    one = One().ringing() if rings else One().calling()
    one.feed(e.RejectReceived(CALL, word))
    ended = one.the(c.Ended)
    assert (ended.reason, ended.by_peer) == (reason, True)
    assert not one.all(c.SendHangup)
    one.the(c.CloseMedia)


def test_what_a_callee_says_is_told_before_the_end() -> None:
    """As a line of chat; it is no reason."""
    one = One().ringing()
    one.feed(e.RejectReceived(CALL, "declined", "later"))
    said = [command for command in one.log if isinstance(command, c.Notify | c.Ended)]
    assert said[-2] == c.Notify("chat", "later")
    assert one.the(c.Ended).detail == ""


def test_cancel_tells_a_callee_that_may_have_the_offer() -> None:
    """Before the offer left, nobody has to be told."""
    early = One()
    early.feed(e.Dial(), e.Hangup())
    assert not early.all(c.SendHangup)
    for one in (One().calling(), One().ringing()):
        one.feed(e.Hangup())
        assert one.the(c.Ended).reason is EndReason.CANCELLED
        assert one.the(c.SendHangup) == c.SendHangup(CALL, "cancelled")


def test_the_callee_s_ring_time_is_no_answer() -> None:
    """A hangup before the answer that says `timeout`."""
    one = One().ringing()
    one.feed(e.HangupReceived(CALL, "timeout"))
    assert one.the(c.Ended).reason is EndReason.NO_ANSWER


def test_candidates_before_the_answer_are_kept_in_order_and_capped() -> None:
    """They reach the endpoint after the answer they belong to."""
    one = One().ringing()
    one.feed(*(e.CandidatesReceived(CALL, bytes([n])) for n in range(20)))
    done = one.feed(e.AnswerReceived(CALL, ANSWER))
    assert [type(command) for command in done[:2]] == [c.StateChanged, c.AcceptAnswer]
    kept = [command.candidates for command in done if isinstance(command, c.AddCandidates)]
    assert kept == [bytes([n]) for n in range(limits.CALL_EARLY_CANDIDATES_MAX)]


@pytest.mark.parametrize(
    "event",
    [
        e.RingingReceived(OTHER),
        e.AnswerReceived(OTHER, ANSWER),
        e.RejectReceived(OTHER, "busy"),
        e.HangupReceived(OTHER, "hangup"),
        e.CandidatesReceived(OTHER, b""),
    ],
)
def test_messages_about_another_attempt_change_nothing(event: e.Event) -> None:
    """A late reject of an earlier call does not end this one."""
    for one in (One().ringing(), One().connected(), One().incoming()):
        state = one.state()
        assert one.feed(event) == []
        assert one.state() is state


def test_replies_before_the_offer_left_change_nothing() -> None:
    """Nobody can know the call's id yet."""
    one = One()
    one.feed(e.Dial())
    assert one.feed(e.AnswerReceived(CALL, ANSWER), e.RejectReceived(CALL, "busy")) == []
    assert one.machine.statistics()["reply to nothing"] == 2


@pytest.mark.parametrize("event", [e.SourceEnded("video"), e.RecordFailed("disk full")])
def test_a_source_or_a_recording_that_ends_does_not_end_the_call(event: e.Event) -> None:
    """The user is told, the call goes on."""
    for one in (One().calling(), One().ringing(), One().connecting(), One().confirming(), One().connected()):
        state = one.state()
        (note,) = one.feed(event)
        assert isinstance(note, c.Notify)
        assert one.state() is state


@pytest.mark.parametrize("reason", [EndReason.SOURCE, EndReason.RECORD, EndReason.FAILED])
def test_an_endpoint_that_fails_ends_the_call_for_its_reason(reason: EndReason) -> None:
    """In every state that has an endpoint."""
    for one in (One().calling(), One().ringing(), One().connecting(), One().confirming(), One().connected()):
        one.feed(e.MediaFailed(reason, "why"))
        ended = one.the(c.Ended)
        assert (ended.reason, ended.detail) == (reason, "why")
        assert one.the(c.SendHangup).reason == "failed"


def test_an_endpoint_that_hangs_ends_the_call() -> None:
    """Also when the peer was found meanwhile."""
    one = One()
    one.feed(e.Dial(), e.PresenceFound())
    one.wait(limits.CALL_ENDPOINT)
    assert one.the(c.Ended).reason is EndReason.FAILED
    one.the(c.CloseMedia)


@pytest.mark.parametrize(("clean", "reason"), [(True, EndReason.HANGUP), (False, EndReason.PEER_GONE)])
def test_a_lost_transport_is_a_hangup_only_when_it_was_closed_properly(
    clean: bool, reason: EndReason
) -> None:
    """A killed peer is gone; a peer whose goodbye was lost hung up."""
    one = One().connected()
    one.feed(e.TransportLost(clean=clean))
    assert one.the(c.Ended).reason is reason


def test_chat_goes_both_ways_only_in_a_connected_call() -> None:
    """Before both confirms a line is not sent, and not shown."""
    early = One().confirming()
    assert early.feed(e.ChatReceived("hello")) == []
    with pytest.raises(LocalProtocolError):
        early.feed(e.Chat("hello"))
    one = One().connected()
    assert one.feed(e.Chat("hello")) == [c.SendChat("hello")]
    assert one.feed(e.ChatReceived("hi")) == [c.Notify("chat", "hi")]


def test_a_better_path_is_told_once() -> None:
    """The first path is part of the summary, a change is news."""
    one = One().connected()
    assert one.machine.path == "direct"
    assert one.feed(e.IceConnected("lan"), e.IceConnected("lan")) == [c.Notify("path", "lan")]


def test_a_broken_path_is_told_and_so_is_its_return() -> None:
    """While nothing answers the call goes on; the summary keeps the last path that there was."""
    one = One().connected()
    assert one.feed(e.IceConnected(""), e.IceConnected("")) == [c.Notify("path", ""), c.Notify("path", "")]
    assert one.machine.path == "direct"
    assert one.feed(e.IceConnected("direct"), e.IceConnected("direct")) == [c.Notify("path", "direct")]


def test_a_poor_path_is_told_once_and_so_is_its_recovery() -> None:
    """The call goes on; the timeline keeps when, and what was wrong."""
    one = One().connected()
    assert one.feed(e.PathQuality("loss"), e.PathQuality("loss")) == [c.Notify("quality", "loss")]
    assert one.machine.trouble == "loss"
    assert one.machine.state is State.CONNECTED
    assert one.feed(e.PathQuality(), e.PathQuality()) == [c.Notify("quality", "")]
    assert [step.why for step in one.machine.timeline.steps][-2:] == ["loss", "well"]


def test_misuse_changes_nothing() -> None:
    """The caller's own mistake is an error of ours, and the call is as it was."""
    one = One().ringing()
    for event in (e.Answer(), e.Decline(), e.Dial(), e.Chat("x")):
        with pytest.raises(LocalProtocolError):
            one.feed(event)
    assert one.state() is State.RINGING
    one.feed(e.Hangup())
    assert one.feed(e.Hangup()) == [], "hanging up twice is no mistake"
    assert one.feed(e.Decline()) == []


def test_a_node_that_stops_says_so_in_the_reason() -> None:
    """The peer is told as in any hangup."""
    one = One().connected()
    one.feed(e.Hangup(EndReason.SHUTDOWN))
    assert one.the(c.Ended).reason is EndReason.SHUTDOWN
    assert one.the(c.SendHangup).reason == "hangup"
