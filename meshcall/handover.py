"""Who has our rendezvous secret, and whose we hold.

Law 1: only contacts are given the secret, and only what a contact says of its own is kept; the newest counts.
Law 2: that somebody is given it is on the disk before it leaves, so nobody who has it is forgotten.
Law 3: when somebody who has it is a contact no more, it is replaced first; the others are told, in their next
calls and by sealed messages, until they confirm: with growing pauses, a week at most, few at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.files import ContactRow
from meshcall.contacts import ContactBook
from meshcall.errors import MeshcallError
from meshcall.finder import Finder, PresenceClock
from meshcall.identity.peer_id import PeerId
from meshcall.post import Post
from meshcall.rendezvous_keys import RendezvousKeys
from meshcall.signaling.messages import ContactRequest
from meshcall.signaling.rendezvous import RendezvousSecret


@dataclass(slots=True)
class _Debt:
    """A contact that is to be told of our secret."""

    due: float
    pause: float = limits.HANDOVER_RETRY


class Handover:
    """Gives, keeps and replaces rendezvous secrets for one node."""

    def __init__(
        self,
        keys: RendezvousKeys,
        contacts: ContactBook,
        *,
        name: Callable[[], str],
        post: Post,
        finder: Finder,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        counters: Counter[str],
    ) -> None:
        """``name``: what we call ourselves. Whoever was owed the secret when the node stopped still is."""
        self._keys = keys
        self._contacts = contacts
        self._name = name
        self._post = post
        self._finder = finder
        self._clock = clock
        self._spawn = spawn
        self._counters = counters
        self._wake = asyncio.Event()
        self._keeping = asyncio.Lock()
        self._telling: set[PeerId] = set()
        self._debts = {peer: _Debt(clock.now()) for peer in self._owed()}
        keys.serves_contacts = self._serves_contacts

    # --- in a confirmed call ----------------------------------------------------------------------

    async def ours(self, peer: PeerId) -> RendezvousSecret | None:
        """Our secret for ``peer``; None for whoever is no contact."""
        if not self._contacts.is_contact(peer):
            return None
        secret, serving = self._keys.current, self._serves_contacts()
        row = self._contacts.get(peer)
        if row is None or row.given < secret.generation:
            await self._contacts.note(peer, given=secret.generation)
        if not serving:
            self._post.look()
        # The contact may have been removed, or the secret replaced, while the disk was busy
        return secret if self._contacts.is_contact(peer) and secret == self._keys.current else None

    async def keep(self, peer: PeerId, theirs: RendezvousSecret) -> bool:
        """Find ``peer`` by ``theirs`` from now on; whether that is what we hold then."""
        async with self._keeping:  # of two at once both would be newer than what there is
            row = self._contacts.get(peer)
            if row is None or row.blocked:
                self._counters["rendezvous-of-no-contact"] += 1
                return False
            if theirs.generation > row.generation:
                await self._contacts.note(peer, secret=theirs.secret, generation=theirs.generation)
                self._counters["rendezvous-kept"] += 1
                return True
            return (theirs.secret, theirs.generation) == (row.secret, row.generation)

    async def held(self, peer: PeerId, generation: int) -> None:
        """``peer`` says that it holds our secret of ``generation``."""
        row = self._contacts.get(peer)
        if row is None or generation != row.given:
            return  # nobody can hold what it was not given
        if generation > row.known:
            self._counters["rendezvous-handed-over"] += 1
            await self._contacts.note(peer, known=generation)
        if row.owed_ms and generation == self._keys.current.generation:
            await self._contacts.note(peer, owed_ms=0)
            self._debts.pop(peer, None)
            self._wake.set()

    # --- by sealed message ------------------------------------------------------------------------

    async def received(self, peer: PeerId, request: ContactRequest) -> None:
        """What ``peer`` says of both our secrets in a contact request."""
        if request.held:
            await self.held(peer, request.held)
        if request.rendezvous is None or not await self.keep(peer, request.rendezvous):
            return
        if peer not in self._debts:  # else the next message says it, too
            await self._send(peer, ContactRequest(self._name(), held=request.rendezvous.generation))

    async def owe(self, peer: PeerId) -> None:
        """Tell the contact ``peer`` now, and go on until it confirms."""
        end_ms = self._clock.now_ms() + int(limits.RENDEZVOUS_GRACE * 1000)
        await self._contacts.note(peer, owed_ms=end_ms)
        self._debts[peer] = _Debt(self._clock.now())
        self._wake.set()

    def leaves(self, row: ContactRow) -> None:
        """The contact of ``row`` is about to be removed or blocked: what it can find us by is replaced.

        Blocks for the disk, and may raise what :class:`StateDb` does; then the contact has to stay.
        """
        self._debts.pop(row.peer_id, None)
        if not row.given:
            return
        others = [peer for peer in self._contacts.given() if peer != row.peer_id]
        self._keys.rotate()
        self._owe(others)
        self._contacts.forget_given(row.peer_id)
        self._counters["rendezvous-replaced"] += 1
        self._post.look()
        self._wake.set()

    async def run(self) -> None:
        """Tell who is owed, until cancelled."""
        while True:
            self._wake.clear()
            pause = limits.POST_RETRY
            with contextlib.suppress(MeshcallError):  # the disk is full: the post says so
                pause = self.work_off()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def work_off(self) -> float:
        """Begin what is due; seconds until something is."""
        # The secret was replaced, and we were killed, or a confirmation of the old one was being written
        self._owe(self._contacts.untold(self._keys.current.generation))
        now, owed = self._clock.now(), set(self._owed())
        self._debts = {peer: debt for peer, debt in self._debts.items() if peer in owed}
        if self._keys.serves_replaced and not owed:
            self._keys.retire()
            self._post.look()
        waiting = [(debt.due, peer) for peer, debt in self._debts.items() if peer not in self._telling]
        for due, peer in sorted(waiting):
            if due > now or len(self._telling) >= limits.HANDOVERS_AT_ONCE:
                break
            debt = self._debts[peer]
            debt.due, debt.pause = now + debt.pause, min(debt.pause * 2, limits.HANDOVER_RETRY_MAX)
            self._telling.add(peer)
            self._spawn(self._tell(peer))
        if len(self._telling) >= limits.HANDOVERS_AT_ONCE:
            return limits.POST_REFRESH  # the first that is done wakes us
        due = min((debt.due for debt in self._debts.values()), default=now + limits.POST_REFRESH)
        return max(0.05, due - now)

    async def _tell(self, peer: PeerId) -> None:
        try:
            secret = await self.ours(peer)
            row = self._contacts.get(peer)
            if secret is not None and row is not None and peer in self._debts:
                await self._send(peer, ContactRequest(self._name(), b"", secret, row.generation))
        finally:
            self._telling.discard(peer)
            self._wake.set()

    async def send(self, peer: PeerId, message: ContactRequest, *, invite: bytes = b"") -> None:
        """To ``peer`` if it is found; at its inbox, too, if nobody takes it where only few look.

        ``invite``: the secret of an invite of the peer. Raises :class:`PresenceClock`.
        """
        found = await self._finder.find(peer, invite=invite)
        if found is None or self._is_over(peer, message):
            return
        report = await self._post.request_contact(found, message)
        if found.by != "inbox" and not report.watchers:
            found = await self._finder.find(peer, by_id=True)  # what was there is left over
            if found is not None and not self._is_over(peer, message):
                await self._post.request_contact(found, message)

    async def _send(self, peer: PeerId, message: ContactRequest) -> None:
        with contextlib.suppress(PresenceClock):  # it is told with its next call
            await self.send(peer, message)

    def _is_over(self, peer: PeerId, message: ContactRequest) -> bool:
        """Whether ``peer`` left, or the secret in ``message`` was replaced, while ``peer`` was looked for."""
        ours = message.rendezvous
        return ours is not None and (ours != self._keys.current or not self._contacts.is_contact(peer))

    # --- inside -----------------------------------------------------------------------------------

    def _owe(self, peers: Sequence[PeerId]) -> None:
        """Tell these from now on. Blocks for the disk if there are any."""
        if peers:
            self._contacts.owe(peers, self._clock.now_ms() + int(limits.RENDEZVOUS_GRACE * 1000))
            self._debts.update({peer: _Debt(self._clock.now()) for peer in peers})

    def _owed(self) -> Sequence[PeerId]:
        return self._contacts.owed(self._clock.now_ms())

    def _serves_contacts(self) -> bool:
        return any(row.given >= self._keys.current.generation for row in self._contacts.rows())
