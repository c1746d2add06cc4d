"""When media that flowed has stopped."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.ice.silence import Silence


def window(silence: Silence, packets: int) -> bool:
    """So many packets until its window is over, and the look."""
    for _ in range(packets):
        silence.heard()
    return silence.look(silence.at)


def test_it_is_told_once_that_a_steady_stream_has_stopped() -> None:
    """What was never steady can't fall silent."""
    silence = Silence(0.0)
    silence.begin(7.0)
    assert not window(silence, 2)
    assert not window(silence, 0)
    assert not window(silence, limits.ICE_SILENCE_PACKETS)
    assert window(silence, 0)
    assert not window(silence, 0)


def test_links_of_one_process_are_looked_at_in_one_moment() -> None:
    """However they began, and however late a look is: no window is shorter than half of one."""
    first, second = Silence(0.07), Silence(0.07)
    first.begin(7.0)
    second.begin(7.15)
    assert first.at == second.at == pytest.approx(7.27)
    for late in (0.0, 0.04, 0.09, 0.11, 0.33):
        now = first.at + late
        for silence in (first, second):
            for _ in range(limits.ICE_SILENCE_PACKETS):
                silence.heard()
            assert not silence.look(now)
        assert first.at == second.at
        assert first.at - now + 1e-9 >= limits.ICE_SILENCE / 2
        assert first.at - now <= 1.5 * limits.ICE_SILENCE + 1e-9
