"""How fast this machine is now: bounds on processor time are given for one machine, and others are slower.

Law 1: never less than 1: a fast machine gets no narrower bounds, so that a test says the same everywhere.
Law 2: what is timed is like what is bounded: small objects, dicts of thousands, slices of bytes, hashes.
"""

from __future__ import annotations

import hashlib
import statistics
import struct
import time

REFERENCE = 0.0105
"""Median seconds of a core for one look on the machine of the figures in the docs, nothing else running."""

SLOWEST = 2.0
"""What is slower still is not a machine to measure on: bounds are widened no further."""

LOOKS = 9


class _Address:
    __slots__ = ("count", "host", "port")

    def __init__(self, host: bytes, port: int) -> None:
        self.host, self.port, self.count = host, port, 0


def _look() -> float:
    """Seconds of a core for one look."""
    begun = time.thread_time()
    seen: dict[tuple[bytes, int], _Address] = {}
    data = bytes(range(256)) * 4
    for n in range(12_000):
        host, port = struct.unpack_from("!4sH", data, n % 1000)
        key = (host, (port + n) & 0xFFFF)
        address = seen.get(key)
        if address is None:
            address = seen[key] = _Address(host, port)
        address.count += len(data[n & 255 : (n & 255) + 60])
        if not n & 7:
            hashlib.sha256(data).digest()
    return time.thread_time() - begun


def slowness() -> float:
    """How many times as long as on the machine of the figures a piece of work takes now: 1 to ``SLOWEST``."""
    return min(max(statistics.median(_look() for _ in range(LOOKS)) / REFERENCE, 1.0), SLOWEST)
