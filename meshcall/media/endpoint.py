"""What carries a call's media: the interface that every media endpoint keeps, and what it reports.

Law 1: only octets, numbers and these events cross the interface, so that an endpoint can live in a process of
its own.
Law 2: octets from the peer enter through ``answer``, ``accept`` and ``add_candidates``, which raise
:class:`Rejected` and nothing else for them.
Law 3: no media leaves or is decoded before ``open_gate``.
Law 4: ``close`` may be called at any moment, any number of times, and frees everything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from meshcall.media.plan import MediaKind
from meshcall.media.quality import Trouble
from meshcall.views import LayerKind

PathKind = Literal["lan", "direct", "relay"]


@dataclass(frozen=True, slots=True)
class SelectedCandidate:
    """One end of the selected candidate pair (RFC 8445 section 4)."""

    kind: str
    """``host``, ``srflx``, ``prflx`` or ``relay``."""
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class LocalCandidates:
    """Candidates of ours that were found after the description was made (RFC 8838), for the peer."""

    candidates: bytes
    """Encoded."""


@dataclass(frozen=True, slots=True)
class IceConnected:
    """A candidate pair was selected, or another one than before."""

    local: SelectedCandidate
    remote: SelectedCandidate
    path: PathKind
    why: str = "first"
    """See :data:`meshcall.ice.events.Why`."""


@dataclass(frozen=True, slots=True)
class PathBroken:
    """Nothing answers on any path now; the next is IceConnected, or TransportLost."""


@dataclass(frozen=True, slots=True)
class PathQuality:
    """The path is a poor one now, or a good one again."""

    trouble: Trouble
    """What is wrong; empty: nothing any more."""


@dataclass(frozen=True, slots=True)
class Secured:
    """DTLS is done. The fingerprints are of the certificates that were used, whatever was signalled."""

    local_fp: bytes
    """SHA-256 of our certificate, 32 octets."""
    remote_fp: bytes
    """SHA-256 of the peer's certificate, 32 octets."""


@dataclass(frozen=True, slots=True)
class ControlOpen:
    """The control channel carries messages."""


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A message from the peer on the control channel. Untrusted until the peer's confirm is verified."""

    data: bytes
    """At most CONTROL_MESSAGE_MAX octets."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the session for the peer, by another way than the control channel: no path answers."""

    data: bytes
    """As on the control channel."""


@dataclass(frozen=True, slots=True)
class FirstMedia:
    """The first decoded audio or picture after the gate opened."""

    kind: MediaKind


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The source has no more of this kind; silence or the last picture is sent from here on."""

    kind: MediaKind


@dataclass(frozen=True, slots=True)
class Speaking:
    """Somebody begins to speak into the source, or ends to."""

    speaking: bool


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """The recording can't be written any more; the call goes on, what was written is kept."""

    message: str


