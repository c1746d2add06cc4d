"""What a link does to frames: delay, jitter, loss, reordering, duplication, a rate and a queue.

It is pure: time and the seed are arguments.

Law 1: the same seed, conditions and arrival order give the same fate for each frame.
Law 2: a link keeps the order of its frames, as a cable does, however large the jitter; only ``reorder``
breaks it.
Law 3: changing one condition leaves the draws of the others as they were.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

HEADER = 14
"""Octets of an Ethernet header, which the MTU does not count."""


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """What one crossing of a link costs, in one direction."""

    delay_ms: float = 0.0
    """Time that each frame takes. A round trip costs twice that."""

    jitter_ms: float = 0.0
    """Each frame takes up to this much longer or shorter, evenly spread (never less than nothing)."""

    loss: float = 0.0
    """Share of frames that never arrive, 0 to 1."""

    burst: float = 1.0
    """Mean number of frames lost in a row; 1: each is lost independently of the others.

    More makes a link with good and bad times (Gilbert's model), whose mean loss is still ``loss``.
    """

    reorder: float = 0.0
    """Share of frames that are held back, so that later ones overtake them."""

    reorder_ms: float = 10.0
    """How long these are held back."""

    duplicate: float = 0.0
    """Share of frames that arrive twice."""

    rate_mbit: float = 0.0
    """Megabits per second that pass; 0: as many as come."""

    queue_ms: float = 200.0
    """Longest that a frame waits for its turn on a link with a rate; what would wait longer is lost."""

    mtu: int = 0
    """Frames with more octets than that behind their header are lost without a word; 0: none are.

    So they are behind a firewall that drops "packet too big".
    """

    def __post_init__(self) -> None:
        amounts = (self.delay_ms, self.jitter_ms, self.reorder_ms, self.rate_mbit, self.queue_ms, self.mtu)
        shares = (self.loss, self.reorder, self.duplicate)
        if (
            not all(math.isfinite(amount) and amount >= 0 for amount in amounts)
            or not all(0 <= share <= 1 for share in shares)
            or not 1 <= self.burst < math.inf
            # Bad times follow good ones of at least one frame.
            or (self.burst > 1 and self.loss * (self.burst + 1) > self.burst)
        ):
            raise ValueError(f"not possible on a link: {self}")

    def __str__(self) -> str:
        words = [f"{self.delay_ms:g} ms" + (f" ± {self.jitter_ms:g}" if self.jitter_ms else "")]
        if self.rate_mbit:
            words.append(f"{self.rate_mbit:g} Mbit/s, queue {self.queue_ms:g} ms")
        if self.loss:
            words.append(
                f"loss {self.loss:.4g}" + (f" in bursts of {self.burst:g}" if self.burst > 1 else "")
            )
        if self.reorder:
            words.append(f"{self.reorder:.4g} held back by {self.reorder_ms:g} ms")
        words += [f"{self.duplicate:.4g} doubled"] if self.duplicate else []
        words += [f"MTU {self.mtu}"] if self.mtu else []
        return ", ".join(words)

    @property
    def perfect(self) -> bool:
        """Whether frames arrive at once, all of them."""
        return self == LinkConditions(burst=self.burst, reorder_ms=self.reorder_ms, queue_ms=self.queue_ms)

    def to_json(self) -> dict[str, Any]:
        """For the switch's control channel."""
        return asdict(self)

    def to_netem(self) -> list[str]:
        """The words after ``tc qdisc replace dev DEVICE root``, for kernels with netem. Raises ValueError.

        netem jitters and reorders otherwise: it lets frames overtake each other by jitter, and reorders by
        sending some at once. A link whose conditions it can't keep in this module's sense is refused.
        """
        if self.mtu:
            raise ValueError("netem has no MTU; set it on the device")
        if self.reorder:
            raise ValueError("netem can't hold single frames back")
        words = ["netem", "limit", str(self._netem_limit())]
        if self.delay_ms or self.jitter_ms:
            words += ["delay", f"{self.delay_ms:g}ms"]
            if self.jitter_ms:
                words += [f"{self.jitter_ms:g}ms"]
        if self.loss and self.burst > 1:
            enter, leave = self.gilbert()
            words += ["loss", "gemodel", f"{100 * enter:g}%", f"{100 * leave:g}%", "100%", "0%"]
        elif self.loss:
            words += ["loss", f"{100 * self.loss:g}%"]
        if self.duplicate:
            words += ["duplicate", f"{100 * self.duplicate:g}%"]
        if self.rate_mbit:
            words += ["rate", f"{self.rate_mbit:g}mbit"]
        return words

    def _netem_limit(self) -> int:
        """Frames in netem's queue: those that travel, and those that wait for a turn."""
        if not self.rate_mbit:
            return 20_000
        travelling_ms = self.delay_ms + self.jitter_ms + self.queue_ms
        return max(2, round(self.rate_mbit * 1000 * travelling_ms / (8 * 1514)))

    def gilbert(self) -> tuple[float, float]:
        """Probabilities, per frame, that bad times begin and that they end (Gilbert 1960)."""
        if self.loss >= 1:
            return 1.0, 0.0
        leave = 1 / self.burst
        return leave * self.loss / (1 - self.loss), leave


class Link:
    """One direction of a link: decides the fate of each frame."""

    def __init__(self, conditions: LinkConditions, seed: int | str) -> None:
        self.conditions = conditions
        self._random = Random(str(seed))
        self._last_due = float("-inf")
        self._free = float("-inf")
        """When the last frame that was given a turn has left the queue."""
        self._bad = False

    def due(self, now: float, size: int = 0) -> tuple[float, ...]:
        """When a frame of ``size`` octets that enters at ``now`` arrives (seconds, same clock).

        Nothing: it is lost. Two times: it arrives twice.
        """
        conditions, random = self.conditions, self._random
        # All numbers are drawn for every frame (law 3).
        fate, spread = random.random(), random.uniform(-1.0, 1.0)
        held, twice = random.random(), random.random()
        if self._loses(fate) or (conditions.mtu and size > conditions.mtu + HEADER):
            return ()
        leaves = now
        if conditions.rate_mbit:
            leaves = max(now, self._free)
            if leaves - now > conditions.queue_ms / 1000:
                return ()
            leaves += size * 8 / (conditions.rate_mbit * 1e6)
            self._free = leaves
        delay_ms = max(0.0, conditions.delay_ms + spread * conditions.jitter_ms)
        due = max(self._last_due, leaves + delay_ms / 1000)
        if held < conditions.reorder:
            due += conditions.reorder_ms / 1000
        else:
            self._last_due = due
        return (due, due) if twice < conditions.duplicate else (due,)

    def _loses(self, fate: float) -> bool:
        conditions = self.conditions
        if conditions.burst <= 1 or not conditions.loss:
            self._bad = False
            return fate < conditions.loss
        enter, leave = conditions.gilbert()
        self._bad = fate >= leave if self._bad else fate < enter
        return self._bad


def both_ways(round_trip_ms: float, rate_mbit: float, loss: float, *, burst: float = 4.0) -> LinkConditions:
    """Conditions of each direction of a link that is known by its round trip."""
    return LinkConditions(
        delay_ms=round_trip_ms / 2,
        jitter_ms=round_trip_ms / 20,
        loss=loss,
        burst=burst,
        rate_mbit=rate_mbit,
        queue_ms=max(100.0, round_trip_ms),
    )


LADDER: dict[str, LinkConditions] = {
    "good-wifi": both_ways(16, 100, 0.001),
    "congested-wifi": both_ways(40, 25, 0.01),
    "weak-4g": both_ways(90, 8, 0.02),
    "slow-3g": both_ways(200, 3, 0.03),
    "congested-cell": both_ways(300, 1.5, 0.05),
    "very-bad": both_ways(450, 0.8, 0.08),
    "satellite": both_ways(600, 25, 0.015),
    "barely": both_ways(450, 0.5, 0.12),
    "absurd": both_ways(800, 0.256, 0.25),
}
"""Links from good to hardly there, by name: round trip in ms, Mbit/s, loss in each direction.

Frames are lost in bursts of four on average. The round trip varies by up to a tenth.
"""
