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
from meshcall.aio.files.home import open_home
from meshcall.aio.files.keyfile import change_passphrase, create_key, key_is_locked, load_peer_id
from meshcall.errors import HomeNotUsable, MeshcallError, NoIdentity
from meshcall.identity.peer_id import PeerId
from meshcall.passphrase import new_passphrase
from meshcall.paths import HomePaths, choose_home
from meshcall.reporting import print_error, write_result

CREATED = "made an identity"
"""What is said of a new one."""


def ensure_identity(path: Path, *, lock: bool) -> tuple[PeerId, str]:
    """The ID of the home at ``path``, and what was done in words. ``lock``: with a passphrase."""
    # asked before anything is made: who is not sure about a passphrase leaves nothing behind
    passphrase = new_passphrase() if lock and not path.exists() else None
    home = open_home(path)
    try:
        peer_id, done = load_peer_id(home), "there is an identity already"
        if lock and not key_is_locked(home):
            change_passphrase(home, None, passphrase or new_passphrase())
            done = "locked the identity"
    except NoIdentity:
        if lock and passphrase is None:
            passphrase = new_passphrase()
        key = create_key(home, passphrase)
        peer_id, done = PeerId.from_key(key.public), CREATED
    ensure_public_id(home, peer_id)
    return peer_id, done


def ensure_public_id(home: HomePaths, peer_id: PeerId) -> None:
    """See that the ID stands as text beside the key, for `meshcall id`."""
    path = home.public_id
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
        home = choose_home(options.home)
        peer_id, done = ensure_identity(home, lock=options.passphrase)
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    try:
        if options.json:
            document = {"schema": 1, "peer_id": peer_id.text, "created": done == CREATED, "home": str(home)}
            write_result(json.dumps(document, separators=(",", ":")))
        else:
            write_result(peer_id.text)
    except MeshcallError as error:
        print_error(error)
        return error.exit_code
    if not options.json and not options.quiet:
        sys.stderr.write(f"{done} in {home}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
