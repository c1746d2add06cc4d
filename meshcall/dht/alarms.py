"""One timer for the whole engine: a heap of moments and what to do then.

Law: an alarm that was cancelled never runs, and costs one heap entry until its moment.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Alarm:
    """Something that will be done at ``when``."""

    when: float
    number: int
    action: Callable[[float], None] | None = field(compare=False)

    def cancel(self) -> None:
        """It will not be done."""
        self.action = None


class Alarms:
    """All alarms of one engine."""

    def __init__(self) -> None:
        self._heap: list[Alarm] = []
        self._count = 0

    def set(self, when: float, action: Callable[[float], None]) -> Alarm:
        """Do ``action(now)`` at ``when`` (seconds)."""
        self._count += 1
        alarm = Alarm(when, self._count, action)
        heapq.heappush(self._heap, alarm)
        return alarm

    def deadline(self) -> float | None:
        """When the next alarm is due."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
        return self._heap[0].when if self._heap else None

    def run(self, now: float) -> None:
        """Do all that is due. What is set for ``now`` meanwhile waits for the next call."""
        due: list[Alarm] = []
        while self._heap and self._heap[0].when <= now:
            due.append(heapq.heappop(self._heap))
        for alarm in due:
            action, alarm.action = alarm.action, None
            if action is not None:
                action(now)
