"""What a universe is made of. Frozen: a run never changes its own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LatencyKind = Literal["constant", "lognormal"]


@dataclass(frozen=True, slots=True)
class Settings:
    """One universe. Shares are of ``nodes``, in 0..1."""

    nodes: int = 200
    """Nodes besides the clients: routers, nodes behind NATs and hostile ones."""
    seed: int = 1
    """Decides everything that is left to chance."""
    dead: float = 0.0
    """Share that dies at the same moment, after the clients have registered their watches."""
    hostile: float = 0.0
    """Share that proves its id and then lies, in all the ways of :mod:`netsim.universe.hostile`."""
    hostile_kind: str | None = None
    """Only this kind of lie; None: all kinds in turn."""
    nat: float = 0.0
    """Share that is behind a NAT, and so uses the network but is in nobody's table."""
    churn: float = 0.0
    """Mean life of a node in seconds; each that dies is replaced by a newcomer that joins. 0: no churn."""
    sybils: int = 0
    """Hostile nodes whose ids are ground to lie next to one predictable key."""
    sybils_spread: bool = False
    """Whether the sybils have addresses all over the internet; otherwise all are in one /24."""
    loss: float = 0.0
    """Share of the datagrams that get lost."""
    rtt_ms: float = 50.0
    """Round-trip time; with ``lognormal`` latency the median over pairs of nodes, about."""
    latency: LatencyKind = "constant"
    operations: int = 200
    """Measurements of each kind."""
    clients: int = 50
    """Nodes behind NATs that join by the protocol and carry out the operations; they never die."""
    fresh: bool = False
    """Whether clients begin right after their join; otherwise they have refreshed their tables once."""
    real_joins: bool = False
    """Whether every node joins by the protocol; otherwise tables are made by construction."""

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be built."""
        for name in ("dead", "hostile", "nat", "loss"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share of at least 0 and below 1")
        if self.hostile + self.nat >= 1:
            raise ValueError("hostile and nat leave no honest router")
        if self.nodes < 8 or self.clients < 2 or self.operations < 1:
            raise ValueError("a universe has at least 8 nodes, 2 clients and 1 operation")
        if self.rtt_ms <= 0 or self.churn < 0 or self.sybils < 0:
            raise ValueError("rtt_ms is above 0; churn and sybils are not below 0")
