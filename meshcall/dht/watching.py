"""Our own watches: kept at the nodes closest to a key until they are given up.

Law 1: a holder is asked again before its lease ends; one that does not answer is replaced at once.
Law 2: when our network has changed all holders are asked again at once.
Law 3: with no holder at all the search goes on for ever, slower and slower, up to once per lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshcall.address import Address
from meshcall.dht.alarms import Alarm
from meshcall.dht.core import Core
from meshcall.dht.events import WatchChanged
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import REFUSED_TOKEN, Nodes, Refused, Response, Values, Watch, Watching
from meshcall.dht.operations import Operation, find_node
from meshcall.dht.transactions import Call, Listener
from meshcall.limits import (
    DHT_PATHS,
    DHT_REPLICAS,
    DHT_WATCH_LEASE,
    DHT_WATCH_LOOKUP,
    DHT_WATCH_RENEW,
)

_RENEW_SPREAD: Final = 2.0
"""Renewals are spread by chance over so many seconds, so that they do not all go at once."""

_LOOKUP_GAP: Final = 2.0
"""Shortest time between two lookups for one watch."""


@dataclass(slots=True, eq=False)
class Holder:
    """A node that pushes to us."""

    confirmed: bool = False
    repeated: bool = False
    """The token was renewed once already for this request."""


def request_watch(
    core: Core, address: Address, key: bytes, listener: Listener, now: float, *, lease: int, fresh: int = 0
) -> Call | None:
    """Ask a node to hold a watch for ``lease`` seconds; 0 ends it, and then no answer is waited for."""
    token = core.tokens.get(address, now) or b""
    if lease:
        core.holders.put((key, address), True, now)
    call = core.transactions.request(
        address,
        lambda tid: Watch(tid, core.node_id, core.flags, token, key, lease, fresh),
        listener if lease else None,
        now,
    )
    return call if lease else None


class WatchOperation(Operation):
    """One key watched."""

    def __init__(self, core: Core, number: int, key: bytes) -> None:
        super().__init__(core, number)
        self.key = key
        self._holders: dict[Address, Holder] = {}
        self._calls: dict[bytes, Call] = {}
        self._lookup: Lookup | None = None
        self._renewal: Alarm | None = None
        self._search: Alarm | None = None
        self._last_search = float("-inf")
        self._pause = 1.0
        self._told = 0

    def start(self, now: float) -> None:
        """Begin."""
        self.core.watch_key(self.key)
        self._renewal = self.core.alarms.set(now + self._renew_after(), self._renew)
        self._look(now)

    def cancel(self, now: float) -> None:
        """Give the watch back."""
        if self.finished:
            return
        super().cancel(now)
        self.core.unwatch_key(self.key)
        for alarm in (self._renewal, self._search):
            if alarm is not None:
                alarm.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
        for call in self._calls.values():
            call.forget()
        for address in self._holders:
            self._request(address, now, lease=0)

    @property
    def holders(self) -> int:
        """How many nodes have confirmed the watch."""
        return len(self.confirmed())

    def confirmed(self) -> list[Address]:
        """The nodes that have confirmed the watch."""
        return [address for address, holder in self._holders.items() if holder.confirmed]

    # --- the search for the closest nodes ---

    def search_soon(self, now: float) -> None:
        """The network has changed: look for closer holders as soon as is decent."""
        gap = _LOOKUP_GAP if self._holders else 0.0
        self._search_at(max(now, self._last_search + gap))

    def _search_at(self, when: float) -> None:
        if self._search is not None:
            if self._search.action is not None and self._search.when <= when:
                return
            self._search.cancel()
        self._search = self.core.alarms.set(when, self._look)

    def _look(self, now: float) -> None:
        if self._lookup is not None:
            self._lookup.cancel()
        self._last_search = now
        self._lookup = Lookup(
            self.core,
            self.key,
            make=find_node(self.core, self.key),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            paths=DHT_PATHS,
            on_finished=lambda now: None,
        )
        self._lookup.start(now)

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        near = self._lookup is not None and self._lookup.rank(candidate) < DHT_REPLICAS
        if near and not candidate.outsider:
            self._hold(candidate.address, now)

    def _on_settled(self, now: float) -> None:
        closest = [c.address for c in self._lookup.closest()] if self._lookup is not None else []
        for address in closest:
            self._hold(address, now)
        if len(closest) >= DHT_REPLICAS:
            for address in set(self._holders) - set(closest):
                # Not among the closest: its lease runs out, and a caller does not look there
                if self._holders[address].confirmed:
                    del self._holders[address]
        if closest:
            self._pause = 1.0
            self._search_at(now + DHT_WATCH_LOOKUP)
        else:
            self._search_at(now + self._pause)
            self._pause = min(2 * self._pause, DHT_WATCH_LEASE)
        self._tell()

    def network_changed(self, now: float) -> None:
        """The holders push to an address that we may have no more: ask them again, and look for others."""
        if self._renewal is not None:
            self._renewal.cancel()
        self._renew(now, fresh=True)
        self._search_at(now)

    # --- leases ---

    def _renew_after(self) -> float:
        return DHT_WATCH_RENEW + _RENEW_SPREAD * self.core.random(1)[0] / 256

    def _renew(self, now: float, *, fresh: bool = False) -> None:
        self._renewal = self.core.alarms.set(now + self._renew_after(), self._renew)
        for address, holder in self._holders.items():
            holder.repeated = False
            self._request(address, now, fresh=int(fresh))

    def _hold(self, address: Address, now: float) -> None:
        if address not in self._holders:
            self._holders[address] = Holder()
            self._request(address, now, fresh=1)

    def _request(
        self, address: Address, now: float, *, lease: int = int(DHT_WATCH_LEASE), fresh: int = 0
    ) -> None:
        call = request_watch(self.core, address, self.key, self, now, lease=lease, fresh=fresh)
        if call is not None:
            self._calls[call.tid] = call

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A holder confirmed, refused, or wants a newer token (Listener)."""
        self._calls.pop(call.tid, None)
        holder = self._holders.get(call.address)
        if holder is None:
            return
        if isinstance(message, Watching) and message.lease > 0:
            holder.confirmed = True
        elif isinstance(message, Refused) and message.reason == REFUSED_TOKEN and not holder.repeated:
            holder.repeated = True
            fresh = call.request.fresh if isinstance(call.request, Watch) else 0
            self._request(call.address, now, fresh=fresh)
        else:
            del self._holders[call.address]
        self._tell()

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet; others are looked for in case that it does not (Listener)."""
        if call.address in self._holders and self._holders[call.address].confirmed:
            self.search_soon(now)

    def on_failed(self, call: Call, now: float) -> None:
        """The holder is dead: another one is looked for (Listener)."""
        self._calls.pop(call.tid, None)
        if self._holders.pop(call.address, None) is not None:
            self.search_soon(now)
            self._tell()

    def _tell(self) -> None:
        if self.holders != self._told:
            self._told = self.holders
            self.core.events.append(WatchChanged(self.number, self._told))
