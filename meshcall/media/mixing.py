"""What a recording of a whole room has at each moment: all voices in one, and a picture of each member. Pure.

Law 1: what was heard at one moment here is at one moment of the recording, from whomever it comes.
Law 2: sound has no hole: where nobody was heard there is silence.
Law 3: what is kept is bounded, whatever is put in and however late it is taken out.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import add
from typing import Final, Generic, TypeVar

from meshcall import limits

T = TypeVar("T")

BLOCK: Final = 0.02
"""Seconds of sound that are mixed at once."""
BLOCK_VALUES: Final = 2 * 960
"""Of s16 stereo at 48 kHz."""
_HOLE: Final = 2
"""Blocks that a voice may be missing before it is put later: jitter is no hole."""
_OVERLAP: Final = 2
"""Blocks that a voice may be ahead of its time before some of it is left out."""


class Timeline:
    """Maps the times of one stream to those of a recording, both in seconds."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def place(self, time: float, arrival: float) -> float:
        """Where in the recording that is which the stream has at ``time`` and which came at ``arrival``."""
        if self._offset is None or abs(time + self._offset - arrival) > limits.RECORD_DRIFT_MAX:
            self._offset = arrival - time
        # The first one may have been slow to come; none is shown before it is there, so those after it tell.
        self._offset = min(self._offset, arrival - time)
        return max(0.0, time + self._offset)


def mixed(voices: Sequence[array[int]]) -> array[int]:
    """The sum of some blocks of sound; what is too loud is cut off. None at all: silence."""
    if not voices:
        return array("h", bytes(2 * BLOCK_VALUES))
    if len(voices) == 1:
        return voices[0]
    total = list(voices[0])
    for voice in voices[1:]:
        total = list(map(add, total, voice))
    if max(total) > 32767 or min(total) < -32768:
        total = [max(-32768, min(32767, value)) for value in total]
    return array("h", total)


class _Voice:
    """Of one member."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.next = 0
        """The block that its next sound belongs to."""


class SoundMix:
    """All voices, block by block."""

    def __init__(self) -> None:
        self._voices: dict[Hashable, _Voice] = {}
        self._blocks: dict[int, list[array[int]]] = {}
        self._next = 0
        """The block that is taken next."""

    def put(self, who: Hashable, pieces: Sequence[array[int]], time: float, arrival: float) -> int:
        """Add sound, in blocks, that ``who`` made at ``time`` and that was heard at ``arrival``.

        Tells how many blocks were left out: too late, or ahead of their time.
        """
        voice = self._voices.setdefault(who, _Voice())
        due = round(voice.timeline.place(time, arrival) / BLOCK)
        if due - voice.next > _HOLE:
            voice.next = due
        left_out = 0
        for number, piece in enumerate(pieces):
            if voice.next - (due + number) > _OVERLAP:
                left_out += 1
                continue
            if voice.next < self._next:
                left_out += 1
            else:
                self._blocks.setdefault(voice.next, []).append(piece)
            voice.next += 1
        return left_out

    def leave(self, who: Hashable) -> None:
        """No more comes from ``who``. Idempotent."""
        self._voices.pop(who, None)

    def take(self, now: float) -> tuple[float, array[int]] | None:
        """The next block that nothing more is waited for, and its time; None: there is none yet."""
        ready = int((now - limits.MIX_WAIT) / BLOCK)
        if ready - self._next > limits.MIX_BEHIND_MAX / BLOCK:  # the machine slept: what was before is over
            self._next = ready - 1
            self._blocks = {number: made for number, made in self._blocks.items() if number >= self._next}
        if self._next >= ready:
            return None
        at, voices = self._next * BLOCK, self._blocks.pop(self._next, [])
        self._next += 1
        return at, mixed(voices)


class Ticks:
    """When the recording gets a picture: few enough that making them takes half of a processor at most."""

    def __init__(self) -> None:
        self._last = -1
        self._rest = 0.0

    def due(self, now: float) -> float | None:
        """The time of the picture that is to be made now; those that were missed are left out."""
        number = int(now * limits.MIX_FPS)
        if number <= self._last or now < self._rest:
            return None
        self._last = number
        return number / limits.MIX_FPS

    def made(self, began: float, now: float) -> None:
        """Making one took from ``began`` to ``now``."""
        self._rest = now + (now - began)

    def wait(self, now: float) -> float:
        """Seconds until the next one can be due."""
        return max(self._rest, (self._last + 1) / limits.MIX_FPS) - now


class _Seat(Generic[T]):
    """One member's place in the picture."""

    def __init__(self) -> None:
        self.coming: deque[tuple[float, T]] = deque(maxlen=limits.MIX_PICTURES_WAITING)
        self.shown: T | None = None
        self.since = 0.0


class Stage(Generic[T]):
    """Who is in the picture, in the order of their coming, and which picture each shows."""

    def __init__(self) -> None:
        self._seats: dict[Hashable, _Seat[T]] = {}

    def enter(self, who: Hashable) -> None:
        """Give ``who`` a place, the last one. Idempotent."""
        self._seats.setdefault(who, _Seat())

    def leave(self, who: Hashable) -> None:
        """Take it away. Idempotent."""
        self._seats.pop(who, None)

    def put(self, who: Hashable, picture: T, at: float) -> None:
        """``who`` shows this from ``at`` on; without a place nothing."""
        seat = self._seats.get(who)
        if seat is not None:
            seat.coming.append((at, picture))

    def look(self, at: float) -> list[T | None]:
        """What those who have a place show at that moment, which is not before the last; None: nothing."""
        seats = list(self._seats.values())[: limits.MIX_TILES_MAX]
        for seat in seats:
            while seat.coming and seat.coming[0][0] <= at:
                seat.since, seat.shown = seat.coming.popleft()
            if at - seat.since > limits.MIX_PICTURE_LIFE:
                seat.shown = None
        return [seat.shown for seat in seats]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of a picture; all numbers are even, as colours have half of the pixels."""

    x: int
    y: int
    width: int
    height: int

    def fit(self, width: int, height: int) -> Tile:
        """The largest rectangle in its middle that has the shape of ``width`` by ``height``."""
        scale = min(self.width / width, self.height / height)
        fitted = [max(2, int(side * scale) & ~1) for side in (width, height)]
        x = self.x + ((self.width - fitted[0]) // 2 & ~1)
        y = self.y + ((self.height - fitted[1]) // 2 & ~1)
        return Tile(x, y, *fitted)


def tiles(count: int, width: int, height: int) -> list[Tile]:
    """So many of one size in a picture, row by row; the last row stands in the middle."""
    if count == 0:
        return []
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    across, down = width // columns & ~1, height // rows & ~1
    made = []
    for index in range(count):
        row, column = divmod(index, columns)
        in_row = min(columns, count - row * columns)
        left = (width - in_row * across) // 2 & ~1
        made.append(Tile(left + column * across, row * down, across, down))
    return made
