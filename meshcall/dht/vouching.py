"""Asking a node whether it gave a token to an address: proof that somebody reads there.

    they --ping--> witness              a node that we have named
      ^----pong(token for their address)---|
    they tell us the address and the token, by whatever way
    we --vouch(token, address)--> witness
      ^----vouched(1)----------------|

Law: the witness keeps nothing, and sends nothing to the address; who asks learns a yes or a no.
"""

from __future__ import annotations

from meshcall.address import Address
from meshcall.dht.compact import pack_address
from meshcall.dht.core import Core
from meshcall.dht.events import VouchDone
from meshcall.dht.messages import Response, Vouch, Vouched
from meshcall.dht.operations import Operation
from meshcall.dht.transactions import Call


class VouchOperation(Operation):
    """One question to one witness."""

    def __init__(self, core: Core, number: int, witness: Address, address: Address, token: bytes) -> None:
        super().__init__(core, number)
        self._witness = witness
        self._seen = pack_address(address)
        self._token = token
        self._call: Call | None = None

    def start(self, now: float) -> None:
        """Ask."""
        core = self.core
        self._call = core.transactions.request(
            self._witness,
            lambda tid: Vouch(tid, core.node_id, core.flags, self._token, self._seen),
            self,
            now,
        )
        if self._call is None:
            self._tell(None)

    def cancel(self, now: float) -> None:
        """End it without another event."""
        super().cancel(now)
        if self._call is not None:
            self._call.forget()

    def _tell(self, vouched: bool | None) -> None:
        self.finished = True
        self.core.events.append(VouchDone(self.number, vouched))

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """Yes or no (Listener)."""
        self._tell(bool(message.vouched) if isinstance(message, Vouched) else None)

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Nobody answered (Listener)."""
        self._tell(None)
