"""Which call a user means."""

from __future__ import annotations

import msgspec
import pytest

from meshcall.control.selection import Purpose, choose_call
from meshcall.errors import NoSuchCall, UsageError
from meshcall.views import CallState, CallView

BOB_ID = "b" * 56


def call(number: int, state: CallState, name: str = "", peer_id: str = "a" * 56) -> CallView:
    """A call whose ID begins with its number, eight times."""
    return CallView(
        id=str(number) * 8 + "0" * 24, peer_id=peer_id, name=name, direction="out", state=state, since_ms=0
    )


RINGING = call(1, "ringing", "alice")
INCOMING = call(2, "incoming", "bob", BOB_ID)
CONNECTED = call(3, "connected", "carol")
ENDED = call(4, "ended", "dave")
ENDED_LATER = msgspec.structs.replace(call(5, "ended", "dave"), since_ms=1)
LIVE_AGAIN = call(6, "connected", "dave")


@pytest.mark.parametrize(
    ("calls", "wanted", "purpose", "chosen"),
    [
        ([RINGING], "-", "hangup", RINGING),
        ([RINGING, ENDED], "-", "hangup", RINGING),
        ([RINGING, INCOMING, CONNECTED], "-", "answer", INCOMING),
        ([RINGING, INCOMING, CONNECTED], "-", "decline", INCOMING),
        ([RINGING, INCOMING], "1111", "hangup", RINGING),
        ([RINGING, INCOMING], "alice", "hangup", RINGING),
        ([RINGING, INCOMING], "BOB", "chat", INCOMING),
        ([RINGING, INCOMING], BOB_ID, "answer", INCOMING),
        ([RINGING, ENDED], ENDED.id, "hangup", ENDED),
        ([RINGING, ENDED], "dave", "show", ENDED),
        ([ENDED_LATER, ENDED], "dave", "show", ENDED_LATER),
        ([ENDED_LATER, ENDED, LIVE_AGAIN], "dave", "show", LIVE_AGAIN),
    ],
)
def test_chosen(calls: list[CallView], wanted: str, purpose: Purpose, chosen: CallView) -> None:
    """A name, an ID, the start of one, or nothing if only one call can be meant."""
    assert choose_call(calls, wanted, purpose) == chosen.id


@pytest.mark.parametrize(
    ("calls", "wanted", "purpose"),
    [
        ([], "-", "hangup"),
        ([ENDED], "-", "hangup"),
        ([RINGING], "-", "answer"),
        ([RINGING], "111", "hangup"),
        ([RINGING], "nobody", "hangup"),
        ([ENDED], "dave", "hangup"),
        ([RINGING], "", "hangup"),
        ([call(5, "ringing")], "", "hangup"),
    ],
)
def test_no_such_call(calls: list[CallView], wanted: str, purpose: Purpose) -> None:
    """A call that is over can't be answered, an empty name means nobody, three digits are too few."""
    with pytest.raises(NoSuchCall):
        choose_call(calls, wanted, purpose)


def test_several_calls_are_never_guessed() -> None:
    """If two calls fit, the user is told both."""
    with pytest.raises(UsageError) as caught:
        choose_call([RINGING, CONNECTED], "-", "hangup")
    assert caught.value.hint is not None
    assert "11111111" in caught.value.hint
    assert "33333333" in caught.value.hint
