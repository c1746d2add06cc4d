"""Who may write to us, and how often.

Law 1: who is blocked may not write; strangers ring only if the user lets them.
Law 2: strangers share one purse: identities cost nothing, so what all of them make us do is bounded.
Law 3: contacts, and who is in a call with us, never wait for strangers.
"""

from __future__ import annotations

from collections.abc import Callable

from meshcall import limits
from meshcall.contacts import ContactBook
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.messages import MessageKind

_BEGINS = (MessageKind.OFFER, MessageKind.CONTACT_REQUEST)
"""What begins something, so that a live call is no reason to take it."""


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
    ) -> None:
        """``now``: monotonic seconds. ``is_open``: whether the node takes messages at all."""
        self._contacts = contacts
        self._accept_strangers = accept_strangers
        self._answer_pings = answer_pings
        self._now = now
        self._is_open = is_open
        self._in_call = in_call
        self._purse = float(limits.STRANGERS_BURST)
        self._filled = now()

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
        if not self._is_charged(sender, kind):
            return True
        if kind is MessageKind.CANDIDATES or self._fill() < 1:
            return False
        return kind is MessageKind.CONTACT_REQUEST or self._accept_strangers()

    def spend(self, sender: PeerId, kind: MessageKind) -> None:
        """A message passed all gates: a stranger's is paid from the purse."""
        if self._is_charged(sender, kind):
            self._purse, self._filled = max(0.0, self._fill() - 1), self._now()

    def trusts(self, sender: PeerId) -> bool:
        """Whether the user knows ``sender``, so that its trouble is worth a warning."""
        return self._contacts.is_contact(sender)

    def _is_charged(self, sender: PeerId, kind: MessageKind) -> bool:
        return not self._contacts.is_contact(sender) and (kind in _BEGINS or not self._in_call(sender))

    def _fill(self) -> float:
        """What is in the purse now."""
        earned = (self._now() - self._filled) / limits.STRANGERS_PAUSE
        return min(self._purse + earned, float(limits.STRANGERS_BURST))