@dataclass(frozen=True, slots=True)
class ShareFailed:
    """What was to be shared can't be opened: nothing is shared, the call goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class TransportLost:
    """A connected call lost its peer; nothing more arrives."""

    reason: Literal["no-response", "closed"]
    """``no-response``: consent expired; ``closed``: the peer closed its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The endpoint did not get connected and is closed."""

    reason: str
    """``no-path``, ``dtls``, ``fingerprint``, ``no-control``, ``abandoned``, ``media-failed`` or
    ``internal``."""
    detail: str = field(default="", compare=False)
    """A sentence, where there is more to say."""
    cause: str = field(default="", compare=False)
    """Why there is no path, of :data:`meshcall.ice.verdict.Cause`."""


EndpointEvent = (
    LocalCandidates
    | IceConnected
    | PathBroken
    | PathQuality
    | Secured
    | ControlOpen
    | ControlMessage
    | Change
    | FirstMedia
    | SourceEnded
    | Speaking
    | RecordFailed
    | ShareFailed
    | TransportLost
    | Failed
)


@dataclass(frozen=True, slots=True)
class KindStats:
    """Counters of one kind of media."""

    frames_sent: int = 0
    """Frames given to the encoder since the gate opened."""
    frames_received: int = 0
    """Frames decoded since the gate opened."""
    frames_recorded: int = 0
    """Frames written to the recording."""
    packets_lost: int = 0
    """RTP packets that the peer sent and that did not arrive (RFC 3550 section 6.4.1)."""
    codec: str = ""
    """Name of the codec in use, such as ``opus`` or ``VP8``."""
    frames_recovered: int = 0
    """Of sound: lost on their way, and had from copies."""
    packets_repaired: int = 0
    """Of pictures: lost on their way, and sent again because we asked."""
    freezes: int = 0
    """Times that pictures stood still for more than 0.2 s for want of packets."""
    frozen_ms: int = 0
    """How long they did, in all."""
    longest_freeze_ms: int = 0
    concealed_ms: int = 0
    """Sound that was made up in the place of what was missing."""
    lag_ms: int = 0
    """How long the last frame waited here before it was played, against the fastest of the last seconds."""
    height: int = 0
    """Pixels of the last picture that was decoded; 0: there was none, or it is not known."""
    layer: str = ""
    """Which pictures are sent, such as ``720p30``, or ``none``; and why no higher ones:
    :data:`meshcall.media.layers.Why`. Empty: none can be sent.
    """


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """A snapshot of an endpoint."""

    audio: KindStats = field(default_factory=KindStats)
    video: KindStats = field(default_factory=KindStats)
    screen: KindStats = field(default_factory=KindStats)
    """Pictures of a shared screen."""
    audio_seconds_received: float = 0.0
    """Length of the sound that was played, with what was made up in the place of what was missing."""
    sync_ms: int | None = None
    """How much later sound comes out than the picture of the same moment; None: not known yet."""
    """Length of the sound that was decoded."""
    path: PathKind | Literal[""] = ""
    """Empty: no pair was selected yet."""
    rtt_ms: float | None = None
    """Round trip of the last consent check."""
    route: str = ""
    """The selected pair, and why it was selected: ``host 192.0.2.1 -> srflx 198.51.100.7 (better)``."""
    timeline: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds from the endpoint's making to each of its steps."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What was dropped or refused, by reason."""
    recorded: str | None = None
    """The recording, if anything was written."""


class MediaEndpoint(Protocol):
    """One end of one call's media."""

    async def offer(self) -> bytes:
        """Our offer, encoded, host candidates included.

        Raises :class:`SourceUnusable`, :class:`RecordTargetExists`, :class:`RecordFailed` or
        :class:`MeshcallError`; the endpoint is closed then.
        """

    async def answer(self, offer: bytes) -> bytes:
        """Our answer to an offer; raises :class:`Rejected` for what the peer sent, else as ``offer``."""

    async def accept(self, answer: bytes) -> None:
        """Take the peer's answer; raises :class:`Rejected`."""

    async def add_candidates(self, candidates: bytes) -> None:
        """Take more of the peer's candidates; raises :class:`Rejected`."""

    def change(self, data: bytes) -> None:
        """Take a change of the session by the peer that did not come on the control channel."""

    async def open_gate(self) -> None:
        """Send media, and decode and record what arrives, from now on: the peer's confirm was verified."""

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Send nothing of this kind from now on, or send it again; in a browser its page does so."""

    def share(self, source: str) -> None:
        """Send the pictures of another source, too, as a shared screen; empty: no more.

        In a browser its page does so by itself.
        """

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """The peer can show pictures of at most ``height`` pixels (0: none) and ``fps`` a second (0: any)."""

    def send_control(self, data: bytes) -> None:
        """Send on the control channel, or as soon as it opens. Dropped when the call is over.

        Raises ValueError for more than CONTROL_MESSAGE_MAX octets, and :class:`PeerGone` if the peer
        stopped reading.
        """

    def events(self) -> AsyncIterator[EndpointEvent]:
        """What happens, in order, for one reader; ends when the endpoint is closed."""

    def statistics(self) -> EndpointStats:
        """A snapshot; after ``close`` the last one."""

    async def close(self) -> EndpointStats:
        """End everything and finish the recording; may be called again."""
