"""Requests that a TURN client waits for an answer to (RFC 8489 section 6.2).

Law: a request is sent ``TURN_TRIES`` times over UDP and once over a stream, and ends in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshcall.limits import TURN_RTO, TURN_TRIES
from meshcall.stun.message import StunMessage

_PATIENCE = TURN_RTO * (2**TURN_TRIES - 1)
"""Seconds until a request is given up: the same for streams."""

OnAnswer = Callable[[StunMessage | None, float], None]
"""Told the response, or None when there is none, and the time."""


@dataclass(slots=True)
class Transaction:
    """One request under way."""

    octets: bytes
    key: bytes | None
    """Of the response's integrity; None: the request had no credentials."""
    on_answer: OnAnswer
    due: float
    """When it is sent again, or given up."""
    pause: float
    tries: int = 1


class Transactions:
    """All requests of one client."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._open: dict[bytes, Transaction] = {}

    def start(self, request: StunMessage, key: bytes | None, on_answer: OnAnswer, now: float) -> bytes:
        """The octets to be sent now."""
        octets = request.encode(key)
        pause = _PATIENCE if self._stream else TURN_RTO
        tries = TURN_TRIES if self._stream else 1
        self._open[request.transaction_id] = Transaction(octets, key, on_answer, now + pause, pause, tries)
        return octets

    def take(self, response: StunMessage) -> Transaction | None:
        """End the transaction that a response belongs to."""
        return self._open.pop(response.transaction_id, None)

    def find(self, transaction_id: bytes) -> Transaction | None:
        """The transaction of that id."""
        return self._open.get(transaction_id)

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is wanted."""
        return min((transaction.due for transaction in self._open.values()), default=None)

    def handle_timer(self, now: float) -> list[bytes]:
        """What is to be sent again; who got no answer is told."""
        again: list[bytes] = []
        for tid, transaction in list(self._open.items()):
            if transaction.due > now or tid not in self._open:
                continue
            if transaction.tries >= TURN_TRIES:
                del self._open[tid]
                transaction.on_answer(None, now)
                continue
            transaction.tries += 1
            transaction.pause *= 2
            transaction.due = now + transaction.pause
            again.append(transaction.octets)
        return again

    def clear(self) -> None:
        """Wait for nothing any more; nobody is told."""
        self._open.clear()
