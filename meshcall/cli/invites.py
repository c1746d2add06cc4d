"""`invite` and `accept`: becoming each other's contact with one link."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from meshcall.cli.durations import format_duration, parse_duration
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import display_name, emit, emit_json, note
from meshcall.cli.session import session_of
from meshcall.errors import InvalidInvite


def invite(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once/--many", help="For one person, or for all who get it.")
    ] = True,
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it can be used.")] = "24h",
    qr: Annotated[bool, typer.Option("--qr", help="Draw a QR code too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a link that makes you and its reader contacts.

    Whoever runs `meshcall accept LINK` and you become each other's contacts.
    """
    from meshcall.control.models import CreateInvite

    session = session_of(context)
    body = CreateInvite(once=once, expires=parse_duration(expires, "--expires"))
    document = session.client.send("POST", "invites", body=body)
    if as_json:
        emit_json(document)
        return
    if qr:
        from meshcall.cli.qr import show_qr

        show_qr(document["uri"])
    emit(document["uri"])
    if not session.quiet:
        whom = "one person" if document["once"] else "all who get it"
        life = format_duration(document["expires_s"])
        note(f"for {whom}, for {life}; the other side runs: meshcall accept 'LINK'")


def accept(
    context: typer.Context,
    uri: Annotated[str, typer.Argument(metavar="LINK", help="The link that you were given.")],
    as_json: JsonOption = False,
) -> None:
    """Accept an invite: you and its maker become contacts."""
    from meshcall.control.models import AcceptInvite

    session = session_of(context)
    if not uri.strip():
        raise InvalidInvite("no link was given")
    view = session.client.send("POST", "invites", "accept", body=AcceptInvite(uri=uri))
    if as_json:
        emit_json(view)
    elif not session.quiet:
        name = view["name"] or view["peer_id"]
        note(f"{display_name(view)} is now your contact; call with `meshcall call {shlex.quote(name)}`")
