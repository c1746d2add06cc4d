"""Changes of a running session: the peer's offers are answered, and ours told, one after the other.

Law 1: none is looked at before the gate is open; of the peer's that wait, ``CHANGES_WAITING_MAX`` are kept.
Law 2: what can't be answered is counted, and the call goes on.
Law 3: of two offers that cross, that of the call's caller holds: who answered the call drops its own, and
offers again behind the other one.
Law 4: an offer of ours changes nothing here before its answer is there, so there is nothing to take back.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from meshcall import limits
from meshcall.call.negotiation import Negotiate, decode_negotiate_untrusted, encode_negotiate
from meshcall.errors import Rejected


class Changes:
    """Those of one call."""

    def __init__(
        self,
        answer: Callable[[bytes], Awaitable[bytes]],
        send: Callable[[bytes, bool], None],
        counters: Counter[str],
        *,
        offer: Callable[[int], bytes],
        accept: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """``answer``: the answer to an offer, both encoded. ``send(message, by_letter)``: an answer goes by
        the way that its offer came. ``offer(number)``: ours, encoded; empty: there is nothing to change.
        ``accept``: takes the answer to the last one.
        """
        self.polite = False
        """We answered the call."""
        self._answer = answer
        self._send = send
        self._counters = counters
        self._offer = offer
        self._accept = accept
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._wanted = False
        """There is something of ours to offer."""
        self._number = 0
        """Of our last offer."""
        self._tries = 0
        """Offers in a row that got no answer."""
        self._asked: bytes | None = None
        """Our offer that waits for its answer."""
        self._patience: asyncio.TimerHandle | None = None
        self._gate = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def take(self, data: bytes, *, by_letter: bool = False) -> None:
        """A control message of the peer that is an endpoint's own, or came by sealed message."""
        if self._closed:
            return
        if len(self._waiting) >= limits.CHANGES_WAITING_MAX:
            self._counters["negotiate-flood"] += 1
            return
        self._waiting.append((data, by_letter))
        self._begin()

    def want(self) -> None:
        """Something of ours is to be offered."""
        self._wanted, self._tries = True, 0
        self._begin()

    def repeat(self) -> None:
        """No path answers: tell by sealed message what may have been lost."""
        if self._asked is not None:
            self._send(self._asked, True)

    def open_gate(self) -> None:
        """The peer's confirm was verified."""
        self._gate = True
        self._begin()

    async def close(self) -> None:
        """Answer and offer no more. Idempotent."""
        self._closed = True
        self._settle()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _begin(self) -> None:
        if self._gate and self._has_work() and not self._closed and self._task is None:
            self._task = asyncio.create_task(self._run(), name="endpoint-changes")

    def _has_work(self) -> bool:
        return bool(self._waiting) or (self._wanted and self._asked is None)

    async def _run(self) -> None:
        while self._has_work():
            try:
                if self._waiting:
                    await self._take_next()
                else:
                    self._offer_ours()
            except Rejected as error:
                self._counters[f"negotiate-{error.reason}"] += 1
            except Exception:  # noqa: BLE001 - whatever aiortc raises for what the peer wants
                self._counters["negotiate-failed"] += 1
            await asyncio.sleep(limits.CHANGE_PAUSE)
        self._task = None

    async def _take_next(self) -> None:
        data, by_letter = self._waiting.popleft()
        message = decode_negotiate_untrusted(data)
        if message.kind == "answer":
            if self._asked is None:
                raise Rejected("unasked")
            await self._accept(message.body)
            self._settle()
            return
        if self._asked is not None:
            if not self.polite:
                raise Rejected("crossed")
            self._settle()
            self._wanted = True
        answer = await self._answer(message.body)
        self._send(encode_negotiate(Negotiate("answer", answer)), by_letter)

    def _offer_ours(self) -> None:
        self._wanted = False
        body = self._offer(self._number + 1)
        if not body:
            return
        self._number += 1
        self._asked = encode_negotiate(Negotiate("offer", body))
        self._patience = asyncio.get_running_loop().call_later(limits.CHANGE_PATIENCE, self._unanswered)
        self._send(self._asked, False)

    def _unanswered(self) -> None:
        self._settle()
        self._tries += 1
        self._counters["negotiate-unanswered"] += 1
        self._wanted = self._tries < limits.CHANGE_TRIES
        self._begin()

    def _settle(self) -> None:
        """Nothing waits for its answer any more."""
        self._asked = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
