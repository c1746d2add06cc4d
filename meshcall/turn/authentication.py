"""Who may have an allocation: challenges and credentials (RFC 8489 section 9.2).

Law 1: a client that has not shown good credentials costs no memory, and gets at most ``STUN_REPLY_RATIO``
octets for each of its own.
Law 2: an end that is over counts only when an allocation is made: a call may outlive its credentials.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from meshcall.errors import Rejected
from meshcall.limits import STUN_REPLY_RATIO, TURN_CHALLENGES_PER_SECOND, TURN_USERNAME_MAX
from meshcall.stun.attributes import encode_error, text_untrusted
from meshcall.stun.message import AttributeType, MessageClass, StunMessage
from meshcall.turn.bandwidth import Bandwidth
from meshcall.turn.commands import Client
from meshcall.turn.credentials import of_username, parse_username_untrusted
from meshcall.turn.nonce import Nonces

REALM: Final = "meshcall"


class Session(NamedTuple):
    """A request's sender, proven."""

    user: str
    key: bytes
    """Of its messages and of ours to it."""
    expires: int
    """Unix seconds: when its credentials end."""


class Unproven(Exception):
    """Answer with this error; ``challenge``: with a realm and a nonce."""

    def __init__(self, code: int, counter: str, *, challenge: bool = True) -> None:
        super().__init__(counter)
        self.code = code
        self.counter = counter
        self.challenge = challenge


class Authentication:
    """The secret of one relay, and what it says to who does not know it."""

    def __init__(self, secret: bytes, nonce_secret: bytes, now: float) -> None:
        """``secret``: what passwords are made with; ``nonce_secret``: 32 fresh octets."""
        self._secret = secret
        self._nonces = Nonces(nonce_secret, now)
        self._challenges = Bandwidth(2 * TURN_CHALLENGES_PER_SECOND, now)  # its burst is half of the rate

    def prove(self, request: StunMessage, client: Client, now: float) -> Session:
        """The sender of a request; raises :class:`Unproven`."""
        if request.signed is None:
            raise Unproven(401, "unauthenticated")
        try:
            username = text_untrusted(request, AttributeType.USERNAME, TURN_USERNAME_MAX)
            realm = text_untrusted(request, AttributeType.REALM, TURN_USERNAME_MAX)
            nonce = request.get(AttributeType.NONCE)
            if username is None or realm is None or nonce is None:
                raise Unproven(400, "no-credentials", challenge=False)
            if not self._nonces.is_good(nonce, client, now):
                raise Unproven(438, "stale-nonce")
            expires, user = parse_username_untrusted(username)
        except Rejected:
            raise Unproven(401, "bad-username") from None
        key = of_username(self._secret, username).key(REALM)
        if realm != REALM or not request.has_integrity(key):
            raise Unproven(401, "wrong-password")
        return Session(user, key, expires)

    def answer(
        self, request: StunMessage, size: int, refusal: Unproven, client: Client, now: float
    ) -> bytes | None:
        """The error response to a request of ``size`` octets; None: there is none, too many were sent."""
        if not self._challenges.spend(1, now):
            return None
        attributes: list[tuple[int, bytes]] = []
        if refusal.challenge:
            attributes.append((AttributeType.REALM, REALM.encode()))
            attributes.append((AttributeType.NONCE, self._nonces.make(client, now)))
        for error in (encode_error(refusal.code), encode_error(refusal.code, "")):
            reply = StunMessage(
                request.method,
                MessageClass.ERROR,
                request.transaction_id,
                ((AttributeType.ERROR_CODE, error), *attributes),
            ).encode(fingerprint=False)
            if len(reply) <= STUN_REPLY_RATIO * size:
                return reply
        return None
