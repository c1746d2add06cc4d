"""The NAT in front of the node's UDP port, in the words of RFC 4787, learned from what DHT nodes see of us.

Each answer in the DHT tells the address that the question came from. Whom several nodes see at one address,
whatever it is, is behind an endpoint-independent mapping; a port for each node is a dependent one. How such a
mapping gets its ports is told by a survey: questions from a socket of its own, sent one behind the other.

Law 1: one network (/24, /48) has one voice; as long as there is one network only, each node in it has.
Law 2: what was seen ages, and a change of network makes all of it void.
Law 3: what is not known is called unknown, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from meshcall import limits
from meshcall.address import Address, is_lan
from meshcall.dht.networks import network_of

PORTS = 1 << 16


class Mapping(IntEnum):
    """When a second destination sees the same external port (RFC 4787 section 4.1)."""

    UNKNOWN = 0
    NONE = 1
    """Nothing is translated."""
    EIM = 2
    """Always: endpoint-independent."""
    ADM = 3
    """When it has the same IP address."""
    APDM = 4
    """When it has the same IP address and port."""

    @property
    def depends(self) -> bool:
        """Whether what one node sees is of no use to another."""
        return self in (Mapping.ADM, Mapping.APDM)


class Filtering(IntEnum):
    """From where packets come in to a mapped port (RFC 4787 section 5)."""

    UNKNOWN = 0
    EIF = 1
    """From anywhere: endpoint-independent."""
    ADF = 2
    """From IP addresses that were sent to."""
    APDF = 3
    """From addresses and ports that were sent to."""


class Ports(IntEnum):
    """How the external port of a new mapping is chosen (RFC 4787 section 4.2)."""

    UNKNOWN = 0
    PRESERVING = 1
    """It is the socket's own."""
    SEQUENTIAL = 2
    """A fixed step after the one before."""
    RANDOM = 3
    """It can't be foretold."""


@dataclass(frozen=True, slots=True)
class NatView:
    """What is known of the NAT for one address family."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    ports: Ports = Ports.UNKNOWN
    delta: int = 0
    """Step between the ports of two mappings; 0 unless they are sequential."""
    mapped: Address | None = None
    """Where most see us."""
    witnesses: int = 0
    """Networks that have told so."""


class NatBook:
    """What nodes have said of our address, and what follows from it."""

    def __init__(self) -> None:
        self._seen: dict[Address, tuple[Address, float]] = {}
        """By the node that said it, with when; oldest first."""
        self._ports: dict[int, tuple[Ports, int, float]] = {}
        """By family: what the last survey found, and when."""

    def observe(self, node: Address, seen: Address, now: float) -> None:
        """``node`` sees us at ``seen``."""
        self._seen.pop(node, None)
        self._seen[node] = (seen, now)
        if len(self._seen) > limits.NAT_SAMPLES_MAX:
            del self._seen[next(iter(self._seen))]

    def surveyed(self, seen: Sequence[Address], now: float) -> None:
        """What different nodes saw of one socket of ours, in the order in which they were asked."""
        if seen:
            self._ports[_family(seen[0])] = (*ports_of([port for _, port in seen]), now)

    def forget(self) -> None:
        """We are elsewhere now."""
        self._seen.clear()
        self._ports.clear()

    def view(
        self,
        family: int,
        now: float,
        *,
        port: int,
        hosts: Iterable[str] = (),
        reached: bool = False,
        unreached: bool = False,
    ) -> NatView:
        """What is known for family 4 or 6.

        ``port``: our own; ``hosts``: this machine's addresses. ``reached``: nodes to which we had sent
        nothing got through to us; ``unreached``: several tried in vain.
        """
        samples = {
            node: seen
            for node, (seen, at) in self._seen.items()
            if _family(seen) == family and now - at <= limits.NAT_SAMPLE_LIFE
        }
        # A neighbour in the LAN sees us before the NAT
        samples = {node: seen for node, seen in samples.items() if not is_lan(node[0])} or samples
        voices = _voices(samples)
        if len(voices) < 2:
            return NatView()
        counts = Counter(seen for said in voices.values() for seen in said)
        mapped, support = counts.most_common(1)[0]
        filtering = Filtering.EIF if reached else Filtering.APDF if unreached else Filtering.UNKNOWN
        networks = len({network_of(node[0]) or node[0].encode() for node in samples})
        if 2 * support > len(voices):
            mapping = Mapping.NONE if mapped[0] in set(hosts) else Mapping.EIM
            ports = Ports.PRESERVING if mapped[1] == port else Ports.UNKNOWN
            return NatView(mapping, filtering, ports, 0, mapped, networks)
        found, delta, at = self._ports.get(family, (Ports.UNKNOWN, 0, now))
        if found is Ports.UNKNOWN or now - at > limits.NAT_SURVEY_LIFE:
            found, delta = ports_of(sorted({seen[1] for seen in samples.values()}))
        return NatView(_dependence(samples), filtering, found, delta, mapped, networks)


def _family(address: Address) -> int:
    return 6 if ":" in address[0] else 4


def _voices(samples: dict[Address, Address]) -> dict[bytes, set[Address]]:
    """What each voice says: a network, or a node as long as there is one network only."""
    by_network: dict[bytes, set[Address]] = {}
    for node, seen in samples.items():
        by_network.setdefault(network_of(node[0]) or node[0].encode(), set()).add(seen)
    if len(by_network) > 1:
        return by_network
    return {f"{node}".encode(): {seen} for node, seen in samples.items()}


def _dependence(samples: dict[Address, Address]) -> Mapping:
    """Whether two ports of one node's machine see the same of us."""
    by_ip: dict[str, list[Address]] = {}
    for node, seen in samples.items():
        by_ip.setdefault(node[0], []).append(seen)
    several = [seen for seen in by_ip.values() if len(seen) > 1]
    if several and all(len(set(seen)) == 1 for seen in several):
        return Mapping.ADM
    return Mapping.APDM


def ports_of(ports: Sequence[int]) -> tuple[Ports, int]:
    """How successive mappings got their ports, and the step if it is fixed (0: it is not)."""
    steps = [_signed(after - before) for before, after in pairwise(ports)]
    if not steps or not any(steps):
        return Ports.UNKNOWN, 0
    near = Counter(step for step in steps if 0 < abs(step) <= limits.NAT_DELTA_MAX)
    delta = near.most_common(1)[0][0] if near else 0
    fitting = sum(step % delta == 0 and 0 < step // delta <= limits.NAT_DELTA_MAX for step in steps if delta)
    return (Ports.SEQUENTIAL, delta) if 2 * fitting > len(steps) else (Ports.RANDOM, 0)


def _signed(step: int) -> int:
    """Port numbers go round."""
    return (step + PORTS // 2) % PORTS - PORTS // 2
