"""A NAT in front of one node: endpoint-independent mapping, address- and port-dependent filtering (RFC 4787).

Law: a datagram gets in only from an address and port that the node wrote to within the mapping's life.
"""

from __future__ import annotations

from meshcall.address import Address

MAPPING_LIFE = 120.0
"""Seconds after the last datagram out (RFC 4787 REQ-5 asks for two minutes or more)."""
_SWEEP = 1024
"""Remembered addresses at which the old ones are dropped."""


class Nat:
    """Who may write to the node behind it."""

    __slots__ = ("_written", "dropped")

    def __init__(self) -> None:
        self._written: dict[Address, float] = {}
        self.dropped = 0

    def wrote(self, destination: Address, now: float) -> None:
        """The node behind sent something to ``destination``."""
        self._written[destination] = now
        if len(self._written) >= _SWEEP:
            self._written = {a: at for a, at in self._written.items() if now - at <= MAPPING_LIFE}

    def lets_in(self, source: Address, now: float) -> bool:
        """Whether a datagram from ``source`` gets through."""
        at = self._written.get(source)
        if at is not None and now - at <= MAPPING_LIFE:
            return True
        self.dropped += 1
        return False
