"""The key file: the one file that can't be made again.

Law 1: it is never overwritten by a new identity, and never set aside: a damaged key stops the start.
Law 2: it is read only if it is a regular file of ours that nobody else can read.
"""

from __future__ import annotations

import os

from meshcall import limits
from meshcall.aio.clock import system_random
from meshcall.aio.files.atomic import create_exclusive, open_regular, write_atomic
from meshcall.aio.files.home import check_private
from meshcall.errors import FileError, HomeNotUsable, KeyFileError, LoosePermissions, NoIdentity
from meshcall.identity.keys import Random, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.vault import decode_vault, encode_vault, is_locked, vault_public
from meshcall.paths import HomePaths


def create_key(
    home: HomePaths, passphrase: str | None = None, *, random: Random = system_random
) -> SigningKey:
    """A new identity in a home that has none; raises :class:`KeyFileError` if there is one, or if it can't be
    written (then there is none).
    """
    key = SigningKey.generate(random)
    try:
        create_exclusive(home.key, encode_vault(key.seed, passphrase, random))
    except FileExistsError:
        raise KeyFileError(f"there is an identity in {home.key} already") from None
    except OSError as error:
        raise KeyFileError(f"the key file {home.key} can't be written: {error.strerror}") from error
    return key


def load_key(home: HomePaths, passphrase: str | None = None) -> SigningKey:
    """The identity of a home.

    Raises :class:`NoIdentity`, :class:`PassphraseNeeded`, :class:`WrongPassphrase`, :class:`LoosePermissions`
    or :class:`KeyFileError`.
    """
    return SigningKey.from_seed(decode_vault(_read(home), passphrase))


def load_peer_id(home: HomePaths) -> PeerId:
    """The ID of a home, without its passphrase. Raises as :func:`load_key`, but nothing about passphrases."""
    return PeerId.from_key(vault_public(_read(home)))


def key_is_locked(home: HomePaths) -> bool:
    """Whether the key needs a passphrase. Raises as :func:`load_peer_id`."""
    return is_locked(_read(home))


def change_passphrase(
    home: HomePaths, old: str | None, new: str | None, *, random: Random = system_random
) -> None:
    """Lock the key with ``new``, or open it (None); raises as :func:`load_key`, then nothing changed."""
    seed = decode_vault(_read(home), old)
    data = encode_vault(seed, new, random)
    try:
        write_atomic(home.key, data)
    except OSError as error:
        raise KeyFileError(f"the key file {home.key} can't be written: {error.strerror}") from error


def _read(home: HomePaths) -> bytes:
    path = home.key
    try:
        with open_regular(path) as descriptor:
            check_private(path, os.fstat(descriptor), "chmod 600")
            return os.read(descriptor, limits.KEY_FILE_MAX)
    except FileNotFoundError:
        raise NoIdentity(f"there is no identity in {home.path} yet") from None
    except LoosePermissions:
        raise
    except (FileError, HomeNotUsable) as error:
        raise KeyFileError(
            f"the key file can't be used: {error}",
            hint=error.hint or "the key must be a regular file of yours with mode 0600, no link",
        ) from None
    except OSError as error:
        raise KeyFileError(f"the key file {path} can't be read: {error.strerror}") from error
