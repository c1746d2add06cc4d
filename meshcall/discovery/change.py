"""Whether this machine's network is another one now: decided from what the interfaces look like, and clocks.

Law 1: only what can move us counts: an address that is gone, a network that is new, another default route.
Lifetimes, and more addresses in a network where we have one already (RFC 8981 temporary ones), do not.
Law 2: interfaces that containers and virtual machines come and go with do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Final

from meshcall.limits import NETWORK_PAUSE, NETWORK_SETTLE, NETWORK_SETTLE_MAX, NETWORK_SLEEP

_CONTAINERS: Final = (
    "br-", "cali", "cni", "docker", "flannel", "lxc", "lxdbr", "podman", "tap", "vboxnet", "veth", "virbr",
    "vmnet", "vnet",
)  # fmt: skip
"""How the interfaces of containers and virtual machines begin."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the interfaces look like at one moment."""

    addresses: frozenset[tuple[str, str]]
    """(interface, "192.0.2.7/24")."""
    gateways: frozenset[tuple[str, str]] = frozenset()
    """(interface, gateway) of default routes."""

    def relevant(self) -> Snapshot:
        """Without the interfaces of containers."""
        return Snapshot(
            frozenset(one for one in self.addresses if not one[0].startswith(_CONTAINERS)),
            frozenset(one for one in self.gateways if not one[0].startswith(_CONTAINERS)),
        )

    def networks(self) -> frozenset[tuple[str, str]]:
        """(interface, "192.0.2.0/24")."""
        return frozenset((name, str(ip_interface(text).network)) for name, text in self.addresses)


def is_change(before: Snapshot, after: Snapshot) -> bool:
    """Whether who had ``before`` has to look again where it is."""
    before, after = before.relevant(), after.relevant()
    return bool(
        before.addresses - after.addresses
        or after.networks() - before.networks()
        or before.gateways != after.gateways
    )


class ChangeDetector:
    """When to look, and whether what is seen then is a change."""

    def __init__(self, first: Snapshot, asleep: float, now: float) -> None:
        """``asleep``: seconds that the machine has slept so far, with any zero."""
        self._snapshot = first
        self._asleep = asleep
        self._first_news: float | None = None
        self._last_news = now
        self._told = now - NETWORK_PAUSE

    def news(self, now: float) -> None:
        """The system says that something about the interfaces is new."""
        self._last_news = now
        if self._first_news is None:
            self._first_news = now

    def look_at(self) -> float | None:
        """When to take the next snapshot, monotonic seconds; None: there is no news."""
        if self._first_news is None:
            return None
        settled = min(self._last_news + NETWORK_SETTLE, self._first_news + NETWORK_SETTLE_MAX)
        return max(settled, self._told + NETWORK_PAUSE)

    def looked(self, snapshot: Snapshot, now: float) -> bool:
        """Compare with what was seen when a change was told last."""
        self._first_news = None
        if not is_change(self._snapshot, snapshot):
            # Additions are taken up silently, so that their loss is noticed
            self._snapshot = snapshot
            return False
        self._snapshot, self._told = snapshot, now
        return True

    def woke(self, asleep: float, now: float) -> bool:
        """Whether the machine has slept since the last look; ``asleep`` as at the start."""
        slept = asleep - self._asleep
        self._asleep = asleep
        if slept < NETWORK_SLEEP:
            return False
        self._told = now
        return True
