"""What the DHT sends by: the node's UDP port, or a tunnel for all that is beyond the LAN.

Law 1: the LAN is always reached by UDP, also where the way out of it is blocked.
Law 2: what comes by UDP from beyond the LAN, and is waited for, is the proof that UDP works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from meshcall.address import Address, is_lan
from meshcall.aio.udp import Awaited, Datagrams, Handler
from meshcall.dht.messages import EPHEMERAL, FIRST_OCTETS, TID_SIZE, Ping, encode_frame, response_tid
from meshcall.identity.keys import Random
from meshcall.limits import TUNNEL_PROBED


class Tunnel(Protocol):
    """A relayed address to send from."""

    @property
    def node(self) -> Address | None:
        """Where the node of its gateway is."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram."""


class DhtCarrier:
    """Stands before the UDP port, for the DHT alone."""

    def __init__(self, udp: Datagrams, *, random: Random, all_far: bool = False) -> None:
        """``all_far``: there is no LAN, as with several nodes on one machine."""
        self._udp = udp
        self._random = random
        self._all_far = all_far
        self.tunnel: Tunnel | None = None
        """What carries now; None: UDP does."""
        self.on_sent: Callable[[Address], None] = lambda address: None
        """Told of nodes beyond the LAN that are asked by UDP."""
        self.on_heard: Callable[[], None] = lambda: None
        """Told when one of them has answered."""
        self.outside: Callable[[Address], Address] = lambda address: address
        self.inside: Callable[[Address], Address] = lambda address: address
        """For clients of a relay on this machine: from what UDP shows to what others know, and back."""
        self.counters: Counter[str] = Counter()
        self._handler: Handler | None = None
        self._awaited: Awaited | None = None
        self._probes: set[bytes] = set()

    def is_far(self, address: Address) -> bool:
        """Whether ``address`` is beyond the LAN."""
        return self._all_far or not is_lan(address[0])

    # --- the DHT's side ---

    def register(self, first_octets: range, handler: Handler, awaited: Awaited | None = None) -> None:
        """As the port's, once."""
        self._handler, self._awaited = handler, awaited
        self._udp.register(first_octets, self._receive, awaited)

    def unregister(self, first_octets: range) -> None:
        """As the port's."""
        self._handler = None
        self._udp.unregister(first_octets)

    def send(self, data: bytes, address: Address) -> None:
        """Send one frame. Cannot fail."""
        if not self.is_far(address):
            self._udp.send(data, self.inside(address))
        elif self.tunnel is not None:
            self.tunnel.send(data, address)
        else:
            self._udp.send(data, self.inside(address))
            if response_tid(data) is None:
                self.on_sent(address)

    # --- what comes ---

    def _receive(self, data: bytes, address: Address) -> None:
        """A frame that came by UDP."""
        address = self.outside(address)
        tid = response_tid(data)
        if tid is not None and self.is_far(address):
            if tid in self._probes:
                self._probes.clear()
                self.on_heard()
                return
            if self._awaited is None or self._awaited(data, address):
                self.on_heard()
        if self._handler is not None:
            self._handler(data, address)

    def receive(self, data: bytes, address: Address) -> None:
        """A datagram that came by a tunnel."""
        if data[:1] and data[0] in FIRST_OCTETS and self._handler is not None:
            self._handler(data, address)

    # --- does UDP work? ---

    def probe(self, nodes: Iterable[Address], node_id: bytes) -> None:
        """Ask some of these nodes by UDP, whatever carries; ``node_id`` is ours."""
        self._probes.clear()
        for address in [one for one in nodes if self.is_far(one)][:TUNNEL_PROBED]:
            tid = self._random(TID_SIZE)
            self._probes.add(tid)
            self._udp.send(encode_frame(Ping(tid, node_id, EPHEMERAL, b"", b"")), address)
