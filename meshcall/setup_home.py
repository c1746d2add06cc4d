"""Make a home and its identity: what `meshcall init` runs. Idempotent.

Law 1: an identity that is there is never replaced; what is missing beside it is added.
Law 2: the ID goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from meshcall.aio.files.atomic import write_atomic
from meshcall.aio.files.home import Home, open_home
from meshcall.aio.files.keyfile import change_passphrase, create_key, key_is_locked, load_peer_id
from meshcall.errors import HomeNotUsable, MeshcallError, NoIdentity
from meshcall.identity.peer_id import PeerId
from meshcall.passphrase import new_passphrase
from meshcall.paths import HomePaths, choose_home
from meshcall.reporting import print_error


def ensure_identity(home: Home, *, lock: bool) -> tuple[PeerId, bool]:
    """The home's ID, and whether it was made now. ``lock``: see that the key has a passphrase."""
    try:
        peer_id, created = load_peer_id(home), False
        if lock and not key_is_locked(home):
            change_passphrase(home, None, new_passphrase())
    except NoIdentity:
        key = create_key(home, new_passphrase() if lock else None)
        peer_id, created = PeerId.from_key(key.public), True
    ensure_public_id(home, peer_id)
    return peer_id, created


def ensure_public_id(home: Home, peer_id: PeerId) -> None:
    """See that the ID stands as text beside the key, for `meshcall id`."""
    path = HomePaths(home.path).public_id
    content = f"{peer_id.text}\n".encode()
    try:
        if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
            return
        write_atomic(path, content)
    except OSError as error:
        raise HomeNotUsable(f"{path} can't be written: {error.strerror}") from error


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="meshcall init", description="Make an identity.")
    parser.add_argument("--home", metavar="DIR")
    parser.add_argument("--passphrase", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        home = open_home(Path(choose_home(options.home)))
        peer_id, created = ensure_identity(home, lock=options.passphrase)
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    if options.json:
        document = {"schema": 1, "peer_id": peer_id.text, "created": created, "home": str(home.path)}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(peer_id.text + "\n")
        if not options.quiet:
            verb = "made an identity" if created else "there is an identity already"
            sys.stderr.write(f"{verb} in {home.path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
