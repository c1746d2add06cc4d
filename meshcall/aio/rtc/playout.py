"""Playing a stream of sound: packets from the loop on one side, steps for the decoder's thread on the other.

The decoder's thread is the clock: it waits for the next step's time rather than for a packet, so what it
gives keeps time however the packets come and however busy the loop is.

Law 1: the loop never waits: it leaves packets and goes on.
Law 2: nothing is kept, let alone decoded, before the gate is open.
Law 3: what is kept is bounded here and in the jitter buffer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from meshcall import limits
from meshcall.aio.rtc.reorder import Packet
from meshcall.aio.rtc.sound import SoundFrame, SoundStep
from meshcall.media import opus
from meshcall.media.jitter import Counts, JitterBuffer, SoundPacket


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
        self._wake = threading.Event()
        self._codec: Any = None
        self._buffer: JitterBuffer | None = None
        self._past = Counts()
        """Of streams of other codecs before."""
        self._origin: float | None = None
        self.open = False
        self.dropped = 0
        self.wait = 0.0
        """Seconds that sound shall wait longer, for its pictures."""
        self.position: tuple[int, float] | None = None
        """RTP time of the packet that was played last, and when."""

    # --- the loop's side ---

    def put(self, item: tuple[Any, SoundFrame] | None) -> None:
        """For the receiver; None ends the thread at once."""
        if item is None:
            self._closed = True
            self._wake.set()
            return
        if not self.open:
            self.dropped += 1
            self._counters["audio-before-gate"] += 1
        elif len(self._arrived) >= limits.DECODE_QUEUE_MAX:
            self._counters["audio-decoder-behind"] += 1
        else:
            self._arrived.append((*item, self._clock()))
            if self._waiting:
                self._wake.set()

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
        while not self._closed:
            self._wake.clear()
            self._take_arrived()
            step = self._due()
            if step is not None:
                return self._codec, step
            due = None if self._buffer is None else self._buffer.deadline()
            self._waiting = due is None
            if not self._arrived:
                self._wake.wait(None if due is None else max(0.0, due - self._clock()))
            self._waiting = False
        return None

    def _take_arrived(self) -> None:
        while self._arrived:
            codec, frame, arrival = self._arrived.popleft()
            length = _length(codec, frame.data)
            if length <= 0:
                self._counters["audio-malformed"] += 1
                continue
            if self._buffer is None or codec != self._codec:
                self._past = self.counts
                self._buffer = JitterBuffer(codec.clockRate)
                self._codec = codec
            copied = opus.copied(frame.data) if codec.name.lower() == "opus" else 0
            self._buffer.put(
                SoundPacket(frame.ssrc, frame.sequence, frame.rtp_timestamp, frame.data, length, copied),
                arrival,
            )

    def _due(self) -> SoundStep | None:
        buffer = self._buffer
        if buffer is not None:
            buffer.wait = self.wait
        step = None if buffer is None else buffer.take(self._clock())
        if buffer is None or step is None:
            return None
        if self._origin is None:
            self._origin = step.at
        if step.kind == "packet":
            self.position = step.timestamp, step.at
        return SoundStep(step, self._origin, lambda seconds: buffer.played(seconds, step.seconds))


def _length(codec: Any, data: bytes) -> int:
    """Of a packet, in units of the RTP clock; 0: it is none.

    G.711 and G.722 have one octet for each unit (RFC 3551 sections 4.5.2, 4.5.14).
    """
    return opus.length(data) if codec.name.lower() == "opus" else len(data)
