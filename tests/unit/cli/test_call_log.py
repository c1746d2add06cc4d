"""What the daemon's log says of calls."""

from __future__ import annotations

import pytest

from meshcall.call_log import describe
from meshcall.views import (
    Chat,
    Connected,
    ContactRequested,
    ContactView,
    Ended,
    HistoryView,
    Incoming,
    LookingUp,
    MissedCall,
    NodeEvent,
    RecordFailed,
)

CALL = "698b69b21c84906a7970408910b91c8d"
PEER = "a" * 56


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (LookingUp(call=CALL, at_ms=1, peer_id=PEER, name="ann"), "call 698b69b2 to ann"),
        (Incoming(call=CALL, at_ms=1, peer_id=PEER, name="ann"), "call 698b69b2 from ann"),
        (
            Incoming(call=CALL, at_ms=1, peer_id=PEER, self_name="Eve", stranger=True),
            'call 698b69b2 from "Eve", not a contact',
        ),
        (Connected(call=CALL, at_ms=1, path="lan"), "call 698b69b2 is connected (lan)"),
        (
            RecordFailed(call=CALL, at_ms=1, message="disk full"),
            "call 698b69b2 is not recorded any more: disk full",
        ),
        (Ended(call=CALL, at_ms=1, peer_id=PEER, reason="busy"), "call 698b69b2 with aaaaaaa ended: busy"),
        (
            MissedCall(
                at_ms=1,
                missed=HistoryView(id=CALL, peer_id=PEER, name="ann", direction="in", started_ms=1),
            ),
            "call 698b69b2 from ann was missed",
        ),
        (
            ContactRequested(at_ms=1, contact=ContactView(peer_id=PEER, short="aaaaaaa", name="ann")),
            "ann (aaaaaaa) accepted an invite and is a contact now",
        ),
        (Chat(call=CALL, at_ms=1, text="secret"), None),
    ],
)
def test_lines(event: NodeEvent, line: str | None) -> None:
    """Who and how it ended; never what was said."""
    assert describe(event) == line


def test_a_call_that_waits_for_a_person() -> None:
    """Who reads the log learns how to take it."""
    line = describe(Incoming(call=CALL, at_ms=1, peer_id=PEER, name="ann"), by_hand=True)
    assert line == "call 698b69b2 from ann: `meshcall answer` takes it"
