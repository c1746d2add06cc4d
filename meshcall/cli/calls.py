"""`calls`, `history`, `decline`, `hangup` and `chat`: what to do with calls that are there, or were."""

from __future__ import annotations

import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshcall.cli.durations import format_age, format_duration, format_time
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import display_name, emit, emit_json, emit_table, note
from meshcall.cli.progress import reason_text
from meshcall.cli.session import Session, session_of
from meshcall.cli.timeline import better_text, path_text, timeline_lines
from meshcall.errors import MeshcallError, NoSuchCall, UsageError
from meshcall.reporting import printable

if TYPE_CHECKING:
    from meshcall.control.client import EventStream

CallArgument = Annotated[
    str,
    typer.Argument(
        metavar="CALL",
        help="ID (or its start) or peer of the call; the only one if left out.",
        show_default=False,
    ),
]

TYPING_POLL = 0.2
"""Seconds between two looks whether the call has ended while somebody types."""


def calls(
    context: typer.Context,
    as_json: JsonOption = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Tell of each how it came about, and which paths it took.")
    ] = False,
) -> None:
    """List the calls: those that live, and the last that ended."""
    document = session_of(context).client.get("calls")
    if as_json:
        emit_json(document)
        return
    if timeline:
        _tell_timelines(document["calls"])
        return
    now_ms = time.time_ns() // 1_000_000
    full = not sys.stdout.isatty()
    rows = [
        (
            *_which(view, full),
            f"ended: {view['reason']}" if view["state"] == "ended" else view["state"],
            view["path"],
            format_age(view["since_ms"], now_ms),
        )
        for view in sorted(document["calls"], key=lambda view: bool(view["state"] == "ended"))
    ]
    emit_table(("call", "", "peer", "state", "path", "since"), rows, empty="no calls")


def _tell_timelines(views: list[dict[str, Any]]) -> None:
    """A paragraph for each call."""
    if not views:
        note("no calls")
    for number, view in enumerate(views):
        if number:
            emit("")
        state = f"ended: {view['reason']}" if view["state"] == "ended" else view["state"]
        emit(printable(f"{' '.join(_which(view, full=True))}: {state}"))
        if view.get("explanation"):
            emit(printable(f"  path: {path_text(view)}"))
        if better := better_text(view):
            emit(printable(f"  better with: {better}"))
        for line in timeline_lines(view):
            emit(printable(f"  {line}"))


def history(
    context: typer.Context,
    as_json: JsonOption = False,
    missed: Annotated[bool, typer.Option("--missed", help="Only calls that nobody took.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most so many, the newest.")
    ] = 50,
) -> None:
    """List past calls, newest first.

    Missed ones no longer count as new then (but with --json they do).
    """
    client = session_of(context).client
    document = client.get("history", limit=limit, missed=int(missed))
    if as_json:
        emit_json(document)
        return
    now_ms = time.time_ns() // 1_000_000
    full = not sys.stdout.isatty()
    rows = [
        (
            *_which(view, full),
            _outcome(view),
            view["path"],
            _talked(view),
            format_time(view["started_ms"]) if full else format_age(view["started_ms"], now_ms),
        )
        for view in document["calls"]
    ]
    headings = ("call", "", "peer", "how it ended", "path", "talked", "when")
    emit_table(headings, rows, empty="no missed calls" if missed else "no calls")
    if new := [view["id"] for view in document["calls"] if view["missed"] and not view["seen"]]:
        from meshcall.control.models import SeeMissed

        client.send("POST", "history", "seen", body=SeeMissed(calls=new))


def _who(view: dict[str, Any]) -> str:
    """The other side; whom we have a name for, though no contact, is blocked."""
    why = "blocked" if view["name"] else "not a contact"
    return display_name(view) + (f" ({why})" if view["stranger"] else "")


def _which(view: dict[str, Any], full: bool) -> tuple[str, str, str]:
    """Its id, ``full`` or as much as people need; the direction; who is at the other end."""
    return (
        view["id"] if full else view["id"][:8],
        "from" if view["direction"] == "in" else "to",
        _who(view),
    )


