"""`peers` and `contact ...`: whom you know and who is near."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from meshcall.cli.durations import format_age
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import display_name, emit_json, emit_table, note
from meshcall.cli.session import Session, session_of
from meshcall.errors import InvalidPeerId, UsageError

PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="A contact's name, a full ID or a link.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A contact's name, or its full ID.")]


def peers(
    context: typer.Context,
    as_json: JsonOption = False,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Full IDs for contacts too, also on a terminal.")
    ] = False,
) -> None:
    """List contacts and the peers on this LAN."""
    document = session_of(context).client.get("peers")
    if as_json:
        emit_json(document)
        return
    now_ms = time.time_ns() // 1_000_000
    full = long or not sys.stdout.isatty()
    rows = [
        (
            display_name(peer),
            peer["peer_id"] if full or not peer["contact"] else peer["short"],
            "blocked" if peer["blocked"] else "contact" if peer["contact"] else "unknown",
            peer["presence"],
            format_age(peer["last_seen_ms"], now_ms),
        )
        for peer in document["peers"]
    ]
    emit_table(
        ("name", "id", "who", "presence", "last seen"), rows, empty="no contacts, and nobody on this LAN"
    )


contact_commands = typer.Typer(
    help="Whom you know, by the names you give.", rich_markup_mode=None, add_completion=False
)


@contact_commands.command("add")
def contact_add(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|LINK", help="The ID or link that you were given.")],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="What you call it; else what the link says.", show_default=False),
    ] = "",
    name_option: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The same.", show_default=False)
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Add a contact."""
    from meshcall.control.models import AddContact

    if name and name_option:
        raise UsageError("give the name once")
    check_link(peer)
    session = session_of(context)
    view = session.client.send("POST", "contacts", body=AddContact(peer=peer, name=name or name_option))
    _show_contact(session, view, "added", as_json=as_json)


@contact_commands.command("list")
def contact_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the contacts."""
    document = session_of(context).client.get("contacts")
    if as_json:
        emit_json(document)
        return
    rows = [
        (view["name"], view["peer_id"], "blocked" if view["blocked"] else "") for view in document["contacts"]
    ]
    emit_table(
        ("name", "id", "state"), rows, empty="no contacts; add one with `meshcall contact add ID NAME`"
    )


@contact_commands.command("rename")
def contact_rename(
    context: typer.Context,
    name: NameArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    as_json: JsonOption = False,
) -> None:
    """Give a contact another name."""
    from meshcall.control.models import RenameContact

    session = session_of(context)
    view = session.client.send("PATCH", "contacts", name, body=RenameContact(name=new))
    _show_contact(session, view, "renamed to", as_json=as_json)


@contact_commands.command("remove")
def contact_remove(context: typer.Context, name: NameArgument) -> None:
    """Forget a contact."""
    session = session_of(context)
    session.client.send("DELETE", "contacts", name)
    if not session.quiet:
        note(f"removed {name}")


@contact_commands.command("block")
def contact_block(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Never let this contact or ID ring again."""
    session = session_of(context)
    view = session.client.send("POST", "contacts", name, "block")
    _show_contact(session, view, "blocked", as_json=as_json)


@contact_commands.command("unblock")
def contact_unblock(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Let a blocked contact ring again."""
    session = session_of(context)
    view = session.client.send("POST", "contacts", name, "unblock")
    _show_contact(session, view, "unblocked", as_json=as_json)


def check_link(text: str) -> None:
    """Raise :class:`InvalidPeerId` for what a script passes when its variable is empty."""
    if not text.strip():
        raise InvalidPeerId("no ID was given")


def _show_contact(session: Session, view: dict[str, object], verb: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(view)
    elif not session.quiet:
        note(f"{verb} {display_name(view)} ({view.get('short')})")
