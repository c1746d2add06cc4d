"""Views are what they are in JSON, for ever."""

from __future__ import annotations

import msgspec
import pytest

from meshcall import views
from meshcall.control.messages import encode_document


def test_ended_has_all_that_is_promised() -> None:
    """The last line of `meshcall call --json`."""
    ended = views.Ended(
        call="c" * 32,
        at_ms=5,
        reason="hangup",
        path="direct",
        setup_ms=210.5,
        timeline={"lookup": 1.0},
        received=views.MediaTotals(video_frames=150, audio_seconds=5.0),
    )
    document = msgspec.json.decode(encode_document(ended))
    assert document["schema"] == 1
    assert document["event"] == "ended"
    assert document["received"] == {"video_frames": 150, "screen_frames": 0, "audio_seconds": 5.0}
    assert document["timeline"] == {"lookup": 1.0}
    assert (document["path"], document["setup_ms"], document["reason"]) == ("direct", 210.5, "hangup")


EVENTS: list[views.NodeEvent] = [
    views.LookingUp(call="c", at_ms=1),
    views.Calling(call="c", at_ms=1, via="dht"),
    views.MissedCall(
        at_ms=1, missed=views.HistoryView(id="c", peer_id="p", direction="in", started_ms=1, missed=True)
    ),
    views.Ringing(call="c", at_ms=1),
    views.Incoming(call="c", at_ms=1, peer_id="p", stranger=True),
    views.Connecting(call="c", at_ms=1),
    views.Connected(call="c", at_ms=1, path="relay", setup_ms=1.5),
    views.Chat(call="c", at_ms=1, text="hi"),
    views.Media(call="c", at_ms=1, kind="video"),
    views.SourceEnded(call="c", at_ms=1),
    views.RecordFailed(call="c", at_ms=1, message="disk full"),
    views.PathChanged(call="c", at_ms=1, path="direct"),
    views.Ended(call="c", at_ms=1, reason="declined", error=views.ErrorView(code="x", message="y")),
    views.PresenceChanged(at_ms=1, peer=views.PeerView(peer_id="p", short="s")),
    views.ContactsChanged(at_ms=1),
    views.ContactRequested(at_ms=1, contact=views.ContactView(peer_id="p", short="s", name="n")),
    views.RoomChanged(at_ms=1, room=views.RoomView(id="r", name="Tea", state="joined")),
    views.RoomChat(at_ms=1, room="r", peer_id="p", name="ann", text="hi"),
    views.LanRoomsChanged(at_ms=1, here=[views.LanRoomView(tag="t", name="", members=2, secret=True)]),
    views.RoomEnded(at_ms=1, room="r", reason="left"),
    views.Warned(at_ms=1, message="m"),
    views.Lagged(at_ms=1, dropped=2),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_json(event: views.NodeEvent) -> None:
    """Each event has its own name in ``event`` and comes back as what it was."""
    assert msgspec.json.decode(msgspec.json.encode(event), type=views.NodeEvent) == event
    assert event.to_dict()["event"]


def test_views_are_frozen() -> None:
    """A snapshot can't be changed by whoever is shown it."""
    with pytest.raises(AttributeError):
        EVENTS[0].at_ms = 2  # type: ignore[misc]
