"""Gateways: reachable nodes that take TCP and TLS, for hosts without UDP. Which of them to try next.

Law 1: whom the user named comes first, then who worked before or lends relays, then whom an invite names,
then other nodes.
Law 2: one that failed is left alone for a while, ever longer, so that a dead one keeps nobody busy.
Law 3: of what others name only so many are kept, and none that the user named goes for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from meshcall.address import Address, format_address, parse_host_port
from meshcall.errors import UsageError
from meshcall.limits import TUNNEL_GATEWAYS_KEPT, TUNNEL_RETRY, TUNNEL_RETRY_MAX

_SCHEMES: Final = ("tls", "tcp")


class Gateway(NamedTuple):
    """Where a gateway listens."""

    host: str
    """IP address, or a name that the user gave."""
    port: int
    tls: bool = True

    @property
    def text(self) -> str:
        """``tls:HOST:PORT`` or ``tcp:HOST:PORT``."""
        return f"{_SCHEMES[not self.tls]}:{format_address((self.host, self.port))}"


def is_gateway(text: str) -> bool:
    """Whether ``text`` names a gateway, and not a node to ask by UDP."""
    return text.partition(":")[0] in _SCHEMES and text.count(":") > 1


def parse_gateway(text: str) -> Gateway:
    """``tls:HOST:PORT`` or ``tcp:HOST:PORT``; raises :class:`UsageError`."""
    scheme, _, rest = text.partition(":")
    if scheme not in _SCHEMES:
        raise UsageError(f"{text!r} is not tls:HOST:PORT or tcp:HOST:PORT")
    return Gateway(*parse_host_port(rest), tls=scheme == "tls")


class Source(IntEnum):
    """Who named a gateway, the best first."""

    USER = 0
    WORKED = 1
    LENT = 2
    """It has granted us a relay, by UDP."""
    INVITED = 3
    """An invite says so."""
    NETWORK = 4
    """A DHT node: it may be one or not."""


class Gateways:
    """All that are known."""

    def __init__(self) -> None:
        self._sources: dict[Gateway, Source] = {}
        self._failures: dict[Gateway, int] = {}
        self._again: dict[Gateway, float] = {}
        self._worked: set[Gateway] = set()

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, gateways: Iterable[Gateway], source: Source) -> None:
        """Know these; of one that is known already the better source counts."""
        for gateway in gateways:
            self._sources[gateway] = min(source, self._sources.get(gateway, source))
        others = [one for one, source in self._sources.items() if source is not Source.USER]
        others.sort(key=lambda one: (self._sources[one], self._failures.get(one, 0)))
        for gateway in others[TUNNEL_GATEWAYS_KEPT:]:
            del self._sources[gateway]
            self._failures.pop(gateway, None)
            self._again.pop(gateway, None)
            self._worked.discard(gateway)

    def next(self, now: float, skip: Callable[[Gateway], bool]) -> Gateway | None:
        """The best to try now of those that are not to be skipped; None: there is none yet."""
        ready = [one for one in self._sources if not skip(one) and self._again.get(one, now) <= now]
        return min(ready, key=lambda one: (self._failures.get(one, 0), self._sources[one]), default=None)

    def when(self, skip: Callable[[Gateway], bool]) -> float | None:
        """When :meth:`next` has one, at the soonest; None: never."""
        return min((self._again.get(one, 0.0) for one in self._sources if not skip(one)), default=None)

    def trying(self, gateway: Gateway, now: float) -> None:
        """It is being tried: not again before its pause."""
        pause = min(TUNNEL_RETRY * 2 ** self._failures.get(gateway, 0), TUNNEL_RETRY_MAX)
        self._again[gateway] = now + pause

    def failed(self, gateway: Gateway) -> None:
        """It can't be reached, or lends nothing."""
        self._failures[gateway] = self._failures.get(gateway, 0) + 1

    def worked(self, gateway: Gateway) -> None:
        """It lent an address."""
        self._failures.pop(gateway, None)
        self._worked.add(gateway)
        self.add([gateway], Source.WORKED)

    def forgive(self) -> None:
        """The network is another one: what failed there may work here."""
        self._failures.clear()
        self._again.clear()

    def best(self) -> list[Gateway]:
        """Those that are gateways for certain, for the next start."""
        proven = (Source.WORKED, Source.LENT)
        certain = [one for one, source in self._sources.items() if source in proven or one in self._worked]
        return [one for one in certain if not self._failures.get(one)]


def of_node(address: Address, web_port: int) -> list[Gateway]:
    """Where the node at ``address`` takes TLS, if it does."""
    return [Gateway(address[0], web_port), Gateway(*address)]
