"""Keyframes that are asked for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.keyframes import Keyframes

FRAME = 1 / 30


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_they_are_apart_and_all_who_ask_are_served(asks: list[bool]) -> None:
    """However often it is asked: one at most in each interval, and one after each ask."""
    keyframes = Keyframes()
    made: list[float] = []
    waiting: float | None = None
    for index, ask in enumerate(asks + [False] * 12):
        now = index * FRAME
        if ask:
            keyframes.want()
            waiting = now if waiting is None else waiting
        if keyframes.due(now):
            keyframes.made(now)
            made.append(now)
            assert waiting is not None
            assert now - waiting <= limits.KEYFRAME_INTERVAL + FRAME
            waiting = None
    assert waiting is None
    assert all(b - a >= limits.KEYFRAME_INTERVAL - 1e-9 for a, b in itertools.pairwise(made))


def test_one_that_was_made_anyway_serves() -> None:
    """Who asked before it needs no other."""
    keyframes = Keyframes()
    keyframes.want()
    keyframes.made(1.0)
    assert not keyframes.due(2.0)
    assert keyframes.asked == 1
