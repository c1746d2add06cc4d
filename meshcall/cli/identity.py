"""`init` and `id`: making an identity, and showing it. Neither needs a daemon."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from meshcall.cli.output import emit, emit_json
from meshcall.cli.session import session_of
from meshcall.errors import HomeNotUsable, InvalidPeerId, KeyFileError, NoIdentity, UsageError
from meshcall.paths import HomePaths

if TYPE_CHECKING:
    from meshcall.identity.peer_id import PeerId

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def init(
    context: typer.Context,
    passphrase: Annotated[
        bool,
        typer.Option(
            "--passphrase",
            help="Lock the key with a passphrase (asked on the terminal, or read from the file named by "
            "MESHCALL_PASSPHRASE_FILE).",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make your identity, and print its ID. Does nothing if there is one already."""
    session = session_of(context)
    # another program: making a key needs the crypto library, which the command line never loads
    # -P: no modules of the folder that we are in, which others may write to
    command = [sys.executable, "-P", "-m", "meshcall.setup_home", "--home", str(session.paths.path)]
    command += ["--passphrase"] if passphrase else []
    command += ["--json"] if as_json else []
    command += ["--quiet"] if session.quiet else []
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell


def show_id(
    context: typer.Context,
    as_json: JsonOption = False,
    qr: Annotated[bool, typer.Option("--qr", help="Draw a QR code of the link.")] = False,
    uri: Annotated[bool, typer.Option("--uri", help="Print a link.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Print the short form (for display only).")] = False,
) -> None:
    """Show your ID: give it to those who may call you."""
    if sum((as_json, qr, uri, short)) > 1:
        raise UsageError("give only one of --json, --qr, --uri and --short")
    from meshcall.identity.uri import PeerUri

    peer_uri = PeerUri(_read_public_id(session_of(context).paths))
    peer_id = peer_uri.peer_id
    if as_json:
        emit_json(
            {
                "schema": 1,
                "peer_id": peer_id.text,
                "grouped": peer_id.grouped,
                "short": peer_id.short,
                "uri": peer_uri.format(),
            }
        )
    elif qr:
        from meshcall.cli.qr import show_qr

        show_qr(peer_uri.qr_text())
        emit(peer_uri.format())
    elif uri:
        emit(peer_uri.format())
    elif short:
        emit(peer_id.short)
    else:
        emit(peer_id.grouped if sys.stdout.isatty() else peer_id.text)


def _read_public_id(paths: HomePaths) -> PeerId:
    from meshcall.identity.peer_id import PeerId

    try:
        with paths.public_id.open(encoding="ascii", errors="replace") as file:
            text = file.read(256)
    except FileNotFoundError:
        raise NoIdentity(f"there is no identity in {paths.path} yet") from None
    except OSError as error:
        raise HomeNotUsable(f"{paths.public_id} can't be read: {error.strerror}") from error
    try:
        return PeerId.parse(text.strip())
    except InvalidPeerId:
        raise KeyFileError(
            f"{paths.public_id} is damaged", hint="`meshcall init` writes it again from the key"
        ) from None
