"""`relay`: credentials for the relay that this daemon lends, and the configuration of a coturn."""

from __future__ import annotations

from typing import Annotated

import typer

from meshcall.cli.durations import format_duration, parse_duration
from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_fields, emit_json, note
from meshcall.cli.session import session_of


def relay(
    context: typer.Context,
    life: Annotated[str, typer.Option("--for", metavar="TIME", help="How long they are good.")] = "1h",
    coturn: Annotated[
        bool,
        typer.Option("--coturn", help="Print a turnserver.conf for a coturn that this daemon lends instead."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make credentials for the relay that this daemon lends.

    Any TURN client takes them. With `--coturn`: print what makes a coturn take those that this daemon grants.
    """
    session = session_of(context)
    if coturn:
        document = session.client.get("relay", "coturn")
        if as_json:
            emit_json(document)
            return
        emit(document["config"].rstrip("\n"))
        if not session.quiet and not document["lent"]:
            note("start coturn with it, and the daemon with `--coturn PORT`, where others reach them")
        return
    seconds = int(parse_duration(life, "--for"))
    document = session.client.get("relay", "credentials", str(seconds))
    if as_json:
        emit_json(document)
        return
    emit_fields(
        [
            *(("url", url) for url in document["urls"]),
            ("username", document["username"]),
            ("password", document["password"]),
        ]
    )
    if not session.quiet:
        note(f"whoever has them may use the relay for {format_duration(seconds)}")
