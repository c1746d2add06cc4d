"""`ping`: which path leads to a peer, and how long it takes, without a call.

Law 1: a ping lives as long as this process; Ctrl-C ends it, and still prints what was measured.
Law 2: the last line is the `ended` event (or its summary), and the exit code says why it ended.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshcall import limits
from meshcall.cli.call import JsonLinesOption
from meshcall.cli.contacts import PeerArgument, check_link
from meshcall.cli.durations import parse_duration
from meshcall.cli.output import display_name, emit, emit_json, note
from meshcall.cli.session import session_of
from meshcall.errors import DaemonLost
from meshcall.reporting import printable

if TYPE_CHECKING:
    from meshcall.control.client import EventStream

EXIT_INTERRUPTED = 130

_STEPS = {
    "looking-up": "looking up",
    "calling": "asking",
    "reached": "reached its machine",
    "answered": "answered; trying paths",
}


def ping(
    context: typer.Context,
    peer: PeerArgument,
    count: Annotated[
        int | None,
        typer.Option("--count", "-c", metavar="N", help="How many probes: 10, or 30 with --until-direct."),
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", "-i", metavar="TIME", help="Time between two probes.")
    ] = "1s",
    until_direct: Annotated[
        bool, typer.Option("--until-direct", help="End at the first reply that no relay carried.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Show which path leads to a peer, and how long it takes.

    Nothing rings; only contacts are answered. Exit code 0: it answered (with --until-direct: directly).
    """
    from meshcall.call.ping import check_plan
    from meshcall.control.models import StartPing

    session = session_of(context)
    check_link(peer)
    if count is None:
        count = limits.PING_COUNT_UNTIL_DIRECT if until_direct else limits.PING_COUNT
    seconds = parse_duration(interval, "--interval")
    check_plan(count, seconds)
    body = StartPing(peer=peer, count=count, interval=seconds, until_direct=until_direct)
    shown = Shown(peer, as_json=as_json, quiet=session.quiet)
    with session.client.attach("pings", body=body) as stream, _ends_on_interrupt(stream) as interrupted:
        try:
            for event in stream:
                shown.show(event)
        except DaemonLost:
            if not interrupted:
                raise
    if interrupted:
        shown.close()
        raise typer.Exit(EXIT_INTERRUPTED)
    if shown.ended is None:
        raise DaemonLost("the daemon stopped during the ping")
    if shown.ended.get("error"):
        from meshcall.control.client import error_from

        raise error_from(shown.ended["error"])


@contextmanager
def _ends_on_interrupt(stream: EventStream) -> Iterator[list[bool]]:
    """Ctrl-C drops the stream, which ends the ping; what was shown until then can be summed up."""
    happened: list[bool] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        happened.append(True)
        stream.abandon()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield happened
    finally:
        signal.signal(signal.SIGINT, before)


class Shown:
    """What a person, or a script, sees of a ping."""

    def __init__(self, who: str, *, as_json: bool = False, quiet: bool = False) -> None:
        self.ended: dict[str, Any] | None = None
        """The last event."""
        self._who = who
        self._json = as_json
        self._quiet = quiet
        self._rtts: list[float] = []
        self._sent = 0

    def show(self, event: dict[str, Any]) -> None:
        """Print it; unknown events (of a newer daemon) are passed over, but for ``--json``."""
        kind = event.get("event")
        if kind == "ended":
            self.ended = event
        if self._json:
            emit_json(event, line=True)
        elif kind == "step":
            text = _STEPS.get(str(event.get("step")))
            if text and not self._quiet:
                note(f"{self._who}: {text}")
        elif kind == "reply":
            self._rtts.append(float(event["rtt_ms"]))
            self._sent = int(event["seq"])
            emit(reply_text(event, terminal=sys.stdout.isatty()))
        elif kind == "silent":
            self._sent = int(event["seq"])
            emit(f"{event['seq']}: no reply" if sys.stdout.isatty() else f"{event['seq']}\t\t\t\t")
        elif kind == "ended" and not self._quiet:
            self._who = display_name(event)
            for line in summary_lines(event, self._who):
                note(line)

    def close(self) -> None:
        """Sum up a ping that was interrupted."""
        if self._json or self._quiet or not self._sent:
            return
        rtts = self._rtts
        event = {
            "sent": self._sent,
            "received": len(rtts),
            "rtt_min_ms": min(rtts, default=None),
            "rtt_mean_ms": sum(rtts) / len(rtts) if rtts else None,
            "rtt_max_ms": max(rtts, default=None),
        }
        for line in summary_lines(event, self._who):
            note(line)


def reply_text(event: dict[str, Any], *, terminal: bool) -> str:
    """A reply as a line: for a terminal a sentence, for a pipe number, milliseconds, path and both ends."""
    seq, rtt, path = event["seq"], event["rtt_ms"], event["path"]
    if not terminal:
        cells = (str(seq), f"{rtt:.1f}", path, event["local"], event["remote"])
        return "\t".join(map(printable, cells))
    changed = f", was {event['before']}" if event.get("before") else ""
    return printable(f"{seq}: {rtt:.1f} ms, {path}{changed}  ({event['local']} -> {event['remote']})")


def summary_lines(event: dict[str, Any], who: str) -> list[str]:
    """What was measured, in one or two sentences; nothing if nothing was sent."""
    sent, received = event["sent"], event["received"]
    if not sent:
        return []
    lost = f", {100 * (sent - received) / sent:.0f} % lost" if received < sent else ""
    text = f"{who}: {sent} sent, {received} answered{lost}"
    if received:
        least, mean, most = (event[f"rtt_{name}_ms"] for name in ("min", "mean", "max"))
        text += f"; round trip {least:.1f} to {most:.1f} ms, {mean:.1f} on average"
    lines = [text]
    if event.get("direct_ms") is not None:
        lines.append(f"direct {event['direct_ms'] / 1000:.2f} s after the start")
    elif event.get("path") == "relay":
        lines.append("all replies came through a relay")
    if event.get("explanation"):
        lines.append(f"path: {event['explanation']}")
    if event.get("better"):
        lines.append(f"better with: {'; '.join(event['better'])}")
    return lines
