"""What a lookup costs, read off the wire of the client that makes it: requests sent, and hops.

A node of the client's own table is at depth 1, a node that one of depth n told of is at depth n + 1. The
hops of a lookup are the depth of the closest node that it found.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.dht.compact import unpack_nodes_untrusted
from meshcall.errors import Rejected
from netsim.universe.world import Node


@dataclass(slots=True)
class Trace:
    """One lookup of one client."""

    sent: int = 0
    """Requests, with repetitions."""
    heard: int = 0
    """Replies."""
    depths: dict[Address, int] = field(default_factory=dict)

    def hops(self, address: Address) -> int:
        """How many steps away from the client's own table the node is, plus one."""
        return self.depths.get(address, 1)


class Tracer:
    """A watcher of a world."""

    def __init__(self) -> None:
        self.traces: dict[tuple[int, bytes], Trace] = {}
        """Lookups to watch, by the client's index and the target."""
        self._open: dict[bytes, Trace] = {}

    def watch(self, client: Node, target: bytes) -> Trace:
        """Follow the client's lookup of ``target`` from now on."""
        trace = self.traces[client.index, target] = Trace()
        return trace

    def __call__(self, client: Node, data: bytes, other: Address, sent: bool) -> None:
        """One datagram that the client sent to, or got from, ``other``."""
        try:
            message = m.decode_frame_untrusted(data)
        except Rejected:
            return
        if sent and isinstance(message, m.FindNode):
            trace = self.traces.get((client.index, message.target))
            if trace is not None:
                trace.sent += 1
                trace.depths.setdefault(other, 1)
                self._open[message.tid] = trace
        elif not sent and isinstance(message, m.Nodes):
            trace = self._open.pop(message.tid, None)
            if trace is not None:
                trace.heard += 1
                depth = trace.depths.get(other, 1) + 1
                for _, address in unpack_nodes_untrusted(message.nodes4, message.nodes6):
                    trace.depths.setdefault(address, depth)
