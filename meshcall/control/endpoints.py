"""The table of the local API: every address, what it takes, what it answers.

Law: the server's routes, ``/openapi.json`` and ``docs/api.md`` all hold exactly what stands here
(tests/unit/control/test_endpoints.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meshcall import views as v
from meshcall.control import models
from meshcall.netcheck_views import NetcheckView
from meshcall.ping_views import PingEvent

Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that stands behind the question mark."""

    name: str
    summary: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address with one method."""

    method: Method
    path: str
    """Behind the prefix, with its variables in braces."""
    summary: str
    answer: Any
    """A view's type, or the names and types of an object's fields."""
    body: type[models.Request] | None = None
    status: int = 200
    parameters: tuple[Parameter, ...] = ()
    streams: bool = False
    """Whether the answer is, or on demand may be, a stream of events."""
    attributes: dict[str, str] = field(default_factory=dict)
    """What the path's variables are."""


PICTURE: Final = "image/svg+xml"
"""In place of an answer's type: it is a picture."""

_CALL: Final = {"call": "a call's ID, 4 or more digits of it, the other side's name or ID, or `-`"}
_ROOM: Final = {"room": "a room's ID, 4 or more digits of it, its name, or `-`: the only one that we are in"}
_CONTACT: Final = {"name": "a contact's name, or a full ID"}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/id",
        "Our ID",
        {"peer_id": str, "grouped": str, "short": str, "uri": str},
    ),
    Endpoint("GET", "/id/qr", "A QR code of our link, as SVG", PICTURE),
    Endpoint("GET", "/status", "What the node is and does now", v.NodeStatus),
    Endpoint("GET", "/settings", "What people set while the daemon runs", v.SettingsView),
    Endpoint("POST", "/settings", "Set some of it", v.SettingsView, models.ChangeSettings),
    Endpoint("GET", "/dht", "Our DHT node", v.DhtStateView),
    Endpoint(
        "GET",
        "/dht/lookup/{key}",
        "Search the DHT",
        v.DhtLookupView,
        attributes={"key": "40 hexadecimal digits, a contact's name, or an ID"},
    ),
    Endpoint(
        "GET",
        "/dht/ping/{address}",
        "Ask a DHT node who it is",
        v.DhtPingView,
        attributes={"address": "HOST:PORT"},
    ),
    Endpoint(
        "GET",
        "/relay/credentials/{seconds}",
        "Credentials for the relay that we lend",
        v.RelayCredentialsView,
        attributes={"seconds": "how long they are good"},
    ),
    Endpoint("GET", "/relay/coturn", "The configuration of a coturn that we lend", v.RelayCoturnView),
    Endpoint("GET", "/doctor", "What keeps calls from working, and what to do about it", v.DoctorView),
    Endpoint("GET", "/netcheck", "What this machine's networks let through", NetcheckView),
    Endpoint("GET", "/peers", "Contacts, and peers on the LAN", {"peers": list[v.PeerView]}),
    Endpoint("GET", "/contacts", "The contact book", {"contacts": list[v.ContactView]}),
    Endpoint("POST", "/contacts", "Add a contact", v.ContactView, models.AddContact, 201),
    Endpoint(
        "PATCH",
        "/contacts/{name}",
        "Give a contact another name",
        v.ContactView,
        models.RenameContact,
        attributes=_CONTACT,
    ),
    Endpoint("DELETE", "/contacts/{name}", "Forget a contact", {}, models.Empty, attributes=_CONTACT),
    Endpoint(
        "POST",
        "/contacts/{name}/block",
        "Never let a peer ring again",
        v.ContactView,
        models.Empty,
        attributes=_CONTACT,
    ),
    Endpoint(
        "POST",
        "/contacts/{name}/unblock",
        "Let a blocked peer ring again",
        v.ContactView,
        models.Empty,
        attributes=_CONTACT,
    ),
    Endpoint(
        "POST",
        "/invites",
        "A link that makes whoever opens it a contact",
        {"uri": str, "once": bool, "expires_s": float},
        models.CreateInvite,
        201,
    ),
    Endpoint("POST", "/invites/accept", "Open an invite", v.ContactView, models.AcceptInvite),
    Endpoint("GET", "/calls", "Live calls, and the last ended ones", {"calls": list[v.CallView]}),
    Endpoint(
        "POST", "/calls", "Call somebody; with `attach` the answer is the call's events",
        v.CallView, models.StartCall, 201, streams=True,
    ),
    Endpoint("GET", "/calls/{call}", "One call", v.CallView, attributes=_CALL),
    Endpoint(
        "POST", "/calls/{call}/answer", "Answer a call; with `attach` the answer is its events",
        v.CallView, models.AnswerCall, streams=True, attributes=_CALL,
    ),
    Endpoint(
        "POST", "/calls/{call}/decline", "Decline a call", v.CallView, models.DeclineCall, attributes=_CALL
    ),
    Endpoint("POST", "/calls/{call}/hangup", "End a call", v.CallView, models.Empty, attributes=_CALL),
    Endpoint(
        "POST",
        "/calls/{call}/chat",
        "Send a line of chat in a call",
        {"call": str},
        models.SendChat,
        attributes=_CALL,
    ),
    Endpoint(
        "POST", "/calls/{call}/media", "Tell the peer what is muted and what is shown",
        {"call": str}, models.TellMedia, attributes=_CALL,
    ),
    Endpoint(
        "GET", "/calls/{call}/verification", "What both people compare to verify each other",
        v.VerificationView, attributes=_CALL,
    ),
    Endpoint(
        "POST", "/calls/{call}/verified", "The words were the same: mark the contact as verified",
        v.ContactView, models.Empty, attributes=_CALL,
    ),
    Endpoint("GET", "/rooms", "Rooms that we are in or know, and those on this LAN", v.RoomsView),
    Endpoint("POST", "/rooms", "Make a room and go in", v.RoomView, models.CreateRoom, 201),
    Endpoint("POST", "/rooms/join", "Go into a room by name, code or link", v.RoomView, models.JoinRoom),
    Endpoint("GET", "/rooms/{room}", "One room", v.RoomView, attributes=_ROOM),
    Endpoint(
        "DELETE", "/rooms/{room}", "Leave a room and forget its secret", {}, models.Empty, attributes=_ROOM
    ),
    Endpoint("POST", "/rooms/{room}/leave", "Leave a room", v.RoomView, models.Empty, attributes=_ROOM),
    Endpoint(
        "POST", "/rooms/{room}/invite", "A link that leads into a room",
        v.RoomInviteView, models.Empty, attributes=_ROOM,
    ),
    Endpoint("GET", "/rooms/{room}/qr", "A QR code of that link, as SVG", PICTURE, attributes=_ROOM),
    Endpoint(
        "POST", "/rooms/{room}/code", "A short code that leads into a room",
        v.RoomCodeView, models.Empty, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/state", "What the others are shown of us",
        v.RoomView, models.SetRoomState, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/share", "Show a source to all as a screen",
        v.RoomView, models.ShareInRoom, attributes=_ROOM,
    ),
    Endpoint("POST", "/rooms/{room}/unshare", "Share nothing", v.RoomView, models.Empty, attributes=_ROOM),
    Endpoint(
        "POST", "/rooms/{room}/chat", "Say a line to all", {"room": str}, models.SayInRoom, attributes=_ROOM
    ),
    Endpoint(
        "POST", "/rooms/{room}/lock", "Have who comes without the secret knock, or not",
        v.RoomView, models.LockRoom, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/admit", "Let in who knocks, or do not",
        v.RoomView, models.AdmitToRoom, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/remove", "Put a member out for good",
        v.RoomView, models.NameMember, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/block", "See and hear nothing of a member, or do again",
        v.RoomView, models.BlockMember, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/rooms/{room}/layer", "Tell a member how large its pictures are shown",
        {"room": str}, models.AskLayer, attributes=_ROOM,
    ),
    Endpoint(
        "POST", "/pings", "Find the paths to a contact, without a ring: a stream of its answers",
        PingEvent, models.StartPing, streams=True,
    ),
    Endpoint(
        "GET",
        "/history",
        "The newest calls of the past",
        {"calls": list[v.HistoryView]},
        parameters=(
            Parameter(
                "limit",
                "how many",
                {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": models.HISTORY_MAX,
                    "default": models.HISTORY_DEFAULT,
                },
            ),
            Parameter(
                "missed", "1: only those that nobody took", {"type": "integer", "enum": [0, 1], "default": 0}
            ),
        ),
    ),
    Endpoint("POST", "/history/seen", "Count these missed calls no more", {}, models.SeeMissed),
    Endpoint(
        "GET",
        "/events",
        "What happens: one JSON document a line",
        v.NodeEvent,
        parameters=(Parameter("call", "a call, as in paths: its events alone", {"type": "string"}),),
        streams=True,
    ),
    Endpoint("GET", "/page", "A WebSocket for a call page: `hello`, `event` and `media` messages", {}),
)  # fmt: skip
