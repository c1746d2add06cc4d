"""Missed-call notes: contacts who could not be reached are told, when they are back, that we called.

Law 1: a note is on the disk until a node says that the contact's machine has it, or for a week.
Law 2: one contact is tried at a time, with pauses that double; a sight of the contact ends the pause.
Law 3: nobody is told while a call between us two is under way: the note would take its offer's place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.files import NoteRow, StateDb
from meshcall.contacts import ContactBook
from meshcall.errors import MeshcallError, Rejected
from meshcall.finder import Finder, Found, PresenceClock
from meshcall.identity.peer_id import PeerId
from meshcall.post import Post
from meshcall.signaling.messages import (
    MessageKind,
    Missed,
    MissedCall,
    decode_body_untrusted,
    encode_body,
)


@dataclass(slots=True)
class _Note:
    """What one contact is to be told, and when it is tried next."""

    missed: Missed
    due: float
    pause: float = 0.0

    @property
    def last_ms(self) -> int:
        """When the last of the calls was."""
        return self.missed.calls[-1].at_ms


class MissedNotes:
    """The notes that one node has to deliver."""

    def __init__(
        self,
        state: StateDb,
        contacts: ContactBook,
        *,
        post: Post,
        finder: Finder,
        clock: Clock,
        in_call: Callable[[PeerId], bool],
        counters: Counter[str],
    ) -> None:
        self._state = state
        self._contacts = contacts
        self._post = post
        self._finder = finder
        self._clock = clock
        self._in_call = in_call
        self._counters = counters
        self._wake = asyncio.Event()
        self._notes: dict[PeerId, _Note] = {}
        for row in state.notes():
            with contextlib.suppress(Rejected):  # damage costs a note, never the start
                missed = decode_body_untrusted(MessageKind.MISSED, row.body)
                assert isinstance(missed, Missed), "of that kind there is no other body"
                self._notes[row.peer_id] = _Note(missed, clock.now() + limits.MISSED_FIRST)

    def __len__(self) -> int:
        """How many contacts are to be told something."""
        return len(self._notes)

    async def add(self, peer: PeerId, call: MissedCall) -> None:
        """A call of ours did not reach ``peer``."""
        if not self._contacts.is_contact(peer):
            return  # who does not know us believes no note
        old = self._notes.get(peer)
        calls, count = ((), 0) if old is None else (old.missed.calls, old.missed.count)
        missed = Missed((*calls, call)[-limits.MISSED_CALLS_MAX :], min(count + 1, 0xFFFF))
        self._notes[peer] = _Note(missed, self._clock.now() + limits.MISSED_FIRST)
        while len(self._notes) > limits.MISSED_NOTES_MAX:
            del self._notes[min(self._notes, key=lambda one: self._notes[one].last_ms)]
        await self._state.run(self._state.put_note, NoteRow(peer, encode_body(missed), call.at_ms))
        self._wake.set()

    def sighted(self, peer: PeerId) -> None:
        """``peer`` is there: it is told now, not after the pause."""
        note = self._notes.get(peer)
        if note is not None and note.due > self._clock.now():
            note.due = self._clock.now()
            self._wake.set()

    async def run(self) -> None:
        """Deliver what there is until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            due = min(self._notes, key=lambda one: self._notes[one].due, default=None)
            if due is not None and self._notes[due].due <= now:
                await self._attend(due)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else self._notes[due].due - now):
                    await self._wake.wait()

    async def _attend(self, peer: PeerId) -> None:
        """One attempt, and what follows from it."""
        note = self._notes[peer]
        over = self._clock.now_ms() - note.last_ms > limits.MISSED_LIFE * 1000
        if over or not self._contacts.is_contact(peer):
            await self._drop(peer)
            return
        note.pause = min(max(2 * note.pause, limits.MISSED_PAUSE), limits.MISSED_PAUSE_MAX)
        note.due = self._clock.now() + note.pause
        if self._in_call(peer):
            return
        try:
            if await self._told(peer, note.missed):
                self._counters["missed-told"] += 1
                if self._notes.get(peer) is note:  # else there was another call meanwhile
                    await self._drop(peer)
        except (MeshcallError, Rejected):  # the disk is full, or that presence has no usable prekey: later
            self._counters["missed-not-sent"] += 1

    async def _told(self, peer: PeerId, missed: Missed) -> bool:
        found = await self._find(peer)
        if found is None:
            return False
        told = await self._post.tell_missed(found, missed)
        if not told:
            self._finder.forget(peer)  # what was known did not help
        return told

    async def _find(self, peer: PeerId) -> Found | None:
        try:
            return await self._finder.find(peer)
        except PresenceClock:
            return None

    async def _drop(self, peer: PeerId) -> None:
        self._notes.pop(peer, None)
        with contextlib.suppress(MeshcallError):
            await self._state.run(self._state.remove_note, peer)
