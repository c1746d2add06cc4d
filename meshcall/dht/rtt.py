"""Round-trip estimates per address (RFC 6298 section 2) and the soft timeouts that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from meshcall.address import Address
from meshcall.limits import (
    DHT_RTT_KEPT,
    DHT_SOFT_TIMEOUT_MAX,
    DHT_SOFT_TIMEOUT_MIN,
    DHT_SOFT_TIMEOUT_UNKNOWN,
)


@dataclass(slots=True)
class Estimate:
    """Smoothed round-trip time and its variation, in seconds."""

    srtt: float
    rttvar: float

    @classmethod
    def first(cls, sample: float) -> Estimate:
        """RFC 6298 (2.2)."""
        return cls(sample, sample / 2)

    def update(self, sample: float) -> None:
        """RFC 6298 (2.3)."""
        self.rttvar += (abs(self.srtt - sample) - self.rttvar) / 4
        self.srtt += (sample - self.srtt) / 8

    @property
    def timeout(self) -> float:
        """srtt + 4 rttvar + 20 ms, within the limits."""
        return min(max(self.srtt + 4 * self.rttvar + 0.02, DHT_SOFT_TIMEOUT_MIN), DHT_SOFT_TIMEOUT_MAX)


class RttBook:
    """Estimates of the addresses heard of last, and one over all for those never heard of."""

    __slots__ = ("_estimates", "_overall")

    def __init__(self) -> None:
        self._estimates: dict[Address, Estimate] = {}
        """Those heard of last are last."""
        self._overall: Estimate | None = None

    def __len__(self) -> int:
        return len(self._estimates)

    def sample(self, address: Address, seconds: float) -> None:
        """A round trip to ``address`` took so long. Repeated requests give no samples (Karn's algorithm)."""
        estimate = self._estimates.pop(address, None)
        if estimate is None:
            estimate = Estimate.first(seconds)
            if len(self._estimates) >= DHT_RTT_KEPT:
                del self._estimates[next(iter(self._estimates))]
        else:
            estimate.update(seconds)
        self._estimates[address] = estimate
        if self._overall is None:
            self._overall = Estimate.first(seconds)
        else:
            self._overall.update(seconds)

    def rtt(self, address: Address) -> float | None:
        """Smoothed round-trip time to ``address``."""
        estimate = self._estimates.get(address)
        return estimate.srtt if estimate else None

    def soft_timeout(self, address: Address) -> float:
        """When to try elsewhere. On a slow link strangers get the time that others there need."""
        estimate = self._estimates.get(address)
        if estimate is not None:
            return estimate.timeout
        return max(DHT_SOFT_TIMEOUT_UNKNOWN, self._overall.timeout if self._overall else 0.0)
