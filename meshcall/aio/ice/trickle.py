"""Which of our candidates the peer is told after the description, and when (RFC 8838).

Law 1: what is found is collected for a moment and told together.
Law 2: when no path answers, all that we have are told, at once and some times more, until one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from meshcall import limits
from meshcall.ice.candidate import Candidate, encode_candidates, select_candidates
from meshcall.ice.notes import Note


class Trickle:
    """Tells candidates by ``tell(octets)``, in the loop that it was made in."""

    def __init__(self, tell: Callable[[bytes], None], current: Callable[[], list[Candidate]]) -> None:
        """``current``: all that we have now."""
        self._tell = tell
        self._current = current
        self._loop = asyncio.get_running_loop()
        self._found: list[Candidate] = []
        self._notes: list[Note] = []
        self._soon: asyncio.TimerHandle | None = None
        self._again: list[asyncio.TimerHandle] = []

    def found(self, candidate: Candidate) -> None:
        """There is one more."""
        self._found.append(candidate)
        self._plan()

    def noted(self, note: Note) -> None:
        """The peer is to know it."""
        self._notes.append(note)
        self._plan()

    def _plan(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_later(limits.ICE_TRICKLE_PAUSE, self._tell_found)

    def broken(self) -> None:
        """No path answers."""
        self.whole()
        self._again = [self._loop.call_later(pause, self._tell_all) for pause in limits.ICE_RETELL]

    def whole(self) -> None:
        """A path answers, or it is all over: what was planned is not needed."""
        for timer in self._again:
            timer.cancel()
        self._again = []

    def close(self) -> None:
        """Tell nothing more. Idempotent."""
        self.whole()
        if self._soon is not None:
            self._soon.cancel()

    def _tell_found(self) -> None:
        found, self._found, self._soon = self._found, [], None
        notes, self._notes = self._notes, []
        self._send(found, notes)

    def _tell_all(self) -> None:
        self._send(self._current())

    def _send(self, candidates: list[Candidate], notes: Iterable[Note] = ()) -> None:
        octets = encode_candidates(select_candidates(candidates), notes)
        if octets:
            self._tell(octets)
