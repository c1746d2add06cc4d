"""An encoded frame, and the queue of those that one peer is sent.

Law 1: a queue is bounded. A peer that is behind loses its oldest sound, and of pictures everything up to the
next keyframe, which is asked for; what others are sent does not change. Pictures that still wait when a
keyframe comes are left out, too.
Law 2: times rise in every queue, whatever it is fed from; it goes over to another encoder at a keyframe.
Law 3: nothing leaves before :meth:`Outlet.open`; the first picture that leaves is a keyframe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from meshcall import limits
from meshcall.media.plan import MediaKind


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder made of one frame."""

    data: bytes
    pts: int
    """In ``time_base``, since the source's start."""
    time_base: Fraction
    key: bool = True
    """It can be decoded without the ones before it."""
    level: int | None = None
    """Of sound: its loudness in dBov, 0 to -127 (RFC 6464)."""
    frames: int = 1
    """Of the source, in it: of sound up to three, of which the first ones waited for the last."""


def packet_of(encoded: Encoded, pts: int) -> av.Packet[Any]:
    """In PyAV's form, with another time."""
    packet = av.Packet(encoded.data)
    packet.pts, packet.time_base = pts, encoded.time_base
    return packet


class Outlet(MediaStreamTrack):
    """What one sender sends of one kind."""

    def __init__(self, kind: MediaKind, want_keyframe: Callable[[], None]) -> None:
        """``want_keyframe`` is called when nothing can be sent before the next keyframe."""
        super().__init__()
        self.kind = kind
        self.is_open = False
        self.frames = 0
        """Frames that it was given to send."""
        self.packets = 0
        self.octets = 0
        """Of what has left."""
        self.skipped = 0
        """Frames that the peer was too slow for."""
        self.origin: object | None = None
        """Whose frames it takes."""
        self.wanted: object | None = None
        """Whose it takes from the next keyframe on."""
        self.send_now: Callable[[], bool] = lambda: False
        """Takes all that waits at once, by :meth:`take_now`, and tells whether it did: a sender that is free
        does, which costs no task of the loop."""
        self._want_keyframe = want_keyframe
        self._queue: deque[Encoded] = deque()
        self._ready = asyncio.Event()
        self._last_pts = -1
        self.shift: int | None = 0
        """What is added to the times of frames; None: as much as the next one needs."""
        self._wait_key = kind == "video"

    def open(self) -> None:
        """Let frames leave from now on."""
        self.is_open = True

    def feed_from(self, origin: object | None) -> None:
        """Take frames of ``origin`` from its next keyframe on, and of the one before until then. None: take
        none from now on.
        """
        self.wanted = origin
        if origin is None:
            self.origin = None
            self._queue.clear()

    def begin_again(self) -> None:
        """What comes next is of another source, whose times begin anew: they go on behind those before."""
        self._queue.clear()
        self._wait_key = self.kind == "video"
        if self._last_pts >= 0:
            self.shift = None

    def put(self, encoded: Encoded, origin: object | None = None) -> None:
        """Send a frame that ``origin`` made, or lose it."""
        if not self.is_open or self.readyState != "live":
            return
        if origin is self.wanted and encoded.key:
            self.origin = origin
        elif origin is not self.origin:
            return
        if encoded.key:
            self._wait_key = False
            if self.kind == "video":  # nobody needs those that still wait
                self.skipped += len(self._queue)
                self._queue.clear()
        elif self._wait_key:
            return
        if len(self._queue) >= limits.OUTLET_QUEUE_MAX:
            self._skip(encoded)
            if self._wait_key:
                return
        self._queue.append(encoded)
        self.frames += encoded.frames
        if not self.send_now():
            self._ready.set()

    def _skip(self, encoded: Encoded) -> None:
        """Make room."""
        if self.kind == "audio":
            self._queue.popleft()
            self.skipped += 1
            return
        self.skipped += len(self._queue)
        self._queue.clear()
        self._wait_key = not encoded.key
        if self._wait_key:
            self._want_keyframe()

    async def take(self) -> tuple[Encoded, int]:
        """The next frame, as soon as there is one, and its time; raises MediaStreamError after the end."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self.take_now()

    @property
    def waiting(self) -> bool:
        """Whether there is a frame to take."""
        return bool(self._queue)

    @property
    def waiting_octets(self) -> int:
        """Of all frames that wait."""
        return sum(len(one.data) for one in self._queue)

    def left(self, packets: int, octets: int) -> None:
        """So many packets, with so many octets in them, are sent of a frame that was taken."""
        self.packets += packets
        self.octets += octets

    def take_now(self) -> tuple[Encoded, int]:
        """The next frame and its time; there must be one."""
        encoded = self._queue.popleft()
        if self.shift is None:
            self.shift = self._last_pts + round(1 / encoded.time_base) - encoded.pts
        self._last_pts = max(encoded.pts + self.shift, self._last_pts + 1)
        return encoded, self._last_pts

    async def recv(self) -> av.Packet[Any]:
        """The same in PyAV's form."""
        return packet_of(*await self.take())

    def stop(self) -> None:
        """End it. Idempotent."""
        super().stop()
        self._queue.clear()
        self._ready.set()
