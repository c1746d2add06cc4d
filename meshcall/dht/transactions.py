"""Requests of ours that wait for a reply.

Law 1: a reply counts only with the transaction id, from the address that was asked, and of a fitting kind.
Law 2: after the soft timeout the request is sent once more and its owner may try elsewhere; the late reply is
still welcome until the hard timeout.
Law 3: silence proves a node dead only if somebody else was heard meanwhile; otherwise it is our own link.
Law 4: a request whose owner has gone is still measured, and disturbs nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from meshcall.address import Address
from meshcall.dht.alarms import Alarm, Alarms
from meshcall.dht.messages import (
    TID_SIZE,
    Deliver,
    Delivered,
    Dial,
    DialBack,
    Dialling,
    FindNode,
    FindValue,
    Nodes,
    Noted,
    Notify,
    Ping,
    Pong,
    Refused,
    RelayAsk,
    RelayGrant,
    Request,
    Response,
    Store,
    Stored,
    Values,
    Vouch,
    Vouched,
    Watch,
    Watching,
    encode_frame,
)
from meshcall.dht.rtt import RttBook
from meshcall.identity.keys import Random
from meshcall.limits import DHT_HARD_TIMEOUT, DHT_OPEN_REQUESTS_MAX

EXPECTED: Final[dict[type[Request], type[Response]]] = {
    Ping: Pong,
    FindNode: Nodes,
    FindValue: Values,
    Store: Stored,
    Deliver: Delivered,
    Watch: Watching,
    Notify: Noted,
    DialBack: Dialling,
    Dial: Dialling,
    RelayAsk: RelayGrant,
    Vouch: Vouched,
}


_SENT: Final = {kind: f"sent-{kind.__name__.lower()}" for kind in EXPECTED}
"""Names of the counters, one string for all engines."""


class Listener(Protocol):
    """Who asked."""

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """The reply, of the kind that fits the request, or Refused."""

    def on_slow(self, call: Call, now: float) -> None:
        """The soft timeout has passed; a reply may still come."""

    def on_failed(self, call: Call, now: float) -> None:
        """No reply came, and none is waited for any more."""


@dataclass(slots=True, eq=False)
class Call:
    """One request and what became of it so far."""

    tid: bytes
    address: Address
    request: Request
    frame: bytes
    started: float
    listener: Listener | None
    node_id: bytes | None = None
    """Who should be there; None when we only have an address."""
    repeat: bool = True
    slow: bool = False
    alarm: Alarm | None = None

    def forget(self) -> None:
        """The owner wants to hear no more of it."""
        self.listener = None


class Transactions:
    """All open requests of one engine."""

    __slots__ = (
        "_alarms",
        "_counters",
        "_open",
        "_out",
        "_random",
        "last_reply",
        "on_sent",
        "on_unanswered",
        "rtts",
    )

    def __init__(
        self,
        random: Random,
        alarms: Alarms,
        out: list[tuple[bytes, Address]],
        counters: Counter[str],
    ) -> None:
        self._random = random
        self._alarms = alarms
        self._out = out
        self._counters = counters
        self._open: dict[bytes, Call] = {}
        self.rtts = RttBook()
        self.last_reply = float("-inf")
        """When anybody last answered."""
        self.on_sent: Callable[[Address, float], None] = lambda address, now: None
        self.on_unanswered: Callable[[Call, float], None] = lambda call, now: None

    def __len__(self) -> int:
        return len(self._open)

    def is_open(self, tid: bytes) -> bool:
        """Whether a reply with that transaction id is waited for."""
        return tid in self._open

    def request(
        self,
        address: Address,
        make: Callable[[bytes], Request],
        listener: Listener | None,
        now: float,
        *,
        node_id: bytes | None = None,
        soft: float | None = None,
        repeat: bool = True,
    ) -> Call | None:
        """Send ``make(transaction id)`` to ``address``; None when too many requests are open.

        ``repeat``: send it again at the soft timeout; not to an address that only a stranger named.
        """
        if len(self._open) >= DHT_OPEN_REQUESTS_MAX:
            self._counters["requests-full"] += 1
            return None
        tid = self._random(TID_SIZE)
        request = make(tid)
        frame = encode_frame(request)
        call = Call(tid, address, request, frame, now, listener, node_id, repeat)
        self._open[tid] = call
        self._out.append((frame, address))
        self.on_sent(address, now)
        self._counters[_SENT[type(request)]] += 1
        soft = self.rtts.soft_timeout(address) if soft is None else soft
        call.alarm = self._alarms.set(now + soft, lambda now: self._soft(call, now))
        return call

    def _soft(self, call: Call, now: float) -> None:
        call.slow = True
        if call.repeat:
            self._out.append((call.frame, call.address))
            self._counters["repeated"] += 1
        hard = max(call.started + DHT_HARD_TIMEOUT, now)
        call.alarm = self._alarms.set(hard, lambda now: self._hard(call, now))
        if call.listener is not None:
            call.listener.on_slow(call, now)

    def _hard(self, call: Call, now: float) -> None:
        del self._open[call.tid]
        self._counters["unanswered"] += 1
        if self.last_reply >= call.started:
            self.on_unanswered(call, now)
        if call.listener is not None:
            call.listener.on_failed(call, now)

    def accept(self, message: Response, address: Address, now: float) -> Call | None:
        """The request that ``message`` answers; None (and counted) when there is none such."""
        call = self._open.get(message.tid)
        if call is None:
            self._counters["unsolicited"] += 1
            return None
        if call.address != address:
            self._counters["wrong-address"] += 1
            return None
        if not isinstance(message, EXPECTED[type(call.request)] | Refused):
            self._counters["wrong-kind"] += 1
            return None
        del self._open[message.tid]
        if call.alarm is not None:
            call.alarm.cancel()
        if not call.slow:
            self.rtts.sample(address, now - call.started)
        self.last_reply = now
        return call
