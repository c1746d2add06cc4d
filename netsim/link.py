"""What a link does to frames: delay, jitter, loss. Pure: time and the seed are arguments.

Law 1: the same seed, conditions and arrival order give the same fate for each frame.
Law 2: a link keeps the order of its frames, as a cable does, however large the jitter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """What one crossing of a link costs, in one direction."""

    delay_ms: float = 0.0
    """Time that each frame takes. A round trip costs twice that."""

    jitter_ms: float = 0.0
    """Each frame takes up to this much longer or shorter, evenly spread (never less than nothing)."""

    loss: float = 0.0
    """Share of frames that never arrive, 0 to 1, each independently of the others."""

    def __post_init__(self) -> None:
        if self.delay_ms < 0 or self.jitter_ms < 0 or not 0 <= self.loss <= 1:
            raise ValueError(f"not possible on a link: {self}")

    @property
    def perfect(self) -> bool:
        """Whether frames arrive at once, all of them."""
        return self == LinkConditions()

    def to_json(self) -> dict[str, Any]:
        """For the switch's control channel."""
        return asdict(self)


class Link:
    """One direction of a link: decides the fate of each frame."""

    def __init__(self, conditions: LinkConditions, seed: int | str) -> None:
        self.conditions = conditions
        self._random = Random(str(seed))
        self._last_due = float("-inf")

    def due(self, now: float) -> float | None:
        """When a frame that enters at ``now`` leaves (seconds, same clock), or None if it is lost."""
        conditions = self.conditions
        # Both numbers are drawn for every frame, so that changing one condition keeps the other's sequence.
        fate = self._random.random()
        spread = self._random.uniform(-1.0, 1.0)
        if fate < conditions.loss:
            return None
        delay_ms = max(0.0, conditions.delay_ms + spread * conditions.jitter_ms)
        self._last_due = max(self._last_due, now + delay_ms / 1000)
        return self._last_due
