"""Requests of the local API, and its limits: shared by server and client.

Law 1: a request with a field that is not listed here is refused, so a typing error is never ignored.
Law 2: every text and number has bounds.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from meshcall import limits
from meshcall.config import AutoAnswer

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


class DeclineCall(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/decline."""

    say: Annotated[str, msgspec.Meta(max_length=limits.WORDS_MAX)] = ""
    """A line that the caller is shown."""


class SendChat(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST calls/ID/chat."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=CHAT_MAX)]
