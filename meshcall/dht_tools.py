"""For people who look at the DHT: how our node is, a search with all its steps, a ping.

Law 1: nothing here is needed to call; nothing here goes on when nobody waits for it any more.
Law 2: names are resolved off the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from meshcall.address import Address, format_address, parse_host_port
from meshcall.aio.clock import Clock
from meshcall.aio.dht import DhtNode
from meshcall.contacts import ContactBook
from meshcall.dht.compact import is_impossible
from meshcall.dht.events import AskedNode, FindDone, PingDone, ValueFound
from meshcall.errors import DhtOff, HostUnknown, NodeSilent, OwnId, Rejected, UsageError
from meshcall.identity.peer_id import PeerId
from meshcall.limits import (
    DHT_DIAL_PROOFS,
    DHT_DIAL_STABLE,
    DHT_HARD_TIMEOUT,
    DHT_LIMITER_KEPT,
    DHT_PING_ADDRESSES_MAX,
    DHT_PING_TRIES,
    NODE_ID_SIZE,
)
from meshcall.record.codec import RecordType, decode_record_untrusted
from meshcall.signaling.presence import read_presence_untrusted
from meshcall.signaling.rendezvous import epoch_of, inbox
from meshcall.views import (
    DhtLimiterView,
    DhtLookupView,
    DhtNodeView,
    DhtPingView,
    DhtRole,
    DhtStateView,
    DhtStoredView,
    DhtValueView,
    DhtWatchView,
)

_KEY_DIGITS = 2 * NODE_ID_SIZE
_HEX = frozenset("0123456789abcdefABCDEF")
_LIKE_A_KEY = 24
"""So many hexadecimal digits and nothing else are a key that was copied badly rather than a name."""


class DhtTools:
    """Looks at one node's DHT."""

    def __init__(
        self,
        dht: DhtNode,
        me: PeerId,
        contacts: ContactBook,
        *,
        clock: Clock,
        enabled: bool,
        bootstrap: Sequence[str],
        saved_ms: Callable[[], int | None],
    ) -> None:
        """``enabled``: False with neither mDNS nor the internet. ``saved_ms``: when the table was saved."""
        self._dht = dht
        self._me = me
        self._contacts = contacts
        self._clock = clock
        self._enabled = enabled
        self._bootstrap = bootstrap
        self._saved_ms = saved_ms

    def state(self) -> DhtStateView:
        """How our node is."""
        now = self._dht.status()
        families = now.contacts_by_family
        records = now.records
        role, why = self.role()
        return DhtStateView(
            enabled=self._enabled,
            node_id=now.node_id.hex(),
            role=role,
            why=why,
            proofs=now.proofs,
            proofs_needed=DHT_DIAL_PROOFS,
            addresses=[format_address(a) for a in (now.observed4, now.observed6) if a is not None],
            nodes=now.contacts,
            nodes4=families.get(4, 0),
            nodes6=families.get(6, 0),
            buckets=now.buckets,
            stored=DhtStoredView(
                records=records.values, octets=records.octets, keys=records.keys, sources=records.sources
            ),
            own_watches=[
                DhtWatchView(key=key.hex(), holders=[format_address(a) for a in holders])
                for key, holders in now.watch_holders.items()
            ],
            watches_held=now.watches_held,
            operations=now.operations,
            open_requests=now.open_requests,
            limiter=DhtLimiterView(
                senders=now.limiter.senders,
                senders_max=DHT_LIMITER_KEPT,
                reads_left=now.limiter.reads_left,
                writes_left=now.limiter.writes_left,
            ),
            bootstrap=list(self._bootstrap),
            restored=now.restored,
            saved_ms=self._saved_ms(),
            counters=dict(sorted(now.counters.items())),
        )

    def role(self) -> tuple[DhtRole, str]:
        """Whether others route through us, and why."""
        now = self._dht.status()
        if not now.decides:
            return "router", "every node of a LAN-only network routes"
        reached = f"{now.proofs} of {DHT_DIAL_PROOFS} networks have reached us"
        if now.routes:
            return "router", reached
        stable = self._clock.now() - now.since
        if now.proofs >= DHT_DIAL_PROOFS and stable < DHT_DIAL_STABLE:
            reached += f", {stable:.0f} of {DHT_DIAL_STABLE:.0f} s at this address"
        return "ephemeral", reached

    # --- lookup ---

    async def lookup(self, text: str) -> DhtLookupView:
        """Search a storage key (40 hex digits), or the presence of a peer (name, ID or link).

        Raises :class:`DhtOff`, :class:`UsageError` and what a wrong name or ID raises.
        """
        if not self._enabled:
            raise DhtOff
        peer = None if _is_key(text) else self._peer(text)
        epoch = 0
        if peer is None:
            key = bytes.fromhex(text)
        else:
            epoch = epoch_of(peer, self._clock.now_ms())
            key = inbox(peer, epoch).storage_key(RecordType.PRESENCE)
        values: list[DhtValueView] = []
        begun = self._clock.now()

        def on_value(event: ValueFound) -> None:
            at_ms = _ms(self._clock.now() - begun)
            values.append(self._value_view(event, at_ms, peer, epoch))

        async with self._dht.find(key, on_value=on_value, traced=True) as found:
            async for _ in found:
                pass
            total = self._clock.now() - begun
            done = found.done or FindDone(0, 0, 0)
        status = self._dht.status()
        return DhtLookupView(
            key=key.hex(),
            peer_id="" if peer is None else peer.text,
            asked=[_node_view(node) for node in done.asked],
            requests=done.requests,
            hops=max((node.hop for node in done.asked if node.answered), default=0),
            first_ms=values[0].at_ms if values else None,
            total_ms=_ms(total),
            values=values,
            holders=[format_address(a) for a in status.watch_holders.get(key, ())],
            watchers_here=self._dht.engine.watchers(key, self._clock.now()),
        )

    def _peer(self, text: str) -> PeerId:
        try:
            return self._contacts.resolve(text)
        except OwnId:  # whether others find us is a good question
            return self._me

    def _value_view(self, event: ValueFound, at_ms: float, peer: PeerId | None, epoch: int) -> DhtValueView:
        record = decode_record_untrusted(event.record)  # the engine has checked it
        problem = ""
        if peer is not None and record.type is RecordType.PRESENCE:
            try:
                read_presence_untrusted(record, peer, inbox(peer, epoch), self._clock.now_ms())
            except Rejected as rejected:
                problem = rejected.reason
        return DhtValueView(
            type=record.type.name.lower(),
            octets=len(event.record),
            seq=record.seq,
            ttl_s=record.ttl,
            age_s=event.age,
            at_ms=at_ms,
            source="" if event.source is None else format_address(event.source),
            problem=problem,
        )

    # --- ping ---

    async def ping(self, text: str) -> DhtPingView:
        """Ask whoever is at HOST:PORT who it is.

        Raises :class:`DhtOff`, :class:`UsageError`, :class:`HostUnknown` or :class:`NodeSilent`.
        """
        host, port = parse_host_port(text)
        if not self._enabled:
            raise DhtOff
        addresses = await resolve_place(host, port)
        for number in range(DHT_PING_TRIES):
            for answer in await asyncio.gather(*(self._dht.probe(address) for address in addresses)):
                if answer is not None:
                    return _ping_view(answer, number + 1)
        seconds = DHT_PING_TRIES * DHT_HARD_TIMEOUT
        raise NodeSilent(f"no DHT node answers at {text} within {seconds:g} s")


