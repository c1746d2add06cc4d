"""The key file's octets: open, locked, damaged, tampered with."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from meshcall import limits
from meshcall.errors import KeyFileError, PassphraseNeeded, WrongPassphrase
from meshcall.identity.keys import SigningKey, sha256
from meshcall.identity.vault import decode_vault, encode_vault, is_locked, vault_public

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)
OPEN, LOCKED = (bytes.fromhex(vector["file"]) for vector in VECTORS["vaults"])
SEED = bytes.fromhex(VECTORS["vaults"][0]["seed"])
PASSPHRASE: str = VECTORS["vaults"][1]["passphrase"]


def count_up(n: int) -> bytes:
    """The vectors' random source."""
    return bytes(range(n))


def resealed(data: bytes) -> bytes:
    """``data`` with a right checksum, as somebody who tampers would write it."""
    return data[:-4] + sha256(b"meshcall/vault\0", data[:-4])[:4]


def test_golden_files() -> None:
    """Both layouts, octet for octet, and back."""
    assert encode_vault(SEED, None, count_up) == OPEN
    assert encode_vault(SEED, PASSPHRASE, count_up) == LOCKED
    assert (len(OPEN), len(LOCKED)) == (78, 131)
    assert decode_vault(OPEN, None) == SEED
    assert decode_vault(LOCKED, PASSPHRASE) == SEED


def test_the_cost_of_guessing_is_in_the_file() -> None:
    """Argon2id with 64 MiB, 3 passes, 1 lane."""
    assert struct.unpack_from("!IIB", LOCKED, 42) == (64 * 1024, 3, 1)


def test_the_id_is_readable_while_the_seed_is_locked() -> None:
    """The public key stands in clear; the seed does not."""
    public = SigningKey.from_seed(SEED).public
    assert vault_public(OPEN) == vault_public(LOCKED) == public
    assert (is_locked(OPEN), is_locked(LOCKED)) == (False, True)
    assert SEED not in LOCKED


def test_passphrases() -> None:
    """Missing, wrong and right ones are told apart; an open file ignores one."""
    with pytest.raises(PassphraseNeeded):
        decode_vault(LOCKED, None)
    for wrong in ("", "Correct horse", "\udcff"):
        with pytest.raises((WrongPassphrase, KeyFileError)):
            decode_vault(LOCKED, wrong)
    assert decode_vault(OPEN, "anything") == SEED


def test_a_passphrase_is_the_same_on_every_system() -> None:
    """Composed and decomposed spellings are one passphrase."""
    data = encode_vault(SEED, "caf\u00e9", count_up)
    assert decode_vault(data, "cafe\u0301") == SEED


@pytest.mark.parametrize("bad", ["", "\udcff"])
def test_useless_passphrases_are_refused(bad: str) -> None:
    """An empty one protects nothing; one that is no text can't be typed again."""
    with pytest.raises(KeyFileError):
        encode_vault(SEED, bad, count_up)


@pytest.mark.parametrize("data", [OPEN, LOCKED], ids=["open", "locked"])
def test_every_flipped_bit_is_damage(data: bytes) -> None:
    """Damage is a KeyFileError, not a wrong passphrase, and found without stretching one."""
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyFileError):
            decode_vault(bytes(bad), PASSPHRASE)


@pytest.mark.parametrize("data", [OPEN, LOCKED], ids=["open", "locked"])
def test_every_other_length_is_damage(data: bytes) -> None:
    """Cut short anywhere, or with something behind."""
    for length in range(len(data)):
        with pytest.raises(KeyFileError):
            decode_vault(data[:length], PASSPHRASE)
        if length == len(data) - 4:
            continue  # resealed, that is the file itself
        with pytest.raises(KeyFileError):
            decode_vault(resealed(data[:length] + bytes(4)), PASSPHRASE)
    with pytest.raises(KeyFileError):
        decode_vault(data + b"\n", PASSPHRASE)


def test_a_newer_file_says_upgrade() -> None:
    """An unknown version or kind with a right checksum is not called damage."""
    for place in (8, 9):
        bad = bytearray(OPEN)
        bad[place] = 9
        with pytest.raises(KeyFileError, match="does not know") as caught:
            decode_vault(resealed(bytes(bad)), None)
        assert caught.value.hint is not None
        assert "upgrade" in caught.value.hint


def test_a_foreign_public_key_is_noticed() -> None:
    """Somebody who swaps the half in clear does not change the ID unnoticed, open or locked."""
    other = SigningKey.from_seed(bytes(32)).public
    with pytest.raises(KeyFileError, match="do not belong together"):
        decode_vault(resealed(OPEN[:10] + other + OPEN[42:]), None)
    with pytest.raises(WrongPassphrase):
        decode_vault(resealed(LOCKED[:10] + other + LOCKED[42:]), PASSPHRASE)


@pytest.mark.parametrize(
    ("memory", "passes", "lanes"),
    [
        (limits.ARGON2_MEMORY_MAX + 1, 3, 1),
        (2**32 - 1, 2**32 - 1, 255),
        (0, 3, 1),
        (65536, 0, 1),
        (65536, limits.ARGON2_ITERATIONS_MAX + 1, 1),
        (65536, 3, 0),
        (65536, 3, 9),
        (7, 1, 1),
    ],
)
def test_what_a_tampered_file_may_cost_is_capped(memory: int, passes: int, lanes: int) -> None:
    """Parameters that no real file has are refused before anything is computed."""
    bad = LOCKED[:42] + struct.pack("!IIB", memory, passes, lanes) + LOCKED[51:]
    with pytest.raises(KeyFileError, match="asks for"):
        decode_vault(resealed(bad), PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"meshcall", b"-----BEGIN PRIVATE KEY-----\n" * 4, bytes(131)])
def test_other_files_are_no_key_files(data: bytes) -> None:
    """What is no key file says so."""
    with pytest.raises(KeyFileError, match="not a meshcall key file"):
        decode_vault(data, None)
