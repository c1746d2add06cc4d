"""What a call machine remembers: its state, its timers, its output. It decides nothing.

Law 1: leaving a state drops every timer; what the next state needs is set anew.
Law 2: everything here that a peer can fill has a cap.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Literal

from meshcall import limits
from meshcall.call import commands as c
from meshcall.call import events as e
from meshcall.call.summary import CallSummary
from meshcall.call.timeline import Path, Timeline
from meshcall.identity.peer_id import PeerId

Role = Literal["caller", "callee"]
"""Whose offer counts: the caller's."""


class State(StrEnum):
    """Where a call stands."""

    IDLE = "idle"
    """Nothing happened yet."""
    LOOKING_UP = "looking-up"
    """Caller: the peer is being found."""
    CALLING = "calling"
    """Caller: the offer is being made or is on its way."""
    RINGING = "ringing"
    """Caller: the peer's machine rings."""
    INCOMING = "incoming"
    """Callee: we ring."""
    CONNECTING = "connecting"
    """Answered; ICE and DTLS run."""
    CONFIRMING = "confirming"
    """DTLS is up; the signed confirms are exchanged."""
    CONNECTED = "connected"
    """Both confirms are verified."""
    ENDED = "ended"
    """Over, for one reason."""


class CallData:
    """One call's memory. Only actions change it."""

    def __init__(self, me: PeerId, peer: PeerId, call_id: bytes) -> None:
        self.me = me
        self.peer = peer
        self.call_id = call_id
        self.state = State.IDLE
        self.role: Role = "caller"
        self.reason: e.EndReason | None = None
        self.path: Path = ""
        self.reconnecting = False
        self.trouble = ""  # what makes the path a poor one
        self.timeline = Timeline()
        self.timers: dict[type[e.Timeout], float] = {}
        self.output: list[c.Command] = []
        self.counters: Counter[str] = Counter()
        # what the user asked for
        self.ring_timeout = limits.CALL_RING
        self.wait_until = 0.0
        self.lookups = 0
        # descriptions and messages
        self.offer: bytes | None = None  # ours when we call, the peer's when it does
        self.answer: bytes | None = None  # ours
        self.offer_sent = False
        self.dialled_at = 0.0
        self.offer_first_at = 0.0
        self.offer_sealed_at = 0.0
        self.offer_copy_at = 0.0
        self.stored = 0
        self.reached = False
        self.waiting = False
        self.peer_created_ms = 0
        self.early_candidates: list[bytes] = []
        self.other_ids: dict[
            bytes, bool
        ] = {}  # other attempts between us two; True: the peer still offers it
        # what is open and has to be closed
        self.media_open = False
        self.rings = False
        self.endpoint_by = 0.0
        self.resend_pause = limits.CALL_RESEND
        self.resends_left = 0
        # steps to `connected`
        self.secured = False
        self.control_open = False
        self.confirm_sent = False
        self.confirm_verified = False
        self.gate_open = False
        self.own_confirmed = False

    @property
    def offer_life(self) -> float:
        """Seconds for which our offers are valid: as long as it rings and a bit more, within bounds."""
        return min(max(self.ring_timeout + 30.0, limits.CALL_OFFER_LIFE), limits.CALL_OFFER_LIFE_MAX)

    def emit(self, command: c.Command) -> None:
        """Put ``command`` out."""
        self.output.append(command)

    def set_timer(self, timer: type[e.Timeout], at: float) -> None:
        """Fire ``timer`` at ``at``, and not at any other time it was set to."""
        self.timers[timer] = at

    def drop_timer(self, timer: type[e.Timeout]) -> None:
        """Do not fire ``timer``."""
        self.timers.pop(timer, None)

    def go(self, state: State) -> None:
        """Enter ``state``: timers are dropped, the user is told."""
        self.timers.clear()
        if self.rings and state is not State.INCOMING:
            self.rings = False
            self.emit(c.StopRing())
        if state is not self.state:
            self.state = state
            if state is not State.ENDED:
                self.emit(c.StateChanged(state))

    def remember(self, call_id: bytes, *, offered: bool) -> None:
        """Note another attempt of us two, so that late messages about it are known."""
        if call_id not in self.other_ids and len(self.other_ids) >= limits.CALL_OTHER_IDS_MAX:
            del self.other_ids[next(iter(self.other_ids))]
        self.other_ids[call_id] = offered

    def end(self, reason: e.EndReason, now: float, *, missed: bool = False, by_peer: bool = False,
            detail: str = "", cause: str = "") -> None:  # fmt: skip
        """Close what is open and say why. The messages to the peer have been put out already."""
        self.reason = reason
        self.timeline.mark("ended", now)
        self.go(State.ENDED)
        if self.media_open:
            self.media_open = False
            self.emit(c.CloseMedia())
        summary = CallSummary.of(reason, self.path, self.timeline)
        self.emit(c.Ended(reason, summary, missed, by_peer, detail, cause))
