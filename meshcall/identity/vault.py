"""The identity's seed at rest: the octets of the key file.

Law 1: damage, a wrong passphrase and a file that is no key file are three different answers.
Law 2: the public key stands in clear, so the ID can be shown while the seed is locked; it is checked against
the seed whenever that is opened.
Law 3: what a file asks of Argon2id is capped, since a tampered file must not take the machine's memory.

::

     0        8        9       10                42
    +--------+--------+--------+-----------------+------+----------+
    | magic  |version | kind   |  public key     | body | checksum |
    +--------+--------+--------+-----------------+------+----------+
    magic    8   "meshcall"
    version  1   1
    kind     1   0 open, 1 locked with a passphrase
    public   32  Ed25519 public key
    body         open:   32  seed
                 locked: u32 Argon2id KiB | u32 passes | u8 lanes | 16 salt | 12 nonce | 48 ciphertext and tag
    checksum 4   SHA-256("meshcall/vault" 0x00 everything before)[0:4]; finds damage, protects nothing

    An open file has 78 octets, a locked one 131. Numbers are big-endian.
    The ciphertext is ChaCha20-Poly1305 of the seed under Argon2id(NFC of the passphrase in UTF-8), with all
    octets before the ciphertext as associated data.
"""

from __future__ import annotations

import hmac
import struct
import unicodedata
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from meshcall import limits
from meshcall.errors import KeyFileError, PassphraseNeeded, Rejected, WrongPassphrase
from meshcall.identity.keys import Random, SigningKey, aead_open_untrusted, aead_seal, sha256

MAGIC: Final = b"meshcall"
VERSION: Final = 1
OPEN: Final = 0
LOCKED: Final = 1

_HEAD: Final = struct.Struct("!8sBB32s")
_LOCK: Final = struct.Struct("!IIB16s12s")
_OPEN_LENGTH: Final = _HEAD.size + 32 + 4
_LOCKED_LENGTH: Final = _HEAD.size + _LOCK.size + 48 + 4
_RESTORE: Final = (
    "restore the file from a backup; without one, `meshcall init` in a new home makes a new identity"
)


def encode_vault(seed: bytes, passphrase: str | None, random: Random) -> bytes:
    """The key file of ``seed`` (32 octets), locked if there is a passphrase (then it takes about 0.2 s).

    Raises :class:`KeyFileError` for a passphrase that is empty or no text.
    """
    public = SigningKey.from_seed(seed).public
    if passphrase is None:
        return _with_checksum(_HEAD.pack(MAGIC, VERSION, OPEN, public) + seed)
    salt, nonce = random(16), random(12)
    memory, passes, lanes = limits.ARGON2_MEMORY, limits.ARGON2_ITERATIONS, limits.ARGON2_LANES
    head = _HEAD.pack(MAGIC, VERSION, LOCKED, public) + _LOCK.pack(memory, passes, lanes, salt, nonce)
    secret = _passphrase_octets(passphrase)
    if not secret:
        raise KeyFileError("an empty passphrase protects nothing", hint="give one, or choose none at all")
    return _with_checksum(head + aead_seal(_stretch(secret, salt, memory, passes, lanes), nonce, seed, head))


def decode_vault(data: bytes, passphrase: str | None) -> bytes:
    """The seed in a key file (about 0.2 s if it is locked). A passphrase for an open file is ignored.

    Raises :class:`KeyFileError`, :class:`PassphraseNeeded` or :class:`WrongPassphrase`.
    """
    kind, public, body = _split(data)
    if kind == OPEN:
        seed = body
    else:
        if passphrase is None:
            raise PassphraseNeeded
        seed = _unlock(data[: _HEAD.size + _LOCK.size], body, passphrase)
    if not hmac.compare_digest(SigningKey.from_seed(seed).public, public):
        raise KeyFileError("the two halves of the key in the key file do not belong together", hint=_RESTORE)
    return seed


def vault_public(data: bytes) -> bytes:
    """The public key in a key file, locked or not; raises :class:`KeyFileError`.

    Not proven to belong to the seed until :func:`decode_vault` succeeds.
    """
    return _split(data)[1]


def is_locked(data: bytes) -> bool:
    """Whether the key file needs a passphrase; raises :class:`KeyFileError`."""
    return _split(data)[0] == LOCKED


def _split(data: bytes) -> tuple[int, bytes, bytes]:
    """(kind, public key, body) of a key file whose shape and checksum are right."""
    if len(data) < _OPEN_LENGTH or not data.startswith(MAGIC):
        raise KeyFileError("the key file is not a meshcall key file", hint=_RESTORE)
    _, version, kind, public = _HEAD.unpack_from(data)
    if data != _with_checksum(data[:-4]):
        raise KeyFileError("the key file is damaged: its checksum does not fit", hint=_RESTORE)
    if version != VERSION or kind not in (OPEN, LOCKED):
        raise KeyFileError(
            f"the key file has version {version}.{kind}, which this meshcall does not know",
            hint="a newer meshcall made it: upgrade this one",
        )
    if len(data) != (_OPEN_LENGTH if kind == OPEN else _LOCKED_LENGTH):
        raise KeyFileError("the key file has a wrong length", hint=_RESTORE)
    return kind, public, data[_HEAD.size : -4]


def _unlock(head: bytes, body: bytes, passphrase: str) -> bytes:
    memory, passes, lanes, salt, nonce = _LOCK.unpack_from(body)
    if not (8 * lanes <= memory <= limits.ARGON2_MEMORY_MAX and 0 < passes <= limits.ARGON2_ITERATIONS_MAX):
        raise KeyFileError("the key file asks for more memory or time than any real one", hint=_RESTORE)
    if not 0 < lanes <= 8:
        raise KeyFileError("the key file asks for a wrong number of lanes", hint=_RESTORE)
    try:
        key = _stretch(_passphrase_octets(passphrase), salt, memory, passes, lanes)
        return aead_open_untrusted(key, nonce, body[_LOCK.size :], head)
    except Rejected:
        raise WrongPassphrase from None


def _stretch(secret: bytes, salt: bytes, memory: int, passes: int, lanes: int) -> bytes:
    """Argon2id (RFC 9106), 32 octets."""
    kdf = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    return kdf.derive(secret)


def _passphrase_octets(passphrase: str) -> bytes:
    """NFC, so that the same keys on another system give the same octets (RFC 8265 section 4.2)."""
    try:
        return unicodedata.normalize("NFC", passphrase).encode("utf-8")
    except UnicodeEncodeError:
        raise KeyFileError("the passphrase is not text", hint="it must be UTF-8") from None


def _with_checksum(data: bytes) -> bytes:
    return data + sha256(b"meshcall/vault\0", data)[:4]
