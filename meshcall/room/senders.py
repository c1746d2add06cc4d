"""Whose letters a room looks at and answers: so many of each peer, so many in all.

Law: whoever writes however much, the letters of members are read, and nobody gets more letters than it wrote.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from meshcall import limits
from meshcall.dht.limiter import Bucket
from meshcall.identity.peer_id import PeerId


@dataclass(slots=True)
class _Sender:
    letters: Bucket
    answers: Bucket


class Senders:
    """Those who wrote letters lately, the longest silent forgotten first."""

    def __init__(self, now: float) -> None:
        self._total = Bucket(limits.ROOM_LETTERS_PER_SECOND, limits.ROOM_LETTERS_BURST, now)
        self._senders: OrderedDict[PeerId, _Sender] = OrderedDict()

    def may_write(self, peer: PeerId, now: float) -> bool:
        """Whether a letter of ``peer`` is looked at."""
        return self._sender(peer, now).letters.take(now) and self._total.take(now)

    def may_be_answered(self, peer: PeerId, now: float) -> bool:
        """Whether ``peer`` gets an answer; asking counts as one."""
        return self._sender(peer, now).answers.take(now)

    def _sender(self, peer: PeerId, now: float) -> _Sender:
        sender = self._senders.get(peer)
        if sender is None:
            if len(self._senders) >= limits.ROOM_LETTER_SENDERS:
                self._senders.popitem(last=False)
            sender = self._senders[peer] = _Sender(
                Bucket(limits.ROOM_LETTERS_PER_PEER, limits.ROOM_LETTERS_PER_PEER_BURST, now),
                Bucket(limits.ROOM_ANSWERS_PER_SECOND, limits.ROOM_ANSWERS_BURST, now),
            )
        self._senders.move_to_end(peer)
        return sender
