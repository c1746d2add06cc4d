"""What the daemon and its page say to each other about a call's media: JSON over a WebSocket. Pure.

The page has the camera and the peer connection; the daemon has the identity, and says whom to talk to.
Each message names the endpoint that it is about; one call has one after the other (``media``).

Law 1: SDP crosses here between our daemon and our own page only; a peer never sees it, and what a peer sent
becomes SDP by :mod:`meshcall.signaling.sdp`.
Law 2: what the page sends is checked as strictly as a peer's, for a page runs whatever a browser lets in:
:func:`decode_page_untrusted` raises :class:`Rejected` and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from meshcall.errors import Rejected
from meshcall.limits import CONTROL_MESSAGE_MAX
from meshcall.views import LayerKind

SDP_MAX: Final = 32_768
"""Characters of SDP: Chromium writes 6,000 for all codecs, three times that with many candidates."""

LINE_MAX: Final = 512
"""Characters of a candidate line."""

MESSAGE_MAX: Final = 65_536
"""Octets of a message of the page (memory)."""

MediaId = Annotated[str, Meta(min_length=16, max_length=16)]
Sdp = Annotated[str, Meta(min_length=1, max_length=SDP_MAX)]
Line = Annotated[str, Meta(max_length=LINE_MAX)]
ControlOctets = Annotated[bytes, Meta(min_length=1, max_length=CONTROL_MESSAGE_MAX)]
Fingerprint = Annotated[bytes, Meta(min_length=32, max_length=32)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Round = Annotated[int, Meta(ge=0, lt=2**32)]
Kind = Literal["audio", "video"]


class IceServerView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of RTCConfiguration.iceServers."""

    urls: list[str]
    username: str = ""
    credential: str = ""


# --- to the page ----------------------------------------------------------------------------------


class ToPage(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """Base of what the daemon says."""

    media: str
    """The endpoint, 16 hexadecimal digits."""


class Open(ToPage, frozen=True, kw_only=True, tag="open"):
    """Make a peer connection. ``remote``: the peer's offer, to be answered; empty: make one."""

    peer: str
    """Whose call it is: an ID."""
    room: str = ""
    """The room that it is a link of, by its id; empty: a call."""
    audio: bool
    video: bool
    camera: bool
    """It is on at first."""
    servers: list[IceServerView]
    remote: str = ""


class Remote(ToPage, frozen=True, kw_only=True, tag="remote"):
    """The peer's description."""

    kind: Literal["offer", "answer"]
    sdp: str
    round: int = 0
    """Of an offer: to be said with its answer; of an answer: which of the page's offers it is to. 0: none."""


class RemoteCandidates(ToPage, frozen=True, kw_only=True, tag="candidates"):
    """More candidates of the peer, as ``candidate:`` lines."""

    lines: list[str]


class Gate(ToPage, frozen=True, kw_only=True, tag="gate"):
    """The peer is who it says it is: send and play from now on."""


class SetLayer(ToPage, frozen=True, kw_only=True, tag="layer"):
    """The peer can show pictures of at most ``height`` pixels (0: none) and ``fps`` a second (0: any)."""

    kind: LayerKind
    height: int
    fps: int


class SendControl(ToPage, frozen=True, kw_only=True, tag="control"):
    """Send this on the control channel."""

    data: bytes


class Close(ToPage, frozen=True, kw_only=True, tag="close"):
    """Close the peer connection."""


# --- from the page --------------------------------------------------------------------------------


class FromPage(msgspec.Struct, frozen=True, kw_only=True, tag_field="told", forbid_unknown_fields=True):
    """Base of what the page says."""

    media: MediaId


class Described(FromPage, frozen=True, kw_only=True, tag="described", forbid_unknown_fields=True):
    """The browser's description: what was asked for by ``Open``, or a new one of a running call."""

    kind: Literal["offer", "answer"]
    sdp: Sdp
    round: Round = 0
    """Of a later offer: 1 and up; of an answer: that of the offer."""


class LocalCandidate(FromPage, frozen=True, kw_only=True, tag="candidate", forbid_unknown_fields=True):
    """A candidate that was found later; an empty line: there are no more."""

    line: Line


class End(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One end of the selected pair, as the browser's statistics show it."""

    kind: Literal["host", "srflx", "prflx", "relay"]
    address: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=0, le=65535)]


class PathFound(FromPage, frozen=True, kw_only=True, tag="path", forbid_unknown_fields=True):
    """The pair that is used now."""

    local: End
    remote: End


class PathGone(FromPage, frozen=True, kw_only=True, tag="path-gone", forbid_unknown_fields=True):
    """The connection state is ``disconnected``."""


class Secure(FromPage, frozen=True, kw_only=True, tag="secured", forbid_unknown_fields=True):
    """DTLS is done, with certificates of these SHA-256."""

    local: Fingerprint
    remote: Fingerprint


class ControlOpened(FromPage, frozen=True, kw_only=True, tag="control-open", forbid_unknown_fields=True):
    """The control channel is open."""


class ControlReceived(FromPage, frozen=True, kw_only=True, tag="control", forbid_unknown_fields=True):
    """The peer said something on the control channel."""

    data: ControlOctets


class Played(FromPage, frozen=True, kw_only=True, tag="played", forbid_unknown_fields=True):
    """The first of this kind was decoded."""

    kind: Kind


class KindTotals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one kind of media, since the call's start."""

    frames_sent: Count = 0
    frames_received: Count = 0
    packets_lost: Count = 0
    codec: Annotated[str, Meta(max_length=32)] = ""
    height: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Pixels of the last picture that was decoded."""


class Totals(FromPage, frozen=True, kw_only=True, tag="totals", forbid_unknown_fields=True):
    """The browser's statistics, from time to time."""

    audio: KindTotals
    video: KindTotals
    screen: KindTotals = KindTotals()
    audio_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    rtt_ms: Annotated[float, Meta(ge=0, le=1e6)] | None = None


class Ended(FromPage, frozen=True, kw_only=True, tag="ended", forbid_unknown_fields=True):
    """The peer connection is closed or has failed; or there is no camera that may be used."""

    reason: Literal["closed", "failed", "no-path", "dtls", "no-device", "unsupported"]
    detail: Annotated[str, Meta(max_length=256)] = ""


PageMessage = (
    Described
    | LocalCandidate
    | PathFound
    | PathGone
    | Secure
    | ControlOpened
    | ControlReceived
    | Played
    | Totals
    | Ended
)

_decoder: Final[msgspec.json.Decoder[PageMessage]] = msgspec.json.Decoder(PageMessage)


def decode_page_untrusted(data: bytes | str) -> PageMessage:
    """One message of the page; raises :class:`Rejected` (``size``, ``page``)."""
    if len(data) > MESSAGE_MAX:
        raise Rejected("size")
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Rejected("page") from None
