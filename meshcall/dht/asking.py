"""Asking one node to lend a relay: token first, then the ask.

    we --ping--> node              unless we know who it is and have its token
    we --relay_ask(token, key, proofs)--> node
     ^--relay_grant(reason, sealed)---|

Law: three exchanges at most, each with its repetition, and one event.
"""

from __future__ import annotations

from collections.abc import Callable

from meshcall.address import Address
from meshcall.dht.core import Core
from meshcall.dht.events import RelayAsked
from meshcall.dht.messages import (
    REFUSED_TOKEN,
    RELAY_PROOFS_SIZE,
    Ping,
    Refused,
    RelayAsk,
    RelayGrant,
    Response,
)
from meshcall.dht.operations import Operation
from meshcall.dht.transactions import Call

Prove = Callable[[bytes], bytes]
"""Node id to ``RELAY_PROOFS_SIZE`` octets of proofs."""


class RelayAskOperation(Operation):
    """One ask at one node."""

    def __init__(
        self,
        core: Core,
        number: int,
        address: Address,
        key: bytes,
        prove: Prove | None,
        node_id: bytes | None,
    ) -> None:
        """``key``: what the grant is sealed to. ``node_id``: who is there, if that is known."""
        super().__init__(core, number)
        self._address = address
        self._key = key
        self._prove = prove
        self._node_id = node_id
        self._call: Call | None = None
        self._asked = 0

    def start(self, now: float) -> None:
        """Begin."""
        core = self.core
        token = core.tokens.get(self._address, now)
        if self._node_id is not None and token:
            self._ask(self._node_id, token, now)
            return
        self._call = core.transactions.request(
            self._address, lambda tid: Ping(tid, core.node_id, core.flags, b"", b""), self, now
        )
        if self._call is None:
            self._tell(None, None, b"", None)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        if self._call is not None:
            self._call.forget()

    def _ask(self, node_id: bytes, token: bytes, now: float) -> None:
        core, key = self.core, self._key
        self._asked += 1
        proofs = core.random(RELAY_PROOFS_SIZE) if self._prove is None else self._prove(node_id)
        self._call = core.transactions.request(
            self._address,
            lambda tid: RelayAsk(tid, core.node_id, core.flags, token, key, proofs),
            self,
            now,
        )
        if self._call is None:
            self._tell(None, None, b"", None)

    def _tell(self, node_id: bytes | None, reason: int | None, sealed: bytes, rtt: float | None) -> None:
        self.finished = True
        self.core.events.append(RelayAsked(self.number, self._address, node_id, reason, sealed, rtt))

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """The token, the grant, or a fresh token (Listener)."""
        rtt = now - call.started
        if isinstance(message, RelayGrant):
            self._tell(message.sender, message.reason, message.sealed, rtt)
        elif isinstance(message, Refused) and (message.reason != REFUSED_TOKEN or self._asked > 1):
            self._tell(message.sender, None, b"", rtt)
        else:
            self._ask(message.sender, self.core.tokens.get(self._address, now) or b"", now)

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Nobody answered (Listener)."""
        self._tell(None, None, b"", None)
