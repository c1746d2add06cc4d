"""The way of a node whose UDP is blocked: through a gateway, by TLS or TCP, and back to UDP when that works.

What decides is :mod:`meshcall.turn.tunnelling`; here it is carried out.

Law 1: a tunnel is open, or being opened, only while there is no UDP; one that a call still uses stays until
the call has left it.
Law 2: nothing that a gateway does ends the node; the worst is that it carries nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from meshcall.address import Address
from meshcall.aio.carrier import DhtCarrier
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.aio.files import StateDb
from meshcall.aio.ice.port import IcePort
from meshcall.aio.tunnel import TunnelLink
from meshcall.dht.messages import FIRST_OCTETS
from meshcall.errors import NoPath, UsageError
from meshcall.identity.keys import Random
from meshcall.limits import (
    TUNNEL_GATEWAYS_KEPT,
    TUNNEL_NODES_TRIED,
    TUNNEL_POLL,
    TUNNEL_POLL_MIN,
    TURN_WEB_PORT,
)
from meshcall.turn.client import Transport
from meshcall.turn.gateways import Gateway, Gateways, Source, of_node, parse_gateway
from meshcall.turn.grant import Ask
from meshcall.turn.tunnelling import Carry, Open, Probe, Release, State, Tunnelling

_SAVED: Final = "tunnel-gateways"


class Tunnels:
    """All tunnels of one node. :meth:`run` it."""

    def __init__(
        self,
        carrier: DhtCarrier,
        dht: DhtNode,
        ice: IcePort,
        *,
        clock: Clock,
        random: Random,
        state: StateDb,
        gateways: Sequence[str],
        lenders: Callable[[], Iterable[tuple[Transport, Address]]],
        contact_keys: Callable[[], Iterable[bytes]],
        on_changed: Callable[[Address | None], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        counters: Counter[str],
    ) -> None:
        """``gateways``: those that the user named. ``lenders``: where relays are that have granted us one.
        ``contact_keys``: what shows that a relay is a contact's.

        ``on_changed`` is told that the way is another one, and where the gateway's node is, if one carries.
        """
        self._carrier = carrier
        self._dht = dht
        self._ice = ice
        self._clock = clock
        self._random = random
        self._state = state
        self._lenders = lenders
        self._contact_keys = contact_keys
        self._on_changed = on_changed
        self._spawn = spawn
        self._counters = counters
        self._gateways = Gateways()
        self._gateways.add(map(parse_gateway, gateways), Source.USER)
        self._saved = _read_saved(state.get_blob(_SAVED))
        self._gateways.add(self._saved, Source.WORKED)
        self._machine = Tunnelling(self._gateways, clock.now())
        self._opening: dict[Gateway, asyncio.Task[None]] = {}
        self._open: dict[Gateway, TunnelLink] = {}
        self._ports: dict[TunnelLink, IcePort] = {}
        self._retired: list[TunnelLink] = []
        self._wake = asyncio.Event()
        self._stopped = False
        carrier.on_sent = self._sent
        carrier.on_heard = self._heard

    async def run(self) -> None:
        """Look after it until cancelled."""
        while True:
            self._look()
            self._wake.clear()  # what is told from here on is looked at anew
            due = self._machine.deadline()
            pause = (
                TUNNEL_POLL
                if due is None
                else min(TUNNEL_POLL, max(TUNNEL_POLL_MIN, due - self._clock.now()))
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def stop(self) -> None:
        """Open no more; what is open goes on until :meth:`close`. Idempotent."""
        self._stopped = True
        for task in self._opening.values():
            task.cancel()

    async def close(self) -> None:
        """Give all back. Idempotent."""
        self.stop()
        self._carrier.tunnel = None
        links = [*self._open.values(), *self._retired]
        self._open.clear()
        self._retired.clear()
        await asyncio.gather(*(link.close() for link in links))

    def network_changed(self) -> None:
        """We may be elsewhere. Call it before the DHT is told."""
        self._machine.network_changed(self._clock.now())
        self._look()

    @property
    def state(self) -> State:
        """How the node reaches others."""
        return self._machine.state

    @property
    def shown(self) -> str:
        """For the status: whose tunnel carries; empty: none does."""
        return "" if self._machine.current is None else self._machine.current.text

    @property
    def node(self) -> Address | None:
        """Where the node of the gateway is that carries."""
        return None if self._carrier.tunnel is None else self._carrier.tunnel.node

    def known(self) -> list[Address]:
        """Gateways by TLS that worked or granted us a relay, the best first."""
        self._learn()
        return [(one.host, one.port) for one in self._gateways.best() if one.tls]

    def invited(self, gateways: Iterable[Address]) -> None:
        """An invite names these."""
        self._gateways.add([Gateway(*one) for one in gateways], Source.INVITED)
        self._look()

    # --- inside -----------------------------------------------------------------------------------

    def _sent(self, node: Address) -> None:
        self._machine.sent(node, self._clock.now())

    def _heard(self) -> None:
        was = self._machine.state
        self._machine.heard(self._clock.now())
        if was is not State.DIRECT:
            self._look()

    def _look(self) -> None:
        """Carry out what the machine wants."""
        if self._stopped:
            return
        self._close_idle()
        self._learn()
        for command in self._machine.look(self._clock.now()):
            match command:
                case Open(gateway):
                    self._opening[gateway] = self._spawn(self._try(gateway))
                case Carry(gateway):
                    self._carry(self._open[gateway])
                case Release(gateway):
                    self._release(gateway)
                case Probe():
                    self._probe()
        self._wake.set()

    def _learn(self) -> None:
        """Who lends relays is a gateway; other nodes that are known may be."""
        lent = [
            Gateway(*address, tls=transport == "tls")
            for transport, address in self._lenders()
            if transport != "udp"
        ]
        self._gateways.add(lent, Source.LENT)
        self._save()
        for node in self._dht.known(TUNNEL_NODES_TRIED):
            if self._carrier.is_far(node):
                self._gateways.add(of_node(node, TURN_WEB_PORT), Source.NETWORK)

    async def _try(self, gateway: Gateway) -> None:
        ask = Ask.new(self._contact_keys(), self._random)
        try:
            link = await TunnelLink.open(
                gateway, node_id=self._dht.node_id, ask=ask, clock=self._clock, random=self._random
            )
        except NoPath:
            self._counters["tunnel-not-opened"] += 1
            self._forget_attempt(gateway)
            self._machine.failed(gateway, self._clock.now())
        else:
            self._forget_attempt(gateway)
            link.on_ended = lambda: self._ended(link)
            link.register(FIRST_OCTETS, self._carrier.receive)
            self._open[gateway] = link
            self._machine.opened(gateway, self._clock.now())
        self._look()

    def _forget_attempt(self, gateway: Gateway) -> None:
        if self._opening.get(gateway) is asyncio.current_task():
            del self._opening[gateway]

    def _carry(self, link: TunnelLink) -> None:
        self._counters["tunnel-carries"] += 1
        self._carrier.tunnel = link
        port = self._ports[link] = IcePort(link, hosts=(link.relayed[0],), counters=self._counters)
        self._ice.add_relayed(port)
        self._on_changed(link.node)

    def _release(self, gateway: Gateway) -> None:
        task = self._opening.pop(gateway, None)
        if task is not None:
            task.cancel()
        link = self._open.pop(gateway, None)
        if link is None:
            return
        if self._carrier.tunnel is link:
            self._carrier.tunnel = None
            if self._machine.state is State.DIRECT:
                self._on_changed(None)
        port = self._ports.get(link)
        if port is not None:
            self._ice.retire_relayed(port)
        self._retired.append(link)
        self._close_idle()

    def _close_idle(self) -> None:
        """Retired tunnels that no call uses any more."""
        for link in tuple(self._retired):
            port = self._ports.get(link)
            if port is None or port.idle:
                self._retired.remove(link)
                self._ports.pop(link, None)
                self._counters.update(link.counters())
                self._spawn(link.close())

    def _ended(self, link: TunnelLink) -> None:
        """The gateway, or the stream to it, is gone."""
        self._counters["tunnel-ended"] += 1
        self._counters.update(link.counters())
        port = self._ports.pop(link, None)
        if self._carrier.tunnel is link:
            self._carrier.tunnel = None
        if link in self._retired:
            self._retired.remove(link)
        if self._open.get(link.gateway) is link:
            del self._open[link.gateway]
            self._machine.ended(link.gateway, self._clock.now())
            self._look()
        if port is not None:
            self._ice.lose_relayed(port)

    def _probe(self) -> None:
        tunnel = self._carrier.tunnel
        nodes = self._dht.known(TUNNEL_NODES_TRIED)
        if tunnel is not None and tunnel.node is not None:
            nodes.insert(0, tunnel.node)
        self._carrier.probe(dict.fromkeys(nodes), self._dht.node_id)

    def _save(self) -> None:
        best = self._gateways.best()[:TUNNEL_GATEWAYS_KEPT]
        if set(best) - set(self._saved):
            self._saved = best
            self._spawn(self._keep(json.dumps([gateway.text for gateway in best]).encode()))

    async def _keep(self, octets: bytes) -> None:
        await self._state.run(self._state.set_blob, _SAVED, octets)


def _read_saved(blob: bytes | None) -> list[Gateway]:
    """What :meth:`Tunnels._save` wrote; what can't be read is left out."""
    with contextlib.suppress(ValueError, TypeError, UsageError):
        return [parse_gateway(text) for text in json.loads(blob or b"[]")]
    return []
