"""Probes towards a NAT that draws its ports by lot, and the openings that they are to meet.

The end behind such a NAT opens many sockets towards the one address of the other end: as many of its ports
let that address in. The other end sends checks to random ports of that NAT (the birthday paradox). With 256
open of 64,512, half of all tries have met after 175 checks, 99.9 % after 1,737. The first that meets is
answered like any check.

Law 1: openings and probes go to an address only if a witness of our own choice has seen the peer there.
Law 2: so many probes a second, so many in all, no port twice.
Law 3: so many tries towards one host and in all in an hour, whatever peers ask for (:class:`PunchBudget`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from meshcall import limits

_FIRST, _COUNT = 1024, (1 << 16) - 1024


class Probes:
    """Which ports to probe now."""

    def __init__(self, random: Callable[[int], bytes], now: float) -> None:
        """``random(n)`` returns n octets."""
        self._random = random
        self._begin = now
        self._moved: dict[int, int] = {}
        """A shuffle of all ports, as far as it has got."""
        self.sent = 0

    @property
    def done(self) -> bool:
        """Whether there are no more."""
        return self.sent >= limits.PUNCH_PROBES_MAX

    def due(self, now: float) -> list[int]:
        """Ports whose turn has come; after a pause there is no burst."""
        wanted = int((now - self._begin) * limits.PUNCH_PROBES_PER_SECOND) + 1
        if wanted - self.sent > limits.PUNCH_PROBES_AT_ONCE:
            self._begin = now - self.sent / limits.PUNCH_PROBES_PER_SECOND
            wanted = self.sent + limits.PUNCH_PROBES_AT_ONCE
        count = min(wanted, limits.PUNCH_PROBES_MAX) - self.sent
        return [self._draw() for _ in range(count)]

    def _draw(self) -> int:
        last = _COUNT - 1 - self.sent
        chosen = int.from_bytes(self._random(4), "big") % (last + 1)
        port = self._moved.get(chosen, chosen)
        self._moved[chosen] = self._moved.pop(last, last)
        self.sent += 1
        return _FIRST + port


class PunchBudget:
    """How often a node tries, whatever peers ask for."""

    def __init__(self) -> None:
        self._tries: deque[tuple[float, str]] = deque()
        self._running = 0

    def take(self, ip: str, now: float) -> bool:
        """Whether one more try towards ``ip`` may begin; if so it is :meth:`give_back`'s to end it."""
        while self._tries and now - self._tries[0][0] > limits.PUNCH_HOUR:
            self._tries.popleft()
        if (
            self._running >= limits.PUNCHES_AT_ONCE
            or len(self._tries) >= limits.PUNCHES_PER_HOUR
            or sum(other == ip for _, other in self._tries) >= limits.PUNCHES_PER_HOST
        ):
            return False
        self._tries.append((now, ip))
        self._running += 1
        return True

    def give_back(self) -> None:
        """A try is over."""
        self._running -= 1
