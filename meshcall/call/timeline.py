"""When what happened in a call: named marks, the phases between them, and each change of its path.

Law 1: a mark is set once; the first time counts. Times are milliseconds since the call's start, which is
the dial on the caller's side and the arrival of the offer on the callee's.
Law 2: of many changes of path the first and the last ones are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from meshcall import limits

Path = Literal["", "lan", "direct", "relay"]
"""How the media travels; empty until ICE has selected a pair."""

Mark = Literal[
    "dial", "offer", "presence", "offer-ready", "delivered", "reached", "ringing", "answered", "answer",
    "ice", "dtls", "control", "confirmed", "first-audio", "first-video", "ended",
]  # fmt: skip
"""dial: the user calls. offer: the peer's offer is here. presence: the peer is found. offer-ready: our
description is made. delivered: a node took the offer. reached: a node says that it is on the callee's
machine. ringing: the callee rings. answered: our user accepts. answer: the answer is made or here. ice,
dtls, control, confirmed: the steps to ``connected``."""

_PHASES: Final[tuple[tuple[str, tuple[Mark, ...], Mark], ...]] = (
    ("lookup", ("dial",), "presence"),
    ("gather", ("dial",), "offer-ready"),
    ("deliver", ("presence", "offer-ready"), "delivered"),
    ("ring", ("presence", "offer-ready"), "ringing"),
    ("answer-wait", ("offer", "ringing"), "answered"),
    ("answer", ("answered", "ringing", "delivered"), "answer"),
    ("ice", ("answer",), "ice"),
    ("dtls", ("ice",), "dtls"),
    ("confirm", ("dtls",), "confirmed"),
    ("first-audio", ("confirmed",), "first-audio"),
    ("first-video", ("confirmed",), "first-video"),
)
"""Name, what it starts at (the latest of those that were reached), what it ends at."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """The media took another way, or its quality changed."""

    at_ms: float
    path: Path
    """Empty: none."""
    why: str
    """first, better, nominated, failover, named or revived (:data:`meshcall.ice.events.Why`); lost: no path
    answers; silent, loss or slow: it is degraded; well: it is no more."""
    local: str = ""
    """host, srflx, prflx or relay: our end."""
    remote: str = ""
    """Likewise, the peer's."""
    ipv6: bool = False


class Timeline:
    """The marks of one call, and the ways that its media took."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._marks: dict[Mark, float] = {}
        self._steps: list[PathStep] = []

    def mark(self, name: Mark, now: float) -> bool:
        """Set ``name`` at ``now`` (monotonic seconds); False: it was set before. The first mark is zero."""
        if name in self._marks:
            return False
        if self._start is None:
            self._start = now
        self._marks[name] = round((now - self._start) * 1000, 3)
        return True

    def step(
        self, now: float, path: Path, why: str, *, local: str = "", remote: str = "", ipv6: bool = False
    ) -> None:
        """The media goes another way from ``now`` on."""
        at = 0.0 if self._start is None else round((now - self._start) * 1000, 3)
        if len(self._steps) >= limits.CALL_PATH_STEPS_MAX:
            del self._steps[limits.CALL_PATH_STEPS_MAX // 2]
        self._steps.append(PathStep(at, path, why, local, remote, ipv6))

    @property
    def steps(self) -> tuple[PathStep, ...]:
        """Each change of path, in order."""
        return tuple(self._steps)

    def at(self, name: Mark) -> float | None:
        """Milliseconds from the start to ``name``; None: not reached."""
        return self._marks.get(name)

    def between(self, start: Mark, end: Mark) -> float | None:
        """Milliseconds from ``start`` to ``end``; None: one was not reached."""
        first, last = self._marks.get(start), self._marks.get(end)
        return None if first is None or last is None else round(last - first, 3)

    def setup_ms(self) -> float | None:
        """From the user's own act (dial, or answer on the callee's side) to ``confirmed``."""
        start: Mark = "dial" if "dial" in self._marks else "answered"
        return self.between(start, "confirmed")

    def marks(self) -> dict[str, float]:
        """Every mark that was reached, in the order of time."""
        return {str(name): at for name, at in sorted(self._marks.items(), key=lambda item: item[1])}

    def phases(self) -> dict[str, float]:
        """How long each phase took, ms. A phase that was not finished, or was overtaken, is left out."""
        result: dict[str, float] = {}
        for name, starts, end in _PHASES:
            reached = [self._marks[start] for start in starts if start in self._marks]
            if reached and end in self._marks and self._marks[end] >= max(reached):
                result[name] = round(self._marks[end] - max(reached), 3)
        return result

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Marks and phases, for JSON."""
        return {"marks": self.marks(), "phases": self.phases()}
