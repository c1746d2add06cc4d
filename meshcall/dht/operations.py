"""What a user of the DHT starts: what all operations have in common, and the two simplest, lookup and ping.

Law 1: an operation tells its results as events with its number, and ends with exactly one ``...Done`` event
unless it is cancelled; after ``cancel`` it tells nothing.
Law 2: ``finished`` operations hold no timer and no open request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from meshcall.address import Address
from meshcall.dht.compact import unpack_address_untrusted
from meshcall.dht.core import Core
from meshcall.dht.events import LookupDone, PingDone
from meshcall.dht.lookup import Candidate, Lookup
from meshcall.dht.messages import (
    CHALLENGE_SIZE,
    EPHEMERAL,
    FindNode,
    Nodes,
    Ping,
    Pong,
    Request,
    Response,
    Values,
    padding,
)
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.limits import DHT_FIND_REQUEST_MIN, DHT_PING_REQUEST_MIN

Check = Callable[[Pong, bytes, Address], None]
"""``Verifier.check_untrusted``."""


class Operation(ABC):
    """Something that a user started and may cancel."""

    def __init__(self, core: Core, number: int) -> None:
        self.core = core
        self.number = number
        self.finished = False

    @abstractmethod
    def start(self, now: float) -> None:
        """Begin. Called once, when the operation has its number."""

    def cancel(self, now: float) -> None:
        """End it without another event. Cannot fail, at any moment, also twice."""
        self.finished = True

    def network_changed(self, now: float) -> None:  # noqa: B027 - most have nothing to do
        """Our address may be another one. What lasts asks again; the rest has its repetitions."""


def find_node(core: Core, target: bytes) -> Callable[[bytes], Request]:
    """Makes padded find_node requests."""
    empty = FindNode(bytes(8), core.node_id, core.flags, target, b"")
    pad = padding(empty, DHT_FIND_REQUEST_MIN)
    return lambda tid: FindNode(tid, core.node_id, core.flags, target, pad)


class LookupOperation(Operation):
    """Which nodes are closest to a target."""

    def __init__(self, core: Core, number: int, target: bytes, at: Sequence[Address]) -> None:
        super().__init__(core, number)
        self.lookup = Lookup(
            core,
            target,
            make=find_node(core, target),
            on_answer=self._on_answer,
            on_settled=self._on_settled,
            on_finished=self._on_finished,
        )
        self._at = at

    def start(self, now: float) -> None:
        """Begin."""
        self.lookup.start(now, self._at)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        self.lookup.cancel()

    def _on_answer(self, candidate: Candidate, message: Nodes | Values, now: float) -> None:
        """Nothing to do: the lookup keeps the answers."""

    def _on_settled(self, now: float) -> None:
        closest = tuple((c.node_id or b"", c.address) for c in self.lookup.closest())
        self.core.events.append(LookupDone(self.number, closest, self.lookup.requests))

    def _on_finished(self, now: float) -> None:
        self.finished = True


class PingOperation(Operation):
    """Whether somebody is there, how far, and who."""

    def __init__(self, core: Core, number: int, address: Address, check_untrusted: Check | None) -> None:
        """``check_untrusted``: whether an answer to our challenge proves an id; None: none is wanted."""
        super().__init__(core, number)
        self._address = address
        self._check_untrusted = check_untrusted
        self._call: Call | None = None

    def start(self, now: float) -> None:
        """Begin."""
        core = self.core
        challenge = pad = b""
        if self._check_untrusted is not None:
            challenge = core.random(CHALLENGE_SIZE)
            pad = padding(Ping(bytes(8), core.node_id, 0, challenge, b""), DHT_PING_REQUEST_MIN)
        self._call = core.transactions.request(
            self._address, lambda tid: Ping(tid, core.node_id, core.flags, challenge, pad), self, now
        )
        if self._call is None:
            self._tell_silence()

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        if self._call is not None:
            self._call.forget()

    def _tell_silence(self) -> None:
        self.finished = True
        self.core.events.append(PingDone(self.number, self._address, None, None))

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """It is there (Listener)."""
        self.finished = True
        rtt = now - call.started
        proof = self._proof(call, message)
        routes = not message.flags & EPHEMERAL
        observed = unpack_address_untrusted(message.observed)  # sizes were checked by the decoder
        self.core.events.append(
            PingDone(self.number, self._address, message.sender, rtt, proof, routes, observed)
        )

    def _proof(self, call: Call, message: Response) -> str:
        if self._check_untrusted is None or not isinstance(call.request, Ping):
            return ""
        if not isinstance(message, Pong):
            return "missing"
        try:
            self._check_untrusted(message, call.request.challenge, call.address)
        except Rejected as rejected:
            return rejected.reason
        return "proven"

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Nobody answered (Listener)."""
        self._tell_silence()
