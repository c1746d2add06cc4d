"""What each transition does: functions over one call's memory, named by the table in ``machine``.

Law 1: an action puts commands out and sets timers; it raises nothing and asks nobody.
Law 2: whatever ends a call that the peer may know of tells the peer, except when the peer told us.
Law 3: nothing but the confirms moves a call to ``connected``.
"""

from __future__ import annotations

from meshcall import limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.glare import take_theirs
from meshcall.call.state import CallData, State

R = e.EndReason

_REJECTS: dict[str, e.EndReason] = {
    "declined": R.DECLINED,
    "busy": R.BUSY,
    "unsupported": R.UNSUPPORTED,
    "clock": R.CLOCK,
}
_HANGUPS: dict[str, e.EndReason] = {
    "hangup": R.HANGUP,
    "cancelled": R.CANCELLED,
    "timeout": R.NO_ANSWER,
    "answered-elsewhere": R.ANSWERED_ELSEWHERE,
}


# --- caller: find and offer -----------------------------------------------------------------------


def dial(d: CallData, event: e.Dial, now: float) -> None:
    """The user calls: look up and gather at the same time."""
    d.timeline.mark("dial", now)
    d.dialled_at = now
    d.ring_timeout = min(max(event.ring_timeout, 1.0), limits.CALL_RING_MAX)
    d.wait_until = now + max(event.wait, 0.0)
    d.endpoint_by = now + limits.CALL_ENDPOINT
    d.go(State.LOOKING_UP)
    d.media_open = True
    d.emit(c.CreateOffer())
    look_up(d, event, now)


def look_up(d: CallData, event: e.Event, now: float) -> None:
    """Find the peer, for the first time or again; gives up when the wait is over."""
    if d.lookups and now >= d.wait_until:
        offline(d, event, now)
        return
    d.lookups += 1
    patience = limits.CALL_LOOKUP
    if d.lookups > 1:
        patience = min(patience, max(d.wait_until - now, limits.CALL_OFFLINE_AFTER))
    d.set_timer(e.LookupTimeout, now + patience)
    _await_endpoint(d)
    d.emit(c.FindPresence(d.lookups))


def presence_found(d: CallData, event: e.PresenceFound, now: float) -> None:
    """The peer is found: offer, as soon as the offer is made."""
    d.timeline.mark("presence", now)
    d.go(State.CALLING)
    if d.offer is None:
        _await_endpoint(d)
    else:
        _first_offer(d, now)


def presence_missing(d: CallData, event: e.Event, now: float) -> None:
    """Nobody knows the peer: end, or look again while the user wants to wait."""
    if now >= d.wait_until:
        offline(d, event, now)
    else:
        _look_again(d, now)


def offline(d: CallData, event: e.Event, now: float) -> None:
    """The peer was never reached."""
    _tell(d, "timeout", "failed")
    d.end(R.OFFLINE, now)


def endpoint_ready(d: CallData, event: e.EndpointReady, now: float) -> None:
    """Our offer is made; it leaves when the peer is found."""
    if d.offer is not None:
        return
    d.timeline.mark("offer-ready", now)
    d.offer = event.offer
    d.drop_timer(e.EndpointTimeout)
    if d.state is State.CALLING:
        _first_offer(d, now)


def delivered(d: CallData, event: e.Delivered, now: float) -> None:
    """The offer is out. Until the callee's machine has it, the callee has a moment left to ring."""
    if not d.offer_sent:
        return
    d.timeline.mark("delivered", now)
    d.stored = event.stored
    if d.reached or d.waiting:
        return
    patience = limits.CALL_ACK if event.watchers > 0 else 0.0  # a watcher may have died a moment ago
    d.set_timer(e.OfflineTimeout, max(_offline_at(d), now + patience))


def _offline_at(d: CallData) -> float:
    """When a callee that shows no sign of life is taken as offline: on a slow network, where finding it took
    long, an acknowledgement takes as much longer.
    """
    searched = d.offer_first_at - d.dialled_at
    least = max(limits.CALL_OFFLINE_LEAST, 2 * searched)
    return max(d.dialled_at + limits.CALL_OFFLINE_AFTER, d.offer_first_at + least)


