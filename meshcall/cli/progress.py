"""What a person sees of a call: how it comes about on stderr, chat and the summary on stdout."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any

from meshcall.cli.output import display_name, emit, emit_fields, emit_json, note
from meshcall.cli.timeline import better_text, path_text, timeline_lines, why_text
from meshcall.reporting import phrase, printable

Event = dict[str, Any]

_STEPS: dict[str, str] = {
    "looking-up": "looking up",
    "calling": "calling",
    "ringing": "ringing",
    "incoming": "incoming",
    "connecting": "connecting",
}

_REASONS: dict[str, str] = {
    "hangup": "hung up",
    "cancelled": "cancelled",
    "declined": "declined",
    "busy": "busy",
    "no-answer": "no answer",
    "offline": "offline",
    "no-path": "no path",
    "peer-gone": "the peer disappeared",
    "confirm-failed": "the other end could not prove who it is",
    "media-failed": "the media process failed",
    "answered-elsewhere": "answered elsewhere",
    "shutdown": "the daemon stopped",
}

_CLEAR_LINE = "\r\x1b[K"


class JsonEvents:
    """Every event as one line of JSON."""

    def show(self, event: Event) -> None:
        """Print it."""
        emit_json(event, line=True)


class HumanEvents:
    """A line that grows (looking up, ringing, connecting, path), then the summary."""

    def __init__(self, who: str, *, quiet: bool = False, verbose: bool = False) -> None:
        self._who = who
        self._quiet = quiet
        self._verbose = verbose
        self._steps: list[str] = []
        self._line_open = False
        self._source_over = False
        self._named = False
        self._showers: dict[str, Callable[[Event], None]] = {
            "connected": self._connected,
            "chat": self._chat,
            "media": self._media,
            "source-ended": self._source_ended,
            "record-failed": lambda event: self._say(f"recording failed: {phrase(event.get('message', ''))}"),
            "path": self._path,
            "degraded": self._degraded,
            "lagged": lambda event: self._say(
                "events came faster than they could be shown; some are missing"
            ),
            "ended": self._ended,
        }

    def show(self, event: Event) -> None:
        """Print what a person wants to know of it; unknown events (of a newer daemon) are passed over."""
        kind = str(event.get("event"))
        named = event.get("name") or event.get("self_name")
        if named or (event.get("peer_id") and not self._named):
            self._named = True
            self._who = display_name(event)
        if kind == "calling" and event.get("reached"):
            self._step("reached")
        elif kind in _STEPS:
            self._step(_STEPS[kind])
        elif shower := self._showers.get(kind):
            shower(event)

    def _step(self, text: str) -> None:
        if self._quiet or self._steps[-1:] == [text]:
            return
        self._steps.append(text)
        if sys.stderr.isatty():
            line = printable(f"{self._who}: {' → '.join(self._steps)}")
            if len(line) >= (width := shutil.get_terminal_size().columns):  # only one row can be drawn anew
                line = printable(f"{self._who}: {text}")[: width - 1]
            sys.stderr.write(_CLEAR_LINE + line)
            sys.stderr.flush()
            self._line_open = True
        else:
            note(f"{self._who}: {text}")

    def close_line(self) -> None:
        """End the growing line, so that something else can be printed."""
        if self._line_open:
            sys.stderr.write("\n")
            self._line_open = False

    def _say(self, text: str) -> None:
        self.close_line()
        if not self._quiet:
            note(text)

    def _connected(self, event: Event) -> None:
        setup = f", {event['setup_ms']:.0f} ms" if event.get("setup_ms") is not None else ""
        self._step(f"connected ({event.get('path') or 'path unknown'}{setup})")
        self.close_line()

    def _chat(self, event: Event) -> None:
        self.close_line()
        sender = "you" if event.get("sender") == "me" else self._who
        emit(printable(f"{sender}: {event.get('text', '')}"))

    def _media(self, event: Event) -> None:
        if self._verbose:
            self._say(f"first {event.get('kind')} arrived")

    def _path(self, event: Event) -> None:
        path, why = event.get("path"), str(event.get("why") or "")
        because = f" ({why_text(why)})" if why else ""
        self._say(f"path is now {path}{because}" if path else "the peer does not answer; reconnecting")

    def _degraded(self, event: Event) -> None:
        why = str(event.get("why") or "")
        self._say(f"the connection is {why_text(why)}" if why else "the connection is well again")

    def _source_ended(self, event: Event) -> None:
        if not self._source_over:  # once, not for sound and picture
            self._say("what you send has come to its end; the call goes on")
        self._source_over = True

    def _ended(self, event: Event) -> None:
        self.close_line()
        if self._quiet or (event.get("error") and event.get("setup_ms") is None):
            return  # the error says it
        emit_fields(summary_fields(event, self._who))


def reason_text(event: Event) -> str:
    """Why the call ended."""
    reason = str(event.get("reason", ""))
    return _REASONS.get(reason, reason)


def summary_fields(event: Event, who: str) -> list[tuple[str, str]]:
    """What is told of a call that has ended."""
    fields = [("call", f"with {who}: {reason_text(event)}")]
    if event.get("setup_ms") is None:
        return fields
    received = event.get("received") or {}
    frames, seconds = received.get("video_frames", 0), received.get("audio_seconds", 0.0)
    fields += [
        ("path", path_text(event)),
        ("setup", f"{event['setup_ms']:.0f} ms"),
        ("received", f"{frames} video frames, {seconds:.1f} s of audio"),
    ]
    if screen := received.get("screen_frames", 0):
        fields.append(("", f"{screen} frames of a shared screen"))
    if better := better_text(event):
        fields.append(("better with", better))
    lines = timeline_lines(event)
    fields += [("" if number else "timeline", line) for number, line in enumerate(lines)]
    if event.get("record"):
        fields.append(("recorded", str(event["record"])))
    return fields
