"""Which call a user means: the one of that ID, a prefix of it, that peer's name, or the only one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from meshcall.control.models import ANY_CALL
from meshcall.errors import NoSuchCall, UsageError
from meshcall.views import CallView

Purpose = Literal["answer", "decline", "hangup", "chat", "show"]

_NOT_THERE: dict[Purpose, str] = {
    "answer": "no call {!r} is coming in",
    "decline": "no call {!r} is coming in",
    "hangup": "there is no call {!r} now",
    "chat": "there is no call {!r} now",
    "show": "there is no call {!r}",
}

PREFIX_MIN = 4
"""Shorter prefixes of a call's ID hit the wrong call too easily."""


def fits(call: CallView, purpose: Purpose) -> bool:
    """Whether ``purpose`` can be meant for a call in this state."""
    if purpose in ("answer", "decline"):
        return call.state == "incoming"
    return purpose == "show" or call.state != "ended"


def choose_call(calls: Iterable[CallView], wanted: str, purpose: Purpose) -> str:
    """The ID of the call that ``wanted`` names; :class:`NoSuchCall`, :class:`UsageError` if it names several.

    A full ID is taken whatever the call's state (the call itself then says what is wrong);
    everything shorter is looked for among the calls that ``purpose`` fits.
    To be shown, a peer's live call is meant, or else its last one.
    """
    known = list(calls)
    if any(call.id == wanted for call in known):
        return wanted
    candidates = [call for call in known if fits(call, purpose)]
    if wanted != ANY_CALL:
        candidates = [
            call
            for call in candidates
            if (len(wanted) >= PREFIX_MIN and call.id.startswith(wanted.lower()))
            or wanted == call.peer_id
            or (call.name and call.name.casefold() == wanted.casefold())
        ]
    candidates = [call for call in candidates if call.state != "ended"] or candidates
    if (
        purpose == "show"
        and len({call.peer_id for call in candidates}) == 1
        and candidates[0].state == "ended"
    ):
        return max(candidates, key=lambda call: call.since_ms).id
    if len(candidates) == 1:
        return candidates[0].id
    if candidates:
        ids = ", ".join(call.id[:8] for call in candidates[:5])
        raise UsageError("several calls fit", hint=f"name one of them: {ids}")
    if wanted != ANY_CALL:
        raise NoSuchCall(_NOT_THERE[purpose].format(wanted))
    if purpose == "answer":
        raise NoSuchCall("nobody is calling", hint="`meshcall answer --wait 10m` waits for a call")
    if purpose == "decline":
        raise NoSuchCall("nobody is calling")
    raise NoSuchCall("there is no call now")
