"""Marks, phases, the summary, and the exception of each reason."""

from __future__ import annotations

import json

from meshcall import errors, limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.events import EndReason
from meshcall.call.summary import MediaTotals, reason_error
from meshcall.call.timeline import PathStep, Timeline
from tests.unit.call.helpers import ANSWER, CALL, OFFER, One


def step(one: One, seconds: float, *events: e.Event) -> None:
    one.now += seconds
    one.feed(*events)


def caller() -> One:
    one = One()
    step(one, 0, e.Dial())
    step(one, 0.010, e.EndpointReady(OFFER))
    step(one, 0.090, e.PresenceFound("dht"))
    step(one, 0.050, e.Delivered(1, 3))
    step(one, 0.025, e.RingingReceived(CALL))
    step(one, 2.0, e.AnswerReceived(CALL, ANSWER))
    step(one, 0.060, e.IceConnected("direct"))
    step(one, 0.110, e.Secured())
    step(one, 0.100, e.ControlOpen())
    step(one, 0.055, e.ConfirmReceived(True), e.ConfirmedReceived())
    step(one, 0.030, e.FirstMedia("audio"))
    step(one, 0.015, e.FirstMedia("video"))
    step(one, 5.0, e.Hangup())
    return one


def test_marks_are_milliseconds_since_the_dial() -> None:
    """In the order of time, each set once."""
    assert caller().machine.timeline.marks() == {
        "dial": 0.0, "offer-ready": 10.0, "presence": 100.0, "delivered": 150.0, "ringing": 175.0,
        "answer": 2175.0, "ice": 2235.0, "dtls": 2345.0, "control": 2445.0, "confirmed": 2500.0,
        "first-audio": 2530.0, "first-video": 2545.0, "ended": 7545.0,
    }  # fmt: skip


def test_phases_tell_what_each_step_cost() -> None:
    """Overlapping steps start at the latest of what they needed."""
    assert caller().machine.timeline.phases() == {
        "lookup": 100.0, "gather": 10.0, "deliver": 50.0, "ring": 75.0, "answer": 2000.0, "ice": 60.0,
        "dtls": 110.0, "confirm": 155.0, "first-audio": 30.0, "first-video": 45.0,
    }  # fmt: skip


def test_each_change_of_path_is_kept_with_its_reason() -> None:
    """Relay first, direct as soon as it works, lost, back again; times as those of the marks."""
    one = One()
    step(one, 0, e.Dial())
    step(one, 0.1, e.EndpointReady(OFFER), e.PresenceFound("dht"), e.AnswerReceived(CALL, ANSWER))
    step(one, 0.1, e.IceConnected("relay", "first", "relay", "srflx"))
    step(one, 0.1, e.Secured(), e.ControlOpen(), e.ConfirmReceived(True), e.ConfirmedReceived())
    step(one, 0.1, e.IceConnected("direct", "better", "host", "srflx", ipv6=True))
    step(one, 1.0, e.IceConnected(""))
    step(one, 0.5, e.IceConnected("direct", "revived", "host", "srflx", ipv6=True))
    assert one.machine.timeline.steps == (
        PathStep(200.0, "relay", "first", "relay", "srflx"),
        PathStep(400.0, "direct", "better", "host", "srflx", ipv6=True),
        PathStep(1400.0, "", "lost"),
        PathStep(1900.0, "direct", "revived", "host", "srflx", ipv6=True),
    )


def test_a_path_that_flaps_for_hours_fills_no_memory() -> None:
    """The first changes and the last ones are kept."""
    timeline = Timeline()
    timeline.mark("dial", 0.0)
    for number in range(1000):
        timeline.step(float(number), "direct", "revived")
    times = [step.at_ms for step in timeline.steps]
    assert len(times) == limits.CALL_PATH_STEPS_MAX
    assert times[:3] == [0.0, 1000.0, 2000.0]
    assert times[-3:] == [997_000.0, 998_000.0, 999_000.0]
    assert times == sorted(times)


def test_the_summary_is_plain_json() -> None:
    """The shell adds what only it knows."""
    summary = (
        caller().the(c.Ended).summary.with_media(received=MediaTotals(150, 4.98), sent=MediaTotals(149, 5.0))
    )
    value = json.loads(json.dumps(summary.to_dict()))
    assert (value["reason"], value["path"], value["setup_ms"]) == ("hangup", "direct", 2500.0)
    assert value["received"] == {"video_frames": 150, "audio_seconds": 4.98}
    assert value["timeline"]["confirmed"] == 2500.0


def test_the_callee_counts_from_the_offer_and_its_set_up_from_the_answer() -> None:
    """A user who takes a while to answer does not make the set-up slow."""
    one = One()
    step(one, 0, e.OfferReceived(CALL, OFFER, 1))
    step(one, 3.0, e.Answer())
    step(one, 0.02, e.AnswerReady(ANSWER))
    step(one, 0.1, e.IceConnected("lan"))
    step(one, 0.1, e.Secured(), e.ControlOpen(), e.ConfirmReceived(True), e.ConfirmedReceived())
    timeline = one.machine.timeline
    assert timeline.setup_ms() == 220.0
    assert timeline.phases()["answer-wait"] == 3000.0
    assert timeline.to_dict() == {"marks": timeline.marks(), "phases": timeline.phases()}


def test_the_first_time_counts() -> None:
    """A mark is never moved."""
    timeline = Timeline()
    assert timeline.mark("dial", 5.0)
    assert not timeline.mark("dial", 6.0)
    assert timeline.at("dial") == 0.0
    assert timeline.at("ice") is None
    assert timeline.setup_ms() is None
    assert timeline.phases() == {}


def test_every_reason_has_its_exception_or_none() -> None:
    """None only where somebody wanted the call to end."""
    wanted = {reason for reason in EndReason if reason_error(reason) is None}
    assert wanted == {
        EndReason.HANGUP,
        EndReason.CANCELLED,
        EndReason.ANSWERED_ELSEWHERE,
        EndReason.SHUTDOWN,
    }
    assert reason_error(EndReason.OFFLINE) is errors.PeerOffline
    for reason in set(EndReason) - wanted:
        error = reason_error(reason)
        assert error is not None
        assert issubclass(error, errors.MeshcallError)
