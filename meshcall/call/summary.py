"""What is told about a call when it is over, and the exception that each reason raises."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from meshcall import errors
from meshcall.call.events import EndReason
from meshcall.call.timeline import Path, Timeline
from meshcall.errors import MeshcallError

_ERRORS: Final[dict[EndReason, type[MeshcallError] | None]] = {
    EndReason.HANGUP: None,
    EndReason.CANCELLED: None,
    EndReason.ANSWERED_ELSEWHERE: None,
    EndReason.SHUTDOWN: None,
    EndReason.DECLINED: errors.Declined,
    EndReason.BUSY: errors.Busy,
    EndReason.NO_ANSWER: errors.NoAnswer,
    EndReason.OFFLINE: errors.PeerOffline,
    EndReason.NO_PATH: errors.NoPath,
    EndReason.PEER_GONE: errors.PeerGone,
    EndReason.CONFIRM_FAILED: errors.ConfirmFailed,
    EndReason.CLOCK: errors.ClockWrong,
    EndReason.UNSUPPORTED: errors.UnsupportedPeer,
    EndReason.SOURCE: errors.SourceUnusable,
    EndReason.RECORD: errors.RecordFailed,
    EndReason.MEDIA_FAILED: errors.MediaFailed,
    EndReason.FAILED: errors.MeshcallError,
}


def reason_error(reason: EndReason) -> type[MeshcallError] | None:
    """The exception that a call which ended for ``reason`` raises; None: somebody wanted it to end."""
    return _ERRORS[reason]


@dataclass(frozen=True, slots=True)
class MediaTotals:
    """Media that went one way."""

    video_frames: int = 0
    """Decoded, or encoded."""
    audio_seconds: float = 0.0
    """Decoded, or encoded."""

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"video_frames": self.video_frames, "audio_seconds": round(self.audio_seconds, 3)}


@dataclass(frozen=True, slots=True)
class CallSummary:
    """A call that is over."""

    reason: EndReason
    """Why it ended."""
    path: Path = ""
    """The last path; empty: there never was one."""
    setup_ms: float | None = None
    """From dial (or from the answer, on the callee's side) to connected; None: it never was."""
    timeline: dict[str, float] = field(default_factory=dict)
    """Marks, ms since the call's start."""
    phases: dict[str, float] = field(default_factory=dict)
    """How long each phase took, ms."""
    received: MediaTotals = MediaTotals()
    """From the peer."""
    sent: MediaTotals = MediaTotals()
    """To the peer."""

    @classmethod
    def of(cls, reason: EndReason, path: Path, timeline: Timeline) -> CallSummary:
        """Without media, which the shell knows: see :meth:`with_media`."""
        return cls(reason, path, timeline.setup_ms(), timeline.marks(), timeline.phases())

    def with_media(self, *, received: MediaTotals, sent: MediaTotals) -> CallSummary:
        """A copy that tells what went both ways."""
        return replace(self, received=received, sent=sent)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "reason": str(self.reason),
            "path": self.path,
            "setup_ms": self.setup_ms,
            "timeline": self.timeline,
            "phases": self.phases,
            "received": self.received.to_dict(),
            "sent": self.sent.to_dict(),
        }
