"""How pictures leave on a way that carries hardly more than it is sent: in a block behind each sound. Pure.

Such a way may become narrower at any moment, and nobody knows of it before what was sent by then arrives. A
picture of 2.5 Mbit/s that left at once takes 0.15 s of a link of 0.6 Mbit/s, and sound waits behind it.

Law 1: between two packets of sound leaves what is sent in that time on average, to half a packet; more only
so that none waits for longer than ``BEATS_MOST`` beats.
Law 2: a block leaves right behind sound, in packets of ``BEATS_PAYLOAD``. A queue that is full of pictures
has sent one of them by the time that the next sound comes, and has room for it.
Law 3: beats go on without sound.
"""

from __future__ import annotations

from meshcall import limits


class Beats:
    """Of the pictures that one peer is sent."""

    def __init__(self) -> None:
        self._beat = 0.0
        """When the last beat was."""
        self._sound_at = float("-inf")
        self._regular = False
        """Sound leaves with every beat: neither in long packets, nor now and then in silence."""
        self._room = 0.0
        """Bits that may leave in it yet; less than 0: the last packet took too many."""
        self._least = 0.0
        """Bits of room from which on one more packet leaves: half of one."""
        self._block = 0.0
        """Bits that leave in each."""

    def sounded(self, now: float) -> None:
        """A packet of sound leaves: that is a beat."""
        self._regular = now - self._sound_at < limits.BEAT + limits.BEAT_PATIENCE
        self._sound_at = now
        self._begin(now)

    def begin(self, rate: int, octets: int) -> None:
        """So many octets of pictures are to leave, of so many bits a second."""
        self._block = max(limits.BEATS_OVER * rate * limits.BEAT, 8 * octets / limits.BEATS_MOST)

    def until(self, now: float) -> float:
        """Seconds until the next packet may leave."""
        since = now - self._beat
        expected = self._regular and now - self._sound_at < limits.BEAT_SILENCE
        if since >= limits.BEAT + (limits.BEAT_PATIENCE if expected else 0.0):
            self._begin(now)
            since = 0.0
        if since < limits.BEAT_LATE and self._room > self._least:
            return 0.0
        return max(limits.BEAT_LOOK, limits.BEAT - since)

    def left(self, octets: int) -> None:
        """A packet of so many octets left."""
        bits = 8 * (octets + limits.BEAT_HEADERS)
        self._room -= bits
        self._least = bits / 2

    def _begin(self, now: float) -> None:
        # Sound that is early or late makes no more room than sound in time.
        room = self._room + max(0.0, now - self._beat) / limits.BEAT * self._block
        self._room, self._beat = min(self._block, room), now
