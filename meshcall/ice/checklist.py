"""The check list (RFC 8445 section 6.1.2): all pairs, and which of them may have a check now.

Law 1: pairs, remote candidates and checks are bounded, whatever a peer names (``meshcall.limits``).
Law 2: an address that has not proven to know our password gets ``ICE_CHECKS_PER_CANDIDATE`` checks, and all
such addresses together ``ICE_CHECKS_MAX``; a call that lives has them anew each ``ICE_CHECKS_RENEW``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.candidate import Candidate
from meshcall.ice.pair import Pair, PairState, base_of, can_pair, pair_priority, rank


class CheckList:
    """Pairs of our candidates with the peer's."""

    def __init__(self, counters: Counter[str]) -> None:
        """``counters``: what was refused, by reason."""
        self._counters = counters
        self._pairs: dict[tuple[Address, Address], Pair] = {}
        self._unproven: Counter[tuple[Address, bool]] = Counter()
        self._unproven_total = 0
        self.controlling = False
        self.settled = False
        """Whether there ever was a path."""
        self.local: dict[Address, Candidate] = {}
        """Host and relayed candidates of ours, by base."""
        self._seen_as: dict[Address, Candidate] = {}
        """Our other candidates: what a base may look like from elsewhere."""
        self.remote: dict[Address, Candidate] = {}
        """The peer's candidates, by address."""
        self.proven: set[Address] = set()
        """Addresses from which the peer's password was heard."""

    def __iter__(self) -> Iterator[Pair]:
        return iter(tuple(self._pairs.values()))

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, base: Address, remote: Address) -> Pair | None:
        """The pair of these addresses."""
        return self._pairs.get((base, remote))

    def add_local(self, candidate: Candidate) -> None:
        """A candidate of ours; one that is not its own base has no pairs (RFC 8445 section 6.1.2.4)."""
        base = base_of(candidate)
        if base != (candidate.address, candidate.port):
            self._seen_as[candidate.address, candidate.port] = candidate
            return
        if base in self.local:
            return
        self.local[base] = candidate
        for remote in tuple(self.remote.values()):
            self._pair(candidate, remote)

    def remove_local(self, base: Address) -> list[Pair]:
        """That address is no longer ours: its pairs, which are gone."""
        self.local.pop(base, None)
        return [self._pairs.pop(key) for key in list(self._pairs) if key[0] == base]

    def add_remote(self, candidate: Candidate) -> None:
        """A candidate that the peer named; one that was peer-reflexive becomes what it is."""
        address = (candidate.address, candidate.port)
        known = self.remote.get(address)
        if known is None and not self._has_room():
            return
        if known is not None and known.kind != "prflx":
            return
        self.remote[address] = candidate
        for pair in self:
            if pair.destination == address:
                pair.remote = candidate
                pair.priority = self._priority(pair)
        for local in tuple(self.local.values()):
            self._pair(local, candidate)

    def learn(self, base: Address, source: Address, priority: int) -> Pair | None:
        """The pair that a good check came over; the peer's end may be new (RFC 8445 section 7.3.1.3)."""
        pair = self.get(base, source)
        if pair is None and base in self.local:
            candidate = self.remote.get(source)
            if candidate is None:
                if not self._has_room():
                    return None
                candidate = Candidate("prflx", "udp", source[0], source[1], priority)
                self.remote[source] = candidate
            pair = self._pair(self.local[base], candidate, arrived=True)
        if pair is not None:
            self.proven.add(source)
        return pair

    def set_role(self, controlling: bool) -> None:
        """Take a role: priorities follow (RFC 8445 section 7.3.1.1)."""
        self.controlling = controlling
        for pair in self:
            pair.priority = self._priority(pair)
            pair.nominated = False
            pair.nominated_at = None

    def next_waiting(self) -> Pair | None:
        """The pair to check next: the best of those whose foundation has no check under way, or the best."""
        waiting = [pair for pair in self if pair.state is PairState.WAITING]
        busy = {_foundation(pair) for pair in self if pair.state is PairState.IN_PROGRESS}
        return max(waiting, key=lambda pair: (_foundation(pair) not in busy, pair.priority), default=None)

    def may_check(self, pair: Pair) -> bool:
        """Whether one more packet may go there; counts it."""
        if pair.destination in self.proven:
            return True
        key = (pair.destination, pair.relayed)
        if (
            self._unproven[key] >= limits.ICE_CHECKS_PER_CANDIDATE
            or self._unproven_total >= limits.ICE_CHECKS_MAX
        ):
            self._counters["ice-checks"] += 1
            return False
        self._unproven[key] += 1
        self._unproven_total += 1
        return True

    def renew_checks(self) -> None:
        """The call lives: what it may send to addresses that prove nothing is what it was."""
        self._unproven.clear()
        self._unproven_total = 0

    def retry(self, remote: Address) -> None:
        """The peer names that address again: what failed there may work now."""
        for pair in self:
            if pair.destination == remote and pair.state is PairState.FAILED:
                pair.wait(limits.ICE_CHECKS_PER_CANDIDATE)

    def _has_room(self) -> bool:
        """Whether there may be one more remote candidate; in a call that lives one that failed makes way."""
        if len(self.remote) < limits.ICE_REMOTE_CANDIDATES_MAX:
            return True
        useful = {pair.destination for pair in self if pair.state is not PairState.FAILED}
        gone = next((address for address in self.remote if address not in useful), None)
        if gone is None or not self.settled:
            self._counters["ice-candidates"] += 1
            return False
        del self.remote[gone]
        self.proven.discard(gone)
        for key in [key for key in self._pairs if key[1] == gone]:
            del self._pairs[key]
        return True

    def see_mapped(self, pair: Pair, mapped: Address) -> None:
        """The peer sees this pair's packets come from ``mapped`` (RFC 8445 section 7.2.5.3.1)."""
        own = self.local.get(pair.base, pair.local)
        if own.kind == "host" and mapped != pair.base:
            found = replace(own, kind="prflx", address=mapped[0], port=mapped[1], related=pair.base)
            pair.local = self._seen_as.get(mapped, found)

    def _pair(self, local: Candidate, remote: Candidate, *, arrived: bool = False) -> Pair | None:
        base, address = base_of(local), (remote.address, remote.port)
        if (base, address) in self._pairs or not (arrived or can_pair(local, remote)):
            return self._pairs.get((base, address))
        if len(self._pairs) >= limits.ICE_PAIRS_MAX:
            self._counters["ice-pairs"] += 1
            return None
        pair = self._pairs[base, address] = Pair(local, base, remote)
        pair.priority = self._priority(pair)
        return pair

    def _priority(self, pair: Pair) -> int:
        own = self.local.get(pair.base, pair.local)
        return pair_priority(rank(own), rank(pair.remote), controlling=self.controlling)


def _foundation(pair: Pair) -> tuple[str, str]:
    return pair.local.any_foundation, pair.remote.any_foundation
