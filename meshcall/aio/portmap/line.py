"""What is open to one gateway: its sockets, and the task that speaks UPnP with it.

Law 1: an answer to a search is looked at only if it comes from the gateway, and so many at most.
Law 2: UPnP is spoken by one task, one order after the other; every order is answered to the machine.
Law 3: nothing but the control socket is open once a search is over and all orders are done.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from meshcall.aio.clock import Clock
from meshcall.aio.portmap.sockets import DatagramSocket, open_control, open_search
from meshcall.identity.keys import Random
from meshcall.limits import PORTMAP_SETTLE, PORTMAP_SSDP_ANSWERS_MAX
from meshcall.portmap.mapping import Gateway
from meshcall.portmap.race import Race
from meshcall.portmap.upnp_attempt import MapUpnp, UpnpCommand

if TYPE_CHECKING:
    from meshcall.aio.portmap.upnp import Igd

_log: Final = logging.getLogger("meshcall.portmap")
_UPNP: Final = "meshcall.aio.portmap.upnp"


class Line:
    """See the laws."""

    def __init__(
        self,
        gateway: Gateway,
        race: Race,
        *,
        clock: Clock,
        random: Random,
        counters: Counter[str],
        changed: Callable[[], None],
    ) -> None:
        """``changed``: the machine was told something, so there may be output."""
        self._gateway = gateway
        self._race = race
        self._clock = clock
        self._random = random
        self._counters = counters
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._control: DatagramSocket | None = None
        self._search: DatagramSocket | None = None
        self._search_ends: asyncio.TimerHandle | None = None
        self._answers = 0
        self._orders: deque[UpnpCommand] = deque()
        self._upnp: asyncio.Task[None] | None = None
        self._igd: Igd | None = None
        self._closed = False

    def open(self) -> None:
        """Open its control socket, anew. Raises OSError."""
        if self._control is not None:
            self._control.close()
            self._control = None
        self._control = open_control(self._gateway, self._received, self._refused)

    async def close(self) -> None:
        """Close everything. Idempotent."""
        self._closed = True
        if self._control is not None:
            self._control.close()
        self._end_search()
        if self._upnp is not None:
            self._upnp.cancel()
            with suppress(asyncio.CancelledError):
                await self._upnp
        await self._drop_igd()

    def drain(self) -> None:
        """Do what the machine wants."""
        for octets in self._race.transmits():
            if self._control is not None:
                self._control.send(octets)
        searches = self._race.searches()
        if searches and not self._closed:
            self._begin_search()
        for search in searches:
            if self._search is not None:
                self._search.send(search.octets, search.destination)
        self._orders.extend(self._race.commands())
        if self._orders and self._upnp is None and not self._closed:
            self._upnp = asyncio.create_task(self._speak_upnp(), name="upnp")

    # --- PCP and NAT-PMP --------------------------------------------------------------------------

    def _received(self, data: bytes, host: str) -> None:
        self._race.receive(data, self._clock.now())
        self._changed()

    def _refused(self) -> None:
        self._race.unreachable(self._clock.now())
        self._changed()

    # --- UPnP -------------------------------------------------------------------------------------

    def _begin_search(self) -> None:
        self._answers = 0
        if self._search_ends is not None:
            self._search_ends.cancel()
        self._search_ends = self._loop.call_later(PORTMAP_SETTLE, self._end_search)
        if self._search is None:
            with suppress(OSError):  # the interface went away meanwhile
                self._search = open_search(self._gateway, self._found)

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.close()
            self._search = None
        if self._search_ends is not None:
            self._search_ends.cancel()
            self._search_ends = None

    def _found(self, data: bytes, host: str) -> None:
        if host != self._gateway.host:  # one look each; the router's answer still comes through
            self._counters["portmap-ssdp-stranger"] += 1
            return
        self._answers += 1
        if self._answers > PORTMAP_SSDP_ANSWERS_MAX:
            self._counters["portmap-ssdp-flood"] += 1
        else:
            self._race.receive_ssdp(data, self._clock.now())
            self._changed()

    async def _speak_upnp(self) -> None:
        """Carry all orders out."""
        try:
            module = await asyncio.to_thread(importlib.import_module, _UPNP)
            while self._orders:
                order = self._orders.popleft()
                try:
                    if self._igd is None or self._igd.location != order.location:
                        await self._drop_igd()
                        self._igd = await module.Igd.open(self._gateway, order.location, self._random)
                    await self._carry_out(order, self._igd)
                except module.IgdError as error:
                    if not error.refused:
                        await self._drop_igd()
                    self._race.upnp_failed(order, str(error), self._clock.now(), refused=error.refused)
                self._changed()
        except Exception:  # noqa: BLE001 - a bug ends UPnP at this router, and nothing else
            self._counters["bugs"] += 1
            _log.exception("UPnP failed")
        finally:
            self._upnp = None

    async def _drop_igd(self) -> None:
        """Its description is read again when it is needed."""
        igd, self._igd = self._igd, None
        if igd is not None:
            await igd.close()

    async def _carry_out(self, order: UpnpCommand, igd: Igd) -> None:
        if isinstance(order, MapUpnp):
            external, lifetime = await igd.map(order.service, order.external_port, order.lifetime)
            self._race.upnp_mapped(order, external, lifetime, self._clock.now())
        else:
            await igd.unmap(order.service, order.external_port)
            self._race.upnp_removed(order)
