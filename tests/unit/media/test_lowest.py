"""The lowest value of the last seconds."""

from __future__ import annotations

from meshcall.media.lowest import Lowest


def test_the_lowest_is_kept_for_a_window_and_forgotten_after_two() -> None:
    lowest = Lowest(10.0)
    assert lowest.add(5.0, 0.0) == 5.0
    assert lowest.add(7.0, 9.0) == 5.0
    assert lowest.add(8.0, 11.0) == 5.0
    assert lowest.add(9.0, 20.0) == 5.0
    assert lowest.add(9.0, 22.0) == 8.0


def test_after_a_long_silence_all_is_new() -> None:
    lowest = Lowest(10.0)
    lowest.add(5.0, 0.0)
    assert lowest.add(9.0, 100.0) == 9.0
