"""`echo`: have the daemon answer contacts with the test source, so that one person can try two machines.

Law 1: only contacts are answered; the calls of others ring as ever.
Law 2: the calls that it answered live as long as this process: Ctrl-C, the end of its time and kill -9 end
them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from meshcall.cli.call import JsonLinesOption
from meshcall.cli.durations import format_duration, parse_duration
from meshcall.cli.output import display_name, emit, emit_json, note
from meshcall.cli.progress import reason_text
from meshcall.cli.session import Session, session_of
from meshcall.errors import DaemonLost, MeshcallError
from meshcall.reporting import phrase, printable

if TYPE_CHECKING:
    from meshcall.control.client import EventStream

SOURCE: Final = "testsrc"
"""A moving picture and a tone."""


def echo(
    context: typer.Context,
    life: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Stop after this long.", show_default=False)
    ] = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Answer contacts with a test picture and tone.

    To try calls between two machines, alone. Ctrl-C hangs up and ends it.
    """
    session = session_of(context)
    seconds = None if life is None else parse_duration(life, "--for")
    answerer = _Answerer(session, as_json=as_json)
    try:
        answerer.run(seconds)
    finally:
        answerer.hang_up()


class _Answerer:
    def __init__(self, session: Session, *, as_json: bool) -> None:
        self._session = session
        self._as_json = as_json
        self._calls: dict[str, tuple[str, EventStream, float]] = {}
        """By the call's ID: who, what keeps it alive, and when it was answered."""

    def run(self, seconds: float | None) -> None:
        """Answer until ``seconds`` have passed, or for ever."""
        deadline = None if seconds is None else time.monotonic() + seconds
        # listening begins before looking, so that no call falls between the two
        with self._session.client.listen() as stream:
            if not self._session.quiet:
                span = "" if seconds is None else f" for {format_duration(seconds)}"
                note(f"contacts are answered with a test picture and tone{span}; Ctrl-C ends it")
            for view in self._session.client.get("calls")["calls"]:
                if view["state"] == "incoming":
                    self._meet(str(view["id"]), view)
            events = iter(stream)
            while True:
                if deadline is not None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return
                    stream.set_timeout(left)
                try:
                    event = next(events, None)
                except TimeoutError:
                    return
                if event is None:
                    raise DaemonLost
                self._see(event)

    def hang_up(self) -> None:
        """End the calls that were answered."""
        for call_id, (_, stream, _) in self._calls.items():
            with contextlib.suppress(MeshcallError):  # it ended by itself in this moment, or the daemon did
                self._session.client.send("POST", "calls", call_id, "hangup")
            stream.abandon()

    def _see(self, event: dict[str, Any]) -> None:
        call_id = str(event.get("call", ""))
        if event.get("event") == "incoming":
            self._meet(call_id, event)
        elif event.get("event") == "lagged":
            raise DaemonLost("the daemon's events came faster than they could be read", hint="run it again")
        elif call_id in self._calls:
            who, stream, since = self._calls[call_id]
            if self._as_json:
                emit_json(event, line=True)
            elif event.get("event") == "connected":
                emit(printable(f"{who}: connected ({event.get('path') or 'path unknown'})"))
            elif event.get("event") == "ended":
                length = format_duration(time.monotonic() - since)
                emit(printable(f"{who}: {reason_text(event)} after {length}"))
            if event.get("event") == "ended":
                del self._calls[call_id]
                stream.abandon()

    def _meet(self, call_id: str, view: dict[str, Any]) -> None:
        """Answer a call that comes in, if a contact calls."""
        from meshcall.control.models import AnswerCall

        who = display_name(view)
        if call_id in self._calls:
            return
        if view.get("stranger"):
            note(f"{who} calls, who is not a contact: not answered")
            return
        try:
            stream = self._session.client.attach(
                "calls", call_id, "answer", body=AnswerCall(source=SOURCE, attach=True)
            )
        except MeshcallError as error:  # taken by somebody else, or given up, in this moment
            note(f"{who} called, but was not answered: {phrase(str(error))}")
            return
        self._calls[call_id] = (who, stream, time.monotonic())
        threading.Thread(target=_drain, args=(stream,), daemon=True).start()
        if self._as_json:
            caller = {name: view.get(name, "") for name in ("peer_id", "name", "self_name")}
            emit_json({"schema": 1, "event": "answered", "call": call_id, **caller}, line=True)
        else:
            emit(printable(f"{who}: called, answered"))


def _drain(stream: EventStream) -> None:
    """Read a call's own events, which the common stream tells too: else the daemon would think us dead."""
    with contextlib.suppress(MeshcallError, OSError, ValueError), stream:
        for _ in stream:
            pass
