"""When sound is sent twice."""

from __future__ import annotations

from meshcall import limits
from meshcall.media.copies import Copies


def test_copies_are_sent_while_something_is_lost() -> None:
    """What is lost in spite of them is less, so they end later than they begin."""
    copies = Copies()
    for lost, wanted in (
        (0.0, False),
        (0.009, False),
        (limits.COPIES_FROM, True),
        (0.005, True),
        (0.003, False),
    ):
        copies.reported(lost)
        assert copies.wanted is wanted