def reached(d: CallData, event: e.Reached, now: float) -> None:
    """Somebody says that the callee's machine has the offer: it is not offline."""
    if not d.offer_sent or d.reached:
        return
    d.reached = True
    d.drop_timer(e.OfflineTimeout)
    if d.timeline.mark("reached", now):
        d.emit(c.Notify("reached"))


def not_reached(d: CallData, event: e.Event, now: float) -> None:
    """Neither a watcher nor a ringing: end, wait for the stored offer to be found, or look again."""
    if now >= d.wait_until:
        offline(d, event, now)
    elif d.stored > 0:
        _wait(d)
        d.set_timer(e.RingTimeout, d.wait_until)
        d.set_timer(e.ResendTimeout, _refresh_at(d))
    else:
        _look_again(d, now)


def resend_offer(d: CallData, event: e.Event, now: float) -> None:
    """No reaction yet: the same offer again, or a new one when its life is nearly over."""
    fresh = now >= _refresh_at(d)
    _offer(d, now, fresh=fresh)
    d.resend_pause = min(d.resend_pause * 2, limits.CALL_RESEND_MAX)
    if d.waiting or d.state is State.RINGING:
        d.set_timer(e.ResendTimeout, _refresh_at(d))
    else:
        d.set_timer(e.ResendTimeout, now + d.resend_pause)


def ringing(d: CallData, event: e.RingingReceived, now: float) -> None:
    """The peer's machine rings."""
    d.timeline.mark("ringing", now)
    d.go(State.RINGING)
    d.set_timer(e.RingTimeout, now + d.ring_timeout)
    d.set_timer(e.ResendTimeout, _refresh_at(d))


def no_answer(d: CallData, event: e.Event, now: float) -> None:
    """It rang for long enough, here or there."""
    if d.role == "callee":
        d.emit(c.SendHangup(d.call_id, "timeout"))
        d.end(R.NO_ANSWER, now, missed=True)
    else:
        _tell(d, "timeout", "failed")
        d.end(R.NO_ANSWER, now)


def answer_received(d: CallData, event: e.AnswerReceived, now: float) -> None:
    """The peer accepts: ICE begins."""
    d.timeline.mark("answer", now)
    d.peer_created_ms = max(d.peer_created_ms, event.created_ms)
    d.go(State.CONNECTING)
    d.set_timer(e.PathTimeout, now + limits.CALL_PATH)
    d.emit(c.AcceptAnswer(event.answer))
    _flush_candidates(d)


def rejected(d: CallData, event: e.RejectReceived, now: float) -> None:
    """The callee refuses. Means nothing when the peer is the caller."""
    if d.role == "callee":
        d.counters["reject from the caller"] += 1
        return
    if event.words:
        d.emit(c.Notify("chat", event.words))
    if d.state is State.CONNECTING:
        d.end(R.FAILED, now, by_peer=True)
    else:
        d.end(_REJECTS.get(event.reason, R.FAILED), now, by_peer=True)


# --- callee: ring and answer ----------------------------------------------------------------------


def offer_received(d: CallData, event: e.OfferReceived, now: float) -> None:
    """The peer calls: ring, answer at once, or refuse, as policy has it."""
    d.timeline.mark("offer", now)
    d.role = "callee"
    d.offer, d.peer_created_ms = event.offer, event.created_ms
    if event.busy:
        d.emit(c.SendReject(d.call_id, "busy"))
        d.end(R.BUSY, now, missed=True)
    elif event.auto_answer:
        answer(d, event, now)
    else:
        d.go(State.INCOMING)
        d.rings = True
        d.emit(c.Ring())
        d.timeline.mark("ringing", now)
        d.resends_left, d.resend_pause = limits.CALL_RESENDS_REPLY, limits.CALL_RESEND
        d.set_timer(e.RingTimeout, now + _life(event))
        d.set_timer(e.ResendTimeout, now + d.resend_pause)
        d.emit(c.SendRinging(d.call_id))


