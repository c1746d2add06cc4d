"""Port mapping of one node: see :mod:`meshcall.portmap`, whose machines are given sockets and a timer here.

Law 1: nobody waits for it: addresses are known when they are known, and who is told of changes may ask then.
Law 2: what speaks UPnP is loaded when a gateway has answered a search and nothing better maps, in a thread.
Law 3: ``close`` takes ``PORTMAP_RELEASE`` at most, and leaves neither task nor socket behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from meshcall.address import Address, format_address
from meshcall.aio.clock import Clock
from meshcall.aio.portmap.gateways import find_gateways
from meshcall.aio.portmap.line import Line
from meshcall.aio.portmap.sockets import DatagramSocket, open_announcements
from meshcall.identity.keys import Random
from meshcall.limits import PORTMAP_LIFETIME, PORTMAP_RELEASE
from meshcall.portmap.mapper import Mapper, Standing
from meshcall.portmap.mapping import Gateway, Service
from meshcall.portmap.race import Race
from meshcall.views import PortMappingView

_log: Final = logging.getLogger("meshcall.portmap")
OFF_VARIABLE: Final = "MESHCALL_NO_PORT_MAPPING"
"""No router is asked by what is started with it."""
_ERROR_PAUSE: Final = 60.0
"""Before the gateways are looked for again when the system did not tell them."""


class PortMapper:
    """See the laws. Have :meth:`run` run, and :meth:`close` it."""

    def __init__(
        self,
        services: Iterable[Service],
        *,
        clock: Clock,
        random: Random,
        secret: bytes,
        interfaces: tuple[str, ...] = (),
        enabled: bool = True,
        lifetime: int = PORTMAP_LIFETIME,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``secret``: a node's own, the same in every run; ``on_change``: addresses or the state changed."""
        enabled = enabled and not os.environ.get(OFF_VARIABLE)
        self._machine = Mapper(secret=secret, random=random, lifetime=lifetime, enabled=enabled)
        self._services = tuple(services)
        self._clock = clock
        self._random = random
        self._interfaces = interfaces
        self._enabled = enabled
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Gateway, Line] = {}
        self._announcements: DatagramSocket | None = None
        self._news = asyncio.Event()
        self._progress = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._told: tuple[object, ...] = ()
        self._closed = False
        self._machine.want(self._services, clock.now())

    async def run(self) -> None:
        """Look for gateways now and after each change of network, until cancelled."""
        if not self._enabled:
            await self._loop.create_future()
        if self._announcements is None:
            with suppress(OSError):  # another program keeps the port for itself: we ask now and then
                self._announcements = open_announcements(self._announced)
        while not self._closed:
            self._news.clear()
            pause: float | None = None
            try:
                gateways = await asyncio.to_thread(find_gateways, self._interfaces)
            except (OSError, ValueError) as error:
                _log.debug("the gateways can't be listed: %s", error)
                pause = _ERROR_PAUSE
            else:
                await self._use(gateways)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    def network_changed(self) -> None:
        """Other interfaces or routes, or back from sleep: ask anew."""
        self._news.set()

    def want(self, services: Iterable[Service]) -> None:
        """Map these from now on; the first one is what matters."""
        self._services = tuple(services)
        self._machine.want(self._services, self._clock.now())
        self._drain()

    def external(self, service: Service) -> list[Address]:
        """Where everybody on the internet reaches ``service`` of ours through a mapping, best first."""
        return [] if self._closed else self._machine.external(service)

    def counters(self) -> dict[str, int]:
        """What was refused, by reason."""
        return dict(self._machine.counters)

    def view(self) -> PortMappingView:
        """How it stands."""
        standing = self._machine.standing(self._clock.now())
        gateway, mapping = standing.gateway, standing.mapping
        return PortMappingView(
            state=standing.state,
            reason=standing.reason,
            gateway=gateway.host if gateway else "",
            protocol=mapping.protocol if mapping else "",
            external=format_address(mapping.external) if mapping else "",
            lifetime=round(mapping.lifetime) if mapping else 0,
            took_ms=None if standing.took is None else round(standing.took * 1000, 1),
        )

    async def close(self) -> None:
        """Give the mappings back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._machine.release(self._clock.now())
        self._drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(PORTMAP_RELEASE):
                while not self._machine.released:
                    self._progress.clear()
                    await self._progress.wait()
        if self._timer is not None:
            self._timer.cancel()
        if self._announcements is not None:
            self._announcements.close()
        for line in self._lines.values():
            await line.close()

    # --- inside -----------------------------------------------------------------------------------

    async def _use(self, gateways: list[Gateway]) -> None:
        """Ask these from now on."""
        if self._closed:
            return
        self._machine.set_gateways(gateways, self._clock.now())
        old, self._lines = self._lines, {}
        for gateway, race in self._machine.races.items():
            line = old.pop(gateway, None) or self._line(gateway, race)
            with suppress(OSError):  # the interface went away meanwhile: that is news, too
                line.open()
            self._lines[gateway] = line
        for line in old.values():
            await line.close()
        self._drain()

    def _line(self, gateway: Gateway, race: Race) -> Line:
        return Line(
            gateway,
            race,
            clock=self._clock,
            random=self._random,
            counters=self._machine.counters,
            changed=self._drain,
        )

    def _announced(self, data: bytes, host: str) -> None:
        self._machine.announced(host, data, self._clock.now())
        self._drain()

    def _drain(self) -> None:
        for line in self._lines.values():
            line.drain()
        self._progress.set()
        if self._timer is not None:
            self._timer.cancel()
        due = self._machine.deadline()
        later = max(0.0, due - self._clock.now())
        self._timer = None if due == float("inf") else self._loop.call_later(later, self._tick)
        standing = self._machine.standing(self._clock.now())
        external = [self._machine.external(service) for service in self._services]
        told = standing.state, standing.mapping and standing.mapping.external, external
        if told != self._told:
            self._told = told
            _tell(standing)
            self._on_change()

    def _tick(self) -> None:
        self._machine.handle_timer(self._clock.now())
        self._drain()


def _tell(standing: Standing) -> None:
    if standing.mapping is not None:
        _log.info("the router lets others in to our port (%s)", standing.mapping.protocol)
    else:
        _log.debug("port mapping: %s %s", standing.state, standing.reason)
