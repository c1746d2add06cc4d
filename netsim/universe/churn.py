"""Nodes come and go: lives are exponential, and each node that dies is replaced by one that joins."""

from __future__ import annotations

from meshcall.address import Address
from netsim.universe.chance import dice
from netsim.universe.world import OUTSIDERS, Node, Role, World

_SEEDS = 3
"""Nodes that a newcomer knows."""


def join(world: World, node: Node, at: list[Address]) -> None:
    """Let a node join by the protocol."""
    world.engine(node).start_bootstrap(at, world.now)
    world.flush(node)


class Churn:
    """Ends lives and brings newcomers, for as long as the world runs."""

    def __init__(self, world: World) -> None:
        """The mean life is in the world's settings."""
        self._world = world
        self._dice = dice(world.settings.seed, "churn")
        self.died = self.came = 0

    def start(self) -> None:
        """From now on every honest router has a life."""
        for node in self._world.living_routers():
            self._give_life(node)

    def _give_life(self, node: Node) -> None:
        life = self._dice.expovariate(1 / self._world.settings.churn)
        self._world.call_at(self._world.now + life, lambda now: self._end(node))

    def _end(self, node: Node) -> None:
        world = self._world
        if not node.alive:
            return
        world.kill(node)
        self.died += 1
        newcomer = world.newcomer()
        seeds: list[Address] = []
        while len(seeds) < _SEEDS:
            other = world.nodes[self._dice.randrange(len(world.nodes))]
            if other.alive and other.role not in OUTSIDERS and other is not newcomer:
                seeds.append(other.address)
        join(world, newcomer, seeds)
        self.came += 1
        self._give_life(newcomer)


def join_all(world: World, nodes: list[Node], *, every: float, settle: float) -> None:
    """Let nodes join one after the other, each through three that are there already, and wait a while."""
    chance = dice(world.settings.seed, "joins")
    there = [n for n in world.living_routers() if n.warm or n.machine is not None]
    for node in nodes:
        if there:
            seeds = chance.sample(there, min(_SEEDS, len(there)))
            join(world, node, [other.address for other in seeds])
        else:
            world.flush(node)
        if node.role is Role.ROUTER:
            there.append(node)
        world.run(every)
    world.run(settle)