def answer(d: CallData, event: e.Event, now: float) -> None:
    """Our user (or policy) accepts; only now our addresses may become known to the caller."""
    d.timeline.mark("answered", now)
    d.go(State.CONNECTING)
    d.set_timer(e.EndpointTimeout, now + limits.CALL_ENDPOINT)
    d.media_open = True
    assert d.offer is not None, "a callee has the peer's offer"
    d.emit(c.CreateAnswer(d.offer))
    _flush_candidates(d)


def decline(d: CallData, event: e.Decline, now: float) -> None:
    """Our user refuses."""
    d.emit(c.SendReject(d.call_id, event.reason, event.words))
    d.end(R.BUSY if event.reason == "busy" else R.DECLINED, now, missed=event.reason == "busy")


def hangup_incoming(d: CallData, event: e.Hangup, now: float) -> None:
    """Hanging up what still rings is declining it."""
    d.emit(c.SendReject(d.call_id, "declined"))
    d.end(event.reason or R.DECLINED, now)


def resend_ringing(d: CallData, event: e.Event, now: float) -> None:
    """The caller may not have heard that we ring."""
    d.emit(c.SendRinging(d.call_id))
    _resend_later(d, now)


def answer_ready(d: CallData, event: e.AnswerReady, now: float) -> None:
    """Our answer leaves; ICE has to find a pair now."""
    if d.role != "callee" or d.answer is not None:
        return
    d.timeline.mark("answer", now)
    d.answer = event.answer
    d.drop_timer(e.EndpointTimeout)
    d.set_timer(e.PathTimeout, now + limits.CALL_PATH)
    d.emit(c.SendAnswer(d.call_id, event.answer))
    d.resends_left, d.resend_pause = limits.CALL_RESENDS_REPLY, limits.CALL_RESEND
    d.set_timer(e.ResendTimeout, now + d.resend_pause)


def resend_answer(d: CallData, event: e.Event, now: float) -> None:
    """The caller may not have got our answer: it has made no pair with us."""
    assert d.answer is not None, "the timer is set when the answer was sent"
    d.emit(c.SendAnswer(d.call_id, d.answer, fresh=False))
    _resend_later(d, now)


def hung_up_before_offer(d: CallData, event: e.HangupReceived, now: float) -> None:
    """A hangup overtook its offer: the offer, when it comes, must not ring."""
    d.role = "callee"
    d.end(R.CANCELLED, now, missed=event.reason != "answered-elsewhere", by_peer=True)


# --- both: offers while a call is there -----------------------------------------------------------


def offer_while_calling(d: CallData, event: e.OfferReceived, now: float) -> None:
    """Both called at once. See ``glare`` for who wins."""
    if take_theirs(d.me, d.peer, ours_sent=d.offer_sent):
        _adopt(d, event, now)
        return
    first = event.call_id not in d.other_ids
    d.remember(event.call_id, offered=True)
    # The peer is online and has not taken our offer yet: it may never have got it.
    if first or now >= d.offer_copy_at + limits.CALL_RESEND:
        _offer(d, now, fresh=False)


def offer_while_incoming(d: CallData, event: e.OfferReceived, now: float) -> None:
    """A copy: say again that we ring. Another attempt, made later: the peer has begun anew."""
    if event.call_id == d.call_id:
        d.peer_created_ms = max(d.peer_created_ms, event.created_ms)
        d.set_timer(e.RingTimeout, now + _life(event))
        d.emit(c.SendRinging(d.call_id))
    else:
        _peer_began_anew(d, event, now)


def offer_while_connecting(d: CallData, event: e.OfferReceived, now: float) -> None:
    """A copy: say our answer again. Another attempt, made later: the peer has begun anew."""
    if event.call_id != d.call_id:
        _peer_began_anew(d, event, now)
    elif d.answer is not None and d.role == "callee":
        d.emit(c.SendAnswer(d.call_id, d.answer, fresh=False))


