"""Nonces that the server need not remember (RFC 8489 section 9.2).

::

     0             4                12
    +-------------+----------------+     in Base64: 16 characters, so that a challenge stays below three
    | u32 seconds | HMAC-SHA256    |     times the shortest request
    | of its birth| of them, cut   |
    +-------------+----------------+

Law: a nonce is good for the client that it was sent to, so whoever shows one really is where it says it is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from hashlib import sha256

from meshcall.limits import TURN_NONCE_LIFE
from meshcall.turn.commands import Client

SIZE = 16
"""Characters."""
_HEAD = struct.Struct("!I")
_TAG = 8


class Nonces:
    """Makes and checks the nonces of one server."""

    def __init__(self, secret: bytes, now: float) -> None:
        """``secret``: 32 octets that nobody knows; ``now``: their seconds are counted from here."""
        self._secret = secret
        self._start = now

    def make(self, client: Client, now: float) -> bytes:
        """One for ``client``."""
        head = _HEAD.pack(int(now - self._start) & 0xFFFFFFFF)
        return base64.urlsafe_b64encode(head + self._tag(head, client))

    def is_good(self, nonce: bytes, client: Client, now: float) -> bool:
        """Whether ``client`` was sent this one not long ago."""
        if len(nonce) != SIZE:
            return False
        try:
            octets = base64.b64decode(nonce, altchars=b"-_", validate=True)
        except binascii.Error:
            return False
        head, tag = octets[: _HEAD.size], octets[_HEAD.size :]
        if not hmac.compare_digest(tag, self._tag(head, client)):
            return False
        (born,) = _HEAD.unpack(head)
        return bool(now - self._start - born <= TURN_NONCE_LIFE)

    def _tag(self, head: bytes, client: Client) -> bytes:
        (host, port), stream = client
        return hmac.digest(self._secret, head + f"{host} {port} {stream}".encode(), sha256)[:_TAG]
