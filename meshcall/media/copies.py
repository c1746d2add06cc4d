"""Whether each packet of sound is sent twice: when the peer loses some. Pure.

The copy goes with the next packet, as it was: any receiver takes whichever comes first, and drops the other
one (SRTP: RFC 3711 section 3.3.2). Unlike the copies inside Opus it is whole, and there for all sound.
"""

from __future__ import annotations

from meshcall import limits


class Copies:
    """Of one stream to one peer."""

    def __init__(self) -> None:
        self.wanted = False

    def reported(self, lost: float) -> None:
        """The peer loses that share of the packets, 0 to 1, copies taken into account."""
        self.wanted = lost >= (limits.COPIES_UNTIL if self.wanted else limits.COPIES_FROM)
