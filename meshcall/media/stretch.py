"""Sound made a little shorter or longer at the same pitch, and carried on where it is missing. Pure.

One period of the pitch is taken out or put in, cross-faded, as in most of telephony (WSOLA). What has no
pitch is left as it is, unless it is too quiet to be heard or there is a hurry.

Law 1: samples are 16 bits, interleaved; the number of channels stays, and no sample leaves its range.
Law 2: the result joins the sound before and after it: its first and last samples are those of the input.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Final

_SEARCH: Final = 4000
"""Samples per second in which the pitch is looked for."""
_SHORTEST, _LONGEST = 0.0025, 0.01
"""Seconds of the shortest and longest piece that is taken out: pitches from 100 Hz up, or two periods."""
_WINDOW: Final = 0.02
"""Seconds in which it is looked for, however long the piece is: twice the longest."""
_ALIKE: Final = 0.8
"""How much two periods must be alike (normalised correlation) for their fade to go unheard."""
_ALIKE_HURRY: Final = 0.3
_QUIET: Final = 150
"""Mean amplitude below which nothing is heard of a cut (of 32,767)."""
_FADE_OUT: Final = 0.1
"""Seconds in which sound that is carried on falls silent."""


def shorter(sound: array[int], channels: int, rate: int, *, hurry: bool = False) -> array[int]:
    """Without one period; ``hurry``: though it may be heard."""
    period = _period(sound, channels, rate, _ALIKE_HURRY if hurry else _ALIKE)
    if not period:
        return sound
    return _fade(sound, 0, period, period, channels, head=0, tail=2 * period)


def unheard(sound: array[int], channels: int, rate: int, *, more: bool) -> array[int]:
    """As much shorter (``more``: longer) as sound can be in one go, however that sounds."""
    period = min(round(_LONGEST * rate), len(sound) // channels // 2) * channels
    return sound + sound[len(sound) - period :] if more else sound[period:]


def longer(sound: array[int], channels: int, rate: int, *, hurry: bool = False) -> array[int]:
    """With one period twice; ``hurry``: likewise."""
    period = _period(sound, channels, rate, _ALIKE_HURRY if hurry else _ALIKE)
    if not period:
        return sound
    return _fade(sound, period, 0, period, channels, head=period, tail=period)


def carried_on(sound: array[int], channels: int, rate: int, length: int, since: float) -> array[int]:
    """``length`` samples (of each channel) in the place of what should follow ``sound``.

    ``since``: seconds that were carried on already; it falls silent in a tenth of a second.
    """
    period = _period(sound, channels, rate, 0.0) or len(sound) // channels
    if not period:
        return array("h", bytes(2 * length * channels))
    last = sound[-period * channels :]
    made = array("h")
    gain, fall = max(0.0, 1.0 - since / _FADE_OUT), 1.0 / (_FADE_OUT * rate)
    for number in range(length):
        at = number % period * channels
        made.extend(int(value * gain) for value in last[at : at + channels])
        gain = max(0.0, gain - fall)
    return made


def _fade(
    sound: array[int], out: int, into: int, length: int, channels: int, *, head: int, tail: int
) -> array[int]:
    """``sound`` up to ``head``, a fade from what is at ``out`` to what is at ``into``, and the rest."""
    one = sound[out * channels : (out + length) * channels]
    other = sound[into * channels : (into + length) * channels]
    last = max(1, length - 1)
    fade = array("h")
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        share = number // channels
        fade.append((a * (last - share) + b * share) // last)
    return sound[: head * channels] + fade + sound[tail * channels :]


def _period(sound: array[int], channels: int, rate: int, alike: float) -> int:
    """Samples after which ``sound`` repeats itself, in at most half of it; 0: it does not."""
    sound = sound[: round(_WINDOW * rate) * channels]
    step = max(1, rate // _SEARCH)
    width = step * channels
    coarse = [sum(sound[at : at + width : channels]) for at in range(0, len(sound) - width + 1, width)]
    shortest, longest = int(_SHORTEST * rate / step), min(int(_LONGEST * rate / step), len(coarse) // 2)
    if longest < shortest:
        return 0
    if sum(map(abs, coarse)) < _QUIET * step * len(coarse):
        return longest * step
    energy = [0, *accumulate(map(mul, coarse, coarse))]  # of what is before each
    best, found = alike, 0
    for lag in range(shortest, longest + 1):
        likeness = _correlation(coarse, coarse[lag:], energy[-1 - lag], energy[-1] - energy[lag])
        if likeness > best or (found and likeness > 0.98 * best):  # two periods rather than one
            best, found = max(best, likeness), lag
    return _refined(sound, channels, found * step, step) if found else 0


def _refined(sound: array[int], channels: int, period: int, step: int) -> int:
    """The period to the sample."""
    mono = sound[::channels]
    half = len(mono) // 2
    nearby = range(max(1, period - step), min(half, period + step) + 1)
    stride = max(1, step // 3)
    first = mono[:half:stride]
    weight = sum(map(mul, first, first))

    def likeness(lag: int) -> float:
        other = mono[lag : lag + half : stride]
        return _correlation(first, other, weight, sum(map(mul, other, other)))

    return max(nearby, key=likeness)


def _correlation(one: Sequence[int], other: Sequence[int], energy: int, of_other: int) -> float:
    """Normalised; of two that have these energies, as far as both go."""
    weight = energy * of_other
    return float(sum(map(mul, one, other))) / float(weight) ** 0.5 if weight else 0.0
