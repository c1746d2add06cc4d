"""Invites: two people become each other's contacts through one link.

Law 1: who holds a valid secret becomes a contact; everybody else's request is counted and dropped.
Law 2: an invite is used up on the disk before its holder is let in.
Law 3: the request and the word that confirms it carry the senders' rendezvous secrets, so that both find each
other without the inbox afterwards.
Law 4: the request goes out until the inviter confirms it or is removed, the invite expires, or this node
stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.aio.files import InviteRow, StateDb
from meshcall.contacts import ContactBook
from meshcall.errors import InvalidInvite, OwnId
from meshcall.finder import PresenceClock
from meshcall.handover import Handover
from meshcall.identity.keys import Random
from meshcall.identity.peer_id import PeerId
from meshcall.post import Post
from meshcall.signaling.invite import Invite
from meshcall.signaling.messages import ContactRequest
from meshcall.views import ContactView


class Introductions:
    """Makes, accepts and honours invites for one node."""

    def __init__(
        self,
        me: PeerId,
        name: Callable[[], str],
        *,
        contacts: ContactBook,
        state: StateDb,
        post: Post,
        handover: Handover,
        clock: Clock,
        random: Random,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        bootstrap: Callable[[Invite], Awaitable[None]],
        on_contact: Callable[[ContactView], None],
        on_warning: Callable[[str], None],
    ) -> None:
        """``name``: what we call ourselves. ``bootstrap`` joins through what an invite names.

        ``on_contact``: somebody whom we invited is a contact now.
        """
        self._me = me
        self._name = name
        self._contacts = contacts
        self._state = state
        self._post = post
        self._handover = handover
        self._clock = clock
        self._random = random
        self._spawn = spawn
        self._bootstrap = bootstrap
        self._on_contact = on_contact
        self._on_warning = on_warning
        self._pending: dict[PeerId, list[asyncio.Event]] = {}

    # --- we invite --------------------------------------------------------------------------------

    def invite(
        self, *, once: bool, expires: float, nodes: Iterable[Address], gateways: Iterable[Address] = ()
    ) -> Invite:
        """A new invite that is valid for ``expires`` seconds and names some of these to join through."""
        now_ms = self._clock.now_ms()
        invite = Invite.create(
            self._me,
            expires_ms=now_ms + int(expires * 1000),
            random=self._random,
            name=self._name(),
            once=once,
            nodes=nodes,
            gateways=gateways,
        )
        row = InviteRow(secret=invite.secret, expires_ms=invite.expires_ms, once=once, created_ms=now_ms)
        self._state.add_invite(row, now_ms)
        self._post.look()
        return invite

    def requested(self, sender: PeerId, request: ContactRequest) -> None:
        """``sender`` shows an invite of ours, confirms that it took note of us, or tells of its secret."""
        for pending in self._pending.get(sender, ()):
            pending.set()
        self._spawn(self._requested(sender, request))

    async def _requested(self, sender: PeerId, request: ContactRequest) -> None:
        if request.secret and not await self._let_in(sender, request):
            return
        await self._handover.received(sender, request)

    async def _let_in(self, sender: PeerId, request: ContactRequest) -> bool:
        invite = await self._state.run(self._state.use_invite, request.secret, self._clock.now_ms())
        if not self._contacts.is_contact(sender):
            if invite is None:
                self._post.counters["contact-request-without-invite"] += 1
                return False
            wish = invite.name or request.name
            self._on_contact(self._contacts.put(sender, self._contacts.free_name(wish, sender)))
        self._post.look()  # an invite that works once is served no more
        await self._handover.owe(sender)  # which confirms it, too
        return True

    # --- we are invited ---------------------------------------------------------------------------

    async def accept(self, text: str) -> ContactView:
        """Make the inviter a contact and tell it; raises :class:`InvalidInvite` or :class:`OwnId`."""
        invite = Invite.parse(text)
        invite.check(self._clock.now_ms())
        if invite.peer_id == self._me:
            raise OwnId("that is your own invite", hint="give it to the person whom you want to call")
        wish = self._contacts.name(invite.peer_id) or invite.name
        contact = self._contacts.put(invite.peer_id, self._contacts.free_name(wish, invite.peer_id))
        confirmed = asyncio.Event()
        self._pending.setdefault(invite.peer_id, []).append(confirmed)
        self._spawn(self._introduce(invite, confirmed))
        try:
            async with asyncio.timeout(limits.CONTACT_ACK):
                await confirmed.wait()
        except TimeoutError:
            self._on_warning(
                f"{contact.name} has not confirmed the invite: it is offline, or the invite was used already;"
                " meshcall goes on trying until the invite expires"
            )
        return contact

    async def _introduce(self, invite: Invite, confirmed: asyncio.Event) -> None:
        """Send our request until the inviter confirms or the invite has expired."""
        await self._bootstrap(invite)
        pause = limits.INVITE_RETRY
        while not confirmed.is_set() and self._contacts.is_contact(invite.peer_id):
            try:
                invite.check(self._clock.now_ms())
            except InvalidInvite:
                break
            await self._ask(invite)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await confirmed.wait()
            pause = min(pause * 2, limits.INVITE_RETRY_MAX)
        self._pending[invite.peer_id].remove(confirmed)
        if not self._pending[invite.peer_id]:
            del self._pending[invite.peer_id]

    async def _ask(self, invite: Invite) -> None:
        ours = await self._handover.ours(invite.peer_id)
        request = ContactRequest(self._name(), invite.secret, ours)
        try:
            await self._handover.send(invite.peer_id, request, invite=invite.secret)
        except PresenceClock:
            who = self._contacts.name(invite.peer_id) or invite.peer_id.short
            self._on_warning(f"the clocks of this machine and of {who} differ too much")
