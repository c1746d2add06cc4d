"""Base32 as IDs, links and names on the LAN spell it: RFC 4648 section 6, lower case, no padding."""

from __future__ import annotations

import base64
from typing import Final

ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
"""The characters."""


def encode(data: bytes) -> str:
    """``data`` as text: 8 characters for 5 octets, the last group cut to what it needs."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decode(text: str) -> bytes:
    """The octets of characters of the alphabet, in any case; raises ValueError for anything else.

    Bits that are left over at the end are dropped: who needs one spelling compares with :func:`encode`.
    """
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
