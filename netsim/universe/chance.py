"""Chance: seeded, independent of PYTHONHASHSEED, and small enough for one source per node."""

from __future__ import annotations

import random
from hashlib import blake2b

_BLOCK = 64


class Octets:
    """``random(n)`` for one engine: BLAKE2b in counter mode; a few octets of state instead of 2,500.

    For virtual worlds, never for keys that anybody relies on.
    """

    __slots__ = ("_count", "_key")

    def __init__(self, name: str) -> None:
        """The same name gives the same octets."""
        self._key = blake2b(name.encode(), digest_size=32).digest()
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """The next ``size`` octets."""
        out = b""
        while len(out) < size:
            self._count += 1
            out += blake2b(self._count.to_bytes(8, "big"), key=self._key, digest_size=_BLOCK).digest()
        return out[:size]


def dice(seed: int, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one more draw here changes nothing there."""
    return random.Random(f"universe {seed} {purpose}")
