"""The relayed addresses of one call: allocations at TURN servers (RFC 8656), configured ones and lent ones.

Law 1: a server that does not answer costs the others nothing.
Law 2: a call has ``ICE_RELAYS`` relays, of different networks: one may carry it, the other is its spare. When
one is lost, or the path over it died, another one takes its place.
Law 3: while no path answers, each server is asked for a new allocation: it may have lost ours, or be another
one now.
Law 4: what is allocated is given back by ``close``, whatever was under way.
Law 5: a server may say that the address which it lends is any one: it is used only if it can be one of the
server's, and is neither ours nor another server's, whose packets it would get.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.allocation import Allocation, allocate_first
from meshcall.aio.ice.servers import LentRelay, TurnServer
from meshcall.ice.candidate import Candidate, can_be_relayed
from meshcall.ice.pair import candidate_priority

Place = TurnServer | Address
"""What an allocation is at: a server that is configured, or the node that lends."""


class Lenders(Protocol):
    """The node's book of relays, as a call sees it."""

    def pick(self, taken: Collection[Address]) -> LentRelay | None:
        """The best relay to ask now that is not ``taken``."""

    def failed(self, node: Address) -> None:
        """The relay of that node gave no address, or the path over it died."""

    def worked(self, node: Address) -> None:
        """The relay of that node gave an address."""

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Be told when there may be another one to pick; the result ends that."""


class Relays:
    """One call's allocations."""

    def __init__(
        self,
        lenders: Lenders | None,
        *,
        bases: Callable[[], Iterable[Address]],
        hosts: Callable[[], Sequence[str]],
        add: Callable[[Candidate], None],
        remove: Callable[[Address], None],
        offer: Callable[[Candidate], None],
        received: Callable[[bytes, Address, Address], None],
        counters: Counter[str],
    ) -> None:
        """``bases``: those of this machine. ``add`` and ``remove`` tell the agent of one, ``offer`` the peer.
        ``hosts``: our IP addresses that servers may be reached from; none: as the routes say.

        ``received(data, source, relayed)`` takes what comes. ``lenders``: who lends; None: nobody.
        """
        self._lenders = lenders
        self._bases = bases
        self._hosts = hosts
        self._add = add
        self._remove = remove
        self._offer = offer
        self._received = received
        self._counters = counters
        self._allocations: dict[Place, Allocation] = {}
        self._by_relayed: dict[Address, tuple[Place, Allocation]] = {}
        self._configured: set[TurnServer] = set()
        """Those that have not failed."""
        self._opening: set[Address] = set()
        self._doubted: set[Address] = set()
        """Lent relays over which nothing is heard: another one is to take the place of each."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._broken = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._allocations)

    @property
    def lent(self) -> int:
        """Relays of others that are in use or being asked."""
        return len(self._opening | {place for place in self._allocations if isinstance(place, tuple)})

    def send(self, data: bytes, destination: Address, base: Address) -> bool:
        """Send one datagram; False: that base is none of ours."""
        known = self._by_relayed.get(base)
        if known is not None:
            known[1].send(data, destination)
        return known is not None

    # --- configured ones ---

    async def use(self, server: TurnServer) -> None:
        """Have an address at a configured server. Whatever it does, nothing is raised."""
        self._configured.add(server)
        try:
            await self._allocate(server, (server,))
        except OSError:
            self._counters["ice-server"] += 1
            self._configured.discard(server)
            self._fill()

    async def replace(self, server: TurnServer) -> None:
        """Ask a configured server for a new allocation until there is one or a path answers."""
        while self._broken and not self._closed:
            with suppress(OSError):
                async with asyncio.timeout(limits.ICE_RELAY_PATIENCE):
                    await self._allocate(server, (server,))
                    return
            await asyncio.sleep(limits.ICE_RELAY_PAUSE)

    # --- lent ones ---

    def start(self, configured: Collection[TurnServer]) -> list[asyncio.Task[None]]:
        """Ask those who lend, after ``configured`` ones; the tasks that ask."""
        self._configured |= set(configured)
        if self._lenders is not None:
            self._unsubscribe = self._lenders.subscribe(self._fill)
            self._fill()
        return list(self._tasks)

    def _fill(self) -> None:
        while self._lenders is not None and not self._closed:
            nodes = {place for place in self._allocations if isinstance(place, tuple)} | self._opening
            good = nodes - self._doubted
            if len(good) + len(self._configured) >= limits.ICE_RELAYS:
                return
            relay = self._lenders.pick(good)
            if relay is None or relay.node in self._opening:
                return
            self._opening.add(relay.node)
            self._spawn(self._borrow(relay, self._lenders))

    async def _borrow(self, relay: LentRelay, lenders: Lenders) -> None:
        try:
            await self._allocate(relay.node, relay.ways)
        except OSError:
            self._counters["ice-lender"] += 1
            lenders.failed(relay.node)
        else:
            lenders.worked(relay.node)
            self._doubted.discard(relay.node)
            self._trim()
        finally:
            self._opening.discard(relay.node)
            self._fill()

    def _let_go(self, node: Address) -> None:
        allocation = self._allocations.pop(node, None)
        if allocation is not None:
            self._forget(allocation)
            allocation.close()

    # --- what the session sees of the paths ---

    @property
    def wanted(self) -> bool:
        """Whether no pair answers."""
        return self._broken

    def path_found(self, base: Address) -> None:
        """A pair of ``base`` answers: what there is will do."""
        self._broken = False
        known = self._by_relayed.get(base)
        if known is not None and isinstance(known[0], tuple):
            self._doubted.discard(known[0])
        if self._doubted:
            asyncio.get_running_loop().call_soon(self._trim)

    def _trim(self) -> None:
        """Those in whose place others are."""
        while self._doubted and not self._broken and len(self._allocations) > limits.ICE_RELAYS:
            self._let_go(self._doubted.pop())

    def path_died(self, base: Address) -> None:
        """Nothing is heard over ``base`` any more: if it is a relay's, another relay is asked."""
        known = self._by_relayed.get(base)
        if known is not None and isinstance(known[0], tuple):
            self._doubt(known[0])
            self._fill()

    def path_lost(self) -> None:
        """No pair answers: every relay may be dead, or have another idea of where we are."""
        self._broken = True
        for place in list(self._allocations):
            if isinstance(place, tuple):
                self._doubt(place)
        self._fill()

    def _doubt(self, node: Address) -> None:
        if node not in self._doubted and self._lenders is not None:
            self._doubted.add(node)
            self._lenders.failed(node)

    # --- inside ---

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="ice-relay")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _allocate(self, place: Place, ways: tuple[TurnServer, ...]) -> None:
        """Have an address there, in the place of the one that is there; raises OSError."""

        def received(data: bytes, source: Address, relayed: Address) -> None:
            if relayed in self._by_relayed and not self._closed:
                self._received(data, source, relayed)

        made = await allocate_first(ways, received, lambda lost: self._lost(place, lost), self._hosts())
        if self._closed:
            made.close()
            return
        priority = candidate_priority("relay", made.relayed[0])
        candidate = Candidate("relay", "udp", *made.relayed, priority, related=made.mapped)
        if not self._can_be(candidate, place):
            made.close()
            raise ConnectionError("the server names an address that can't be the one it lends")
        old = self._allocations.get(place)
        self._allocations[place] = made
        self._by_relayed[made.relayed] = place, made
        self._add(candidate)
        self._offer(candidate)
        if old is not None:
            old.close()
            self._forget(old)

    def _can_be(self, candidate: Candidate, place: Place) -> bool:
        """Law 5."""
        relayed = candidate.address, candidate.port
        known = self._by_relayed.get(relayed)
        return (
            can_be_relayed(relayed) and relayed not in self._bases() and (known is None or known[0] == place)
        )

    def _lost(self, place: Place, allocation: Allocation) -> None:
        if self._closed:
            return
        if self._allocations.get(place) is allocation:
            del self._allocations[place]
            if isinstance(place, tuple) and self._lenders is not None:
                self._doubted.discard(place)
                self._lenders.failed(place)
        self._forget(allocation)
        self._fill()

    def _forget(self, allocation: Allocation) -> None:
        known = self._by_relayed.get(allocation.relayed)
        if known is not None and known[1] is allocation:  # a new one may have the address of the old one
            del self._by_relayed[allocation.relayed]
            self._remove(allocation.relayed)

    async def close(self) -> None:
        """Give all back. Idempotent."""
        self._closed = True
        self._unsubscribe()
        for allocation in self._allocations.values():
            allocation.close()
        self._allocations.clear()
        for task in tuple(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
