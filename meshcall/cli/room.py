"""`room`: meetings, from the command line.

Law 1: a room is the daemon's: it goes on when the command has returned.
Law 2: a command that waits (`join` before a locked door, `status --watch`) ends with Ctrl-C, and so does the
waiting.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from meshcall.cli.call import EXIT_INTERRUPTED, SourceOption
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_fields, emit_json, emit_table, note
from meshcall.cli.session import Session, session_of
from meshcall.cli.status import count
from meshcall.errors import (
    ClockWrong,
    DaemonLost,
    MeshcallError,
    NotInRoom,
    RoomRefused,
    RoomSilent,
    UsageError,
)
from meshcall.media_paths import absolute_source, check_source
from meshcall.reporting import printable

room_commands = typer.Typer(
    help="Meetings: rooms on this LAN and beyond.", rich_markup_mode=None, add_completion=False
)

RoomArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROOM",
        help="Name or ID (or its start) of the room; the only one if left out.",
        show_default=False,
    ),
]
RoomOption = Annotated[
    str,
    typer.Option("--room", metavar="ROOM", help="Name or ID of the room; the only one if left out."),
]
RecordFolderOption = Annotated[
    str | None,
    typer.Option("--record", metavar="DIR", help="Record each member into a file of its own in this folder."),
]
RecordMixedOption = Annotated[
    str | None,
    typer.Option("--record-mixed", metavar="DIR", help="Record all members into one file in this folder."),
]
MemberArgument = Annotated[str, typer.Argument(metavar="MEMBER", help="Name, as the room shows it, or ID.")]

_OVER: dict[str, MeshcallError] = {
    "declined": RoomRefused("a member of the room said no"),
    "removed": RoomRefused("the room's creator has removed this machine"),
    "full": RoomRefused("the room is full"),
    "busy": RoomRefused("too many wait to be let into that room"),
    "clock": ClockWrong("the clock of this machine and those of the room's members differ too much"),
    "no-answer": RoomSilent("nobody let us in"),
    "gone": RoomSilent("who was asked has left the room"),
}


@room_commands.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called.")],
    secret: Annotated[bool, typer.Option("--secret", help="Do not show its name on the LAN.")] = False,
    lan: Annotated[bool, typer.Option("--lan", help="Look for members on this LAN alone.")] = False,
    source: SourceOption = None,
    record: RecordFolderOption = None,
    record_mixed: RecordMixedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a room and go in."""
    from meshcall.control.models import CreateRoom

    session = session_of(context)
    body = CreateRoom(
        name=name,
        secret=secret,
        lan_only=lan,
        source=_source(source),
        record=_folder(record),
        record_mixed=_folder(record_mixed),
    )
    view = session.client.send("POST", "rooms", body=body)
    if as_json:
        emit_json(view)
    elif not session.quiet:
        who = "who has its link or a code" if secret else "anybody on this LAN"
        note(f"in {view['name']!r}; {who} can join: meshcall room join {shlex.quote(view['name'])}")
        note("others: `meshcall room invite` makes a link, `meshcall room code` a code to say aloud")


