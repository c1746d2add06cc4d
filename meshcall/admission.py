"""Who may write to us, and how often.

Law 1: who is blocked may not write; strangers ring only if the user lets them.
Law 2: strangers share one purse: identities cost nothing, so what all of them make us do is bounded.
Law 3: contacts, and who is in a call with us, never wait for strangers.
Law 4: who is in a room with us may write to us as long as it is, from a purse of its own; its calls ring
only if strangers' do. Letters about rooms are taken from others while a room of ours is open to them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from meshcall import limits
from meshcall.contacts import ContactBook
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.messages import MessageKind

_BEGINS = (MessageKind.OFFER, MessageKind.CONTACT_REQUEST, MessageKind.ROOM)
"""What begins something, so that a live call is no reason to take it."""

_OF_MATES = (MessageKind.OFFER, MessageKind.CANDIDATES, MessageKind.HANGUP, MessageKind.ROOM)
"""What members of a room write to each other."""


class _Purse:
    """Letters that may still be looked at; time fills it."""

    def __init__(self, burst: int, pause: float, now: float) -> None:
        self._burst, self._pause = float(burst), pause
        self._held, self._filled = self._burst, now

    def held(self, now: float) -> float:
        """What is in it now."""
        return min(self._held + (now - self._filled) / self._pause, self._burst)

    def spend(self, now: float) -> None:
        """One letter was taken."""
        self._held, self._filled = max(0.0, self.held(now) - 1), now


class Admission:
    """The contact policy of one node."""

    def __init__(
        self,
        contacts: ContactBook,
        *,
        accept_strangers: Callable[[], bool],
        answer_pings: bool = True,
        now: Callable[[], float],
        is_open: Callable[[], bool],
        in_call: Callable[[PeerId], bool],
        is_mate: Callable[[PeerId], bool] = lambda peer: False,
        has_room: Callable[[], bool] = lambda: False,
    ) -> None:
        """``now``: monotonic seconds. ``is_open``: whether the node takes messages at all.

        ``is_mate``: whether a peer is in a room with us. ``has_room``: whether we are in one.
        """
        self._contacts = contacts
        self._accept_strangers = accept_strangers
        self._answer_pings = answer_pings
        self._now = now
        self._is_open = is_open
        self._in_call = in_call
        self._is_mate = is_mate
        self._has_room = has_room
        self._strangers = _Purse(limits.STRANGERS_BURST, limits.STRANGERS_PAUSE, now())
        self._mates: OrderedDict[PeerId, _Purse] = OrderedDict()

    def admits(self, sender: PeerId, kind: MessageKind) -> bool:
        """Whether a message of ``kind`` from ``sender`` is looked at; changes nothing."""
        if not self._is_open():
            return False
        if kind is MessageKind.PING_OFFER and not self._answer_pings:
            return False
        if kind in (MessageKind.MISSED, MessageKind.PING_OFFER):
            return self._contacts.is_contact(sender)
        if self._contacts.is_blocked(sender):  # what it began before can still be ended by it
            return kind not in _BEGINS and self._in_call(sender)
        if kind is MessageKind.ROOM and not (self._has_room() or self._is_mate(sender)):
            return False
        if self._contacts.is_contact(sender):
            return True
        if self._writes_as_mate(sender, kind):
            return self._purse_of(sender).held(self._now()) >= 1
        if not self._is_charged(sender, kind):
            return True
        if kind is MessageKind.CANDIDATES or self._strangers.held(self._now()) < 1:
            return False
        if kind is MessageKind.OFFER and self._has_room():
            return (
                True  # a member that we have not heard of yet may offer a link; what rings is looked at later
            )
        return kind in (MessageKind.CONTACT_REQUEST, MessageKind.ROOM) or self._accept_strangers()

    def spend(self, sender: PeerId, kind: MessageKind) -> None:
        """A message passed all gates: a stranger's is paid from the purse of all, a mate's from its own."""
        if self._contacts.is_contact(sender):
            return
        if self._writes_as_mate(sender, kind):
            self._purse_of(sender).spend(self._now())
        elif self._is_charged(sender, kind):
            self._strangers.spend(self._now())

    def may_ring(self, sender: PeerId) -> bool:
        """Whether a call of ``sender`` may ring here: being in a room with it is no reason to."""
        return self._contacts.is_contact(sender) or self._accept_strangers()

    def trusts(self, sender: PeerId) -> bool:
        """Whether the user knows ``sender``, so that its trouble is worth a warning."""
        return self._contacts.is_contact(sender)

    def _is_charged(self, sender: PeerId, kind: MessageKind) -> bool:
        return not self._contacts.is_contact(sender) and (kind in _BEGINS or not self._in_call(sender))

    def _writes_as_mate(self, sender: PeerId, kind: MessageKind) -> bool:
        return kind in _OF_MATES and self._is_mate(sender)

    def _purse_of(self, mate: PeerId) -> _Purse:
        purse = self._mates.pop(mate, None) or _Purse(limits.MATE_BURST, limits.MATE_PAUSE, self._now())
        self._mates[mate] = purse
        while len(self._mates) > limits.MATES_KNOWN_MAX:
            self._mates.popitem(last=False)
        return purse
