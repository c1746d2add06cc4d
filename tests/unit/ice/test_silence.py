"""When media that flowed has stopped."""

from __future__ import annotations

from meshcall import limits
from meshcall.ice.silence import Silence


def window(silence: Silence, packets: int) -> bool:
    """So many packets until its window is over, and the look."""
    for _ in range(packets):
        silence.heard()
    return silence.look(silence.at)


def test_it_is_told_once_that_a_steady_stream_has_stopped() -> None:
    """What was never steady can't fall silent."""
    silence = Silence()
    silence.begin(7.0)
    assert not window(silence, 2)
    assert not window(silence, 0)
    assert not window(silence, limits.ICE_SILENCE_PACKETS)
    assert window(silence, 0)
    assert not window(silence, 0)
