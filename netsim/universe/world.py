"""The world: nodes, one heap of moments, and the datagrams between them.

Law 1: time jumps from one entry of the heap to the next; entries of the same moment keep their order.
Law 2: a node's engine is made when the first datagram reaches it, so that a world of ten thousand costs what
its traffic costs; when it is made changes nothing that others can see.
Law 3: after every input a machine's output is drained before the next.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from meshcall.address import Address
from meshcall.dht import DhtEngine, Event
from meshcall.dht.contact import node_id_of
from meshcall.identity.keys import SigningKey
from meshcall.limits import DHT_REPLICAS
from meshcall.record.store import RecordStore
from netsim.universe.chance import Octets, dice
from netsim.universe.hostile import KINDS, HostileNode
from netsim.universe.latency import Constant, Latency, Lognormal
from netsim.universe.nat import Nat
from netsim.universe.places import concentrated_addresses, public_addresses
from netsim.universe.settings import Settings
from netsim.universe.tables import fill, plausible_table

START = 1.0
"""Virtual seconds at the beginning."""


class Machine(Protocol):
    """A pure machine that speaks datagrams: an engine, or something hostile."""

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram came."""

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""

    def deadline(self) -> float | None:
        """When it wants to be woken."""

    def transmits(self) -> list[tuple[bytes, Address]]:
        """What it sends now."""


class Role(Enum):
    """What a node is in the world."""

    ROUTER = auto()
    NATED = auto()
    """Behind a NAT: ephemeral, idle."""
    CLIENT = auto()
    """Behind a NAT: ephemeral, carries out the measured operations."""
    HOSTILE = auto()
    SYBIL = auto()
    """Hostile, with an id next to a predictable key."""


LIARS = (Role.HOSTILE, Role.SYBIL)
OUTSIDERS = (Role.NATED, Role.CLIENT)


@dataclass(slots=True, eq=False)
class Node:
    """One place in the world and who is there."""

    index: int
    address: Address
    key: SigningKey
    node_id: bytes
    role: Role
    alive: bool = True
    machine: Machine | None = None
    """None until something reaches it."""
    store: RecordStore | None = None
    wake: float | None = None
    nat: Nat | None = None
    kind: str = ""
    """How it lies."""
    warm: bool = True
    """Whether its table is made by construction."""

    @property
    def number(self) -> int:
        """Its id as an integer."""
        return int.from_bytes(self.node_id, "big")


@dataclass(slots=True)
class Traffic:
    """Datagrams by what became of them."""

    delivered: int = 0
    lost: int = 0
    """By chance."""
    unheard: int = 0
    """To nobody, or to a dead node."""
    filtered: int = 0
    """By a NAT."""
    octets: int = 0
    """Of those delivered."""


Watcher = Callable[[Node, bytes, Address, bool], None]
"""Sees the datagrams of clients: (client, octets, the other side, whether the client sent it)."""


@dataclass(slots=True)
class _Heap:
    """Moments in order; equal ones first come, first served."""

    entries: list[tuple[float, int, int, bytes | Callable[[float], None] | None, Address | None]] = field(
        default_factory=list
    )
    count: int = 0

    def push(
        self,
        when: float,
        index: int,
        what: bytes | Callable[[float], None] | None,
        source: Address | None = None,
    ) -> None:
        self.count += 1
        heapq.heappush(self.entries, (when, self.count, index, what, source))


