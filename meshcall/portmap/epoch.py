"""Whether a gateway still has the mappings that it made (RFC 6886 section 3.6, RFC 6887 section 8.5).

Both count the seconds since the gateway lost its state. When that count is behind what our own clock makes of
the last one, or far ahead, the mappings are gone.
"""

from __future__ import annotations


class Epoch:
    """One gateway's count, by one protocol."""

    def __init__(self) -> None:
        self._theirs: int | None = None
        self._ours = 0.0

    def is_lost(self, epoch: int, now: float) -> bool:
        """Note a count; True: the gateway has lost its mappings since the last one."""
        theirs, ours = self._theirs, self._ours
        self._theirs, self._ours = epoch, now
        if theirs is None:
            return False
        passed, counted = now - ours, epoch - theirs
        # A sixteenth for clocks that run unlike, two seconds for packets on their way
        return counted < -1 or passed + 2 < counted - counted / 16 or counted + 2 < passed - passed / 16
