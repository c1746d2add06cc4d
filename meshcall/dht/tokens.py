"""Write tokens: proof that whoever writes can read at the address it writes from (BEP 5).

Law 1: a token is good for one address (IP and port) and for at most two rotations.
Law 2: a token costs the node that gives it no memory; only the last address's are at hand.
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
    """Gives and checks tokens: BLAKE2s (RFC 7693) keyed with a secret, over the address, 8 octets."""

    __slots__ = ("_address", "_random", "_rotated", "_secrets", "_tokens")

    def __init__(self, random: Random, now: float) -> None:
        self._random = random
        self._secrets = [random(32), random(32)]
        self._rotated = now
        self._address: Address | None = None
        """Whose ``_tokens`` are: one request asks for them more than once."""
        self._tokens = (b"", b"")

    def _rotate(self, now: float) -> None:
        age = now - self._rotated
        if age < DHT_TOKEN_ROTATION:
            return
        previous = self._secrets[0] if age < 2 * DHT_TOKEN_ROTATION else self._random(32)
        self._secrets = [self._random(32), previous]
        self._rotated = now
        self._address = None

    def _both(self, address: Address, now: float) -> tuple[bytes, bytes]:
        """The tokens of ``address``: by the secret of now, and by the one before."""
        self._rotate(now)
        if address != self._address:
            packed = pack_address(address)
            newer, older = self._secrets
            self._address, self._tokens = address, (_compute(newer, packed), _compute(older, packed))
        return self._tokens

    def token(self, address: Address, now: float) -> bytes:
        """What ``address`` must show to write here."""
        return self._both(address, now)[0]

    def check(self, token: bytes, address: Address, now: float) -> bool:
        """Whether ``token`` was given to ``address`` lately."""
        newer, older = self._both(address, now)
        return hmac.compare_digest(token, newer) | hmac.compare_digest(token, older)


def _compute(secret: bytes, packed: bytes) -> bytes:
    return hashlib.blake2s(packed, key=secret, digest_size=TOKEN_SIZE).digest()
