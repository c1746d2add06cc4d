"""Putting RTP packets in order and pictures together, in place of aiortc's jitter buffer.

Law 1: a picture leaves the moment it is complete, which its marker bit tells.
Law 2: behind a hole at most ``capacity`` packets wait; when the hole is given up or filled, all pictures that
are complete leave together, so that no delay stays behind.
Law 3: sequence numbers are the peer's: nothing here grows with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiortc.jitterbuffer import JitterFrame

_LATE_MAX = 100
"""Packets behind after which a sender has started anew rather than being late (as in aiortc)."""


class Packet(Protocol):
    """The part of an RTP packet that matters here."""

    ssrc: int
    sequence_number: int
    timestamp: int
    marker: int


class FrameBatch(JitterFrame):
    """A frame, and those that became complete with it."""

    def __init__(self, data: bytes, timestamp: int) -> None:
        super().__init__(data, timestamp)
        self.rtp_timestamp = timestamp
        """As it was sent; the receiver overwrites ``timestamp``."""
        self.following: list[FrameBatch] = []


class ReorderBuffer:
    """Keeps the contract of aiortc's JitterBuffer: ``add`` returns (send a PLI?, frame or None)."""

    def __init__(self, capacity: int, *, payload: Callable[[Packet], bytes]) -> None:
        """``payload`` gives a packet's payload without what its RTP format put around it."""
        self.capacity = capacity
        self._payload = payload
        self._packets: dict[int, Packet] = {}
        self._next: int | None = None
        self._damaged: int | None = None

    def add(self, packet: Packet) -> tuple[bool, FrameBatch | None]:
        """Take a packet."""
        sequence = packet.sequence_number
        if self._next is None:
            self._next = sequence
        ahead = (sequence - self._next) & 0xFFFF
        lost = False
        if ahead >= 0x8000:
            if 0x10000 - ahead < _LATE_MAX:
                return False, None
            self._packets.clear()
            self._next = sequence
            lost = True
        elif ahead >= self.capacity:
            self._give_up(sequence)
            lost = True
        self._packets[sequence] = packet
        frames = self._complete()
        if not frames:
            return lost, None
        frames[0].following = frames[1:]
        return lost, frames[0]

    def _give_up(self, sequence: int) -> None:
        """Move on so that ``sequence`` fits, to the next packet that is there."""
        assert self._next is not None, "add() has set it"
        oldest = (sequence - self.capacity + 1) & 0xFFFF
        while self._next != oldest:
            if not self._packets:
                self._next = oldest
                break
            self._forget(self._next)
        while self._next != sequence and self._next not in self._packets:
            self._next = (self._next + 1) & 0xFFFF

    def _forget(self, sequence: int) -> None:
        packet = self._packets.pop(sequence, None)
        if packet is not None:
            self._damaged = packet.timestamp
        self._next = (sequence + 1) & 0xFFFF

    def _complete(self) -> list[FrameBatch]:
        """The frames that are whole, in order."""
        assert self._next is not None, "add() has set it"
        frames: list[FrameBatch] = []
        parts: list[Packet] = []
        position = self._next
        while (packet := self._packets.get(position)) is not None:
            if parts and packet.timestamp != parts[0].timestamp:
                self._release(parts, frames)
            parts.append(packet)
            position = (position + 1) & 0xFFFF
            if packet.marker:
                self._release(parts, frames)
        return frames

    def _release(self, parts: list[Packet], frames: list[FrameBatch]) -> None:
        for packet in parts:
            del self._packets[packet.sequence_number]
        self._next = (parts[-1].sequence_number + 1) & 0xFFFF
        # What is left of a frame that lost its beginning would only hurt the decoder.
        if parts[0].timestamp != self._damaged:
            frames.append(FrameBatch(b"".join(map(self._payload, parts)), parts[0].timestamp))
        parts.clear()
