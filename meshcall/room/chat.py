"""The chat of a room as one member has it: what was shown, and what is kept for those who missed it.

Law 1: a line is shown once, in whatever order and from whomever lines come. What is older than all that is
kept of its author counts as shown.
Law 2: who floods has the others' lines neither dropped nor driven out: each author has its own purse, and of
what is kept the one that said most loses its oldest.
Law 3: catching up shows nobody more than live chat would have: all lines of an author come out of one purse,
which fills as fast, and holds as many more as are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall import limits
from meshcall.dht.limiter import Bucket
from meshcall.identity.peer_id import PeerId
from meshcall.room.messages import LineId, short_key


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is kept."""

    id: LineId
    octets: bytes
    """As it was signed."""
    said: float
    """When, by our clock."""
    source: PeerId
    """Who told us."""
    late: bool
    """Whether it came later than a living link brings it."""


@dataclass(slots=True)
class _Author:
    live: Bucket
    """Lines that come as they are said."""
    all: Bucket
    """These, and those that come later."""
    lines: dict[tuple[int, int], Line] = field(default_factory=dict)
    size: int = 0
    floor: tuple[int, int] = (-1, -1)
    """The highest (incarnation, number) that is not kept any more."""

    def drop_oldest(self) -> None:
        self.floor = min(self.lines)
        self.size -= len(self.lines.pop(self.floor).octets)


class Chat:
    """Lines by author."""

    def __init__(self) -> None:
        self._authors: dict[bytes, _Author] = {}
        self._untold: list[tuple[float, LineId]] = []

    def lacks(self, line: LineId) -> bool:
        """Whether that line has not been shown."""
        author = self._authors.get(line[0])
        return author is None or not (line[1:] <= author.floor or line[1:] in author.lines)

    def may_speak(self, author: bytes, now: float, *, late: bool = False) -> bool:
        """Whether a line of that short key would be shown now; ``late``: it was missed at first."""
        purse = self._author(author, now)
        return purse.all.left(now) >= 1 and (late or purse.live.left(now) >= 1)

    def keep(
        self, line: LineId, octets: bytes, source: PeerId, now: float, age: float, *, late: bool = False
    ) -> Line:
        """A line that is shown now, and was said ``age`` seconds ago; ``late``: it was missed at first."""
        author = self._author(line[0], now)
        author.all.take(now)
        if not late:
            author.live.take(now)
        kept = Line(line, octets, now - age, source, late or age >= limits.ROOM_LATE)
        author.lines[line[1:]] = kept
        author.size += len(octets)
        # A link with its author that has just broken shows in a beat by then
        tell_at = now if kept.late else now + limits.ROOM_LATE + limits.ROOM_BEAT
        self._untold.append((tell_at, line))
        if len(author.lines) > limits.ROOM_CHAT_KEPT:
            author.drop_oldest()
        while sum(one.size for one in self._authors.values()) > limits.ROOM_CHAT_KEPT_OCTETS:
            max(self._authors.values(), key=lambda one: one.size).drop_oldest()
        return kept

    def get(self, line: LineId) -> Line | None:
        """That line, if it is kept."""
        author = self._authors.get(line[0])
        return None if author is None else author.lines.get(line[1:])

    def kept(self) -> list[Line]:
        """All lines, as they were said."""
        lines = [line for author in self._authors.values() for line in author.lines.values()]
        return sorted(lines, key=lambda line: (line.said, line.id))

    def untold(self, now: float) -> list[Line]:
        """Those of which others are to be told now, once."""
        due = [self.get(line) for at, line in self._untold if now >= at]
        self._untold = [(at, line) for at, line in self._untold if now < at]
        return [line for line in due if line is not None]

    def forget(self, author: PeerId) -> None:
        """What it said is void."""
        self._authors.pop(short_key(author), None)

    def _author(self, key: bytes, now: float) -> _Author:
        author = self._authors.pop(key, None)
        if author is None:
            if len(self._authors) >= 2 * limits.ROOM_ENTRIES_MAX:
                del self._authors[next(iter(self._authors))]  # the longest silent
            rate, burst = limits.ROOM_CHAT_PER_SECOND, limits.ROOM_CHAT_BURST
            author = _Author(Bucket(rate, burst, now), Bucket(rate, burst + limits.ROOM_CHAT_KEPT, now))
        self._authors[key] = author
        return author