def offer_while_talking(d: CallData, event: e.OfferReceived, now: float) -> None:
    """A copy is nothing new. Another attempt, made later: the peer has begun anew."""
    if event.call_id != d.call_id:
        _peer_began_anew(d, event, now)


# --- both: connect and confirm --------------------------------------------------------------------


def early_candidates(d: CallData, event: e.CandidatesReceived, now: float) -> None:
    """Kept until there is a description to add them to."""
    if len(d.early_candidates) < limits.CALL_EARLY_CANDIDATES_MAX:
        d.early_candidates.append(event.candidates)
    else:
        d.counters["early candidates"] += 1


def candidates(d: CallData, event: e.CandidatesReceived, now: float) -> None:
    """To the endpoint."""
    d.emit(c.AddCandidates(event.candidates))


def ice_connected(d: CallData, event: e.IceConnected, now: float) -> None:
    """A pair works: the answer has arrived, DTLS has to follow."""
    d.timeline.mark("ice", now)
    _step(d, event, now)
    d.path = event.path
    d.drop_timer(e.PathTimeout)
    d.drop_timer(e.ResendTimeout)
    d.set_timer(e.ConfirmTimeout, now + limits.CALL_CONFIRM)


def path_changed(d: CallData, event: e.IceConnected, now: float) -> None:
    """Another pair carries the call, or none does for now."""
    d.timeline.mark("ice", now)
    _step(d, event, now)
    if event.path != d.path or d.reconnecting:
        d.path = event.path or d.path  # the summary tells the last path that there was
        d.reconnecting = not event.path
        d.emit(c.Notify("path", event.path))


def path_quality(d: CallData, event: e.PathQuality, now: float) -> None:
    """The path is a poor one now, or a good one again."""
    if event.trouble != d.trouble:
        d.trouble = event.trouble
        d.timeline.step(now, d.path, event.trouble or "well")
        d.emit(c.Notify("quality", event.trouble))


def secured(d: CallData, event: e.Secured, now: float) -> None:
    """DTLS is up: prove who we are."""
    d.timeline.mark("dtls", now)
    d.secured = True
    d.go(State.CONFIRMING)
    d.set_timer(e.ConfirmTimeout, now + limits.CALL_CONFIRM)
    _confirm(d, now)


def control_open(d: CallData, event: e.ControlOpen, now: float) -> None:
    """The confirm can leave."""
    d.timeline.mark("control", now)
    d.control_open = True
    _confirm(d, now)


def confirm_received(d: CallData, event: e.ConfirmReceived, now: float) -> None:
    """The peer's proof: one that does not verify ends the call."""
    if event.valid:
        d.confirm_verified = True
        _confirm(d, now)
    else:
        confirm_failed(d, event, now)


def confirmed_received(d: CallData, event: e.ConfirmedReceived, now: float) -> None:
    """The peer verified ours, or says so before it can have."""
    if d.confirm_sent:
        d.own_confirmed = True
        _confirm(d, now)
    else:
        d.counters["confirmed too early"] += 1


def no_path(d: CallData, event: e.Event, now: float) -> None:
    """No pair was found, or it was lost before the call was secure."""
    _tell(d, "failed", "failed")
    d.end(R.NO_PATH, now)


def confirm_failed(d: CallData, event: e.Event, now: float) -> None:
    """The peer did not prove who it is."""
    _tell(d, "failed", "failed")
    d.end(R.CONFIRM_FAILED, now)


# --- connected ------------------------------------------------------------------------------------


def chat(d: CallData, event: e.Chat, now: float) -> None:
    """A line to the peer."""
    d.emit(c.SendChat(event.text))


def chat_received(d: CallData, event: e.ChatReceived, now: float) -> None:
    """A line from the peer."""
    d.emit(c.Notify("chat", event.text))


def hand_over(d: CallData, event: e.ContactsChanged, now: float) -> None:
    """The peer may be a contact now, or may need our new secret."""
    d.emit(c.HandOver())


def rendezvous_received(d: CallData, event: e.RendezvousReceived, now: float) -> None:
    """Where to find the peer the next time."""
    d.emit(c.KeepRendezvous(event.secret, event.generation))


