"""`call` and `answer`: a call from the command line, from the first ring to its summary.

Law 1: the call lives as long as this process: Ctrl-C, a closed terminal and kill -9 all end it.
Law 2: the last line is the `ended` event (or its summary), and the exit code says why it ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from meshcall.cli.contacts import PeerArgument, check_link
from meshcall.cli.durations import parse_duration
from meshcall.cli.output import emit, emit_json, note
from meshcall.cli.progress import HumanEvents, JsonEvents
from meshcall.cli.session import Session, session_of
from meshcall.errors import DaemonLost, MeshcallError, NoAnswer, RecordFailed
from meshcall.media_paths import absolute_record, absolute_source, check_record, check_source

if TYPE_CHECKING:
    from meshcall.control.client import EventStream

HANGUP_GRACE = 3.0
"""Seconds to wait for the call's summary after Ctrl-C."""

EXIT_INTERRUPTED = 130

SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="S",
        help="What to send: FILE, testsrc, camera[:N], screen, mic, camera+mic, none; else the daemon's.",
    ),
]
RecordOption = Annotated[
    str | None, typer.Option("--record", metavar="FILE", help="Record what arrives into a new file (.mkv).")
]
DurationOption = Annotated[
    str | None, typer.Option("--duration", metavar="TIME", help="Hang up this long after it was connected.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Return at once and leave the call to the daemon.")
]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")]


def call(
    context: typer.Context,
    peer: PeerArgument,
    source: SourceOption = None,
    record: RecordOption = None,
    duration: DurationOption = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long it may ring.")] = "60s",
    wait: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="How long to keep trying while the peer is offline.", show_default=False
        ),
    ] = "0",
    detach: DetachOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Call somebody. Ctrl-C hangs up."""
    from meshcall.control.models import StartCall

    session = session_of(context)
    check_link(peer)
    body = StartCall(
        peer=peer,
        source=_source(source),
        record=_record(record),
        timeout=parse_duration(timeout, "--timeout"),
        wait=parse_duration(wait, "--wait", zero=True),
        duration=None if duration is None else parse_duration(duration, "--duration"),
        attach=not detach,
    )
    if detach:
        _show_started(session, session.client.send("POST", "calls", body=body), as_json=as_json)
        return
    with session.client.attach("calls", body=body) as stream:
        follow(session, stream, peer, as_json=as_json)


def answer(
    context: typer.Context,
    call_id: Annotated[
        str,
        typer.Argument(
            metavar="CALL", help="ID or caller of the call; the only one if left out.", show_default=False
        ),
    ] = "-",
    source: SourceOption = None,
    record: RecordOption = None,
    duration: DurationOption = None,
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="Wait for a call this long.", show_default=False)
    ] = "0",
    detach: DetachOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Answer a call. Ctrl-C hangs up."""
    from meshcall.control.models import AnswerCall

    session = session_of(context)
    seconds = parse_duration(wait, "--wait", zero=True)
    body = AnswerCall(
        source=_source(source),
        record=_record(record),
        duration=None if duration is None else parse_duration(duration, "--duration"),
        attach=not detach,
    )
    if seconds:
        call_id = _wait_for_call(session, call_id, seconds)
    if detach:
        view = session.client.send("POST", "calls", call_id, "answer", body=body)
        _show_started(session, view, as_json=as_json)
        return
    with session.client.attach("calls", call_id, "answer", body=body) as stream:
        follow(session, stream, "caller", as_json=as_json)


def follow(session: Session, stream: EventStream, who: str, *, as_json: bool) -> None:
    """Show a call's events to their end, then exit with the code of its end."""
    shown = JsonEvents() if as_json else HumanEvents(who, quiet=session.quiet, verbose=session.verbose > 0)
    ended: dict[str, Any] | None = None
    not_recorded: str | None = None
    with HangUpOnInterrupt(session, stream) as interrupt:
        try:
            for event in stream:
                interrupt.call_id = event.get("call") or interrupt.call_id
                shown.show(event)
                if event.get("event") == "ended":
                    ended = event
                elif event.get("event") == "record-failed":
                    not_recorded = str(event.get("message"))
        except DaemonLost:
            if not interrupt.happened:
                raise
    if isinstance(shown, HumanEvents):
        shown.close_line()
    if interrupt.happened:
        raise typer.Exit(EXIT_INTERRUPTED)
    if ended is None:
        raise DaemonLost("the daemon stopped during the call")
    if ended.get("error"):
        from meshcall.control.client import error_from

        raise error_from(ended["error"])
    if not_recorded is not None:
        kept = "what was recorded until then is kept" if ended.get("record") else None
        raise RecordFailed(f"the recording broke off: {not_recorded}", hint=kept)


class HangUpOnInterrupt:
    """While entered, the first Ctrl-C hangs up and lets the stream come to its end; the second one leaves.

    A handler that does not raise: an exception in the middle of reading would lose part of the stream, and
    with it the call's summary.
    """

    def __init__(self, session: Session, stream: EventStream) -> None:
        self._session = session
        self._stream = stream
        self._over = threading.Event()
        self.call_id: str | None = None
        """What to hang up; None until the first event: then leaving is enough."""
        self.happened = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        self._over.set()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.happened or self.call_id is None:
            raise KeyboardInterrupt
        self.happened = True
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), b"\n")  # the terminal has shown ^C; a handler can't use the buffer
        threading.Thread(target=self._hang_up, args=(self.call_id,), daemon=True).start()

    def _hang_up(self, call_id: str) -> None:
        with contextlib.suppress(MeshcallError):  # it ended by itself in this moment, or the daemon did
            self._session.client.send("POST", "calls", call_id, "hangup")
        if not self._over.wait(HANGUP_GRACE):
            self._stream.abandon()


def _wait_for_call(session: Session, wanted: str, seconds: float) -> str:
    """The ID of a call that comes in, or is there already; :class:`NoAnswer` after ``seconds``."""
    deadline = time.monotonic() + seconds
    # listening begins before looking, so that no call falls between the two
    with session.client.listen() as stream:
        for view in session.client.get("calls")["calls"]:
            if view["state"] == "incoming" and _is_wanted(wanted, str(view["id"]), view):
                return str(view["id"])
        if not session.quiet:
            note("waiting for a call")
        events = iter(stream)
        while (left := deadline - time.monotonic()) > 0:
            stream.set_timeout(left)
            try:
                event = next(events, None)
            except TimeoutError:
                break
            if event is None:
                raise DaemonLost
            if event.get("event") == "incoming" and _is_wanted(wanted, str(event["call"]), event):
                return str(event["call"])
    raise NoAnswer("nobody called", hint="`--wait TIME` says how long to wait")


def _is_wanted(wanted: str, call_id: str, view: dict[str, Any]) -> bool:
    """Whether the call that comes in is the one that the user waits for: any, or one of that caller or ID."""
    caller = (str(view.get("name", "")).casefold(), view.get("peer_id"))
    return wanted == "-" or wanted.casefold() in caller or call_id.startswith(wanted.lower())


def _show_started(session: Session, view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(view, line=True)
    else:
        emit(view["id"])


def _source(text: str | None) -> str | None:
    if text is None:
        return None
    source = absolute_source(text, Path.cwd())
    check_source(source)
    return source


def _record(text: str | None) -> str | None:
    if text is None:
        return None
    path = absolute_record(text, Path.cwd())
    check_record(path)
    return str(path)
