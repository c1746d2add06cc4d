"""What somebody heard and saw of a call, from what both ends noted down. Pure.

Law 1: a frame of sound counts once, and only if its own pitch was heard: neither what was made up in its
place nor what was played twice counts.
Law 2: a lag runs from the moment that a frame was given to the sender's engine to the moment that the
receiver's engine gave it out.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

FROZEN_S = 0.2
"""A picture that stays longer than this is a freeze."""


@dataclass(frozen=True, slots=True)
class Played:
    """A frame that came out."""

    at: float
    number: int
    lag: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Freezes:
    """How long pictures stood still."""

    longest: float
    """Seconds."""
    share: float
    """Of all time, spent in freezes."""


def sounds(sent: Sequence[float], heard: Sequence[tuple[float, int | None]], pitches: int) -> list[Played]:
    """The frames of sound that were heard, each once, in the order in which they came out."""
    seen: set[int] = set()
    played: list[Played] = []
    for at, pitch in heard:
        if pitch is None:
            continue
        newest = bisect.bisect_right(sent, at) - 1
        number = newest - (newest - pitch) % pitches
        if number >= 0 and number not in seen:
            seen.add(number)
            played.append(Played(at, number, at - sent[number]))
    return played


def pictures(sent: Mapping[int, float], seen: Sequence[tuple[float, int | None, int]]) -> list[Played]:
    """The pictures that were seen, each once; those of which no number can be read are left out."""
    known: set[int] = set()
    played: list[Played] = []
    for at, number, _ in seen:
        if number is not None and number in sent and number not in known:
            known.add(number)
            played.append(Played(at, number, at - sent[number]))
    return played


def share_played(sent: Sequence[float], played: Sequence[Played], begin: float, end: float) -> float:
    """Percent of the sound sent in a stretch of time that was heard."""
    numbers = {number for number, at in enumerate(sent) if begin <= at < end}
    return 100 * len(numbers & {one.number for one in played}) / len(numbers) if numbers else 0.0


def lags(played: Sequence[Played], begin: float, end: float) -> list[float]:
    """Of what came out in a stretch of time, in ms."""
    return [1000 * one.lag for one in played if begin <= one.at < end]


def longest_gap(played: Sequence[Played], begin: float, end: float) -> float:
    """The longest time without anything new between two moments, in ms."""
    moments = [begin, *(one.at for one in played if begin <= one.at < end), end]
    return 1000 * max(later - earlier for earlier, later in pairwise(moments))


def freezes(played: Sequence[Played], begin: float, end: float) -> Freezes:
    """Of pictures between two moments."""
    moments = [begin, *(one.at for one in played if begin <= one.at < end), end]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    return Freezes(max(gaps), sum(gap for gap in gaps if gap > FROZEN_S) / (end - begin))


def skew(
    heard: Sequence[Played], seen: Sequence[Played], begin: float, end: float, step: float = 0.5
) -> list[float]:
    """How much later sound came out than the picture of the same moment, in ms, one value each ``step`` s."""
    found: list[float] = []
    at = begin
    while at + step <= end:
        of_sound, of_pictures = lags(heard, at, at + step), lags(seen, at, at + step)
        if of_sound and of_pictures:
            found.append(statistics.median(of_sound) - statistics.median(of_pictures))
        at += step
    return found


def rate(carried: Sequence[tuple[float, int]], begin: float, end: float) -> float:
    """Mbit/s that an interface carried between two moments; 0 if it was not looked at."""
    inside = [(at, octets) for at, octets in carried if begin <= at <= end]
    if len(inside) < 2:
        return 0.0
    (first, low), (last, high) = inside[0], inside[-1]
    return (high - low) * 8e-6 / (last - first)
