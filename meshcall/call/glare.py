"""Both call at once: which offer wins, and which machine a message belongs to.

Law 1: the offer of the lower peer id wins. Both ends compute the same from the two ids alone, so no message
is needed to agree, and the order of arrival does not matter.
Law 2: an offer that was never sent takes part in no glare: who hears the peer's offer first just takes it.
Law 3: the loser's user wanted the call too, so the loser answers at once and nothing rings.
Law 4: one call between two peers has one machine; the other attempt's messages go to it and are ignored
there, so that a late copy never rings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from meshcall.identity.peer_id import PeerId


def our_offer_wins(me: PeerId, peer: PeerId) -> bool:
    """Whether our offer is the one that counts when both were sent."""
    return me.key < peer.key


def take_theirs(me: PeerId, peer: PeerId, *, ours_sent: bool) -> bool:
    """Whether we drop our attempt and answer the peer's offer."""
    return not ours_sent or not our_offer_wins(me, peer)


class Routable(Protocol):
    """What routing needs to know of a machine."""

    @property
    def peer(self) -> PeerId:
        """The other end."""

    @property
    def ended(self) -> bool:
        """Whether the call is over."""

    def owns(self, call_id: bytes) -> bool:
        """Whether ``call_id`` is this call, or an attempt that this call replaced or overruled."""


M = TypeVar("M", bound=Routable)


def machine_for(machines: Iterable[M], sender: PeerId, call_id: bytes) -> M | None:
    """The machine that a message of ``sender`` about ``call_id`` goes to; None: it has none yet.

    For None, an offer or a hangup starts a machine (a hangup's machine ends at once and remembers that the
    call is over, in case the stored offer comes later); anything else is dropped.
    Ended machines must be given too, for as long as an offer lives.
    """
    live: M | None = None
    for machine in machines:
        if machine.peer != sender:
            continue
        if machine.owns(call_id):
            return machine
        if not machine.ended:
            live = machine
    return live
