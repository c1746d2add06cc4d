"""Where a passphrase comes from: the file that MESHCALL_PASSPHRASE_FILE names, or the terminal.

Law: it never comes from an argument or an environment variable's value, which other processes can read,
and nothing is ever asked without a terminal.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from meshcall.errors import IdentityError, LoosePermissions, PassphraseNeeded, UsageError

VARIABLE = "MESHCALL_PASSPHRASE_FILE"
LENGTH_MAX = 1024
"""Octets of a passphrase (a wrong file, such as a disk image)."""


def existing_passphrase() -> str:
    """The passphrase that opens the key; :class:`PassphraseNeeded` if there is nowhere to get it from."""
    if path := os.environ.get(VARIABLE):
        return read_passphrase_file(Path(path))
    if not sys.stdin.isatty():
        raise PassphraseNeeded
    return _ask("Passphrase: ")


def new_passphrase() -> str:
    """A passphrase to lock a key with, asked twice on a terminal."""
    if path := os.environ.get(VARIABLE):
        return read_passphrase_file(Path(path))
    if not sys.stdin.isatty():
        raise PassphraseNeeded("a passphrase can only be asked on a terminal")
    first = _ask("New passphrase: ")
    if not first:
        raise UsageError("an empty passphrase protects nothing")
    if _ask("Again: ") != first:
        raise UsageError("the two passphrases differ", hint="nothing was changed; try again")
    return first


def read_passphrase_file(path: Path) -> str:
    """The first line of ``path``, which only its owner may read if it is a regular file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise LoosePermissions(
                    f"other users of this machine can read the passphrase in {path}", hint=f"chmod 600 {path}"
                )
            content = file.read(LENGTH_MAX + 1)
    except OSError as error:
        raise IdentityError(
            f"the passphrase file {path} can't be read: {error.strerror}", hint=f"{VARIABLE} names it"
        ) from error
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise IdentityError(f"the passphrase file {path} is not text") from None
    if not text or len(content) > LENGTH_MAX:
        raise IdentityError(f"the passphrase file {path} does not hold one line of text")
    return text


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except EOFError:
        sys.stderr.write("\n")  # after the prompt
        raise PassphraseNeeded("no passphrase was given") from None
