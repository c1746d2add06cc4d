"""The peer's changes of a running session: each of its offers is answered, one after the other.

Law 1: none is looked at before the gate is open; of those that wait, ``CHANGES_WAITING_MAX`` are kept.
Law 2: what can't be answered is counted, and the call goes on.
Law 3: this end offers nothing, so two offers never meet.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from meshcall import limits
from meshcall.call.negotiation import Negotiate, decode_negotiate_untrusted, encode_negotiate
from meshcall.errors import Rejected


class Changes:
    """Those of one call's peer."""

    def __init__(
        self,
        answer: Callable[[bytes], Awaitable[bytes]],
        send: Callable[[bytes, bool], None],
        counters: Counter[str],
    ) -> None:
        """``answer``: the answer to an offer, both encoded. ``send(answer, by_letter)``: by the way that the
        offer came.
        """
        self._answer = answer
        self._send = send
        self._counters = counters
        self._waiting: deque[tuple[bytes, bool]] = deque()
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

    def open_gate(self) -> None:
        """The peer's confirm was verified."""
        self._gate = True
        self._begin()

    async def close(self) -> None:
        """Answer no more. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _begin(self) -> None:
        if self._gate and self._waiting and not self._closed and self._task is None:
            self._task = asyncio.create_task(self._run(), name="endpoint-changes")

    async def _run(self) -> None:
        while self._waiting:
            try:
                await self._take_next()
            except Rejected as error:
                self._counters[f"negotiate-{error.reason}"] += 1
            except Exception:  # noqa: BLE001 - whatever aiortc raises for what the peer wants
                self._counters["negotiate-failed"] += 1
            await asyncio.sleep(limits.CHANGE_PAUSE)
        self._task = None

    async def _take_next(self) -> None:
        data, by_letter = self._waiting.popleft()
        wanted = decode_negotiate_untrusted(data)
        if wanted.kind != "offer":
            raise Rejected("unasked")
        answer = await self._answer(wanted.body)
        self._send(encode_negotiate(Negotiate("answer", answer)), by_letter)
