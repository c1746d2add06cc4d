"""Nobody enters the table on its word: each would-be contact signs one challenge.

Law 1: a proof counts only if it names the address that we asked from: one passed on by a node in the middle
names the middle (``Core.is_foreign`` says how far we can tell).
Law 2: whoever is heard is challenged at most once a minute, and only so many at a time.
Law 3: who has only sent a request, and may have lied about its address, gets one datagram and no repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshcall.address import Address
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.compact import unpack_address_untrusted
from meshcall.dht.contact import Contact, node_id_of, proof_message
from meshcall.dht.core import Core
from meshcall.dht.messages import CHALLENGE_SIZE, EPHEMERAL, Ping, Pong, Response, padding
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.identity.keys import NODE, verify_untrusted
from meshcall.limits import (
    DHT_PING_REQUEST_MIN,
    DHT_UNREACHABLE_KEPT,
    DHT_UNREACHABLE_TIME,
    DHT_VERIFY_MAX,
    NODE_ID_SIZE,
)

OnProof = Callable[[bytes | None, float], None]
"""Told the proven node id (None: no valid answer) and the time."""

_PAD: Final = padding(
    Ping(bytes(8), bytes(NODE_ID_SIZE), 0, bytes(CHALLENGE_SIZE), b""), DHT_PING_REQUEST_MIN
)
"""Makes a challenge as long as its answer may be."""


class Verifier:
    """Sends challenges and checks the proofs."""

    __slots__ = ("_core", "_open", "_tried", "_when_idle")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[bytes, OnProof | None] = {}
        self._when_idle: list[Callable[[float], None]] = []
        self._tried: ExpiringCache[tuple[bytes, Address], bool] = ExpiringCache(
            DHT_UNREACHABLE_KEPT, DHT_UNREACHABLE_TIME
        )

    def consider(self, node_id: bytes, address: Address, flags: int, now: float, *, proven: bool) -> None:
        """Somebody was heard: challenge it if it would get a place in the table.

        ``proven``: it answered a request of ours, so it is where it says it is.
        """
        core = self._core
        if flags & EPHEMERAL or not core.wants(node_id, address):
            return
        if len(self._open) >= DHT_VERIFY_MAX:
            core.counters["verify-full"] += 1
            return
        if self._tried.get((node_id, address), now):
            return
        self._tried.put((node_id, address), True, now)
        self.challenge(address, None, now, node_id=node_id, repeat=proven)

    def recheck(self, contact: Contact, now: float) -> None:
        """Somebody waits for the contact's place: is it still there. Silence counts as a failure."""
        name = (contact.id, contact.address)
        if len(self._open) < DHT_VERIFY_MAX and not self._tried.get(name, now):
            self._tried.put(name, True, now)
            self.challenge(contact.address, None, now, node_id=contact.id)

    def challenge(
        self,
        address: Address,
        on_proof: OnProof | None,
        now: float,
        *,
        node_id: bytes | None = None,
        repeat: bool = True,
    ) -> Call | None:
        """Ask whoever is at ``address`` to prove its id; a proven node is admitted."""
        core = self._core
        challenge = core.random(CHALLENGE_SIZE)
        call = core.transactions.request(
            address,
            lambda tid: Ping(tid, core.node_id, core.flags, challenge, _PAD),
            self,
            now,
            node_id=node_id,
            repeat=repeat,
        )
        if call is None:
            if on_proof is not None:
                on_proof(None, now)
            return None
        self._open[call.tid] = on_proof
        return call

    def when_idle(self, then: Callable[[float], None], now: float) -> None:
        """Do ``then(now)`` once, when no challenge is open any more."""
        self._when_idle.append(then)
        self._maybe_idle(now)

    def _maybe_idle(self, now: float) -> None:
        if not self._open:
            waiting, self._when_idle = self._when_idle, []
            for then in waiting:
                then(now)

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A proof, or not (Listener)."""
        on_proof = self._open.pop(call.tid, None)
        core = self._core
        proven: bytes | None = None
        if isinstance(call.request, Ping) and isinstance(message, Pong):
            try:
                self.check_untrusted(message, call.request.challenge, call.address)
                # _tried has this id already: equal octets are kept once
                proven = call.node_id if call.node_id == message.sender else message.sender
            except Rejected as rejected:
                core.counters["proof-" + rejected.reason] += 1
        if proven is not None and not message.flags & EPHEMERAL:
            core.admit(proven, call.address, now)
        if on_proof is not None:
            on_proof(proven, now)
        self._maybe_idle(now)

    def check_untrusted(self, message: Pong, challenge: bytes, address: Address) -> None:
        """Return if the answer to ``challenge`` proves the sender's id; raises Rejected with the reason."""
        if not message.node_key:
            raise Rejected("missing")
        if node_id_of(message.node_key) != message.sender:
            raise Rejected("id")
        if self._core.is_foreign(unpack_address_untrusted(message.observed), address):
            raise Rejected("relayed")
        proof = proof_message(challenge, message.sender, self._core.node_id, message.observed)
        verify_untrusted(message.node_key, message.signature, NODE, proof)

    def on_slow(self, call: Call, now: float) -> None:
        """It may come yet (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """Nobody there (Listener)."""
        on_proof = self._open.pop(call.tid, None)
        if on_proof is not None:
            on_proof(None, now)
        self._maybe_idle(now)
