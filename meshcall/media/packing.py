"""How much sound goes into one packet. Pure.

A packet costs its sender, and each who receives it, as much work whatever is in it. In a large room that is
most of what a machine has to do, so fewer packets with more in each are sent there.

Law 1: all peers get the same packets, because sound is encoded once.
Law 2: sound that is held waits for its followers only: before a pause it leaves at once.
Law 3: while a peer loses some, a packet holds 20 ms: of a longer one more is lost at once, Opus has a copy of
its last 20 ms alone, and what is sent again comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from meshcall import limits

T = TypeVar("T")


def frames_for(peers: int, loss: float) -> int:
    """Frames of 20 ms in a packet for so many peers; ``loss``: of the one that loses most, 0 to 1."""
    if loss >= limits.COPIES_FROM:
        return 1
    return max(frames for frames, least in limits.SOUND_PACKET_PEERS if peers >= least)


class Packing(Generic[T]):
    """Holds frames until a packet is full."""

    def __init__(self, follows: Callable[[T, T], bool]) -> None:
        """``follows``: whether a frame may be in one packet with the one before it."""
        self._follows = follows
        self._held: list[T] = []

    def add(self, frames: Sequence[T], size: int) -> list[list[T]]:
        """The packets that are full with ``frames``, of ``size`` each."""
        packets = []
        for frame in frames:
            if self._held and not self._follows(self._held[-1], frame):
                packets += self.flush()
            self._held.append(frame)
            if len(self._held) >= size:
                packets += self.flush()
        return packets

    def flush(self) -> list[list[T]]:
        """What is held, as a packet; nothing, if nothing is."""
        held, self._held = self._held, []
        return [held] if held else []
