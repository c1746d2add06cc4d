"""A network in memory and in virtual time: delay, jitter, loss, duplicates and reordering, all from one seed.

Law 1: the same seed and the same inputs give the same run, octet by octet.
Law 2: nothing waits: time jumps to the next arrival or timer.

    clock, link = FakeClock(), Link(clock, seed=7, delay=0.025, loss=0.1)
    link.attach(("10.0.0.1", 1), left)
    link.attach(("10.0.0.2", 1), right)
    link.run(5.0)
"""

from __future__ import annotations

import heapq
import random as _random
from collections.abc import Callable
from typing import Protocol

from meshcall.address import Address
from meshcall.testing.clock import FakeClock


class Machine(Protocol):
    """Any pure machine that speaks datagrams: the DHT engine, an ICE agent, a TURN server."""

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram came."""

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""

    def deadline(self) -> float | None:
        """When it wants to be woken."""

    def transmits(self) -> list[tuple[bytes, Address]]:
        """What it sends now."""


class Link:
    """Carries datagrams between machines; each has one address."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        seed: int = 0,
        delay: float = 0.025,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        """``delay``: one way, seconds; ``jitter``: up to so much more by chance.

        ``loss``, ``duplicate``, ``reorder``: share of the datagrams; a reordered one is held back one delay.
        """
        self.clock = clock
        self.delay, self.jitter = delay, jitter
        self.loss, self.duplicate, self.reorder = loss, duplicate, reorder
        self.on_step: Callable[[Address, Machine], None] = lambda address, machine: None
        """Called after a machine had an input and its datagrams were taken; drain its events here."""
        self.delivered = 0
        self.lost = 0
        self._random = _random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._machines: dict[Address, Machine] = {}
        self._queue: list[tuple[float, int, Address, bytes | None, Address | None]] = []
        self._wakes: dict[Address, float] = {}
        self._count = 0

    def attach(self, address: Address, machine: Machine) -> None:
        """Put ``machine`` at ``address``."""
        self._machines[address] = machine
        self.flush(address)

    def detach(self, address: Address) -> None:
        """The machine is gone: what is on its way to it is lost."""
        self._machines.pop(address, None)
        self._wakes.pop(address, None)

    def machine(self, address: Address) -> Machine | None:
        """Who is at ``address``."""
        return self._machines.get(address)

    def flush(self, address: Address) -> None:
        """Take the output of a machine; call it after every input that did not come through the link."""
        machine = self._machines[address]
        for data, destination in machine.transmits():
            self.send(data, address, destination)
        self.on_step(address, machine)
        for data, destination in machine.transmits():
            self.send(data, address, destination)
        due = machine.deadline()
        if due is not None and self._wakes.get(address) != due:
            self._wakes[address] = due
            self._push(due, address, None, None)

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """One datagram onto the link."""
        if self._random.random() < self.loss:
            self.lost += 1
            return
        copies = 2 if self._random.random() < self.duplicate else 1
        for _ in range(copies):
            delay = self.delay + self.jitter * self._random.random()
            if self._random.random() < self.reorder:
                delay += self.delay
            self._push(self.clock.now() + delay, destination, data, source)

    def _push(self, when: float, address: Address, data: bytes | None, source: Address | None) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, address, data, source))

    def step(self, until: float) -> bool:
        """The next arrival or timer not after ``until``; if there is none, False, and it is ``until``."""
        while self._queue and self._queue[0][0] <= until:
            when, _, address, data, source = heapq.heappop(self._queue)
            machine = self._machines.get(address)
            if data is None and self._wakes.get(address) != when:
                continue  # the machine has another deadline now
            now = self.clock.advance_to(max(when, self.clock.now()))
            if machine is None:
                self.lost += data is not None
                continue
            if data is None or source is None:
                del self._wakes[address]
                machine.handle_timer(now)
            else:
                self.delivered += 1
                machine.receive(data, source, now)
            self.flush(address)
            return True
        self.clock.advance_to(max(until, self.clock.now()))
        return False

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.clock.now() + seconds
        while self.step(until):
            pass

    def run_until(self, condition: Callable[[], bool], *, limit: float = 60.0) -> bool:
        """Let time pass until ``condition()``; False if it does not hold within ``limit`` seconds."""
        until = self.clock.now() + limit
        while not condition():
            if not self.step(until):
                return condition()
        return True
