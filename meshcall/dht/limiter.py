"""How many requests a node answers: so many per address, so many in all, and a fixed memory for it.

Law 1: whatever addresses a flood pretends to come from, the work per second and the memory have a cap.
Law 2: who shows a good token is really where it says it is, so a flood from invented addresses never takes
its place: reads and writes are counted apart, in all and for each sender. So are pushes by the nodes that we
asked for them: neither writers with tokens nor pings in a holder's name take the place of our own calls.
Law 3: an IPv4 address or an IPv6 /64 is one sender; in a LAN, where peers may share an address, each port is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from meshcall.address import Address, is_lan, pack_ip
from meshcall.limits import (
    DHT_LIMITER_KEPT,
    DHT_PUSHES_PER_SECOND,
    DHT_READS_PER_SECOND,
    DHT_REQUESTS_BURST,
    DHT_REQUESTS_PER_SECOND,
    DHT_WRITES_PER_SECOND,
)

Sender = bytes | Address


@lru_cache(maxsize=4096)
def sender_of(address: Address) -> Sender:
    """Who is counted for a request from ``address``."""
    if is_lan(address[0]):
        return address
    return pack_ip(address[0])[:8]


class Bucket:
    """A token bucket: ``rate`` per second, up to ``burst`` at once."""

    __slots__ = ("_burst", "_level", "_rate", "_since")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._level, self._since = rate, burst, burst, now

    def left(self, now: float) -> float:
        """How many would be allowed now."""
        return min(self._burst, self._level + max(0.0, now - self._since) * self._rate)

    def take(self, now: float, count: float = 1.0) -> bool:
        """Whether ``count`` more are allowed now."""
        self._level = min(self._burst, self._level + max(0.0, now - self._since) * self._rate)
        self._since = now
        if self._level < count:
            return False
        self._level -= count
        return True


READS: Final = "reads"
WRITES: Final = "writes"
PUSHES: Final = "pushes"


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """A snapshot of a :class:`Limiter`."""

    senders: int
    """Senders that are counted now; ``DHT_LIMITER_KEPT`` at most."""
    reads_left: int
    """Requests without a token that would be looked at now, from all senders together."""
    writes_left: int
    """The same with a token."""


_STEP: Final = 1 / DHT_REQUESTS_PER_SECOND
_SPENT: Final = (DHT_REQUESTS_BURST - 1) / DHT_REQUESTS_PER_SECOND + 1e-6
"""A burst that takes longer than this to come back has nothing left. The last part: what floats lose."""


class Limiter:
    """All buckets of one node.

    Of a sender one number is kept, when all of its burst is there again: in a flood each may be a new one.
    """

    __slots__ = ("_senders", "_totals")

    def __init__(self, now: float) -> None:
        self._senders: OrderedDict[tuple[Sender, str], float] = OrderedDict()
        """Longest silent first."""
        self._totals = {
            READS: Bucket(DHT_READS_PER_SECOND, DHT_READS_PER_SECOND, now),
            WRITES: Bucket(DHT_WRITES_PER_SECOND, DHT_WRITES_PER_SECOND, now),
            PUSHES: Bucket(DHT_PUSHES_PER_SECOND, DHT_PUSHES_PER_SECOND, now),
        }

    def __len__(self) -> int:
        return len(self._senders)

    def statistics(self, now: float) -> LimiterStatistics:
        """A frozen snapshot."""
        left = {kind: int(bucket.left(now)) for kind, bucket in self._totals.items()}
        return LimiterStatistics(len(self._senders), left[READS], left[WRITES])

    def _forget_idle(self, now: float) -> None:
        """Whoever was silent long enough has a full bucket again: as if it had never been here."""
        for _ in range(2):
            if next(iter(self._senders.values()), now + 1) > now:
                return
            self._senders.popitem(last=False)

    def refuse(self, address: Address, kind: str, now: float) -> str | None:
        """Why a request from ``address`` is not looked at: "sender" or the kind's name; None: it is."""
        senders, sender = self._senders, (sender_of(address), kind)
        full = senders.get(sender)
        if full is None:
            self._forget_idle(now)
            full = now
        else:
            senders.move_to_end(sender)
            full = max(full, now)
        if full - now > _SPENT:
            return "sender"
        senders[sender] = full + _STEP
        if len(senders) > DHT_LIMITER_KEPT:
            senders.popitem(last=False)
        return None if self._totals[kind].take(now) else kind
