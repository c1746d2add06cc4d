"""Which relays a node knows, and which it has credentials for, ahead of its calls. Pure.

    book.heard(address, node_id, now)        from an announcement, or a frame of a node that lends
    book.asks(now)                           whom to ask now
    book.granted(...), book.refused(...)     what came of it
    book.pick(taken, now)                    for a call, without a wait

Law 1: an idle node asks ``RELAYS_HELD`` relays, each once per ``RELAY_RENEW`` of the life of its credentials,
and others only in the place of one that is lost.
Law 2: of one network and of one node at most one relay is held; a contact's goes first, then the nearest.
Law 3: who does not answer is asked ever more seldom and then forgotten; memory has a cap, whatever is
announced.
Law 4: one that a call lost is asked often as long as that call may wait for it: it may be back at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from meshcall.address import Address
from meshcall.dht.networks import network_of
from meshcall.limits import (
    RELAY_ASKS_AT_ONCE,
    RELAY_CANDIDATES,
    RELAY_CANDIDATES_PER_NETWORK,
    RELAY_FAILURES,
    RELAY_MISSED,
    RELAY_MISSED_PAUSE,
    RELAY_PAUSE,
    RELAY_PAUSE_MAX,
    RELAY_REFUSED_PAUSE,
    RELAY_RENEW,
    RELAY_SEARCH,
    RELAY_SEARCH_MAX,
    RELAYS_HELD,
)
from meshcall.turn.grant import Grant


@dataclass(slots=True)
class Lender:
    """A node that lends, as far as is known."""

    address: Address
    node_id: bytes | None
    """None: only its address is known."""
    rank: int
    """By chance: which of equals is asked first."""
    due: float = 0.0
    """When it may be asked."""
    failures: int = 0
    """Silences and failed allocations since it last granted."""
    asking: bool = False
    grant: Grant | None = None
    ends: float = 0.0
    """When the grant makes no more allocations."""
    good: bool = False
    """The grant can be used: nothing has failed since it came."""
    rtt: float | None = None
    """Seconds of the last answer."""
    missed_until: float = float("-inf")
    """A call lost it, and may wait for it until then."""

    @property
    def of_contact(self) -> bool:
        """It said that we are a contact of its owner."""
        return self.grant is not None and self.grant.of_contact


class RelayBook:
    """All relays of one node."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._lenders: dict[Address, Lender] = {}
        self._search_due = 0.0
        self._search_pause = RELAY_SEARCH
        self._searching = False

    def __len__(self) -> int:
        return len(self._lenders)

    # --- what is heard ---

    def heard(self, address: Address, node_id: bytes | None, now: float) -> None:
        """A node at ``address`` says that it lends, or is said to."""
        known = self._lenders.get(address)
        if known is not None:
            if known.node_id is None:
                known.node_id = node_id
            return
        network = _network(address)
        if sum(_network(one) == network for one in self._lenders) >= RELAY_CANDIDATES_PER_NETWORK:
            return
        if len(self._lenders) >= RELAY_CANDIDATES:
            spare = [one for one in self._lenders.values() if one.grant is None and not one.asking]
            if not spare:
                return
            worst = max(spare, key=lambda one: (one.failures, one.due, one.rank))
            if not worst.failures and self._random(1)[0] & 1:
                return  # neither the first nor the last to announce themselves take all places
            del self._lenders[worst.address]
        self._lenders[address] = Lender(address, node_id, int.from_bytes(self._random(4), "big"), due=now)

    def granted(self, address: Address, node_id: bytes, grant: Grant, rtt: float, now: float) -> None:
        """It lends."""
        lender = self._lenders.get(address)
        if lender is None:
            return
        lender.asking, lender.good, lender.rtt = False, True, rtt
        lender.missed_until = float("-inf")
        lender.node_id, lender.grant = node_id, grant
        lender.ends = now + grant.life
        lender.due = now + grant.life * RELAY_RENEW
        self._search_pause = RELAY_SEARCH

    def refused(self, address: Address, *, answered: bool, now: float) -> None:
        """It does not lend now; or it did not answer."""
        lender = self._lenders.get(address)
        if lender is None:
            return
        lender.asking = lender.good = False
        if answered:
            lender.grant = None
            lender.due = now + RELAY_REFUSED_PAUSE
            return
        if now < lender.missed_until:
            lender.due = now + RELAY_MISSED_PAUSE
            return
        lender.failures += 1
        if lender.failures >= RELAY_FAILURES:
            del self._lenders[address]
            return
        lender.due = now + min(RELAY_PAUSE * 2**lender.failures, RELAY_PAUSE_MAX)

    def postponed(self, address: Address, now: float) -> None:
        """It did not answer, but nor did anybody else: that says nothing of it."""
        lender = self._lenders.get(address)
        if lender is not None:
            lender.asking = False
            lender.due = now + (RELAY_MISSED_PAUSE if now < lender.missed_until else RELAY_PAUSE)

    def failed(self, address: Address, now: float) -> None:
        """It gave a call no address, or the path over it died: it is to answer before it is used again."""
        lender = self._lenders.get(address)
        if lender is not None and lender.good:
            lender.good = False
            lender.failures += 1
            if lender.failures == 1:
                lender.due, lender.missed_until = now, now + RELAY_MISSED
            else:
                lender.due = now + RELAY_PAUSE * 2**lender.failures

    def worked(self, address: Address) -> None:
        """It gave a call an address."""
        lender = self._lenders.get(address)
        if lender is not None:
            lender.failures = 0

    def network_changed(self, now: float) -> None:
        """We are elsewhere: who was silent may be reached from here, and distances are others."""
        for lender in self._lenders.values():
            lender.failures = 0
            if not lender.asking:
                lender.due = min(lender.due, now)
        self._search_due, self._search_pause = now, RELAY_SEARCH

    def keep(self, is_useful: Callable[[Address], bool]) -> None:
        """Forget those that are of no use to this node."""
        for address in [one for one in self._lenders if not is_useful(one)]:
            del self._lenders[address]

    # --- what is wanted ---

    def asks(self, now: float) -> list[Lender]:
        """Whom to ask now; each counts as being asked until it is told what came of it."""
        held = self._held(now)
        asking = [one for one in self._lenders.values() if one.asking]
        room = RELAY_ASKS_AT_ONCE - len(asking)
        chosen = [one for one in held if one.due <= now and not one.asking]
        if len(held) < RELAYS_HELD:
            others = [one for one in self._others(held, asking) if one.due <= now]
            others.sort(key=lambda one: (not one.of_contact, one.failures, one.rank))
            for one in others:
                if all(_differ(one, other) for other in chosen):
                    chosen.append(one)
        chosen = chosen[: max(0, room)]
        for one in chosen:
            one.asking = True
        return chosen

    def wants_search(self, now: float) -> bool:
        """Whether announcements are to be looked for now; then :meth:`searched` is to be told."""
        if self._searching or now < self._search_due or len(self._held(now)) >= RELAYS_HELD:
            return False
        self._searching = True
        return True

    def searched(self, now: float) -> None:
        """A search has ended."""
        self._searching = False
        self._search_due = now + self._search_pause
        self._search_pause = min(2 * self._search_pause, RELAY_SEARCH_MAX)

    def deadline(self, now: float) -> float:
        """When :meth:`asks` or :meth:`wants_search` may have something next; not before ``now``."""
        held = self._held(now)
        asking = [one for one in self._lenders.values() if one.asking]
        times = [one.ends for one in held]
        if len(asking) < RELAY_ASKS_AT_ONCE:
            times += [one.due for one in held if not one.asking]
            if len(held) < RELAYS_HELD:
                times += [one.due for one in self._others(held, asking)]
        if len(held) < RELAYS_HELD and not self._searching:
            times.append(self._search_due)
        return max(now, min(times, default=now + RELAY_SEARCH_MAX))

    def _others(self, held: list[Lender], asking: list[Lender]) -> list[Lender]:
        """Those that may be asked beside these, some day: of other networks."""
        taken = [*held, *asking]
        networks = {_network(one.address) for one in taken}
        nodes = {one.node_id for one in taken} - {None}  # one node may have an address of each family
        return [
            one
            for one in self._lenders.values()
            if _network(one.address) not in networks and one.node_id not in nodes
        ]

    def _held(self, now: float) -> list[Lender]:
        """Those that a call can use, best first, of different networks."""
        usable = [one for one in self._lenders.values() if one.good and one.ends > now]
        usable.sort(key=lambda one: (not one.of_contact, one.rtt or 0.0, one.rank))
        found: dict[bytes | Address, Lender] = {}
        for one in usable:
            if one.node_id not in {other.node_id for other in found.values()}:
                found.setdefault(_network(one.address), one)
        return list(found.values())[:RELAYS_HELD]

    # --- for calls and people ---

    def held(self, now: float) -> list[Lender]:
        """The relays that are ready, best first."""
        return self._held(now)

    def pick(self, taken: Collection[Address], now: float) -> Lender | None:
        """The best one that is ready and not ``taken``; none of a network of those, if there is another."""
        networks = {_network(address) for address in taken}
        ready = [one for one in self._held(now) if one.address not in taken]
        return min(ready, key=lambda one: _network(one.address) in networks, default=None)


def _differ(one: Lender, other: Lender) -> bool:
    """Whether they are different nodes of different networks."""
    same_node = one.node_id is not None and one.node_id == other.node_id
    return not same_node and _network(one.address) != _network(other.address)


def _network(address: Address) -> bytes | Address:
    return network_of(address[0]) or address
