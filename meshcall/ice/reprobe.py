"""When a call that goes over a relay looks again for a direct path: what failed once may work now.

Law: rounds come ever more seldom, and there are so many of them only.
"""

from __future__ import annotations

from meshcall import limits

_NEVER = float("inf")


class Reprobe:
    """Says when the next round is due."""

    def __init__(self) -> None:
        self.at = _NEVER
        """When :meth:`begin_round` is to be called; infinity: there is nothing to look for."""
        self._rounds = 0

    def selected(self, relayed: bool, now: float) -> None:
        """Another pair carries the call."""
        self._rounds = 0
        self.at = now + limits.ICE_REPROBE if relayed else _NEVER

    def begin_round(self, now: float) -> None:
        """A round begins."""
        self._rounds += 1
        more = self._rounds < limits.ICE_REPROBES
        self.at = now + limits.ICE_REPROBE * 2**self._rounds if more else _NEVER
