"""Putting RTP packets in order and pictures together, in place of aiortc's jitter buffer.

Law 1: a picture leaves the moment it is complete, which its marker bit tells; those after a hole leave
together when it is filled, so that no delay stays behind.
Law 2: a keyframe that is complete does not wait for what is missing before it.
Law 3: after a hole that was given up, nothing leaves before a keyframe: a decoder would only smear.
Law 4: sequence numbers are the peer's: at most ``capacity`` packets are held.
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
    """Of one stream at a time."""

    def __init__(
        self, capacity: int, *, payload: Callable[[Packet], bytes], begins_keyframe: Callable[[Packet], bool]
    ) -> None:
        """``payload`` gives a packet's payload without what its RTP format put around it."""
        self.capacity = capacity
        self._payload = payload
        self._begins_keyframe = begins_keyframe
        self._packets: dict[int, Packet] = {}
        self._keyframes: set[int] = set()
        """Numbers of packets that begin one, of those that are held."""
        self._ssrc: int | None = None
        self._next = 0
        """The number that is to come next, at the beginning of a picture."""
        self._newest = 0
        self.waits_for_keyframe = True
        self.keyframe_left = False
        """One left with the last batch."""
        self.lost = False
        """Something was given up since this was set to False."""

    @property
    def next(self) -> int:
        """Nothing before this number is needed any more."""
        return self._next

    @property
    def holds(self) -> bool:
        """Whether packets wait for another one."""
        return bool(self._packets)

    def add(self, packet: Packet) -> FrameBatch | None:
        """Take a packet; what becomes complete by it."""
        sequence = packet.sequence_number
        if packet.ssrc != self._ssrc:
            self._begin(packet.ssrc, sequence)
        ahead = (sequence - self._next) & 0xFFFF
        if ahead >= 0x8000:
            if 0x10000 - ahead < _LATE_MAX:
                return None
            self._begin(packet.ssrc, sequence)
        elif ahead >= self.capacity:
            self._begin(packet.ssrc, sequence)
        if (sequence - self._newest) & 0xFFFF < 0x8000:
            self._newest = sequence
        self._packets[sequence] = packet
        if self._begins_keyframe(packet):
            self._keyframes.add(sequence)
        return self._batch()

    def give_up(self) -> FrameBatch | None:
        """Wait no more for what is missing: go on at the next keyframe; what becomes complete by that."""
        if self._keyframes:
            self._move_to(max(self._keyframes, key=self._ahead))
        else:
            self._packets.clear()
            self._next = (self._newest + 1) & 0xFFFF
        self.waits_for_keyframe = self.lost = True
        return self._batch()

    def take_anything(self) -> None:
        """No keyframe can be recognised: leave it to the decoder."""
        self.waits_for_keyframe = False

    def _begin(self, ssrc: int, sequence: int) -> None:
        self.lost = self._ssrc is not None
        self._ssrc = ssrc
        self._packets.clear()
        self._keyframes.clear()
        self._next = self._newest = sequence
        self.waits_for_keyframe = True

    def _ahead(self, sequence: int) -> int:
        return (sequence - self._next) & 0xFFFF

    def _move_to(self, sequence: int) -> None:
        """Forget what is before ``sequence``."""
        skipped = self._ahead(sequence)
        for one in [number for number in self._packets if self._ahead(number) < skipped]:
            del self._packets[one]
        self._keyframes &= self._packets.keys()
        self._next = sequence

    def _batch(self) -> FrameBatch | None:
        self.keyframe_left = False
        frames = self._complete()
        if not frames and self._packets and self._keyframes:
            for sequence in sorted(self._keyframes, key=self._ahead, reverse=True):
                if self.waits_for_keyframe or self._whole(sequence):
                    self._move_to(sequence)
                    frames = self._complete()
                    break
        if not frames:
            return None
        frames[0].following = frames[1:]
        return frames[0]

    def _whole(self, sequence: int) -> bool:
        """Whether the picture that begins with ``sequence`` is complete."""
        while (packet := self._packets.get(sequence)) is not None:
            if packet.marker:
                return True
            sequence = (sequence + 1) & 0xFFFF
        return False

    def _complete(self) -> list[FrameBatch]:
        """The frames that are whole, in order."""
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
        first = parts[0].sequence_number
        keyframe = first in self._keyframes
        self._keyframes -= {packet.sequence_number for packet in parts}
        self._next = (parts[-1].sequence_number + 1) & 0xFFFF
        if keyframe:
            self.waits_for_keyframe, self.keyframe_left = False, True
        if not self.waits_for_keyframe:
            frames.append(FrameBatch(b"".join(map(self._payload, parts)), parts[0].timestamp))
        parts.clear()
