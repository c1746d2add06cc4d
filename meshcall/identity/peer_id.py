"""The ID of a peer: its Ed25519 public key, as 56 characters that people can copy.

Law 1: a :class:`PeerId` is valid from birth; there is no way to make one from a key that anybody can forge
signatures for (small order), that has a second spelling (non-canonical), or that can't verify anything.
Law 2: one key has one text. The parser forgives how people write it, the formatter has one form.
Law 3: the short form is for eyes and logs. Nothing accepts it as an address.

::

     0                    32          34       35
    +--------------------+-----------+--------+
    |  Ed25519 key       | checksum  | version|   35 octets = 280 bits = 56 characters of base32
    +--------------------+-----------+--------+
    checksum = SHA-256("meshcall/id" 0x00 key version)[0:2], version = 1, RFC 4648 section 6 alphabet
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from meshcall import limits
from meshcall.errors import InvalidPeerId, Rejected
from meshcall.identity import base32

ID_VERSION: Final = 1
"""The only version of the ID text so far."""

ID_LENGTH: Final = 56
"""Characters of the text."""

SHORT_LENGTH: Final = 7
"""Characters of the short form, and of a group."""

_CHECKSUM_DOMAIN: Final = b"meshcall/id\0"
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_TYPOS: Final = str.maketrans("018", "olb")

SMALL_ORDER_KEYS: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        # y = 0: order 4
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        # y = 1: the identity; with the sign bit it has no x
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        # order 8
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        # y = p - 1: order 2; with the sign bit it has no x
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        # y = p and y = p + 1: second spellings of 0 and 1
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)
"""All 14 encodings of the eight points of small order, in either spelling (RFC 8032 section 5.1.3 decodes 8
of them; libraries take more). With such a key one fixed signature verifies every message."""


def weakness_of_key(key: bytes) -> str | None:
    """Why ``key`` may not be a public key of ours, or None: length, small order or spelling. Takes 1 us.

    Enough before verifying a signature, where a key that is no point of the curve fails by itself.
    """
    if len(key) != 32:
        return "it does not have 32 octets"
    if key in SMALL_ORDER_KEYS:
        return "anybody could sign for it (small order)"
    if int.from_bytes(key, "little") & (2**255 - 1) >= _P:
        return "it is not written in the one canonical way"
    return None


@lru_cache(maxsize=limits.PEER_ID_CACHE)
def _is_point(key: bytes) -> bool:
    """Whether a canonical y is on edwards25519 (RFC 8032 section 5.1.3). About 0.1 ms.

    x^2 = (y^2 - 1) / (d y^2 + 1) must be a square. u / v is one exactly when u * v is; d y^2 + 1 is never 0.
    x = 0 needs y = 1 or p - 1, both of small order, so the sign bit needs no check of its own.
    """
    y2 = pow(int.from_bytes(key, "little") & (2**255 - 1), 2, _P)
    return pow((y2 - 1) * (_D * y2 + 1), (_P - 1) // 2, _P) == 1


def fault_of_key(key: bytes) -> str | None:
    """Why ``key`` can't be a peer's identity, or None. 0.1 ms the first time, then cached."""
    weakness = weakness_of_key(key)
    if weakness is None and not _is_point(bytes(key)):
        return "it is not a point of the curve"
    return weakness


def _checksum(key: bytes, version: int) -> bytes:
    return hashlib.sha256(_CHECKSUM_DOMAIN + key + bytes([version])).digest()[:2]


@lru_cache(maxsize=limits.PEER_ID_CACHE)
def _text(key: bytes) -> str:
    return base32.encode(key + _checksum(key, ID_VERSION) + bytes([ID_VERSION]))


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """A peer's identity, ordered by the octets of the key (not by the text: its alphabet sorts otherwise)."""

    key: bytes
    """Ed25519 public key, 32 octets, canonical, of large order."""

    def __post_init__(self) -> None:
        fault = fault_of_key(self.key)
        if fault is not None:
            raise InvalidPeerId(f"that key can't be an identity: {fault}")

    @classmethod
    def from_key(cls, key: bytes) -> PeerId:
        """The ID of a public key; raises :class:`InvalidPeerId`."""
        return cls(bytes(key))

    @classmethod
    def from_key_untrusted(cls, key: bytes) -> PeerId:
        """The ID of a public key that a stranger sent; raises ``Rejected("peer-id")``."""
        try:
            return cls(bytes(key))
        except InvalidPeerId:
            raise Rejected("peer-id") from None

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """The ID that somebody typed or pasted; raises :class:`InvalidPeerId` with what is wrong with it.

        Forgives case, spaces, line breaks, dashes of any kind, invisible characters, and 0, 1, 8 for o, l, b.
        """
        raw = base32.decode(_tidy(text))
        key, checksum, version = raw[:32], raw[32:34], raw[34]
        if checksum != _checksum(key, version):
            raise InvalidPeerId("that ID has a typing error: its checksum does not fit")
        if version != ID_VERSION:
            raise InvalidPeerId(
                f"that ID has version {version}, this meshcall knows version {ID_VERSION}",
                hint="a newer meshcall made it: upgrade this one",
            )
        return cls(key)

    @property
    def text(self) -> str:
        """The 56 characters."""
        return _text(self.key)

    @property
    def short(self) -> str:
        """The first 7 characters: for display and logs only, anybody can make another ID with the same."""
        return self.text[:SHORT_LENGTH]

    @property
    def grouped(self) -> str:
        """8 groups of 7 with dashes, for reading aloud and comparing."""
        text = self.text
        return "-".join(text[i : i + SHORT_LENGTH] for i in range(0, ID_LENGTH, SHORT_LENGTH))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"PeerId({self.short}…)"


def _tidy(text: str) -> str:
    """``text`` as 56 letters of the alphabet; raises :class:`InvalidPeerId`."""
    if len(text) > limits.PEER_ID_TEXT_MAX:
        raise InvalidPeerId(f"that is too long for an ID: {len(text)} characters")
    kept = "".join(c for c in text if unicodedata.category(c) not in _IGNORED)
    if not kept:
        raise InvalidPeerId("no ID was given")
    for character in kept:
        # ASCII first: lower() turns the Kelvin sign into k
        if not character.isascii() or character.lower().translate(_TYPOS) not in base32.ALPHABET:
            raise InvalidPeerId(f"{character!r} can't be in an ID: it has letters and the digits 2 to 7")
    tidy = kept.lower().translate(_TYPOS)
    if len(tidy) == SHORT_LENGTH:
        raise InvalidPeerId(
            "that is only the short form of an ID",
            hint="the short form names nobody; give the whole ID, or the name of a contact",
        )
    if len(tidy) != ID_LENGTH:
        raise InvalidPeerId(f"an ID has {ID_LENGTH} characters, that has {len(tidy)}")
    return tidy


_IGNORED: Final = frozenset({"Pd", "Zs", "Zl", "Zp", "Cc", "Cf"})
"""Dashes, spaces, line breaks, and characters that nobody sees."""
