"""What a way carries, by how far apart packets arrive that left together. Pure.

A way that is not full tells nothing by its delay. But the packets of one picture leave at once, and the
narrowest link of the way lets them through one after the other, as fast as it can.

Law 1: the median of what trains of late showed counts: other traffic between packets makes a way look
narrower, and a radio or a busy machine, which hand on a heap, wider.
Law 2: what a peer writes into its packets decides about what it is told to send, and nothing else; memory is
bounded.

Background: packet trains, Dovrolis, Ramanathan and Moore, "What do packet dispersion techniques measure?",
INFOCOM 2001.
"""

from __future__ import annotations

import statistics
from collections import deque

from meshcall import limits


class Trains:
    """Those of one peer."""

    def __init__(self) -> None:
        self._stamp = -1
        self._began = self._last = 0.0
        self._packets = 0
        self._octets = 0
        """Of all but the first, which only marks the beginning."""
        self._shown: deque[tuple[float, float]] = deque(maxlen=limits.TRAINS_KEPT)
        """When, bits per second."""
        self._carries: float | None = None
        self._looked_at = float("-inf")

    def add_untrusted(self, stamp: int, arrived: float, octets: int) -> None:
        """A packet came; ``stamp``: when it was sent, in any unit: those of one train have the same."""
        if stamp == self._stamp and arrived - self._last < limits.TRAIN_PAUSE:
            self._packets += 1
            self._octets += octets + limits.TRAIN_HEADERS
        else:
            self._end()
            self._stamp, self._began, self._packets, self._octets = stamp, arrived, 1, 0
        self._last = arrived

    def carries(self, now: float) -> float | None:
        """Bits per second, headers included; None: too few trains to tell. It is looked at now and then."""
        if now - self._looked_at >= limits.TRAINS_LOOK:
            shown = [rate for at, rate in self._shown if at > now - limits.TRAINS_LIFE]
            self._carries = statistics.median(shown) if len(shown) >= limits.TRAINS_MIN else None
            self._looked_at = now
        return self._carries

    def _end(self) -> None:
        if self._packets >= limits.TRAIN_PACKETS:
            took = max(self._last - self._began, limits.TRAIN_LEAST)
            self._shown.append((self._last, 8 * self._octets / took))