def rendezvous_held(d: CallData, event: e.RendezvousHeld, now: float) -> None:
    """The peer knows where to find us."""
    d.emit(c.NoteHeld(event.generation))


def first_media(d: CallData, event: e.FirstMedia, now: float) -> None:
    """Sound or a picture is there."""
    if d.timeline.mark("first-audio" if event.kind == "audio" else "first-video", now):
        d.emit(c.Notify("media", event.kind))


def record_failed(d: CallData, event: e.RecordFailed, now: float) -> None:
    """The call goes on without a recording."""
    d.emit(c.Notify("record-failed", event.detail))


def source_ended(d: CallData, event: e.SourceEnded, now: float) -> None:
    """The call goes on with nothing more to send."""
    d.emit(c.Notify("source-ended", event.kind))


# --- ends -----------------------------------------------------------------------------------------


def cancel(d: CallData, event: e.Hangup, now: float) -> None:
    """Our user gives up before the answer."""
    _tell(d, "cancelled", "declined")
    d.end(event.reason or R.CANCELLED, now)


def hang_up(d: CallData, event: e.Hangup, now: float) -> None:
    """Our user hangs up an answered call."""
    _tell(d, "hangup", "declined")
    d.end(event.reason or R.HANGUP, now)


def hung_up(d: CallData, event: e.HangupReceived, now: float) -> None:
    """The peer ended the call, and said so by sealed message."""
    reason = _HANGUPS.get(event.reason, R.FAILED)
    if d.state is State.INCOMING:
        d.end(R.CANCELLED, now, missed=reason is not R.ANSWERED_ELSEWHERE, by_peer=True)
    elif d.state in (State.CALLING, State.RINGING, State.LOOKING_UP):
        d.end(R.NO_ANSWER if reason is R.NO_ANSWER else R.FAILED, now, by_peer=True)
    elif reason is R.FAILED and d.state is State.CONNECTING and not d.path:
        d.end(R.NO_PATH, now, by_peer=True, detail="the peer gave up looking for one")
    else:
        d.end(R.FAILED if reason is R.FAILED else R.HANGUP, now, by_peer=True)


def bye(d: CallData, event: e.Bye, now: float) -> None:
    """The peer ended the call, and said so on the control channel."""
    d.end(R.FAILED if event.failure else R.HANGUP, now, by_peer=True)


def transport_lost(d: CallData, event: e.TransportLost, now: float) -> None:
    """The path died; a proper close is what a hang-up looks like when its message was lost."""
    if event.clean:
        d.end(R.HANGUP, now, by_peer=True)
    else:
        _tell(d, "failed", "failed")
        d.end(R.PEER_GONE, now, detail=event.detail)


def media_failed(d: CallData, event: e.MediaFailed, now: float) -> None:
    """Our endpoint can't go on."""
    _tell(d, "failed", "failed")
    d.end(event.reason, now, detail=event.detail, cause=event.cause)


def endpoint_hangs(d: CallData, event: e.Event, now: float) -> None:
    """Our endpoint made no description in time."""
    _tell(d, "failed", "failed")
    d.end(R.FAILED, now, detail="the media endpoint was not ready in time")


# --- shared ---------------------------------------------------------------------------------------


def _life(event: e.OfferReceived) -> float:
    return min(max(event.life, 1.0), limits.CALL_OFFER_LIFE_MAX)


def _step(d: CallData, event: e.IceConnected, now: float) -> None:
    d.timeline.step(
        now, event.path, event.why or "lost", local=event.local, remote=event.remote, ipv6=event.ipv6
    )


def _await_endpoint(d: CallData) -> None:
    if d.offer is None:
        d.set_timer(e.EndpointTimeout, d.endpoint_by)


def _wait(d: CallData) -> None:
    if not d.waiting:
        d.waiting = True
        d.emit(c.Notify("waiting"))


def _look_again(d: CallData, now: float) -> None:
    _wait(d)
    d.go(State.LOOKING_UP)
    _await_endpoint(d)
    d.set_timer(e.RetryTimeout, min(now + limits.CALL_LOOKUP_EVERY, d.wait_until))


