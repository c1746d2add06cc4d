"""A peer's candidates of one session, from its description and from what follows it.

Law: all its messages together have one allowance of candidates, and each address has one of ports; a later
message has no new one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    decode_candidates_untrusted,
    filter_untrusted,
)


class PeerCandidates:
    """Reads, filters and counts."""

    def __init__(self, counters: Counter[str], *, allow_loopback: bool = False) -> None:
        """``counters``: what is refused, by reason."""
        self._counters = counters
        self._policy = CandidatePolicy(allow_loopback=allow_loopback)
        self._taken: Counter[str] = Counter()

    def alone(self, ours: Iterable[Candidate]) -> None:
        """Without a network of its own, a machine can still ping itself: ``ours`` are its candidates."""
        addresses = [ipaddress.ip_address(one.address) for one in ours if not one.is_mdns]
        if addresses and all(address.is_loopback for address in addresses):
            self._policy = replace(self._policy, allow_loopback=True)

    def more(self, data: bytes) -> list[Candidate]:
        """Those in ``data`` that may be checked; never raises."""
        try:
            found = list(decode_candidates_untrusted(data))
        except Rejected:
            self._counters["candidate-malformed"] += 1
            return []
        refused: Counter[str] = Counter()
        kept: list[Candidate] = []
        for candidate in filter_untrusted(found, self._policy, refused):
            if candidate.transport != "udp" or "%" in candidate.address:
                continue  # TCP is not spoken; a scope would need the interface that the peer was met on
            if self._taken.total() >= limits.ICE_REMOTE_CANDIDATES_MAX:
                refused["too-many"] += 1
            elif self._taken[candidate.address] >= limits.CANDIDATES_PER_ADDRESS_MAX:
                refused["port-scan"] += 1
            else:
                self._taken[candidate.address] += 1
                kept.append(candidate)
        self._counters.update({f"candidate-{reason}": count for reason, count in refused.items()})
        return kept
