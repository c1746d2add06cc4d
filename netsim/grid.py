"""Results of a grid of calls: who called whom, by which route, how fast. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netsim.stacks.attempt import Attempt, Route

ROUTES: tuple[Route, ...] = ("direct", "relay", "fail")
"""From the best to the worst."""

Pair = tuple[str, str]
"""Kinds of the caller's and of the callee's network."""


@dataclass(slots=True)
class Grid:
    """All attempts of one run."""

    kinds: Sequence[str]
    stack: str
    relay: bool
    """Whether a relay was offered."""
    attempts: dict[Pair, list[Attempt]] = field(default_factory=dict)
    seconds: float = 0.0
    """What the run took, start of the lab included."""

    def add(self, pair: Pair, attempt: Attempt) -> None:
        """Note one more attempt."""
        self.attempts.setdefault(pair, []).append(attempt)

    def route(self, pair: Pair) -> Route | None:
        """The route that most attempts took (the worse of two that are equally frequent); None: not tried."""
        counts = Counter(attempt.route for attempt in self.attempts.get(pair, ()))
        most = max(counts.values(), default=0)
        return next((route for route in reversed(ROUTES) if most and counts[route] == most), None)

    def steady(self, pair: Pair) -> bool:
        """Whether all attempts took the same route."""
        return len({attempt.route for attempt in self.attempts.get(pair, ())}) <= 1

    def median(self, pair: Pair) -> float | None:
        """Median seconds from the answer to media, of the attempts that got there."""
        times = [a.seconds for a in self.attempts.get(pair, ()) if a.seconds is not None]
        return statistics.median(times) if times else None

    def reasons(self, pair: Pair) -> list[str]:
        """Why attempts failed, each reason once."""
        return list(dict.fromkeys(a.reason for a in self.attempts.get(pair, ()) if a.route == "fail"))

    def count(self, route: Route, pairs: Iterable[Pair] | None = None) -> int:
        """Pairs (of ``pairs``; all if left out) whose route is ``route``."""
        return sum(self.route(pair) == route for pair in (self.attempts if pairs is None else pairs))

    def summary(self) -> dict[str, Any]:
        """The figures that a run is judged by."""
        times = sorted(m for pair in self.attempts if (m := self.median(pair)) is not None)
        return {
            "pairs": len(self.attempts),
            **{route: self.count(route) for route in ROUTES},
            "attempts": sum(len(attempts) for attempts in self.attempts.values()),
            "median_s": statistics.median(times) if times else None,
            "p95_s": times[min(len(times) - 1, round(0.95 * len(times)))] if times else None,
            "took_s": round(self.seconds, 1),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "stack": self.stack,
            "relay": self.relay,
            "kinds": list(self.kinds),
            "summary": self.summary(),
            "pairs": [
                {
                    "caller": caller,
                    "callee": callee,
                    "route": self.route((caller, callee)),
                    "median_s": self.median((caller, callee)),
                    "reasons": self.reasons((caller, callee)),
                    "attempts": [
                        {"route": a.route, "seconds": a.seconds, "total": a.total, "reason": a.reason}
                        for a in attempts
                    ],
                }
                for (caller, callee), attempts in self.attempts.items()
            ],
        }


def differences(grid: Grid, expected: Mapping[Pair, Collection[Route]]) -> list[str]:
    """How a run's routes differ from those that are expected, a sentence each.

    Pairs that were not tried do not differ.
    """
    return [
        f"{caller} calls {callee}: {found} instead of {' or '.join(wanted)}"
        + (f" ({'; '.join(grid.reasons((caller, callee)))})" if found == "fail" else "")
        for (caller, callee), wanted in expected.items()
        if (found := grid.route((caller, callee))) is not None and found not in wanted
    ]
