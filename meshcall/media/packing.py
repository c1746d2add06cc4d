"""How much sound goes into one packet. Pure.

A packet costs its sender, and each who receives it, as much work whatever is in it. In a large room that is
most of what a machine has to do, so fewer packets with more in each are sent there.

Law 1: all peers get the same packets, because sound is encoded once.
Law 2: sound waits for those that it is in one packet with, and for nothing else.
Law 3: while a peer loses some, a packet holds 20 ms: of a longer one more is lost at once, Opus has a copy of
its last 20 ms alone, and what is sent again comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from meshcall import limits

T = TypeVar("T")


def frames_for(peers: int, loss: float) -> int:
    """Frames of 20 ms in a packet for so many peers; ``loss``: of the one that loses most, 0 to 1."""
    if loss >= limits.COPIES_FROM:
        return 1
    return max(frames for frames, least in limits.SOUND_PACKET_PEERS if peers >= least)


def packets_of(frames: Iterable[T], follows: Callable[[T, T], bool]) -> list[list[T]]:
    """Frames that were made together, as few packets.

    ``follows``: whether a frame may be in one packet with the one before it.
    """
    packets: list[list[T]] = []
    for frame in frames:
        if packets and follows(packets[-1][-1], frame):
            packets[-1].append(frame)
        else:
            packets.append([frame])
    return packets
