"""Receiving a stream of pictures: order, repair and keyframes, between a receiver and its decoder's thread.

Law 1: what decides is pure, in ``ReorderBuffer`` and ``meshcall.media.repair``; here are clock and timer.
Law 2: one timer for each stream, and only while something is missing.
Law 3: before the gate is open nothing reaches a decoder, and what waits for one is bounded.
Law 4: what nobody takes is decoded all the same, several pictures at a time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from meshcall import limits
from meshcall.aio.rtc.reorder import FrameBatch, Packet, ReorderBuffer
from meshcall.media.repair import FreezeWatch, KeyframeWish, Missing

_CLOCK_RATE = 90_000
"""Of the RTP time of pictures (RFC 3551 section 5)."""


class Handle(Protocol):
    """Of a timer."""

    def cancel(self) -> None:
        """It shall not ring."""


class Loop(Protocol):
    """The part of an event loop that is needed here."""

    def time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call at that time."""


class DecoderQueue:
    """What stands between a receiver and its decoder's thread, in place of aiortc's unbounded queue.

    Before the gate is open everything is dropped: a stranger's frames never meet a decoder.
    """

    def __init__(
        self, kind: str, counters: Counter[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._items: deque[tuple[Any, FrameBatch, float]] = deque()
        """Codec, frame, and when it came."""
        self._kind = kind
        self._counters = counters
        self._clock = clock
        self._closed = False
        self._codec: Any = None
        self._last: tuple[int, int] | None = None
        """RTP time of the last frame, and its time without wrap."""
        self._due = 0
        """Frames that the thread decodes before it waits again. Of the thread."""
        self._begun = False
        self._waiting = False
        """The thread waits for a frame, not for a time."""
        self._sleep = threading.Lock()
        """Taken while the thread runs; it sleeps in taking it again."""
        self._sleep.acquire()
        self.deliver: Callable[[Any], None] = lambda frame: None
        """The decoder's thread calls it with each picture."""
        self.seen = False
        """Somebody takes the pictures: each is decoded when it comes."""
        self.came = 0.0
        """When the frame came that the thread has now."""
        self.open = False
        self.dropped = 0

    # --- the thread's side ---

    def get(self) -> tuple[Any, FrameBatch] | None:
        """The next frame; None: it is over."""
        if self._due == 0:
            self._due = self._gather()
        if self._closed:
            return None
        self._due -= 1
        codec, frame, self.came = self._items.popleft()
        self._begun = True
        return codec, frame

    def _gather(self) -> int:
        """Wait for frames: how many there are. The first is not waited for longer than it takes to come."""
        if self._begun and not self.seen and not self._closed:
            self._sleep.acquire(timeout=limits.UNTAKEN_WAIT)
        while not self._items and not self._closed:
            self._waiting = True
            if not self._items and not self._closed:  # it is roused from here on
                self._sleep.acquire()
            self._waiting = False
        return len(self._items)

    # --- the loop's side ---

    def put(self, item: tuple[Any, FrameBatch] | None) -> None:
        """For the receiver; None ends the thread at once, whatever was waiting."""
        if item is None:
            self._closed = True
            self._rouse()
            return
        self._codec, first = item
        frames = [first, *first.following]
        for frame in frames:
            frame.timestamp = self._time(frame.rtp_timestamp)
        if self._closed:
            return
        if not self.open:
            self.dropped += len(frames)
            self._counters[f"{self._kind}-before-gate"] += len(frames)
        elif len(self._items) >= limits.DECODE_QUEUE_MAX:
            self._counters[f"{self._kind}-decoder-behind"] += len(frames)
        else:
            now = self._clock()
            self._items.extend((self._codec, frame, now) for frame in frames)
            if self._waiting:
                self._rouse()

    def _rouse(self) -> None:
        with suppress(RuntimeError):  # it is not asleep
            self._sleep.release()

    def put_late(self, batch: FrameBatch) -> None:
        """Frames that became complete without a packet."""
        if self._codec is not None:
            self.put((self._codec, batch))

    def rtp_timestamp(self, time: int) -> int:
        """As it was sent, of a frame that came out of the decoder with ``time``. From any thread."""
        last = self._last
        return 0 if last is None else (last[0] + time - last[1]) & 0xFFFFFFFF

    def _time(self, timestamp: int) -> int:
        """Since the first frame, in units of the RTP clock; at least 0."""
        if self._last is None:
            self._last = timestamp, 0
        else:
            step = (timestamp - self._last[0] + 0x80000000) % 0x100000000 - 0x80000000
            self._last = timestamp, max(0, self._last[1] + step)
        return self._last[1]


class Pictures:
    """One stream; keeps the contract of aiortc's JitterBuffer."""

    def __init__(
        self,
        buffer: ReorderBuffer,
        decoder_queue: DecoderQueue,
        *,
        ask_packets: Callable[[int, list[int]], None],
        ask_keyframe: Callable[[int], None],
        loop: Loop | None = None,
    ) -> None:
        """``ask_packets`` and ``ask_keyframe`` send reports about an SSRC. ``loop``: not the running one."""
        self._buffer = buffer
        self.queue = decoder_queue
        self._ask_packets = ask_packets
        self._ask_keyframe = ask_keyframe
        self._loop: Loop = asyncio.get_running_loop() if loop is None else loop
        self._missing = Missing()
        self._wish = KeyframeWish()
        self._timer: Handle | None = None
        self._ssrc: int | None = None
        self._heard = 0.0
        """When the last packet came."""
        self._held = False
        self._without_keyframe: float | None = None
        """Since when frames wait for a keyframe."""
        self._closed = False
        self.queued: Callable[[], float] = lambda: 0.0
        """Tells for how many seconds packets wait in queues of the path now."""
        self.freezes = FreezeWatch()
        self.keyframes_asked = 0

    @property
    def repaired(self) -> int:
        """Packets that came because they were asked for."""
        return self._missing.repaired

    def measured(self, rtt: float) -> None:
        """The path's round trip is ``rtt`` seconds."""
        self._missing.measured(rtt)
        self._wish.measured(rtt)

    def add(self, packet: Packet) -> tuple[bool, FrameBatch | None]:
        """Take a packet; asking for a keyframe is done here, so the first is always False."""
        if self._closed:
            return False, None
        now = self._heard = self._loop.time()
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._missing.begin_anew()
        hopeless = not self._missing.received(packet.sequence_number, now)
        batch = self._buffer.add(packet)
        if hopeless:
            late = self._buffer.give_up()
            if batch is None:
                batch = late
        self._after(batch, now)
        if self._timer is not None or self._missing.holes or self._wish.open:
            self._look(now)
        return False, batch

    def want_keyframe(self) -> None:
        """The decoder can't go on without one."""
        self._wish.want()
        self._look(self._loop.time())

    def begin_again(self) -> None:
        """What came so far was dropped: go on with a keyframe."""
        self._buffer.give_up()
        self.want_keyframe()

    def close(self) -> None:
        """Ask for nothing more. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _after(self, batch: FrameBatch | None, now: float) -> None:
        """What a change of the buffer means for the rest."""
        buffer = self._buffer
        self._missing.forget_before(buffer.next)
        self._held |= buffer.lost or self._missing.holes
        buffer.lost = False
        if batch is not None and buffer.keyframe_left:
            self._wish.came()
        if not buffer.waits_for_keyframe:
            self._without_keyframe = None
        else:
            self._wish.want()
            if self._without_keyframe is None:
                self._without_keyframe = now
            elif now - self._without_keyframe > limits.KEYFRAME_PATIENCE:
                buffer.take_anything()
        if batch is not None:
            for frame in (batch, *batch.following):
                self.freezes.shown(now, frame.rtp_timestamp / _CLOCK_RATE, held=self._held)
            self._held = buffer.holds

    def _look(self, now: float) -> None:
        """Ask for what is due, and set the timer for what will be."""
        if self._closed or self._ssrc is None:
            return
        self._missing.queued(self.queued())
        age = self._missing.age(now)
        if age > self._missing.life:
            batch = self._buffer.give_up()
            self._after(batch, now)
            if batch is not None:
                self.queue.put_late(batch)
        elif age > max(limits.KEYFRAME_AFTER, limits.KEYFRAME_AFTER_ROUNDS * self._missing.round_trip):
            self._wish.want()
        wanted = self._missing.due(now)
        if wanted:
            self._ask_packets(self._ssrc, sorted(wanted))
        if self._wish.due(now):
            self.keyframes_asked += 1
            self._ask_keyframe(self._ssrc)
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        due = [self._missing.deadline()]
        if now - self._heard < limits.KEYFRAME_PAUSE_MAX:  # whoever sends nothing is asked again when he does
            due.append(self._wish.deadline())
        first = min((when for when in due if when is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if first is not None:
            self._timer = self._loop.call_at(first, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._look(self._loop.time())