def _is_key(text: str) -> bool:
    """Whether ``text`` is a storage key; raises :class:`UsageError` for one of another length."""
    if not _HEX.issuperset(text) or len(text) < _LIKE_A_KEY or len(text) == 64:
        return False  # 64 digits: a peer ID
    if len(text) != _KEY_DIGITS:
        raise UsageError(
            f"a storage key has {_KEY_DIGITS} hexadecimal digits, not {len(text)}",
            hint="a peer is looked up by its name, ID or link",
        )
    return True


async def resolve_place(host: str, port: int) -> list[Address]:
    """Where ``host`` may be; raises :class:`HostUnknown` or :class:`UsageError`."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port)
    except (OSError, UnicodeError):  # the latter: no name that DNS can hold
        raise HostUnknown(f"the host {host} can't be resolved") from None
    found = list(dict.fromkeys((str(info[4][0]), port) for info in infos))
    able = [address for address in found if not is_impossible(address)]
    if not able:
        raise UsageError(
            f"nobody can be at {format_address(found[0])}" if found else f"{host} has no address"
        )
    return able[:DHT_PING_ADDRESSES_MAX]


def _ping_view(answer: PingDone, tries: int) -> DhtPingView:
    return DhtPingView(
        address=format_address(answer.address),
        node_id=(answer.node_id or b"").hex(),
        rtt_ms=_ms(answer.rtt or 0.0),
        proven=answer.proof == "proven",
        proof=answer.proof,
        role="router" if answer.routes else "ephemeral",
        observed="" if answer.observed is None else format_address(answer.observed),
        tries=tries,
    )


def _node_view(node: AskedNode) -> DhtNodeView:
    return DhtNodeView(
        node_id="" if node.node_id is None else node.node_id.hex(),
        address=format_address(node.address),
        answered=node.answered,
        rtt_ms=None if node.rtt is None else _ms(node.rtt),
        hop=node.hop,
        closest=node.closest,
        silent=node.silent,
        values=node.values,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
