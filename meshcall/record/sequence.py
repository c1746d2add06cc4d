"""Sequence numbers of our own records.

Law: a number is only ever compared, never read as a time (a wrong clock must not stop a record).
"""

from __future__ import annotations

SEQ_MAX = 2**64 - 1


def next_seq(last: int, now_ms: int) -> int:
    """The number after ``last`` (the highest one ever used; the caller persists it).

    It follows the wall clock, so that a peer whose state was lost goes on above its old numbers, and it
    grows even when the clock goes back.
    """
    return min(max(last + 1, now_ms), SEQ_MAX)
