"""The history: calls of this node, and those that it missed while it was off.

Law 1: a call is one row, named by its id and the peer, so nobody writes over the call of another.
Law 2: what comes late never changes a call that is there, except that it was cancelled.
Law 3: missed calls are counted until somebody has looked at them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.files import CallRow, StateDb
from meshcall.contacts import ContactBook
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter
from meshcall.signaling.messages import Hangup, HangupReason, Missed
from meshcall.views import CallDirection, HistoryView, MissedCall

CANCELLED: Final = "cancelled"
UNREACHED: Final = "offline"
"""Why a call was missed that came while this node could not be reached."""


class History:
    """The calls of one node, kept in its state database."""

    def __init__(
        self,
        state: StateDb,
        contacts: ContactBook,
        *,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        publish: Callable[[MissedCall], None],
        counters: Counter[str],
    ) -> None:
        self._state = state
        self._contacts = contacts
        self._clock = clock
        self._spawn = spawn
        self._publish = publish
        self._counters = counters
        self.unseen = state.unseen_missed()
        """Missed calls that nobody has looked at."""

    async def calls(self, *, limit: int, missed: bool) -> list[HistoryView]:
        """The newest calls, newest first; ``missed``: only those that nobody took."""
        rows = await self._state.run(self._state.history, limit, missed=missed)
        return [self._view(row) for row in rows]

    async def see(self, call_ids: Iterable[str]) -> None:
        """Somebody has looked at these calls."""
        await self._state.run(self._state.see_missed, list(call_ids))
        self.unseen = await self._state.run(self._state.unseen_missed)

    def note(self, row: CallRow) -> None:
        """A call of ours goes on, or is over."""
        self._spawn(self._note(row))

    async def _note(self, row: CallRow) -> None:
        await self._state.run(self._state.put_call, row)
        if row.missed:
            await self._tell(row)

    def late(self, letter: Letter) -> None:
        """An offer, or its end, that was kept for us until the call was over."""
        opened = letter.opened
        cancelled = opened.message == Hangup(HangupReason.CANCELLED)
        self._spawn(self._missed([self._row(opened.sender, opened.call_id, opened.created_ms, cancelled)]))

    def told(self, sender: PeerId, missed: Missed) -> None:
        """``sender`` tells of its calls; those that are too old, or still to come, are not believed."""
        now_ms = self._clock.now_ms()
        oldest = now_ms - limits.MISSED_LIFE * 1000
        newest = now_ms + limits.CLOCK_SKEW_MAX * 1000
        rows = [
            self._row(sender, call.call_id, call.at_ms, call.cancelled)
            for call in missed.calls
            if oldest <= call.at_ms <= newest
        ]
        self._counters["missed-call-time"] += len(missed.calls) - len(rows)
        self._spawn(self._missed(rows))

    @staticmethod
    def _row(peer: PeerId, call_id: bytes, at_ms: int, cancelled: bool) -> CallRow:
        reason = CANCELLED if cancelled else UNREACHED
        return CallRow(call_id.hex(), peer, "in", at_ms, None, at_ms, reason, missed=True)

    async def _missed(self, rows: Iterable[CallRow]) -> None:
        for row in rows:
            if await self._state.run(self._state.put_missed, row):
                await self._tell(row)

    async def _tell(self, row: CallRow) -> None:
        self.unseen = await self._state.run(self._state.unseen_missed)
        self._publish(MissedCall(at_ms=self._clock.now_ms(), missed=self._view(row)))

    def _view(self, row: CallRow) -> HistoryView:
        direction: CallDirection = "in" if row.direction == "in" else "out"
        return HistoryView(
            id=row.call_id,
            peer_id=row.peer_id.text,
            name=self._contacts.name(row.peer_id),
            direction=direction,
            started_ms=row.started_ms,
            connected_ms=row.connected_ms,
            ended_ms=row.ended_ms,
            reason=row.reason,
            path=row.path,
            missed=row.missed,
            seen=row.seen,
            stranger=not self._contacts.is_contact(row.peer_id),
        )
