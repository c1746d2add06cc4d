"""Sound made shorter, longer, and carried on."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.media import stretch


def tone(hz: float, channels: int, samples: int = 960, level: int = 8000) -> array[int]:
    wave = [round(level * math.sin(2 * math.pi * hz * n / 48_000)) for n in range(samples)]
    return array("h", (value for value in wave for _ in range(channels)))


def jump(sound: Sequence[int], channels: int) -> int:
    mono = sound[::channels]
    return max(abs(later - value) for value, later in pairwise(mono))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("hz", [110, 173, 220, 440, 1000, 3100])
def test_a_period_goes_or_comes_without_a_click(hz: float, channels: int) -> None:
    """Nothing in the result is steeper than the sound itself, its ends included."""
    sound = tone(hz, channels)
    for other in (stretch.shorter(sound, channels, 48_000), stretch.longer(sound, channels, 48_000)):
        changed = abs(len(other) - len(sound)) / channels / 48_000
        assert 0.002 <= changed <= 0.0101
        assert len(other) % channels == 0
        assert jump(other, channels) <= 1.1 * jump(sound, channels) + 2
        assert other[:channels] == sound[:channels]
        assert other[-channels:] == sound[-channels:]


def test_noise_stays_as_it_is_unless_there_is_a_hurry_or_nobody_hears_it() -> None:
    """A cut in noise is heard."""
    state = 1
    noise = array("h")
    for _ in range(960):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        noise.append((state >> 15) % 16000 - 8000)
    assert stretch.shorter(noise, 1, 48_000) == noise
    assert stretch.longer(noise, 1, 48_000) == noise
    quiet = array("h", (value // 200 for value in noise))
    assert len(stretch.shorter(quiet, 1, 48_000)) == 480


def test_what_is_carried_on_joins_and_falls_silent() -> None:
    """After a tenth of a second there is nothing left of it."""
    sound = tone(440, 2)
    made = stretch.carried_on(sound, 2, 48_000, 960, 0.0)
    assert len(made) == 1920
    assert jump(sound + made, 2) <= 1.1 * jump(sound, 2)
    assert max(map(abs, made[-200:])) < 8000
    assert not any(stretch.carried_on(sound, 2, 48_000, 480, 0.1))
    assert stretch.carried_on(array("h"), 1, 8000, 80, 0.0) == array("h", bytes(160))


@given(
    st.lists(st.integers(-32768, 32767), max_size=2000),
    st.sampled_from([1, 2]),
    st.sampled_from([8000, 16_000, 48_000]),
    st.booleans(),
)
def test_any_sound_keeps_its_shape(samples: list[int], channels: int, rate: int, hurry: bool) -> None:
    """Whatever a peer has decoded: whole samples, in their range, at most 10 ms more or less."""
    sound = array("h", samples[: len(samples) // channels * channels])
    shorter = stretch.shorter(sound, channels, rate, hurry=hurry)
    longer = stretch.longer(sound, channels, rate)
    most = rate // 100 * channels
    cut = stretch.unheard(sound, channels, rate, more=False)
    assert len(sound) - len(cut) == len(stretch.unheard(sound, channels, rate, more=True)) - len(sound)
    assert len(shorter) - most <= len(cut) <= len(sound)
    assert len(cut) % channels == 0
    assert len(sound) - most <= len(shorter) <= len(sound) <= len(longer) <= len(sound) + most
    assert len(shorter) % channels == len(longer) % channels == 0
    assert len(stretch.carried_on(sound, channels, rate, 80, 0.0)) == 80 * channels
