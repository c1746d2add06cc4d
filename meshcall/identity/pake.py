"""A key exchange between two who know one short code: SPAKE2 over Ed25519's group (RFC 9382's idea, by the
``spake2`` package), with a confirmation both ways.

Law 1: a run tells each side whether the other used the same code, and nothing else: a guess can be
checked against nobody but the peer, once a run.
Law 2: the joiner confirms first. So who guesses shows the guess before it learns whether it was right, and
the member counts it.
Law 3: both IDs are in the key, so what one peer says helps nobody else.

::

    password = code in UTF-8, in its one spelling; side A is the joiner, side B the member
    step 1   joiner -> member   element(33)
    step 2   member -> joiner   element(33)
    step 3   joiner -> member   confirm(32) = HMAC-SHA256(key, "joiner")
    step 4   member -> joiner   confirm(32) = HMAC-SHA256(key, "member"), with what the joiner came for
    key      = HKDF-SHA256(SPAKE2's key, "meshcall/1/room-code" 0)

The package is loaded at the first exchange. It is pure Python and not constant in time, see ADR 0011.
"""

from __future__ import annotations

import hmac
from typing import Final, Literal

from meshcall.errors import Rejected
from meshcall.identity.keys import Random, hkdf, mac
from meshcall.identity.peer_id import PeerId

ELEMENT: Final = 33
"""Octets of the first two steps."""

CONFIRM: Final = 32
"""Octets of the other two."""

_KEY: Final = b"meshcall/1/room-code\0"


class CodeExchange:
    """One side of one run; never used twice."""

    def __init__(
        self, side: Literal["joiner", "member"], code: str, joiner: PeerId, member: PeerId, random: Random
    ) -> None:
        """``code``: in its one spelling. Takes 3 ms, and 50 ms the first time."""
        from spake2 import SPAKE2_A, SPAKE2_B

        self._side = side
        kind = SPAKE2_A if side == "joiner" else SPAKE2_B
        self._run = kind(code.encode(), idA=joiner.key, idB=member.key, entropy_f=random)
        self._key: bytes | None = None
        self._heard = b""
        self.element: bytes = self._run.start()
        """Our first step, 33 octets."""

    @property
    def done(self) -> bool:
        """Whether the other's element is there."""
        return self._key is not None

    def finish_untrusted(self, element: bytes) -> None:
        """Take the other's element; the same one again does nothing. Raises :class:`Rejected` ("pake").

        Takes 4 ms.
        """
        if self._heard:
            if element != self._heard:
                raise Rejected("pake")
            return
        from spake2 import SPAKEError
        from spake2.ed25519_basic import NotOnCurve

        if len(element) != ELEMENT:
            raise Rejected("pake")
        self._heard = element
        try:
            shared = self._run.finish(element)
        except (SPAKEError, NotOnCurve, ValueError):
            raise Rejected("pake") from None
        self._key = hkdf(shared, _KEY)

    def confirm(self) -> bytes:
        """What shows the other that we used the same code, 32 octets."""
        return self._confirm_of(self._side)

    def check_untrusted(self, confirm: bytes) -> None:
        """Return if the other used the same code; raises :class:`Rejected` ("code")."""
        theirs = self._confirm_of("member" if self._side == "joiner" else "joiner")
        if not hmac.compare_digest(theirs, confirm):
            raise Rejected("code")

    def _confirm_of(self, side: str) -> bytes:
        if self._key is None:
            raise Rejected("pake")
        return mac(self._key, side.encode())
