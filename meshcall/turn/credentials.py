"""Long-term credentials (RFC 8489 section 9.2) that end by themselves.

The username is ``<unix seconds>:<user>``, the password its HMAC-SHA1 under the relay's secret in Base64.
That is the scheme of coturn's ``use-auth-secret``, so either server takes what :func:`issue` makes, and a
relay stores nobody's password.

Law 1: who lacks the secret can't make a password, nor change the time or the user of one.
Law 2: a password is never shown.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from hashlib import md5, sha1

from meshcall.errors import Rejected
from meshcall.limits import TURN_USERNAME_MAX


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows a relay."""

    username: str
    password: str = field(repr=False)

    def key(self, realm: str) -> bytes:
        """The key of MESSAGE-INTEGRITY (RFC 8489 section 9.2.2): 16 octets."""
        text = f"{self.username}:{realm}:{self.password}"
        return md5(text.encode(), usedforsecurity=False).digest()  # the RFC's choice; HMAC-SHA1 does the work


def issue(secret: bytes, user: str, expires: int) -> Credentials:
    """Credentials for ``user`` until the unix second ``expires``."""
    return of_username(secret, f"{expires}:{user}")


def of_username(secret: bytes, username: str) -> Credentials:
    """The credentials that belong to a username, whether it is still good or not."""
    return Credentials(username, base64.b64encode(hmac.digest(secret, username.encode(), sha1)).decode())


def parse_username_untrusted(username: str) -> tuple[int, str]:
    """(unix second of the end, user); raises :class:`Rejected` (``username``)."""
    ends, colon, user = username.partition(":")
    if len(username) > TURN_USERNAME_MAX or not colon or not user:
        raise Rejected("username")
    if not (ends.isascii() and ends.isdecimal() and len(ends) <= 12):
        raise Rejected("username")
    return int(ends), user
