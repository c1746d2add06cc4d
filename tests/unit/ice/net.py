"""A network of ICE agents in memory and virtual time: addresses, NATs, relays, delay and loss, one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from meshcall.address import Address
from meshcall.ice.agent import IceAgent
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Credentials
from meshcall.ice.events import IceEvent, Lost, NoPath, Selected
from meshcall.ice.pair import candidate_priority


@dataclass
class Nat:
    """RFC 4787: which mapping a flow gets, and which packets come in by it."""

    address: str
    mapping: str = "endpoint"
    """``endpoint`` independent, or ``port``: another one for each destination."""
    filtering: str = "port"
    """``endpoint`` independent, ``address`` or ``port`` dependent."""
    ports: str = "sequential"
    """Of new mappings; or ``random``, drawn from ``random``."""
    random: random.Random = field(default_factory=random.Random)
    _out: dict[tuple[Address, Address | None], Address] = field(default_factory=dict)
    _in: dict[Address, Address] = field(default_factory=dict)
    _allowed: set[tuple[Address, object]] = field(default_factory=set)
    _next: int = 20_000

    def outgoing(self, base: Address, destination: Address) -> Address:
        key = (base, destination if self.mapping == "port" else None)
        if key not in self._out:
            self._out[key] = (self.address, self._port())
            self._in[self._out[key]] = base
        self._allowed.add((self._out[key], self._seen(destination)))
        return self._out[key]

    def _port(self) -> int:
        self._next += 1
        while self.ports == "random":
            drawn = self.random.randrange(1024, 65536)
            if (self.address, drawn) not in self._in:
                return drawn
        return self._next

    def incoming(self, source: Address, mapped: Address) -> Address | None:
        base = self._in.get(mapped)
        return base if base is not None and (mapped, self._seen(source)) in self._allowed else None

    def forget(self) -> None:
        """It was switched off and on."""
        self._out.clear()
        self._in.clear()
        self._allowed.clear()

    def _seen(self, remote: Address) -> object:
        return {"endpoint": None, "address": remote[0], "port": remote}[self.filtering]


class Receiver(Protocol):
    """Who sits at a base."""

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        """A datagram came."""


class Net:
    """Carries datagrams between the bases of agents."""

    def __init__(self, seed: int = 0, *, delay: float = 0.01, loss: float = 0.0, jitter: float = 0.0) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.delay, self.loss, self.jitter = delay, loss, jitter
        self.relay_delay = delay
        self.drop: Callable[[Address, Address], bool] = lambda source, destination: False
        """By (base of the sender, base of the receiver, or None)."""
        self.lose_data: Callable[[Address, Address], bool] = lambda source, destination: False
        """Likewise, of what is no STUN."""
        self.ends: list[End] = []
        self.log: list[tuple[float, Address, Address, bytes]] = []
        """(time, source, destination, octets) of all that was sent."""
        self._bases: dict[Address, tuple[Receiver, Nat | None]] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def end(self, *, controlling: bool) -> End:
        made = End(self, controlling)
        self.ends.append(made)
        return made

    def at(self, seconds: float, work: Callable[[], None]) -> None:
        """Do ``work`` in so many seconds."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, work))

    def attach(self, base: Address, end: Receiver, nat: Nat | None) -> None:
        self._bases[base] = (end, nat)

    def detach(self, base: Address) -> None:
        self._bases.pop(base, None)

    def send(self, data: bytes, base: Address, destination: Address) -> None:
        self.log.append((self.now, base, destination, data))
        sender = self._bases.get(base)
        if sender is None or self.random.random() < self.loss:
            return
        nat = sender[1]
        source = base if nat is None else nat.outgoing(base, destination)
        target = self._target(source, destination, nat)
        if target is None or self.drop(base, target) or (data[0] > 3 and self.lose_data(base, target)):
            return
        relayed = base[0].startswith("203.0.113.") or target[0].startswith("203.0.113.")
        delay = (self.relay_delay if relayed else self.delay) + self.jitter * self.random.random()
        self.at(delay, lambda: self._arrive(data, source, target))

    def _target(self, source: Address, destination: Address, nat: Nat | None) -> Address | None:
        if destination in self._bases:
            behind = self._bases[destination][1]
            private = destination[0].startswith("10.")
            return destination if not private or behind is nat else None
        for _, other in self._bases.values():
            if other is not None and other.address == destination[0]:
                return other.incoming(source, destination)
        return None

    def _arrive(self, data: bytes, source: Address, target: Address) -> None:
        receiver = self._bases.get(target)
        if receiver is not None:
            receiver[0].receive(data, source, target)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so many seconds pass; True: ``until`` came true."""
        end = self.now + seconds
        for one in self.ends:
            one.drain()
        while not until():
            times = [self._queue[0][0]] if self._queue else []
            times += [max(at, self.now) for one in self.ends if (at := one.agent.deadline()) is not None]
            if not times or min(times) > end:
                self.now = end
                return until()
            self.now = max(self.now, min(times))
            if self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            for one in self.ends:
                at = one.agent.deadline()
                if at is not None and at <= self.now:
                    one.agent.handle_timer(self.now)
                one.drain()
        return True


class End:
    """An agent, its candidates, and what it told."""

    def __init__(self, net: Net, controlling: bool) -> None:
        self.net = net
        number = len(net.ends)
        self.local = Credentials(f"user{number}", f"password-of-end-{number:06}")
        self.agent = IceAgent(self.local, controlling=controlling, random=net.random.randbytes)
        self.candidates: list[Candidate] = []
        self.events: list[tuple[float, IceEvent]] = []
        self.data: list[bytes] = []
        """What came that is no STUN; of copies the first, as DTLS and SRTP have it."""
        self.copies = 0
        """What was sent twice."""
        self.came_at: list[float] = []

    def host(self, address: str, nat: Nat | None = None, *, port: int = 5000) -> End:
        """An address; behind ``nat`` there is a reflexive candidate, too, if the mapping is of use."""
        base = (address, port)
        self.net.attach(base, self, nat)
        self._add(Candidate("host", "udp", address, port, candidate_priority("host", address)))
        if nat is not None:
            mapped = nat.outgoing(base, ("198.51.100.1", 3478))
            priority = candidate_priority("srflx", mapped[0])
            self._add(Candidate("srflx", "udp", *mapped, priority, related=base))
        return self

    def relay(self, address: str) -> End:
        """An address at a relay, 203.0.113.x."""
        self.net.attach((address, 7000), self, None)
        self._add(Candidate("relay", "udp", address, 7000, candidate_priority("relay", address)))
        return self

    def _add(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)
        self.agent.add_local(candidate, self.net.now)

    def start(self, peer: End) -> None:
        self.agent.start(peer.local, self.net.now)

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        if data[0] < 4:
            self.agent.receive(data, source, base, self.net.now)
        elif source in self.agent.proven and data not in self.data[-500:]:
            self.agent.heard()
            self.data.append(data)
            self.came_at.append(self.net.now)
        self.drain()

    def send(self, data: bytes) -> None:
        pairs = self.agent.carriers(self.net.now)
        assert pairs
        self.copies += len(pairs) - 1
        for pair in pairs:
            self.net.send(data, pair.base, pair.destination)

    def drain(self) -> None:
        for data, destination, base in self.agent.transmits():
            self.net.send(data, base, destination)
        self.events += [(self.net.now, event) for event in self.agent.events()]

    def leave(self) -> End:
        """No address of now is ours any more."""
        for candidate in self.candidates:
            self.net.detach((candidate.address, candidate.port))
            self.agent.remove_local((candidate.address, candidate.port), self.net.now)
        self.candidates = []
        return self

    def of(self, kind: type[IceEvent]) -> list[IceEvent]:
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def connected(self) -> bool:
        return bool(self.of(Selected)) and not self.over

    @property
    def over(self) -> bool:
        return bool(self.of(Lost) or self.of(NoPath))

    @property
    def longest_gap(self) -> float:
        """Seconds between two datagrams that came one after the other."""
        return max((b - a for a, b in zip(self.came_at, self.came_at[1:], strict=False)), default=0.0)

    @property
    def path(self) -> tuple[Address, Address]:
        pair = self.agent.selected
        assert pair is not None
        return pair.base, pair.destination


def call(net: Net, left: End, right: End, *, travel: float = 0.0) -> None:
    """The right one answers at once; the left one learns of it ``travel`` seconds later."""
    right.agent.add_remote(left.candidates, net.now)
    right.start(left)

    def answered() -> None:
        left.agent.add_remote(right.candidates, net.now)
        left.start(right)

    net.at(travel, answered)
