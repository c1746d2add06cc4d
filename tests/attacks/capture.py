"""Everything that a DHT's storage nodes receive, send and keep, and what may not be in it.

The capture knows nothing of frames: it is taken where datagrams enter and leave the nodes, so whatever else a
later version stores, watches or pushes is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshcall.address import Address
from meshcall.testing.testnet import Testnet

WINDOW = 8


@dataclass
class Datagram:
    """One that a storage node got or sent."""

    data: bytes
    other: Address
    received: bool
    phase: object
    """What :attr:`Capture.phase` was."""


@dataclass
class Capture:
    """All datagrams of the nodes of a testnet."""

    datagrams: list[Datagram] = field(default_factory=list)
    phase: object = None
    """Set by the test; kept with each datagram."""

    def attach(self, testnet: Testnet) -> None:
        """From now on."""
        for node in testnet.nodes:
            port: Any = node._udp
            port._dispatch = self._received(port._dispatch)
            port.send = self._sent(port.send)
            port.send_all = self._one_by_one(port.send)

    def _received(self, then: Callable[[bytes, Address], None]) -> Callable[[bytes, Address], None]:
        def tap(data: bytes, address: Address) -> None:
            self.datagrams.append(Datagram(data, address, True, self.phase))
            then(data, address)

        return tap

    def _sent(self, then: Callable[[bytes, Address], None]) -> Callable[[bytes, Address], None]:
        def tap(data: bytes, address: Address) -> None:
            self.datagrams.append(Datagram(data, address, False, self.phase))
            then(data, address)

        return tap

    def _one_by_one(self, send: Callable[[bytes, Address], None]) -> Any:
        def send_all(datagrams: Sequence[bytes], address: Address) -> None:
            for data in datagrams:
                send(data, address)

        return send_all


def kept(testnet: Testnet) -> list[bytes]:
    """The records that the nodes hold now."""
    return [
        record
        for node in testnet.nodes
        for key in list(node.engine._core.store._values)
        for record in node.engine._core.store.get(key, node._clock.now())
    ]


def windows(data: bytes, size: int = WINDOW) -> set[bytes]:
    """All runs of ``size`` octets."""
    return {data[at : at + size] for at in range(len(data) - size + 1)}


class Detector:
    """Finds secrets in octets: any eight octets in a row of any of them; shorter ones whole."""

    def __init__(self) -> None:
        self._names: dict[int, dict[bytes, str]] = {}

    def add(self, name: str, *secrets: bytes) -> None:
        """``secrets`` (at least 6 octets each, or chance would find them) must not occur."""
        for secret in secrets:
            assert len(secret) >= 6, f"{name} is too short to be told from chance"
            size = min(WINDOW, len(secret))
            for window in windows(secret, size):
                self._names.setdefault(size, {})[window] = name

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def find(self, octets: Iterable[bytes]) -> set[str]:
        """The names of what occurs in ``octets``."""
        found = set()
        for data in set(octets):
            for size, names in self._names.items():
                found |= {names[window] for window in windows(data, size) & names.keys()}
        return found
