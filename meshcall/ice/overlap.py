"""Which second pair carries a copy of each packet, so that a change of path or a dying one loses none.

Law 1: after a change away from a pair that lives, that pair carries copies for ``ICE_OVERLAP``.
Law 2: while the selected pair is in doubt, the best other valid pair carries copies.
Law 3: there are never more than two copies. Whoever receives both drops the second (RFC 3711 section 3.3.2,
RFC 9147 section 4.5.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from meshcall import limits
from meshcall.ice.pair import Pair


class Overlap:
    """Remembers what packets went over before."""

    def __init__(self) -> None:
        self._old: Pair | None = None
        self._until = float("-inf")

    def changed(self, old: Pair | None, now: float) -> None:
        """Packets went over ``old`` until now."""
        self._old, self._until = old, now + limits.ICE_OVERLAP

    def second(self, pairs: Iterable[Pair], selected: Pair, now: float) -> Pair | None:
        """The pair for the copies, if there is to be one."""
        if now < self._until and self._old is not None and self._old.valid:
            return self._old
        if not selected.in_doubt(now):
            return None
        others = (pair for pair in pairs if pair.valid and pair is not selected and not pair.in_doubt(now))
        return max(others, key=lambda pair: pair.priority, default=None)
