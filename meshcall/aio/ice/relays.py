"""The relayed addresses of one call: allocations at TURN servers (RFC 8656).

Law 1: a server that does not answer costs the others nothing.
Law 2: while no path answers, each server is asked for a new allocation: it may have lost ours, or be another
one now.
Law 3: what is allocated is given back by ``close``, whatever was under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.servers import TurnServer
from meshcall.ice.candidate import Candidate
from meshcall.ice.pair import candidate_priority


class Relay(Protocol):
    """An allocation at a TURN server (RFC 8656)."""

    relayed: Address
    mapped: Address
    """Where the server sees us."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram from the relayed address."""

    def close(self) -> None:
        """Give it back."""


OpenRelay = Callable[[TurnServer, Callable[[bytes, Address], None], Callable[[], None]], Awaitable[Relay]]
"""(server, on datagram, on loss) -> relay; raises OSError or ConnectionError."""


class Relays:
    """One call's allocations, by relayed address."""

    def __init__(
        self,
        open_relay: OpenRelay,
        *,
        add: Callable[[Candidate], None],
        remove: Callable[[Address], None],
        offer: Callable[[Candidate], None],
        received: Callable[[bytes, Address, Address], None],
    ) -> None:
        """``add`` and ``remove`` tell the agent of a base, ``offer`` tells the peer of a candidate.

        ``received(data, source, relayed)`` takes what comes.
        """
        self._open_relay = open_relay
        self._add = add
        self._remove = remove
        self._offer = offer
        self._received = received
        self._relays: dict[Address, Relay] = {}
        self._relay_of: dict[TurnServer, Relay] = {}
        self._broken = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._relays)

    def send(self, data: bytes, destination: Address, base: Address) -> bool:
        """Send one datagram; False: that base is none of ours."""
        relay = self._relays.get(base)
        if relay is not None:
            relay.send(data, destination)
        return relay is not None

    async def allocate(self, server: TurnServer) -> None:
        """Have an address at ``server``, in the place of the one that is there; raises OSError."""
        relay: Relay | None = None

        def received(data: bytes, source: Address) -> None:
            if relay is not None and not self._closed:
                self._received(data, source, relay.relayed)

        def lost() -> None:
            if relay is not None and not self._closed:
                self._drop(relay)

        relay = await self._open_relay(server, received, lost)
        if self._closed:
            relay.close()
            return
        old = self._relay_of.get(server)
        self._relay_of[server] = relay
        self._relays[relay.relayed] = relay
        priority = candidate_priority("relay", relay.relayed[0])
        candidate = Candidate("relay", "udp", *relay.relayed, priority, related=relay.mapped)
        self._add(candidate)
        self._offer(candidate)
        if old is not None:
            old.close()
            self._drop(old)

    @property
    def wanted(self) -> bool:
        """Whether no pair answers."""
        return self._broken

    def path_found(self) -> None:
        """A pair answers: what there is will do."""
        self._broken = False

    def path_lost(self) -> None:
        """No pair answers: :meth:`replace` is of use now."""
        self._broken = True

    async def replace(self, server: TurnServer) -> None:
        """Ask for a new allocation until there is one or a path answers."""
        while self._broken and not self._closed:
            with suppress(OSError):
                async with asyncio.timeout(limits.ICE_RELAY_PATIENCE):
                    await self.allocate(server)
                    return
            await asyncio.sleep(limits.ICE_RELAY_PAUSE)

    def close(self) -> None:
        """Give all back. Idempotent."""
        self._closed = True
        for relay in self._relays.values():
            relay.close()

    def _drop(self, relay: Relay) -> None:
        if self._relays.get(relay.relayed) is relay:  # a new allocation may have the address of the old one
            del self._relays[relay.relayed]
            self._remove(relay.relayed)