def _refresh_at(d: CallData) -> float:
    return d.offer_sealed_at + d.offer_life - limits.CALL_OFFER_REFRESH


def _offer(d: CallData, now: float, *, fresh: bool) -> None:
    assert d.offer is not None, "an offer is sent when it is made"
    if fresh:
        d.offer_sealed_at = now
    d.offer_sent, d.offer_copy_at = True, now
    d.emit(c.SendOffer(d.call_id, d.offer, d.offer_life, fresh))


def _first_offer(d: CallData, now: float) -> None:
    """The first copy, or the first after the peer was looked up again."""
    d.offer_first_at, d.stored, d.waiting, d.reached = now, 0, False, False
    d.resend_pause = limits.CALL_RESEND
    _offer(d, now, fresh=not d.offer_sent or now >= _refresh_at(d))
    d.set_timer(e.ResendTimeout, now + d.resend_pause)
    d.set_timer(e.RingTimeout, max(d.wait_until, now + d.ring_timeout))


def _resend_later(d: CallData, now: float) -> None:
    d.resends_left -= 1
    d.resend_pause *= 2
    if d.resends_left > 0:
        d.set_timer(e.ResendTimeout, now + d.resend_pause)


def _flush_candidates(d: CallData) -> None:
    for early in d.early_candidates:
        d.emit(c.AddCandidates(early))
    d.early_candidates.clear()


def _adopt(d: CallData, event: e.OfferReceived, now: float) -> None:
    """Drop our attempt, become the callee of the peer's, and answer it."""
    old = d.call_id
    d.remember(old, offered=False)
    d.other_ids.pop(event.call_id, None)
    if d.offer_sent:
        d.emit(c.SendHangup(old, "answered-elsewhere"))
    if d.media_open:
        d.media_open = False
        d.emit(c.CloseMedia())
    d.call_id, d.role, d.offer_sent = event.call_id, "callee", False
    d.offer, d.peer_created_ms = event.offer, event.created_ms
    d.early_candidates.clear()
    d.emit(c.AdoptCall(old, event.call_id))
    answer(d, event, now)


def _peer_began_anew(d: CallData, event: e.OfferReceived, now: float) -> None:
    """Both times are of the peer's clock. An older offer is a late copy of an attempt that lost."""
    if event.created_ms <= d.peer_created_ms:
        d.counters["late offer"] += 1
        return
    d.end(R.CANCELLED if d.state is State.INCOMING else R.PEER_GONE, now, by_peer=True)
    d.emit(c.StartIncoming(event))


def _confirm(d: CallData, now: float) -> None:
    """Take every step towards ``connected`` that is due."""
    if not (d.secured and d.control_open):
        return
    if not d.confirm_sent:
        d.confirm_sent = True
        d.emit(c.SendConfirm(d.role))
    if d.confirm_verified and not d.gate_open:
        d.gate_open = True
        d.emit(c.SendConfirmed())
        d.emit(c.OpenGate())
    if d.gate_open and d.own_confirmed:
        d.timeline.mark("confirmed", now)
        d.go(State.CONNECTED)
        d.emit(c.HandOver())


def _tell(d: CallData, word: c.HangupWord, refusal: c.RejectWord) -> None:
    """Let the peer know, by every way it may be listening on, that we end the call.

    ``refusal`` is what a callee that has not answered yet says, and what answers the peer's own attempt
    that ours overruled.
    """
    if d.control_open and d.secured:
        d.emit(c.SendBye(failure=word == "failed"))
    if d.role == "callee" and d.answer is None:
        d.emit(c.SendReject(d.call_id, refusal))
    elif d.role == "callee" or d.offer_sent:
        d.emit(c.SendHangup(d.call_id, word))
    if d.state in (State.LOOKING_UP, State.CALLING, State.RINGING):
        for call_id, offered in d.other_ids.items():
            if offered:
                d.emit(c.SendReject(call_id, refusal))
