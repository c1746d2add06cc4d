"""Deliver: a record to whoever watches its key, pushed by the nodes near it the moment they are found.

Law 1: eager. A node that answers the lookup, and is near the key as far as is known, gets the record at once;
the nearest that answered have it when the lookup has settled; never more than the cap.
Law 2: the nearest nodes of a key that was looked up a moment ago get it with no lookup; a lookup follows
only if one of them is late or none has a watcher.
Law 3: "nobody watches" is said when all that can be heard were heard, or after ``DHT_DELIVER_VERDICT``; that
a watcher has it is said when the node that pushed it passes on the acknowledgement.
Law 4: with a reply watch the operation lasts: the nodes that took the record are asked, lease by lease,
to push us what comes back, until it is cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meshcall.address import Address
from meshcall.dht.alarms import Alarm
from meshcall.dht.core import Core
from meshcall.dht.events import DeliverDone, DeliverProgress
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import (
    REFUSED_TOKEN,
    Deliver,
    Delivered,
    Nodes,
    Refused,
    Response,
    Values,
    Watch,
)
from meshcall.dht.operations import Operation, find_node
from meshcall.dht.transactions import Call
from meshcall.dht.watching import request_watch
from meshcall.limits import (
    DHT_ACK_WAIT,
    DHT_DELIVER_ALPHA,
    DHT_DELIVER_CREDIT,
    DHT_DELIVER_SENDS_MAX,
    DHT_DELIVER_VERDICT,
    DHT_PATHS,
    DHT_REPLICAS,
    DHT_WATCH_LEASE,
    DHT_WATCH_RENEW,
)

_EAGER_RANK: Final = 2 * DHT_REPLICAS
"""A node with fewer known ones closer is near: half of those may be dead without our knowing it."""

_FIRST_FLIGHT: Final = DHT_REPLICAS // 2
"""Sends that need no lookup: a guess that saves one round trip when it hits a holder."""


class DeliverOperation(Operation):
    """One record on its way to the watchers of its key."""

    def __init__(
        self,
        core: Core,
        number: int,
        record: bytes,
        key: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        reply_watch: bytes = b"",
    ) -> None:
        super().__init__(core, number)
        self._record = record
        self._key = key
        self._at = tuple(at)[:DHT_DELIVER_SENDS_MAX]
        self._only = only
        self._reply_watch = reply_watch
        self._sent: dict[Address, Delivered | bool] = {}
        """Address to: the reply; False while there is none; True when there will be none."""
        self._late: set[Address] = set()
        self._repeated: set[Address] = set()
        self._calls: dict[bytes, Call] = {}
        self._acked: dict[Address, int] = {}
        """Watchers behind each node that have it."""
        self._told = False
        self._verdict: Alarm | None = None
        self._patience: Alarm | None = None
        self._renewal: Alarm | None = None
        self._lookup: Lookup | None = None

    def start(self, now: float) -> None:
        """Begin."""
        self._verdict = self.core.alarms.set(now + DHT_DELIVER_VERDICT, self._decide)
        if self._reply_watch:
            self.core.watch_key(self._reply_watch)
            self._renewal = self.core.alarms.set(now + DHT_WATCH_RENEW, self._renew)
        for address in self._at:
            self._send(address, now)
        if not self._only:
            near = self.core.recent.get(self._key, now) or ()
            known = [address for _, address in near if self.core.ready(address, now)]
            for address in known[:DHT_REPLICAS]:
                self._send(address, now)
            if len(known) < DHT_REPLICAS // 2:
                self._first_flight(now)
                self._look(now)
        self._maybe_done(now)

    def cancel(self, now: float) -> None:
        """End it; the reply watch is given back."""
        if self.finished:
            return
        super().cancel(now)
        self._told = True
        if self._lookup is not None:
            self._lookup.cancel()
        for call in self._calls.values():
            call.forget()
        self._calls.clear()
        for alarm in (self._renewal, self._verdict, self._patience):
            if alarm is not None:
                alarm.cancel()
        if self._reply_watch:
            self.core.unwatch_key(self._reply_watch)
            for address in self._takers():
                self._watch(address, 0, now)

    def _takers(self) -> list[Address]:
        return [address for address, reply in self._sent.items() if isinstance(reply, Delivered)]

    # --- sending ---

    def _look(self, now: float) -> None:
        if self._lookup is not None or self._only:
            return
        self._lookup = Lookup(
            self.core,
            self._key,
            make=find_node(self.core, self._key),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            paths=DHT_PATHS,
            on_finished=self._maybe_done,
            alpha=DHT_DELIVER_ALPHA,
            credit=DHT_DELIVER_CREDIT,
        )
        self._lookup.start(now)

    def _first_flight(self, now: float) -> None:
        """The closest contacts whose token we have get the record together with the first requests."""
        ready = [c for c in self.core.closest(self._key) if self.core.ready(c.address, now)]
        for contact in ready[:_FIRST_FLIGHT]:
            self._send(contact.address, now)

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        if self._lookup is None or candidate.outsider:
            return
        rank = self._lookup.rank(candidate)
        # Half of the sends are kept for those that turn out to be the nearest
        spare = DHT_DELIVER_SENDS_MAX if rank < DHT_REPLICAS else DHT_DELIVER_SENDS_MAX - DHT_REPLICAS
        if rank < _EAGER_RANK and len(self._sent) < spare:
            self._send(candidate.address, now)

    def _on_settled(self, now: float) -> None:
        if self._lookup is not None:
            for candidate in self._lookup.closest():
                if len(self._sent) < DHT_DELIVER_SENDS_MAX:
                    self._send(candidate.address, now)
        self._maybe_done(now)

    def _send(self, address: Address, now: float) -> None:
        if address not in self._sent:
            self._sent[address] = False
            self._request(address, now)

    def _request(self, address: Address, now: float) -> None:
        core = self.core
        token = core.tokens.get(address, now) or b""
        reply_token = b""
        if self._reply_watch:
            reply_token = core.mint.token(address, now)
            core.holders.put((self._reply_watch, address), True, now)
        call = core.transactions.request(
            address,
            lambda tid: Deliver(
                tid, core.node_id, core.flags, token, self._record, self._reply_watch, reply_token
            ),
            self,
            now,
        )
        if call is None:
            self._sent[address] = True
        else:
            self._calls[call.tid] = call
            core.acks.put((call.tid, address), lambda acked, now: self._on_acked(address, acked, now), now)

    # --- the reply watch ---

    def _renew(self, now: float) -> None:
        self._repeated.clear()
        for address in self._takers():
            self._watch(address, int(DHT_WATCH_LEASE), now)
        self._renewal = self.core.alarms.set(now + DHT_WATCH_RENEW, self._renew)

    def network_changed(self, now: float) -> None:
        """Replies are pushed to an address that we may have no more."""
        if self._reply_watch and not self.finished:
            if self._renewal is not None:
                self._renewal.cancel()
            self._renew(now)

    def _watch(self, address: Address, lease: int, now: float) -> None:
        call = request_watch(self.core, address, self._reply_watch, self, now, lease=lease)
        if call is not None:
            self._calls[call.tid] = call

    # --- replies ---

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A node took it, or wants a newer token (Listener)."""
        self._calls.pop(call.tid, None)
        address = call.address
        if isinstance(message, Refused) and message.reason == REFUSED_TOKEN:
            if isinstance(call.request, Watch):
                if address not in self._repeated:
                    self._repeated.add(address)
                    self._watch(address, int(DHT_WATCH_LEASE), now)
                return
            if address not in self._repeated:
                self._repeated.add(address)
                self._request(address, now)
                return
        if isinstance(call.request, Deliver):
            self._sent[address] = message if isinstance(message, Delivered) else True
            self._late.discard(address)
            if isinstance(message, Delivered):
                self._acked[address] = max(message.acked, self._acked.get(address, 0))
                self._progress()
            self._maybe_done(now)

    def _on_acked(self, address: Address, acked: int, now: float) -> None:
        """A node says that watchers have the record."""
        if self.finished or acked <= self._acked.get(address, 0):
            return
        self._acked[address] = acked
        self._progress()
        self._maybe_done(now)

    def _progress(self) -> None:
        stored, watchers = self._sums()
        progress = DeliverProgress(self.number, stored, watchers, len(self._sent), self._reached())
        self.core.events.append(progress)

    def _reached(self) -> int:
        return max(self._acked.values(), default=0)

    def on_slow(self, call: Call, now: float) -> None:
        """Others are tried (Listener)."""
        if isinstance(call.request, Deliver):
            self._late.add(call.address)
            self._look(now)
            self._maybe_done(now)

    def on_failed(self, call: Call, now: float) -> None:
        """It did not get there (Listener)."""
        self._calls.pop(call.tid, None)
        if isinstance(call.request, Deliver):
            self._sent[call.address] = True
            self._look(now)
            self._maybe_done(now)

    def _sums(self) -> tuple[int, int]:
        replies = [reply for reply in self._sent.values() if isinstance(reply, Delivered)]
        return sum(r.stored for r in replies), max((r.watchers for r in replies), default=0)

    def _maybe_done(self, now: float) -> None:
        waiting = any(reply is False and a not in self._late for a, reply in self._sent.items())
        watchers = self._sums()[1]
        if not waiting and not watchers and not self._only and self._lookup is None:
            self._look(now)  # which comes back here
            return
        looked = self._lookup is None or self._lookup.settled
        gone = self._lookup is None or self._lookup.finished
        none_open = not any(reply is False for reply in self._sent.values())
        # "Nobody watches" is said only when everybody has been heard or given up
        if looked and not waiting and (watchers or (gone and none_open)):
            self._tell(now)
        acks_over = not watchers or self._reached() or self._patience is None
        if gone and none_open and self._told and acks_over and not self._reply_watch:
            self.finished = True
            for alarm in (self._verdict, self._patience):
                if alarm is not None:
                    alarm.cancel()

    def _tell(self, now: float) -> None:
        if self._told:
            return
        self._told = True
        stored, watchers = self._sums()
        done = DeliverDone(self.number, stored, watchers, len(self._sent), self._reached())
        self.core.events.append(done)
        if watchers and not self._reached():
            self._patience = self.core.alarms.set(now + DHT_ACK_WAIT, self._no_ack)

    def _decide(self, now: float) -> None:
        """Whoever waits for the answer has waited long enough; late nodes may still get the record."""
        self._tell(now)

    def _no_ack(self, now: float) -> None:
        self._patience = None
        self._maybe_done(now)