class World:
    """Nodes, and the internet between them."""

    def __init__(self, settings: Settings, *, target: bytes | None = None) -> None:
        """``target``: the key that sybils, if any, are next to."""
        self.settings = settings
        self.now = START
        self.nodes: list[Node] = []
        self.traffic = Traffic()
        self.on_event: Callable[[Node, float, Event], None] = lambda node, now, event: None
        """Told of the events of clients."""
        self.watcher: Watcher | None = None
        self._places: dict[Address, Node] = {}
        self._heap = _Heap()
        self._loss = dice(settings.seed, "loss")
        self._chance = dice(settings.seed, "world")
        self.latency: Latency = (
            Constant(settings.rtt_ms)
            if settings.latency == "constant"
            else Lognormal(settings.rtt_ms, settings.seed)
        )
        self._populate(target)
        self._routers = sorted(
            (node for node in self.nodes if node.role not in OUTSIDERS), key=lambda node: node.node_id
        )
        self._ids = [node.number for node in self._routers]
        """Sorted ids of all that may be in tables; those who die stay, as nobody is told of it."""

    # --- who is there ---

    def _populate(self, target: bytes | None) -> None:
        s = self.settings
        hostile, nated = round(s.hostile * s.nodes), round(s.nat * s.nodes)
        roles = [Role.HOSTILE] * hostile + [Role.NATED] * nated
        roles += [Role.ROUTER] * (s.nodes - len(roles))
        dice(s.seed, "roles").shuffle(roles)
        roles += [Role.CLIENT] * s.clients
        spread = s.sybils if s.sybils_spread else 0
        addresses = public_addresses(len(roles) + spread, dice(s.seed, "addresses"))
        for role, address in zip(roles, addresses, strict=False):
            self.add(role, address, warm=not s.real_joins and role is not Role.CLIENT)
        if s.sybils and target is not None:
            places = addresses[len(roles) :] if spread else concentrated_addresses(s.sybils)
            for key, address in zip(self._ground_keys(target), places, strict=False):
                self.add(Role.SYBIL, address, key=key)

    def _ground_keys(self, target: bytes) -> Iterator[SigningKey]:
        """Keys whose ids are nearer to ``target`` than the honest nodes' are likely to be."""
        octets = Octets(f"{self.settings.seed} sybil keys")
        goal = int.from_bytes(target, "big")
        bound = (1 << 160) // self.settings.nodes
        while True:
            key = SigningKey.generate(octets)
            if int.from_bytes(node_id_of(key.public), "big") ^ goal < bound:
                yield key

    def add(self, role: Role, address: Address, *, key: SigningKey | None = None, warm: bool = True) -> Node:
        """One more node. It does nothing until it is reached or told to."""
        index = len(self.nodes)
        if key is None:
            key = SigningKey.generate(Octets(f"{self.settings.seed} key {index}"))
        node = Node(index, address, key, node_id_of(key.public), role, warm=warm)
        if role in OUTSIDERS:
            node.nat = Nat()
        if role is Role.HOSTILE:
            node.kind = self.settings.hostile_kind or list(KINDS)[index % len(KINDS)]
        elif role is Role.SYBIL:
            node.kind = "colluding"
        self.nodes.append(node)
        self._places[address] = node
        return node

    def newcomer(self, role: Role = Role.ROUTER) -> Node:
        """One more node at a new address, with an empty table."""
        while True:
            (address,) = public_addresses(1, self._chance)
            if address not in self._places:
                return self.add(role, address, warm=False)

    def clients(self) -> list[Node]:
        """Those who carry out operations."""
        return [node for node in self.nodes if node.role is Role.CLIENT]

    def living_routers(self) -> list[Node]:
        """Honest nodes that others may have in their tables."""
        return [node for node in self.nodes if node.alive and node.role is Role.ROUTER]

    def at(self, address: Address) -> Node | None:
        """Who is at ``address``, dead or alive."""
        return self._places.get(address)

    def engine(self, node: Node) -> DhtEngine:
        """The engine of an honest node, made now if nothing has reached it before."""
        machine = self._machine(node)
        assert isinstance(machine, DhtEngine), "hostile nodes have no engine"
        return machine

    def _machine(self, node: Node) -> Machine:
        if node.machine is None:
            node.machine = self._make(node)
            self._arm(node, node.machine)
        return node.machine

    def _arm(self, node: Node, machine: Machine) -> None:
        """Wake it when it wants to be."""
        due = machine.deadline()
        if due is not None and (node.wake is None or due < node.wake):
            node.wake = due
            self._heap.push(due, node.index, None)

    def _make(self, node: Node) -> Machine:
        seed = self.settings.seed
        octets = Octets(f"{seed} engine {node.index}")
        if node.role in LIARS:
            accomplices = self._liars_near(node)
            return HostileNode(node.key, node.kind, octets, accomplices, self._honest_near(node))
        node.store = RecordStore()
        engine = DhtEngine(
            node.key,
            random=octets,
            now=self.now,
            router=node.role is Role.ROUTER,
            store=node.store,
        )
        if node.warm:
            chance = dice(seed, f"table {node.index}")
            table = [self._routers[i] for i in plausible_table(node.number, self._ids, chance)]
            fill(engine, ((other.node_id, other.address) for other in table), self.now)
        return engine

    def _near(self, node: Node, count: int) -> list[Node]:
        place = bisect_left(self._ids, node.number)
        return self._routers[max(0, place - count) : place + count]

    def _liars_near(self, node: Node) -> list[tuple[bytes, Address]]:
        return [(n.node_id, n.address) for n in self._near(node, 60) if n.role in LIARS and n is not node]

    def _honest_near(self, node: Node) -> list[tuple[bytes, Address]]:
        return [(n.node_id, n.address) for n in self._near(node, 20) if n.role is Role.ROUTER]

    def true_closest(self, key: bytes, k: int = DHT_REPLICAS) -> list[Node]:
        """The living nodes, hostile ones too, closest to ``key``: what only a god of this world knows."""
        goal = int.from_bytes(key, "big")
        able = (node for node in self.nodes if node.alive and node.role not in OUTSIDERS)
        return heapq.nsmallest(k, able, key=lambda node: node.number ^ goal)

    def holders(self, key: bytes) -> list[Node]:
        """The living honest nodes that hold a record under ``key``."""
        return [
            node
            for node in self.nodes
            if node.alive and node.role is Role.ROUTER and node.store and node.store.get(key, self.now)
        ]

    # --- life and death ---

    def kill(self, node: Node) -> None:
        """It is gone: nothing reaches it, it says nothing more."""
        node.alive = False
        node.machine = node.store = node.wake = None

    def kill_share(self, share: float) -> list[Node]:
        """That share of all but the clients dies at this moment."""
        able = [node for node in self.nodes if node.alive and node.role not in (Role.CLIENT, Role.SYBIL)]
        victims = self._chance.sample(able, round(share * len(able)))
        for node in victims:
            self.kill(node)
        return victims

    # --- datagrams and time ---

    def flush(self, node: Node) -> None:
        """Take a machine's output; call it after every input that did not come through the world."""
        machine = self._machine(node)
        for data, destination in machine.transmits():
            self.send(node, data, destination)
        if isinstance(machine, DhtEngine):
            events = machine.events()
            if events and node.role is Role.CLIENT:
                for event in events:
                    self.on_event(node, self.now, event)
        self._arm(node, machine)

    def send(self, node: Node, data: bytes, destination: Address) -> None:
        """One datagram onto its way."""
        if node.nat is not None:
            node.nat.wrote(destination, self.now)
        if self.watcher is not None and node.role is Role.CLIENT:
            self.watcher(node, data, destination, True)
        if self.settings.loss and self._loss.random() < self.settings.loss:
            self.traffic.lost += 1
            return
        there = self._places.get(destination)
        if there is None:
            self.traffic.unheard += 1
            return
        delay = self.latency.one_way(node.index, there.index)
        self._heap.push(self.now + delay, there.index, data, node.address)

    def call_at(self, when: float, action: Callable[[float], None]) -> None:
        """Do ``action(now)`` at ``when``, or now if that is past."""
        self._heap.push(max(when, self.now), -1, action)

    def step(self, until: float) -> bool:
        """The next entry not after ``until``; if there is none, False, and it is ``until``."""
        heap = self._heap.entries
        if not heap or heap[0][0] > until:
            self.now = max(until, self.now)
            return False
        when, _, index, what, source = heapq.heappop(heap)
        if what is None:
            self._wake(self.nodes[index], when)
        elif source is None:
            assert callable(what), "what has no source is an action"
            self.now = max(when, self.now)
            what(self.now)
        else:
            assert isinstance(what, bytes), "what has a source is a datagram"
            self.now = max(when, self.now)
            self._deliver(self.nodes[index], what, source)
        return True

    def _wake(self, node: Node, when: float) -> None:
        if node.machine is None or node.wake != when:
            return  # dead, or it has an earlier entry
        self.now = max(when, self.now)
        node.wake = None
        due = node.machine.deadline()
        if due is not None and due <= self.now:
            node.machine.handle_timer(self.now)
        self.flush(node)

    def _deliver(self, node: Node, data: bytes, source: Address) -> None:
        if not node.alive:
            self.traffic.unheard += 1
            return
        if node.nat is not None and not node.nat.lets_in(source, self.now):
            self.traffic.filtered += 1
            return
        self.traffic.delivered += 1
        self.traffic.octets += len(data)
        if self.watcher is not None and node.role is Role.CLIENT:
            self.watcher(node, data, source, False)
        self._machine(node).receive(data, source, self.now)
        self.flush(node)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self.step(until):
            pass