def _outcome(view: dict[str, Any]) -> str:
    """In words; a missed call that nobody has looked at is marked."""
    if view["ended_ms"] is None:
        return "goes on"
    if not view["missed"]:
        return reason_text(view)
    why = {"offline": "missed while offline", "cancelled": "missed, cancelled", "busy": "missed, busy"}
    return why.get(view["reason"], "missed") + ("" if view["seen"] else " (new)")


def _talked(view: dict[str, Any]) -> str:
    if view["connected_ms"] is None or view["ended_ms"] is None:
        return ""
    return format_duration((view["ended_ms"] - view["connected_ms"]) / 1000)


def decline(
    context: typer.Context,
    call_id: CallArgument = "-",
    say: Annotated[str, typer.Option(metavar="TEXT", help="A line that the caller is shown.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Decline a call."""
    session = session_of(context)
    from meshcall.control.models import DeclineCall  # late, as the client

    view = session.client.send("POST", "calls", call_id, "decline", body=DeclineCall(say=say))
    if as_json:
        emit_json(view)
    elif not session.quiet:
        note(f"declined {display_name(view)}")


def hangup(context: typer.Context, call_id: CallArgument = "-", as_json: JsonOption = False) -> None:
    """Hang up a call, or cancel one that still rings."""
    session = session_of(context)
    view = session.client.send("POST", "calls", call_id, "hangup")
    if as_json:
        emit_json(view)
    elif not session.quiet:
        note(f"hung up on {display_name(view)}")


def chat(
    context: typer.Context,
    peer: Annotated[
        str, typer.Argument(metavar="PEER|CALL", help="Whom to write to, in a call; - for the only one.")
    ],
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT|-", help="What to write; - sends lines from stdin.", show_default=False),
    ] = None,
) -> None:
    """Write to somebody in a call.

    Without TEXT, chat on the terminal.
    """
    session = session_of(context)
    if text and text != ["-"]:
        _send(session, peer, " ".join(text))
    elif text:
        for line in sys.stdin:
            if line.strip():
                _send(session, peer, line.rstrip("\r\n"))
    elif sys.stdin.isatty():
        _converse(session, peer)
    else:
        raise UsageError(
            "there is no terminal to chat on", hint="give the text, or - to send lines from stdin"
        )


def _send(session: Session, peer: str, text: str) -> None:
    from meshcall.control.models import CHAT_MAX, SendChat

    if not text or len(text) > CHAT_MAX:
        raise UsageError(f"a line of chat has 1 to {CHAT_MAX} characters")
    session.client.send("POST", "calls", peer, "chat", body=SendChat(text=text))


def _converse(session: Session, peer: str) -> None:
    view = session.client.get("calls", peer)
    call_id, who = str(view["id"]), display_name(view)
    if view["state"] == "ended":
        raise NoSuchCall(f"there is no call with {who} now")
    over = threading.Event()
    with session.client.listen(call_id) as stream:
        reader = threading.Thread(target=_show_chat, args=(stream, who, over), daemon=True)
        reader.start()
        note(f"chatting with {who}; Ctrl-D ends the chat, not the call")
        try:
            _type(session, call_id, over)
        finally:
            stream.abandon()
            reader.join(1)


def _type(session: Session, call_id: str, over: threading.Event) -> None:
    """Send what is typed, line by line, until there is no more or the call is over."""
    while not over.is_set():
        ready, _, _ = select.select([sys.stdin], [], [], TYPING_POLL)
        if not ready:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            _send(session, call_id, line.rstrip("\r\n"))


def _show_chat(stream: EventStream, who: str, over: threading.Event) -> None:
    try:
        for event in stream:
            if event.get("event") == "chat" and event.get("sender") != "me":
                emit(printable(f"{who}: {event.get('text', '')}"))
            elif event.get("event") == "ended":
                note(f"the call ended: {reason_text(event)}")
    except (MeshcallError, OSError, ValueError):
        return  # the stream was closed under us: the chat is over
    finally:
        over.set()
