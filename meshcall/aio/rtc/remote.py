"""What a peer describes itself with, on its way into aiortc.

Law: nothing of the peer's gets further than through decode, filter and our own SDP writer; what aiortc still
does not like is :class:`Rejected` like the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from meshcall.errors import Rejected
from meshcall.ice.candidate import (
    Candidate,
    CandidatePolicy,
    decode_items_untrusted,
    filter_untrusted,
)
from meshcall.ice.notes import Note
from meshcall.signaling.description import (
    Description,
    check_answer_untrusted,
    decode_description_untrusted,
)

_SECTIONS = {"audio": 1, "video": 1, "application": 1}
"""Sections of each kind at most: each has a decoder, a thread and a queue."""
_SCREENS = 1
"""Sections that may come later."""


def read_offer_untrusted(data: bytes, policy: CandidatePolicy, counters: Counter[str]) -> Description:
    """A peer's offer; raises :class:`Rejected`."""
    offer = decode_description_untrusted(data)
    if offer.setup != "actpass":
        raise Rejected("setup")  # RFC 8842 section 5.2
    kinds = Counter(section.kind for section in offer.sections)
    if any(count > _SECTIONS[kind] for kind, count in kinds.items()) or kinds["application"] != 1:
        raise Rejected("sections")
    if any(section.rejected for section in offer.sections):
        raise Rejected("sections")
    return _filtered(offer, policy, counters)


def read_answer_untrusted(
    data: bytes, offer: Description, policy: CandidatePolicy, counters: Counter[str]
) -> Description:
    """A peer's answer to ``offer``; raises :class:`Rejected`."""
    answer = decode_description_untrusted(data)
    check_answer_untrusted(offer, answer)
    if any(section.kind == "application" and section.rejected for section in answer.sections):
        raise Rejected("sections")
    return _filtered(answer, policy, counters)


def read_later_untrusted(
    data: bytes, first: Description, policy: CandidatePolicy, counters: Counter[str]
) -> Description:
    """A peer's new description in a running session; raises :class:`Rejected`.

    ``first``: what it described itself with at the start. The certificate is the one that its confirm was
    about; the sections are those of the start (RFC 3264 section 8), and a screen may be one more.
    """
    later = decode_description_untrusted(data)
    if later.fingerprint != first.fingerprint:
        raise Rejected("fingerprint")
    same, more = later.sections[: len(first.sections)], later.sections[len(first.sections) :]
    if [(one.kind, one.mid, one.rejected) for one in same] != [
        (one.kind, one.mid, one.rejected) for one in first.sections
    ]:
        raise Rejected("sections")
    if len(more) > _SCREENS or any(one.kind != "video" or one.rejected for one in more):
        raise Rejected("sections")
    return _filtered(later, policy, counters)


def read_candidates_untrusted(
    data: bytes, policy: CandidatePolicy, counters: Counter[str]
) -> tuple[list[Candidate], tuple[Note, ...]]:
    """A peer's later candidates that may be checked, and its notes; raises :class:`Rejected`."""
    candidates, notes = decode_items_untrusted(data)
    return usable_untrusted(candidates, policy, counters), notes


def _filtered(description: Description, policy: CandidatePolicy, counters: Counter[str]) -> Description:
    # Without end-of-candidates: aiortc would silently drop the later ones. The deadline is our own.
    candidates = usable_untrusted(description.candidates, policy, counters)
    return replace(description, candidates=tuple(candidates), end_of_candidates=False)


def usable_untrusted(
    candidates: Sequence[Candidate], policy: CandidatePolicy, counters: Counter[str]
) -> list[Candidate]:
    """Those of a peer's candidates that may be checked, and the names among them that may be resolved."""
    refused: Counter[str] = Counter()
    kept = filter_untrusted(candidates, policy, refused)
    counters.update({f"candidate-{reason}": count for reason, count in refused.items()})
    # UDP only here; a link-local address would need the interface that the peer was met on
    return [c for c in kept if c.transport == "udp" and "%" not in c.address]
