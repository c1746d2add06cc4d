"""A peer's candidates and notes of one ping, from its description and from what follows it.

Law: all its messages together have one allowance of candidates and of notes; a later message has no new one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.ice.allowance import Allowance
from meshcall.ice.candidate import Candidate, CandidatePolicy, decode_items_untrusted, filter_untrusted
from meshcall.ice.notes import Note


class Checker(Protocol):
    """Who checks candidates: :class:`meshcall.aio.ice.session.IceSession`."""

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """More of the peer's candidates."""

    def add_notes(self, notes: Iterable[Note]) -> None:
        """What the peer tells besides candidates."""


class PeerCandidates:
    """Reads, filters and counts."""

    def __init__(self, counters: Counter[str], *, allow_loopback: bool = False) -> None:
        """``counters``: what is refused, by reason."""
        self._counters = counters
        self._policy = CandidatePolicy(allow_loopback=allow_loopback)
        self._allowance = Allowance()
        self._notes = 0

    def alone(self, ours: Iterable[Candidate]) -> None:
        """Without a network of its own, a machine can still ping itself: ``ours`` are its candidates."""
        addresses = [ipaddress.ip_address(one.address) for one in ours if not one.is_mdns]
        if addresses and all(address.is_loopback for address in addresses):
            self._policy = replace(self._policy, allow_loopback=True)

    def hand_to(self, checker: Checker, data: bytes) -> None:
        """Give ``checker`` what it may have of ``data``; never raises."""
        try:
            found, notes = decode_items_untrusted(data)
        except Rejected:
            self._counters["candidate-malformed"] += 1
            return
        room = max(0, limits.NOTES_PER_CALL_MAX - self._notes)
        self._notes += len(notes)
        checker.add_notes(notes[:room])
        checker.add_remote(self._usable(found))

    def _usable(self, found: Iterable[Candidate]) -> list[Candidate]:
        refused: Counter[str] = Counter()
        kept: list[Candidate] = []
        for candidate in filter_untrusted(list(found), self._policy, refused):
            if candidate.transport != "udp" or "%" in candidate.address:
                continue  # TCP is not spoken; a scope would need the interface that the peer was met on
            if reason := self._allowance.refusal(candidate):
                self._counters[reason] += 1
                continue
            self._allowance.take([candidate])
            kept.append(candidate)
        self._counters.update({f"candidate-{reason}": count for reason, count in refused.items()})
        return kept
