"""Playing a stream of sound: packets from the loop on one side, steps for the decoder's thread on the other.

The decoder's thread is the clock: it waits for the next step's time rather than for a packet, so what it
gives keeps time however the packets come and however busy the loop is.

Law 1: the loop never waits: it leaves packets and goes on.
Law 2: nothing is kept, let alone decoded, before the gate is open.
Law 3: what is kept is bounded here and in the jitter buffer.
Law 4: what nobody hears is decoded all the same, several steps at a time: each wake-up costs more than what
is done in it. Packets and steps meet in the order of their times, so that what is played, repaired and
counted is the same, but for how long a step is that is stretched: no pitch is looked for in it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from meshcall import limits
from meshcall.aio.rtc.reorder import Packet
from meshcall.aio.rtc.sound import SoundFrame, SoundStep
from meshcall.media import opus
from meshcall.media.jitter import Counts, JitterBuffer, SoundPacket, Step


class SoundPassage:
    """Keeps the contract of aiortc's JitterBuffer, and passes each packet on at once."""

    def __init__(self, payload: Callable[[Packet], bytes]) -> None:
        """``payload`` gives a packet's payload without what its RTP format put around it."""
        self._payload = payload

    def add(self, packet: Packet) -> tuple[bool, SoundFrame | None]:
        """Take a packet; one without a payload keeps a NAT open, and no more."""
        data = self._payload(packet)
        if not data:
            return False, None
        return False, SoundFrame(data, packet.timestamp, packet.ssrc, packet.sequence_number)


class Playout:
    """In the place of aiortc's queue between a receiver of sound and its decoder's thread."""

    def __init__(self, counters: Counter[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._arrived: deque[tuple[Any, SoundFrame, float]] = deque()
        self._closed = False
        self._waiting = False
        """The thread waits for a packet, not for a time."""
        self._sleep = threading.Lock()
        """Taken while the thread runs; it sleeps in taking it again. An Event makes a lock for each wait."""
        self._sleep.acquire()
        self._codec: Any = None
        self._opus = False
        self._buffer: JitterBuffer | None = None
        self._past = Counts()
        """Of streams of other codecs before."""
        self._origin: float | None = None
        self._nominal = 0.0
        """Seconds of the step that is decoded now."""
        self._begun = False
        self.open = False
        self.dropped = 0
        self.heard = False
        """Somebody takes the sound: it comes in its time, and as frames."""
        self.played: Callable[[float], None] = lambda seconds: None
        """The decoder's thread tells it of each piece of sound."""
        self.deliver: Callable[[Any], None] = lambda frame: None
        """The decoder's thread calls it with each frame, while it is heard."""
        self.least = 0.0
        """Seconds that sound shall lag at least, for its pictures."""
        self.position: tuple[int, float, float] | None = None
        """RTP time of the packet that was played last, when that was, and its lag."""

    # --- the loop's side ---

    def put(self, item: tuple[Any, SoundFrame] | None) -> None:
        """For the receiver; None ends the thread after what is due."""
        if item is None:
            self._closed = True
            self._rouse()
            return
        if not self.open:
            self.dropped += 1
            self._counters["audio-before-gate"] += 1
        elif len(self._arrived) >= limits.DECODE_QUEUE_MAX:
            self._counters["audio-decoder-behind"] += 1
        else:
            self._arrived.append((*item, self._clock()))
            if self._waiting:
                self._rouse()

    def _rouse(self) -> None:
        with suppress(RuntimeError):  # it is not asleep
            self._sleep.release()

    @property
    def lag(self) -> float:
        """Seconds that sound waits here now, against the fastest packets."""
        return 0.0 if self._buffer is None else self._buffer.lag

    @property
    def rate(self) -> int:
        """Of the RTP clock of what is played, in Hz."""
        rate: int = opus.RATE if self._codec is None else self._codec.clockRate
        return rate

    @property
    def counts(self) -> Counts:
        """What became of the packets."""
        now = Counts() if self._buffer is None else self._buffer.counts
        return now.added_to(self._past)

    # --- the thread's side ---

    def get(self) -> tuple[Any, SoundStep] | None:
        """The next step when it is due; None: it is over."""
        while True:
            closed = self._closed
            now = self._clock()
            step = self._next(now)
            if step is not None:
                return self._codec, step
            if closed:
                return None
            due = None if self._buffer is None else self._buffer.deadline()
            self._waiting = due is None
            if not self._arrived:
                self._sleep.acquire(timeout=-1 if due is None else due + self._patience() - now)
            self._waiting = False

    def _patience(self) -> float:
        """Seconds that a step may wait for others to be decoded with it; the first one is told at once."""
        return 0.0 if self.heard or not self._begun else limits.UNTAKEN_WAIT

    def _next(self, now: float) -> SoundStep | None:
        """The next step that is due by ``now``."""
        patience = self._patience()
        while True:
            buffer = self._buffer
            due = None if buffer is None else buffer.deadline()
            moment = now if due is None else max(due, now - patience)
            if self._arrived and self._arrived[0][2] <= moment:
                self._take_packet(*self._arrived.popleft())
                continue
            if buffer is None or due is None or due > now:
                return None
            buffer.least = self.least
            step = buffer.take(moment)
            if step is not None:
                return self._step(step)

    def _take_packet(self, codec: Any, frame: SoundFrame, arrival: float) -> None:
        if codec is not self._codec and codec != self._codec:
            self._past = self.counts
            self._buffer = None
        if self._buffer is None:
            self._codec, self._opus = codec, codec.name.lower() == "opus"
            self._buffer = JitterBuffer(codec.clockRate)
        data = frame.data
        # G.711 and G.722 have one octet for each unit of the RTP clock (RFC 3551 sections 4.5.2, 4.5.14).
        length = opus.length(data) if self._opus else len(data)
        if length <= 0:
            self._counters["audio-malformed"] += 1
            return
        copied = opus.copied(data) if self._opus else 0
        self._buffer.put(
            SoundPacket(frame.ssrc, frame.sequence, frame.rtp_timestamp, data, length, copied), arrival
        )

    def _step(self, step: Step) -> SoundStep:
        if self._origin is None:
            self._origin = step.at
        if step.kind == "packet":
            self.position = step.timestamp, step.at, self.lag
        self._nominal = step.seconds
        return SoundStep(step, self._origin, self._decoded, wanted=self.heard)

    def _decoded(self, seconds: float) -> None:
        """The last step became so much sound."""
        assert self._buffer is not None, "the step came from it"
        self._buffer.played(seconds, self._nominal)
        self._begun = True
        self.played(seconds)
