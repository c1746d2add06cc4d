"""Requests of the local API, and its limits: shared by server and client.

Law 1: a request with a field that is not listed here is refused, so a typing error is never ignored.
Law 2: every text and number has bounds.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from meshcall import limits
from meshcall.config import AutoAnswer
from meshcall.views import LayerKind

API_PREFIX: Final = "/api/v1"

BODY_MAX: Final = 64 * 1024
"""Octets of a request's body: the largest sensible one is a chat line (memory of the daemon)."""

REQUEST_TIMEOUT: Final = 30.0
"""Seconds a request that is no stream may take (a client that stops half-way must not hold a handler)."""

LISTENERS_MAX: Final = 64
"""Event streams at once (a script that forgets to close them)."""

LISTENER_QUEUE: Final = 1000
"""Events kept for a listener that reads slowly; beyond that it is dropped (memory of the daemon)."""

CHAT_MAX: Final = 4000
"""Characters of one line of chat."""

HISTORY_MAX: Final = 1000
"""Calls in one answer of the history (memory of the daemon)."""

HISTORY_DEFAULT: Final = 50
"""Calls in an answer of the history, unless more or fewer are asked for."""

ANY_CALL: Final = "-"
"""In place of a call's ID: the only call that the request can mean."""

ROOM_TEXT_MAX: Final = 2048
"""Characters of what names a room to come into: its name, a code or a link."""

RoomText = Annotated[str, msgspec.Meta(min_length=1, max_length=ROOM_TEXT_MAX)]
PeerText = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
NameText = Annotated[str, msgspec.Meta(max_length=256)]
PathText = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
CallIdText = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
PageName = Annotated[str, msgspec.Meta(max_length=16)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 86400)]
SecondsOrZero = Annotated[float, msgspec.Meta(ge=0, le=7 * 86400)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests."""


class Empty(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that needs nothing but its address."""


class AddContact(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST contacts."""

    peer: PeerText
    name: NameText = ""


class RenameContact(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH contacts/NAME."""

    name: NameText


class CreateInvite(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST invites."""

    once: bool = True
    expires: Seconds = 86400.0
    """Seconds from now."""


class AcceptInvite(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST invites/accept."""

    uri: PeerText


class StartCall(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls."""

    peer: PeerText
    source: PathText | None = None
    record: PathText | None = None
    """An absolute path."""
    timeout: Seconds = 60.0
    wait: SecondsOrZero = 0.0
    duration: Seconds | None = None
    """Hang up this long after the call was connected."""
    attach: bool = False
    """Answer with the call's events, and hang up when the client goes away."""
    page: PageName = ""
    """The page whose browser carries the media; empty: the daemon does."""
    video: bool = True
    """Send and receive pictures."""


class StartPing(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST pings."""

    peer: PeerText
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.PING_COUNT_MAX)] = limits.PING_COUNT
    interval: Annotated[float, msgspec.Meta(ge=limits.PING_INTERVAL_MIN, le=limits.PING_LIFE)] = (
        limits.PING_INTERVAL
    )
    """Seconds between two probes."""
    until_direct: bool = False
    """End at the first reply that no relay carried."""


class AnswerCall(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/answer."""

    source: PathText | None = None
    record: PathText | None = None
    duration: Seconds | None = None
    attach: bool = False
    page: PageName = ""
    video: bool = True


class ChangeSettings(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST settings: what is left out stays as it is."""

    name: NameText | None = None
    visible: bool | None = None
    auto_answer: AutoAnswer | None = None
    accept_strangers: bool | None = None
    notifications: bool | None = None
    welcomed: bool | None = None


class SeeMissed(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST history/seen."""

    calls: Annotated[list[CallIdText], msgspec.Meta(max_length=HISTORY_MAX)]


class TellMedia(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/media."""

    audio: bool
    video: bool
    screen: bool = False


class CreateRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms."""

    name: RoomText
    secret: bool = False
    """Do not show its name on the LAN."""
    lan_only: bool = False
    """Look for members, and let oneself be found, on the LAN alone."""
    source: PathText | None = None
    record: PathText | None = None
    """A folder: each member is recorded into a file of its own."""
    record_mixed: PathText | None = None
    """A folder: all members are recorded into one file."""
    page: PageName = ""
    video: bool = True


class JoinRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/join."""

    room: RoomText
    """Its name, a code or a link."""
    source: PathText | None = None
    record: PathText | None = None
    """A folder, as in ``CreateRoom``."""
    record_mixed: PathText | None = None
    """Likewise."""
    page: PageName = ""
    video: bool = True
    at: Annotated[str, msgspec.Meta(max_length=262)] = ""
    """HOST or HOST:PORT of a machine in the room, where the LAN carries no multicast."""


class SetRoomState(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/state: what is left out stays as it is."""

    audio: bool | None = None
    video: bool | None = None
    screen: bool | None = None
    hand: bool | None = None
    speaking: bool | None = None


class ShareInRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/share."""

    source: PathText
    """As of a call: ``screen[:DISPLAY]``, an absolute path, ``testsrc``, ``camera[:N]``."""


class SayInRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/chat."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=CHAT_MAX)]


class LockRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/lock."""

    locked: bool = True


class AdmitToRoom(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/admit."""

    peer: PeerText
    """Who knocks: ID or name."""
    admit: bool = True
    """False: do not let in."""


class NameMember(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/remove."""

    peer: PeerText
    """ID or name, as the room shows it."""


class BlockMember(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/block."""

    peer: PeerText
    blocked: bool = True


class AskLayer(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rooms/ROOM/layer."""

    peer: PeerText
    kind: LayerKind = "camera"
    height: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    """Pixels that can be shown; 0: none."""
    fps: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    """Pictures a second that can be shown; 0: any."""


class DeclineCall(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/decline."""

    say: Annotated[str, msgspec.Meta(max_length=limits.WORDS_MAX)] = ""
    """A line that the caller is shown."""


class SendChat(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/chat."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=CHAT_MAX)]
