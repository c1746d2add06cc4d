"""How many candidates of a peer one call takes.

Law 1: an address that was named before costs nothing more.
Law 2: no more than ``ICE_REMOTE_CANDIDATES_MAX`` in all and ``CANDIDATES_PER_ADDRESS_MAX`` of one IP address,
however many messages they come in; a call that has had a path has that anew each ``ICE_CHECKS_RENEW``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.candidate import Candidate


class Allowance:
    """What was taken."""

    def __init__(self) -> None:
        self._taken: set[Address] = set()
        self._per_host: Counter[str] = Counter()
        self._renewed_at = float("-inf")

    def take(self, candidates: Iterable[Candidate]) -> None:
        """These are checked."""
        for candidate in candidates:
            if (candidate.address, candidate.port) not in self._taken:
                self._taken.add((candidate.address, candidate.port))
                self._per_host[candidate.address] += 1

    def refusal(self, candidate: Candidate) -> str:
        """Why this one is not to be taken, as a counter's name; empty: it may."""
        if (candidate.address, candidate.port) in self._taken:
            return ""
        if len(self._taken) >= limits.ICE_REMOTE_CANDIDATES_MAX:
            return "candidate-too-many"
        if self._per_host[candidate.address] >= limits.CANDIDATES_PER_ADDRESS_MAX:
            return "candidate-port-scan"
        return ""

    def renew(self, now: float) -> None:
        """The call has had a path: its ends may move."""
        if now - self._renewed_at >= limits.ICE_CHECKS_RENEW:
            self._renewed_at = now
            self._taken.clear()
            self._per_host.clear()
