"""Write tokens: proof that whoever writes can read at the address it writes from (BEP 5).

Law 1: a token is good for one address (IP and port) and for at most two rotations.
Law 2: a token costs the node that gives it no memory.
"""

from __future__ import annotations

import hashlib
import hmac

from meshcall.address import Address
from meshcall.dht.compact import pack_address
from meshcall.dht.messages import TOKEN_SIZE
from meshcall.identity.keys import Random
from meshcall.limits import DHT_TOKEN_ROTATION


class TokenMint:
    """Gives and checks tokens: HMAC-SHA-256(secret, address), first 8 octets."""

    __slots__ = ("_random", "_rotated", "_secrets")

    def __init__(self, random: Random, now: float) -> None:
        self._random = random
        self._secrets = [random(32), random(32)]
        self._rotated = now

    def _rotate(self, now: float) -> None:
        age = now - self._rotated
        if age < DHT_TOKEN_ROTATION:
            return
        previous = self._secrets[0] if age < 2 * DHT_TOKEN_ROTATION else self._random(32)
        self._secrets = [self._random(32), previous]
        self._rotated = now

    def token(self, address: Address, now: float) -> bytes:
        """What ``address`` must show to write here."""
        self._rotate(now)
        return self._compute(self._secrets[0], address)

    def check(self, token: bytes, address: Address, now: float) -> bool:
        """Whether ``token`` was given to ``address`` lately."""
        self._rotate(now)
        good = False
        for secret in self._secrets:
            good |= hmac.compare_digest(token, self._compute(secret, address))
        return good

    @staticmethod
    def _compute(secret: bytes, address: Address) -> bytes:
        return hmac.digest(secret, pack_address(address), hashlib.sha256)[:TOKEN_SIZE]
