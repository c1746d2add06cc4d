"""How often a valid pair is checked, and when it is dead (RFC 7675 section 5.1).

Law: the selected pair is dead 2 to 3 s after its last answer; a spare one is checked seldom until one of its
checks is not answered.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshcall import limits
from meshcall.ice.pair import Pair

_IDLE = 60.0
"""Seconds after which a pair that is no spare is looked at again: others may have died meanwhile."""


def check_interval(pair: Pair, selected: Pair | None, kept: list[Pair], part: float) -> float:
    """Seconds to the pair's next check, varied by a fifth; ``part``: 0 to 1, by chance."""
    if pair.unanswered:
        pause = limits.CONSENT_RETRY
    elif pair is selected:
        pause = limits.CONSENT_INTERVAL
    else:
        pause = limits.ICE_SPARE_INTERVAL if pair in kept else _IDLE
    return pause * (0.8 + 0.4 * part)


def is_dead(pair: Pair) -> bool:
    """Whether so many checks in a row had no answer that the pair is given up."""
    return pair.unanswered >= limits.CONSENT_FAILURES


def spares(pairs: Iterable[Pair], selected: Pair | None) -> list[Pair]:
    """The valid pairs that stand in when the selected one dies: the best, of different bases if there are."""
    others = [pair for pair in pairs if pair.valid and pair is not selected]
    others.sort(key=lambda p: -p.priority)
    firsts = {pair.base: pair for pair in reversed(others)}
    ranked = sorted(others, key=lambda p: (firsts[p.base] is not p, -p.priority))
    return ranked[: limits.ICE_SPARES]