@room_commands.command("list")
def list_rooms(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the rooms on this LAN, and those that this machine is in or knows."""
    session = session_of(context)
    document = session.client.get("rooms")
    if as_json:
        emit_json(document)
        return
    joined = [view for view in document["rooms"] if view["state"] != "known"]
    known = [view for view in document["rooms"] if view["state"] == "known"]
    rows = [(view["name"], view["state"], str(len(view["members"])), _kind(view)) for view in joined]
    rows += [
        (view["name"] or "(secret)", "here", str(view["members"]), _kind(view))
        for view in document["here"]
        if not view["joined"]
    ]
    rows += [(view["name"], "known", "", _kind(view)) for view in known]
    emit_table(("room", "", "members", "kind"), rows, empty="no rooms on this network")


@room_commands.command()
def join(
    context: typer.Context,
    room: Annotated[
        str, typer.Argument(metavar="NAME|LINK|CODE", help="The room's name on this LAN, a link or a code.")
    ],
    source: SourceOption = None,
    record: RecordFolderOption = None,
    record_mixed: RecordMixedOption = None,
    at: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT]",
            help="A machine in the room, where the network carries no multicast.",
            show_default=False,
        ),
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait at a locked door until a member answers.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Go into a room."""
    from meshcall.control.models import JoinRoom

    session = session_of(context)
    if not room.strip():
        raise UsageError("no room was named", hint="`meshcall room list` shows those on this LAN")
    body = JoinRoom(
        room=room,
        source=_source(source),
        record=_folder(record),
        record_mixed=_folder(record_mixed),
        at=at,
    )
    # listening begins before asking, so that no answer falls between the two
    with session.client.listen() as stream:
        view = session.client.send("POST", "rooms", "join", body=body)
        if view["state"] == "waiting" and wait:
            if not session.quiet:
                note("the door is locked: a member has to let you in (Ctrl-C gives up)")
            view = _wait_at_the_door(session, stream, view)
    if as_json:
        emit_json(view)
    elif not session.quiet:
        if view["state"] == "joined":
            others = len(view["members"]) - 1
            note(f"in {view['name']!r}" + (f", with {count(others, 'other')}" if others > 0 else ""))
        else:
            note("knocked; `meshcall room status` tells whether you were let in")


def _wait_at_the_door(session: Session, stream: Any, view: dict[str, Any]) -> dict[str, Any]:
    waiting = str(view["id"])
    try:
        for event in stream:
            if event.get("event") != "room-ended" or event.get("room") != waiting:
                continue
            reason = str(event.get("reason"))
            if reason == "admitted":
                return session.client.get("rooms", str(view["name"]))
            raise _OVER.get(reason, RoomRefused(f"not let in: {reason}"))
    except KeyboardInterrupt:
        session.client.send("POST", "rooms", waiting, "leave")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    raise DaemonLost


@room_commands.command()
def leave(context: typer.Context, room: RoomArgument = "-", as_json: JsonOption = False) -> None:
    """Leave a room. The others go on."""
    _send(context, room, "leave", as_json=as_json, said="left {name!r}")


@room_commands.command()
def forget(context: typer.Context, room: RoomArgument, as_json: JsonOption = False) -> None:
    """Leave a room and forget its secret: the way back is by invitation."""
    session = session_of(context)
    session.client.send("DELETE", "rooms", room)
    if as_json:
        emit_json({"schema": 1})
    elif not session.quiet:
        note(f"forgot {room!r}")


@room_commands.command()
def status(
    context: typer.Context,
    room: RoomArgument = "-",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing what changes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who is in a room, and how each is connected."""
    session = session_of(context)
    view = session.client.get("rooms", room)
    if not watch:
        emit_json(view) if as_json else _show(view)
        return
    room_id = str(view["id"])
    with session.client.listen() as stream:
        _watched(session.client.get("rooms", room_id), as_json=as_json)
        try:
            for event in stream:
                kind = event.get("event")
                if kind == "room" and event["room"]["id"] == room_id:
                    _watched(event["room"], as_json=as_json)
                elif kind == "room-ended" and event.get("room") == room_id:
                    raise NotInRoom("this machine is not in the room any more")
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
    raise DaemonLost


def _watched(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(view, line=True)
        return
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[2J\x1b[H")
    _show(view)


@room_commands.command()
def invite(
    context: typer.Context,
    room: RoomArgument = "-",
    qr: Annotated[bool, typer.Option("--qr", help="Draw it as a QR code, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a link that leads into a room. Whoever has it gets in."""
    session = session_of(context)
    document = session.client.send("POST", "rooms", room, "invite")
    if as_json:
        emit_json(document)
        return
    if qr:
        from meshcall.cli.qr import show_qr

        show_qr(document["uri"])
    emit(document["uri"])
    if not session.quiet:
        note("whoever has this link gets in: meshcall room join 'LINK'")


@room_commands.command()
def code(context: typer.Context, room: RoomArgument = "-", as_json: JsonOption = False) -> None:
    """Print a short code to say aloud; it leads into the room for ten minutes, on this LAN."""
    session = session_of(context)
    document = session.client.send("POST", "rooms", room, "code")
    if as_json:
        emit_json(document)
        return
    emit(document["code"])
    if not session.quiet:
        minutes = round(document["expires_s"] / 60)
        note(f"for {count(minutes, 'minute')}: meshcall room join {document['code']}")


def _send(
    context: typer.Context, room: str, verb: str, *, as_json: bool, said: str, body: Any = None
) -> None:
    """Ask for a change and say that it was made; ``said`` may name the view's fields."""
    session = session_of(context)
    view = session.client.send("POST", "rooms", room, verb, body=body)
    if as_json:
        emit_json(view)
    elif not session.quiet:
        note(said.format(**view))


@room_commands.command()
def lock(context: typer.Context, room: RoomArgument = "-", as_json: JsonOption = False) -> None:
    """Have who comes without a link knock."""
    from meshcall.control.models import LockRoom

    _send(context, room, "lock", as_json=as_json, said="{name!r} is locked", body=LockRoom())


@room_commands.command()
def unlock(context: typer.Context, room: RoomArgument = "-", as_json: JsonOption = False) -> None:
    """Let in whoever asks by name."""
    from meshcall.control.models import LockRoom

    body = LockRoom(locked=False)
    _send(context, room, "lock", as_json=as_json, said="{name!r} is open", body=body)


@room_commands.command()
def admit(
    context: typer.Context, peer: MemberArgument, room: RoomOption = "-", as_json: JsonOption = False
) -> None:
    """Let in somebody who knocks."""
    from meshcall.control.models import AdmitToRoom

    body = AdmitToRoom(peer=peer)
    _send(context, room, "admit", as_json=as_json, said="let in", body=body)


@room_commands.command()
def refuse(
    context: typer.Context, peer: MemberArgument, room: RoomOption = "-", as_json: JsonOption = False
) -> None:
    """Do not let in somebody who knocks."""
    from meshcall.control.models import AdmitToRoom

    body = AdmitToRoom(peer=peer, admit=False)
    _send(context, room, "admit", as_json=as_json, said="refused", body=body)


@room_commands.command()
def remove(
    context: typer.Context, peer: MemberArgument, room: RoomOption = "-", as_json: JsonOption = False
) -> None:
    """Put a member out for good; only who made the room may."""
    from meshcall.control.models import NameMember

    _send(context, room, "remove", as_json=as_json, said="removed", body=NameMember(peer=peer))


@room_commands.command()
def block(
    context: typer.Context,
    peer: MemberArgument,
    undo: Annotated[bool, typer.Option("--undo", help="See and hear the member again.")] = False,
    room: RoomOption = "-",
    as_json: JsonOption = False,
) -> None:
    """See and hear nothing more of a member; the others go on with it."""
    from meshcall.control.models import BlockMember

    body = BlockMember(peer=peer, blocked=not undo)
    _send(context, room, "block", as_json=as_json, said="unblocked" if undo else "blocked", body=body)


@room_commands.command()
def chat(
    context: typer.Context,
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to write.")],
    room: RoomOption = "-",
    as_json: JsonOption = False,
) -> None:
    """Write a line to all members."""
    from meshcall.control.models import CHAT_MAX, SayInRoom

    line = " ".join(text)
    if not line or len(line) > CHAT_MAX:
        raise UsageError(f"a line of chat has 1 to {CHAT_MAX} characters")
    document = session_of(context).client.send("POST", "rooms", room, "chat", body=SayInRoom(text=line))
    if as_json:
        emit_json(document)


@room_commands.command()
def hand(
    context: typer.Context,
    down: Annotated[bool, typer.Option("--down", help="Take it down again.")] = False,
    room: RoomOption = "-",
    as_json: JsonOption = False,
) -> None:
    """Raise your hand."""
    from meshcall.control.models import SetRoomState

    said = "hand is down" if down else "hand is up"
    _send(context, room, "state", as_json=as_json, said=said, body=SetRoomState(hand=not down))


WhatArgument = Annotated[str, typer.Argument(metavar="[audio|video|all]", help="What.", show_default=False)]


@room_commands.command()
def mute(
    context: typer.Context, what: WhatArgument = "audio", room: RoomOption = "-", as_json: JsonOption = False
) -> None:
    """Send no sound (or no pictures) to the room."""
    _set_muted(context, room, what, on=False, as_json=as_json)


@room_commands.command()
def unmute(
    context: typer.Context, what: WhatArgument = "audio", room: RoomOption = "-", as_json: JsonOption = False
) -> None:
    """Send sound (or pictures) again."""
    _set_muted(context, room, what, on=True, as_json=as_json)


def _set_muted(context: typer.Context, room: str, what: str, *, on: bool, as_json: bool) -> None:
    from meshcall.control.models import SetRoomState

    if what not in ("audio", "video", "all"):
        raise UsageError(f"{what!r} is not audio, video or all")
    body = SetRoomState(
        audio=on if what in ("audio", "all") else None, video=on if what in ("video", "all") else None
    )
    said = f"{what} is {'on' if on else 'off'}"
    _send(context, room, "state", as_json=as_json, said=said, body=body)


@room_commands.command()
def share(
    context: typer.Context,
    room: Annotated[
        str, typer.Argument(metavar="ROOM", help="Name or ID (or its start) of the room; -: the only one.")
    ],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="screen[:DISPLAY], FILE, testsrc, camera[:N].")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a screen, a file or another camera to the room, beside what is sent already."""
    from meshcall.control.models import ShareInRoom

    body = ShareInRoom(source=_source(source) or "")
    _send(context, room, "share", as_json=as_json, said="sharing {sharing}", body=body)


@room_commands.command()
def unshare(context: typer.Context, room: RoomArgument = "-", as_json: JsonOption = False) -> None:
    """Share nothing any more."""
    _send(context, room, "unshare", as_json=as_json, said="nothing is shared")


# --- showing --------------------------------------------------------------------------------------


def _show(view: dict[str, Any]) -> None:
    """A room for people."""
    fields = [("room", view["name"]), ("state", view["state"]), ("kind", _kind(view)), ("id", view["id"])]
    if view["code"]:
        fields.append(("code", view["code"]))
    if view["sharing"]:
        fields.append(("sharing", view["sharing"]))
    if view["strained"]:
        fields.append(("strained", "this machine is too slow for more: it asks the others for less"))
    if view["trouble"]:
        fields.append(("trouble", view["trouble"]))
    fields += [
        ("knocks", f"{knock['name'] or knock['peer_id'][:7]}: meshcall room admit {knock['peer_id'][:7]}…")
        for knock in view["knocks"]
    ]
    fields += [("blocked", one["name"] or one["contact"] or one["peer_id"]) for one in view["blocked"]]
    emit_fields([(name, value) for name, value in fields if value])
    rows = [
        (
            ("* " if member["me"] else "") + member["name"],
            member["state"],
            _media(member),
            member["path"],
            "" if member["me"] else _received(member),
            member["short"],
        )
        for member in view["members"]
    ]
    if rows:
        emit_table(("member", "", "sends", "path", "received", "id"), rows)


def _kind(view: dict[str, Any]) -> str:
    words = [word for word in ("secret", "locked") if view.get(word)] or ["open"]
    return ", ".join([*words, "code"] if view.get("code") is True else words)


def _media(member: dict[str, Any]) -> str:
    words = [word for word in ("audio", "video", "screen", "hand", "speaking") if member[word]]
    return printable(", ".join(words) or "nothing")


def _received(member: dict[str, Any]) -> str:
    got = member["received"]
    screen = f", {got['screen_frames']} of a screen" if got["screen_frames"] else ""
    return f"{count(got['video_frames'], 'picture')}{screen}, {got['audio_seconds']:.1f} s"


def _source(text: str | None) -> str | None:
    """The source, for a daemon that works in another folder."""
    if text is None:
        return None
    source = absolute_source(text, Path.cwd())
    check_source(source)
    return source


def _folder(text: str | None) -> str | None:
    if text is None:
        return None
    if not text:
        raise UsageError("the folder to record into has no name")
    return str(Path(text).absolute())
