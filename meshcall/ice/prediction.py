"""Ports of a sequential NAT: which one a packet got that we sent between two questions, and which come next.

Questions to a few nodes and the packet itself leave one socket one behind the other. Each takes a mapping of
its own, so the answers enclose the packet's port, however long they take to come; what other hosts send
meanwhile only widens the bracket.

Law: a node that lies, or whose answer is lost, costs no more than its own sample: most must fit one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from meshcall import limits
from meshcall.ice.nat import PORTS

Samples = Mapping[int, int]
"""By the place in the order of sending: the port that a node saw."""


def enclosed_ports(samples: Samples, place: int) -> list[int]:
    """Ports that the packet at ``place`` may have got, the likeliest first; none: they are not sequential."""
    fit = _fit(samples)
    if fit is None:
        return []
    delta, good = fit
    below = max((at for at in good if at < place), default=None)
    above = min((at for at in good if at > place), default=None)
    if below is None and above is None:
        return []
    if below is None:
        assert above is not None, "one of both is there"
        return [(samples[above] - delta * (above - place)) % PORTS]
    expected = place - below
    if above is None:
        return [(samples[below] + delta * expected) % PORTS]
    steps = _steps(samples[below], samples[above], delta) or 0
    extra = steps - (above - below)
    """Mappings that somebody else made in between."""
    ports = [(samples[below] + delta * (expected + more)) % PORTS for more in range(extra + 1)]
    return ports[: limits.PREDICTED_MAX]


def next_port(samples: Samples, sent: int, ahead: int) -> int | None:
    """The port of the mapping ``ahead`` of the last of ``sent`` packets; None: they are not sequential."""
    fit = _fit(samples)
    if fit is None:
        return None
    delta, good = fit
    last = max(good)
    port = (samples[last] + delta * (sent - 1 - last + ahead)) % PORTS
    return port if port >= limits.CANDIDATE_PORT_MIN else None


def _fit(samples: Samples) -> tuple[int, list[int]] | None:
    """The step, and the places of the samples that it explains: more than half of them, two at least."""
    deltas: Counter[int] = Counter()
    for low in samples:
        for high in samples:
            if high > low:
                step = (samples[high] - samples[low] + PORTS // 2) % PORTS - PORTS // 2
                if step and step % (high - low) == 0 and abs(step // (high - low)) <= limits.NAT_DELTA_MAX:
                    deltas[step // (high - low)] += 1
    best: tuple[int, list[int]] | None = None
    for delta, _ in deltas.most_common():
        for anchor in samples:
            good = [at for at in samples if _explains(samples, delta, anchor, at)]
            if len(good) >= 2 and 2 * len(good) > len(samples) and (best is None or len(good) > len(best[1])):
                best = delta, sorted(good)
    return best


def _explains(samples: Samples, delta: int, anchor: int, at: int) -> bool:
    if at == anchor:
        return True
    low, high = min(at, anchor), max(at, anchor)
    steps = _steps(samples[low], samples[high], delta)
    return steps is not None and high - low <= steps <= high - low + limits.NAT_DELTA_MAX


def _steps(low: int, high: int, delta: int) -> int | None:
    """How many steps lead from one port to the other; None: none do."""
    distance = (high - low) % PORTS if delta > 0 else (low - high) % PORTS
    return distance // abs(delta) if distance % abs(delta) == 0 else None
