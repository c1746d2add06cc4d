"""What is told of a ping, event by event; see :mod:`meshcall.views` for the laws.

``after_ms`` is in milliseconds since the ping's start.
"""

from __future__ import annotations

from typing import Literal

from meshcall.views import ErrorView, PathKind, View

PingStepName = Literal["looking-up", "calling", "reached", "answered"]


class PingEventBase(View, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened in a ping. ``isinstance`` tells which; in JSON the field ``event`` does."""

    after_ms: float


class PingStep(PingEventBase, frozen=True, kw_only=True, tag="step"):
    """It got further, though nothing has answered yet."""

    step: PingStepName
    """calling: the offer is on its way; reached: a node says that the peer's machine has it; answered: the
    peer takes part, and paths are tried."""
    via: str = ""
    """`lan`, `dht` or `cache`: where the peer was found."""


class PingReply(PingEventBase, frozen=True, kw_only=True, tag="reply"):
    """The peer answered a check over the path that is in use now."""

    seq: int
    rtt_ms: float
    path: PathKind
    before: PathKind = ""
    """The path of the reply before, if that was another one."""
    local: str
    """Our end: kind of candidate and address, such as ``host 192.0.2.1:4242``."""
    remote: str
    """The peer's end."""


class PingSilent(PingEventBase, frozen=True, kw_only=True, tag="silent"):
    """A probe whose reply did not come in time."""

    seq: int


class PingEnded(PingEventBase, frozen=True, kw_only=True, tag="ended"):
    """It is over. Always the last event, and the summary."""

    peer_id: str
    name: str = ""
    reason: str
    """`done`, `direct` (what was waited for), `stopped`, or why there is no answer: `offline`, `no-answer`,
    `busy`, `no-path`, `not-direct`, `peer-gone`, `clock`, `failed`."""
    sent: int
    received: int
    rtt_min_ms: float | None = None
    rtt_mean_ms: float | None = None
    rtt_max_ms: float | None = None
    path: PathKind = ""
    """Of the last reply."""
    first_reply_ms: float | None = None
    direct_ms: float | None = None
    """Until the first reply over a path without a relay; None: there was none."""
    explanation: str = ""
    """How packets travelled last, and why that way: a sentence."""
    better: list[str]
    """What would make it a better path."""
    error: ErrorView | None = None


PingEvent = PingStep | PingReply | PingSilent | PingEnded
