"""Server-reflexive candidates: what STUN servers see of our bases (RFC 8445 section 5.1.1.2).

Law: an answer counts only with a transaction of ours and from the server that was asked; a server that does
not answer costs nobody else's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.candidate import Candidate, flaw
from meshcall.ice.pair import candidate_priority
from meshcall.stun.attributes import xor_address_untrusted
from meshcall.stun.message import TRANSACTION_ID_SIZE, AttributeType, MessageClass, Method, StunMessage


@dataclass(slots=True, eq=False)
class _Query:
    base: Address
    server: Address
    sent: int
    due: float


class Gathering:
    """Asks servers from bases until each has answered or been asked often enough."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._queries: dict[bytes, _Query] = {}
        self._transmits: list[tuple[bytes, Address, Address]] = []

    @property
    def busy(self) -> bool:
        """Whether an answer may still come."""
        return bool(self._queries)

    def ask(self, bases: Iterable[Address], server: Address, now: float) -> None:
        """Ask ``server`` from each base of its family."""
        for base in bases:
            if (":" in base[0]) == (":" in server[0]):
                self._queries[self._random(TRANSACTION_ID_SIZE)] = _Query(base, server, 0, now)
        self.handle_timer(now)

    def awaits(self, transaction: bytes) -> bool:
        """Whether an answer is to one of our questions."""
        return transaction in self._queries

    def answered_untrusted(self, message: StunMessage, source: Address) -> Candidate | None:
        """The candidate that an answer tells of, if it does; raises :class:`Rejected`."""
        query = self._queries.get(message.transaction_id)
        if query is None or source != query.server:
            return None
        mapped = xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS)
        del self._queries[message.transaction_id]
        if message.kind is not MessageClass.SUCCESS or mapped is None:
            return None
        priority = candidate_priority("srflx", mapped[0])
        candidate = Candidate("srflx", "udp", *mapped, priority, related=query.base)
        return None if flaw(candidate) else candidate

    def handle_timer(self, now: float) -> None:
        """Ask again, or give up."""
        for transaction, query in tuple(self._queries.items()):
            if query.due > now:
                continue
            if query.sent >= limits.ICE_STUN_ATTEMPTS:
                del self._queries[transaction]
                continue
            request = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction)
            self._transmits.append((request.encode(), query.server, query.base))
            query.due = now + limits.ICE_STUN_RETRY * 2**query.sent
            query.sent += 1

    def deadline(self) -> float:
        """When :meth:`handle_timer` is to be called."""
        return min((query.due for query in self._queries.values()), default=float("inf"))

    def transmits(self) -> list[tuple[bytes, Address, Address]]:
        """(datagram, destination, base)."""
        taken, self._transmits = self._transmits, []
        return taken
