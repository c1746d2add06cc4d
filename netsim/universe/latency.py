"""How long a datagram takes from one node to another."""

from __future__ import annotations

import math
from typing import Protocol

from netsim.universe.chance import dice

SIGMA = 0.6
"""Spread of the lognormal access delays: the slowest of 100 nodes is four times as far as the median."""
JITTER = 0.05
"""Mean of the exponential jitter, as a share of the way."""
_MEDIAN_OF_SUM = 1.09
"""Median of the sum of two lognormal access delays with that spread, over twice their median."""


class Latency(Protocol):
    """Says how long a datagram takes."""

    def one_way(self, source: int, destination: int) -> float:
        """Seconds from the node with index ``source`` to that with index ``destination``."""


class Constant:
    """The same for all pairs: figures are round trips times a number."""

    def __init__(self, rtt_ms: float) -> None:
        self._delay = rtt_ms / 2000

    def one_way(self, source: int, destination: int) -> float:
        """Half a round trip."""
        return self._delay


class Lognormal:
    """Each node has an access delay; a way is the sum of two, plus jitter. Most are near, a few are far.

    Symmetric but for the jitter. The shape of measured host-to-host delays, not a measurement.
    """

    def __init__(self, rtt_ms: float, seed: int) -> None:
        self._median = rtt_ms / 4000 / _MEDIAN_OF_SUM
        self._nodes = dice(seed, "access delays")
        self._jitter = dice(seed, "jitter")
        self._access: list[float] = []

    def _access_of(self, index: int) -> float:
        while len(self._access) <= index:
            self._access.append(self._median * math.exp(SIGMA * self._nodes.gauss(0.0, 1.0)))
        return self._access[index]

    def one_way(self, source: int, destination: int) -> float:
        """Both accesses and some jitter."""
        way = self._access_of(source) + self._access_of(destination)
        return way * (1 + self._jitter.expovariate(1 / JITTER))
