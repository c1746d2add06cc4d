"""Requests that wait for an answer, sent again until one comes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshcall.limits import PORTMAP_RTO, PORTMAP_TRIES

K = TypeVar("K", bound=Hashable)

Random = Callable[[int], bytes]


def spread(random: Random, seconds: float, by: float) -> float:
    """``seconds`` and up to ``by`` more of it, by chance: many clients of one gateway don't ask at once."""
    return seconds * (1 + by * random(1)[0] / 255)


@dataclass(slots=True)
class _Open:
    octets: bytes
    sent: int
    due: float


class Requests(Generic[K]):
    """Requests by what they are about; a new one takes the place of an open one about the same."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._open: dict[K, _Open] = {}
        self._transmits: list[bytes] = []

    def __contains__(self, key: object) -> bool:
        return key in self._open

    def __bool__(self) -> bool:
        return bool(self._open)

    def send(self, key: K, octets: bytes, now: float) -> None:
        """Send it, now and until it is :meth:`answered`."""
        self._open[key] = _Open(octets, 0, now)
        self._send(self._open[key], now)

    def answered(self, key: K) -> bool:
        """It was; False: nobody has asked that."""
        return self._open.pop(key, None) is not None

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._open.clear()
        self._transmits.clear()

    def handle_timer(self, now: float) -> list[K]:
        """Send again what is due; returns what is given up."""
        given_up = []
        for key, request in tuple(self._open.items()):
            if request.due > now:
                continue
            if request.sent >= PORTMAP_TRIES:
                del self._open[key]
                given_up.append(key)
            else:
                self._send(request, now)
        return given_up

    def deadline(self) -> float:
        """When :meth:`handle_timer` is to be called; infinite: never."""
        return min((request.due for request in self._open.values()), default=float("inf"))

    def transmits(self) -> list[bytes]:
        """What is to be sent now."""
        taken, self._transmits = self._transmits, []
        return taken

    def _send(self, request: _Open, now: float) -> None:
        self._transmits.append(request.octets)
        # RFC 6887 section 8.1.1 begins with 3 s, RFC 6886 with 0.25: a gateway is one hop away
        request.due = now + spread(self._random, PORTMAP_RTO * 2**request.sent, 0.1)
        request.sent += 1
