"""A DHT of many engines on one Link, in virtual time."""

from __future__ import annotations

import random
from collections import Counter
from typing import TypeVar

from meshcall.address import Address
from meshcall.dht import DhtEngine, Event
from meshcall.identity.keys import SigningKey
from meshcall.record.codec import PRESENCE_VALUE, SEALED_VALUES, Record, RecordType, sign_record
from meshcall.testing.clock import FakeClock, seeded_random
from meshcall.testing.link import Link, Machine

E = TypeVar("E", bound=Event)


def address_of(index: int) -> Address:
    """Where the node with that index is."""
    return f"10.1.{index // 250}.{index % 250 + 1}", 4000


def public_address_of(index: int) -> Address:
    """The same on the internet: each node in a /24 of its own."""
    return f"{45 + index % 50}.{index // 50 % 200}.{index // 10_000}.7", 4000


def inbox_record(seed: int, *, seq: int = 1, ttl: int = 60, fill: bytes = b"\x05") -> Record:
    """A valid record of 677 octets under the key of ``seed``."""
    signer = SigningKey.from_seed(random.Random(f"key {seed}").randbytes(32))
    return sign_record(signer, RecordType.INBOX, seq, ttl, fill * SEALED_VALUES[0])


def presence_record(seed: int, *, seq: int = 1, ttl: int = 3600, fill: bytes = b"\x06") -> Record:
    """A valid record of 308 octets under the same key."""
    signer = SigningKey.from_seed(random.Random(f"key {seed}").randbytes(32))
    return sign_record(signer, RecordType.PRESENCE, seq, ttl, fill * PRESENCE_VALUE)


class Universe:
    """``n`` nodes that know each other, and the events of all of them."""

    def __init__(
        self, n: int = 0, *, seed: int = 1, delay: float = 0.025, loss: float = 0.0, public: bool = False
    ) -> None:
        """``public``: at addresses of the internet, each in a network of its own."""
        self.place = public_address_of if public else address_of
        self.clock = FakeClock()
        self.link = Link(self.clock, seed=seed, delay=delay, loss=loss)
        self.link.on_step = self._collect
        self.seed = seed
        self.random = random.Random(seed)
        self.nodes: list[DhtEngine] = []
        self.events: dict[Address, list[tuple[float, Event]]] = {}
        for _ in range(n):
            self.join()
        if n:
            self.link.run(30.0)

    def engine(
        self, name: str, *, router: bool = True, state: bytes | None = None, lan: bool = False
    ) -> DhtEngine:
        """An engine that is nowhere yet."""
        name = f"{self.seed} {name}"
        key = SigningKey.from_seed(random.Random(f"node {name}").randbytes(32))
        return DhtEngine(
            key,
            random=seeded_random(f"engine {name}"),
            now=self.clock.now(),
            router=router,
            lan=lan,
            state=state,
        )

    def add(self, engine: DhtEngine, at: Address | None = None) -> Address:
        """Put an engine on the link, at the next free address or ``at`` another one."""
        address = self.place(len(self.nodes)) if at is None else at
        self.nodes.append(engine)
        self.events[address] = []
        self.link.attach(address, engine)
        return address

    def join(self, *, router: bool = True, lan: bool = False, at: Address | None = None) -> Address:
        """One more node, which joins through up to three others."""
        address = self.add(self.engine(str(len(self.nodes)), router=router, lan=lan), at)
        others = [a for a in map(self.place, range(3)) if a != address and self.alive(a)]
        if others:
            self.at(address).start_bootstrap(others, self.clock.now())
            self.link.flush(address)
            self.link.run(1.0)
        return address

    def at(self, address: Address) -> DhtEngine:
        """The engine at an address."""
        engine = self.link.machine(address)
        assert isinstance(engine, DhtEngine)
        return engine

    def alive(self, address: Address) -> bool:
        """Whether somebody is there."""
        return self.link.machine(address) is not None

    def addresses(self) -> list[Address]:
        """Where the living are."""
        return [address for address in self.events if self.alive(address)]

    def _collect(self, address: Address, machine: Machine) -> None:
        if isinstance(machine, DhtEngine) and address in self.events:
            self.events[address] += [(self.clock.now(), event) for event in machine.events()]

    def do(self, address: Address) -> None:
        """Send what the engine at ``address`` has to send after an operation was started."""
        self.link.flush(address)

    @property
    def now(self) -> float:
        """Virtual time."""
        return self.clock.now()

    def seen(self, address: Address, kind: type[E]) -> list[E]:
        """All events of that kind at ``address`` so far."""
        return [event for _, event in self.events[address] if isinstance(event, kind)]

    def counters(self) -> Counter[str]:
        """The counters of all nodes together."""
        total: Counter[str] = Counter()
        for node in self.nodes:
            total.update(node.statistics().counters)
        return total

    def true_closest(self, key: bytes, k: int = 8) -> list[Address]:
        """The living routers closest to ``key``: what only a god of this universe knows."""
        goal = int.from_bytes(key, "big")
        routers = [a for a in self.addresses() if isinstance(self.link.machine(a), DhtEngine)]
        routers = [a for a in routers if self.at(a).routes]
        return sorted(routers, key=lambda a: int.from_bytes(self.at(a).node_id, "big") ^ goal)[:k]

    def kill(self, share: float, *, spare: frozenset[Address] = frozenset()) -> None:
        """That share of the nodes dies at once."""
        victims = [a for a in self.addresses() if a not in spare]
        for address in self.random.sample(victims, int(share * len(victims))):
            self.link.detach(address)

    def wait(
        self, address: Address, kind: type[E], operation: int | None = None, limit: float = 30.0
    ) -> tuple[float, E]:
        """(seconds from now, event) of the next event of that kind at ``address``."""
        start = self.clock.now()
        self.link.flush(address)
        seen = 0
        log = self.events[address]

        def found() -> tuple[float, E] | None:
            nonlocal seen
            while seen < len(log):
                when, event = log[seen]
                seen += 1
                right = operation is None or getattr(event, "op", None) == operation
                if when >= start and isinstance(event, kind) and right:
                    return when - start, event
            return None

        result: list[tuple[float, E]] = []

        def condition() -> bool:
            event = found()
            if event is not None:
                result.append(event)
            return bool(result)

        assert self.link.run_until(condition, limit=limit), f"no {kind.__name__}, seed {self.seed}"
        return result[0]
