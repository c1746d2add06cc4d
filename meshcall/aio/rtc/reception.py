"""Receiving: each remote stream is decoded for as long as it lives, whether anybody wants it or not.

Law 1: aiortc's tracks stay empty: frames go from the decoder's thread to whoever takes them.
Law 2: before the gate is open nothing reaches a decoder.
Law 3: a shared screen is counted and recorded apart from the camera.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import av
from aiortc import RTCRtpReceiver, RTCRtpTransceiver

from meshcall.aio.media.mixer import Part
from meshcall.aio.media.recorder import Recorder
from meshcall.aio.media.threads import wait_threads
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.holding import Holding
from meshcall.aio.rtc.intake import Frame, Intake
from meshcall.aio.rtc.pictures import DecoderQueue, Pictures
from meshcall.aio.rtc.playout import Playout
from meshcall.media.jitter import Counts
from meshcall.media.plan import MediaKind
from meshcall.media.repair import FreezeWatch
from meshcall.media.sync import Sync

What = Literal["audio", "video", "screen"]
"""What a track carries."""


@dataclass(frozen=True, slots=True)
class Freezes:
    """Of one kind of pictures."""

    count: int
    seconds: float
    longest: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class _Stream:
    what: What
    part: Pictures | Playout
    intake: Intake


class Reception:
    """Everything that arrives at one endpoint."""

    def __init__(self, counters: Counter[str], on_first: Callable[[MediaKind], None]) -> None:
        """``on_first`` is called with the first decoded frame of each kind."""
        self._counters = counters
        self._on_first = on_first
        self._streams: dict[RTCRtpReceiver, _Stream] = {}
        self._playouts: tuple[Playout, ...] = ()
        """Of these streams; never changed, only replaced: threads go through it."""
        self._told: set[What] = set()
        """The kinds of which ``on_first`` knows."""
        self._estimation = hooks.Estimation(asyncio.get_running_loop().time)
        self._open = False
        self._record_screen: Callable[[], Recorder] | None = None
        self._join_mix: Callable[[], Part] | None = None
        self._mixed: dict[What, Part] = {}
        """The member, as "video", and its screen, in the recording of the room."""
        self._lost: Counter[What] = Counter()
        self._played = Counts()
        """By receivers that were renewed."""
        self._repaired: Counter[What] = Counter()
        self._freezes: dict[What, list[FreezeWatch]] = {"video": [], "screen": []}
        """Of all receivers so far."""
        self._rtt: float | None = None
        self._sync = Sync(48_000, 90_000)
        self._position: tuple[int, float, float] | None = None
        self._camera: DecoderQueue | None = None
        self._holding = Holding(partial(self._record, "video"))
        self._frames: Counter[What] = Counter()
        """Of receivers that were renewed, like the seconds."""
        self._seconds = 0.0
        self.recorder: Recorder | None = None
        self.screen_recorder: Recorder | None = None
        self.heights: dict[What, int] = {}
        """Of the last picture of each."""

    def prepare(self, receiver: RTCRtpReceiver, what: What) -> None:
        """Take over a receiver before it starts. Idempotent."""
        if receiver in self._streams:
            return
        intake = Intake(partial(self._began, what), partial(self._take, what))
        stream: Playout | Pictures
        if what == "audio":
            stream = hooks.prepare_sound(receiver, self._counters)
            stream.played, stream.deliver = intake.count, intake.put
            hooks.tap_receiver(receiver, self._sync.sound_reported)
        else:
            stream = hooks.prepare_pictures(receiver, what, self._counters)
            stream.queue.deliver = partial(self._decoded, what, intake, stream.queue)
            self._estimation.watch(receiver)
            stream.queued = lambda: self._estimation.arrivals.lateness
            if what == "video":
                hooks.tap_receiver(receiver, self._sync.pictures_reported)
                self._camera = stream.queue
            self._freezes[what].append(stream.freezes)
            if self._rtt is not None:
                stream.measured(self._rtt)
        hooks.report_together(receiver)
        self._streams[receiver] = _Stream(what, stream, intake)
        self._playouts = self._all_playouts()
        if self._open:
            self._open_stream(self._streams[receiver])

    async def renew(self, transceiver: RTCRtpTransceiver) -> None:
        """The stream of a transceiver is over, or another one comes: receive that as if it were the first."""
        receiver = transceiver.receiver
        renewed = self._streams[receiver]
        what, stream = renewed.what, renewed.part
        thread = hooks.stop_decoder(receiver)
        await wait_threads([] if thread is None else [thread], 1.0)
        await hooks.renew_receiver(transceiver)
        self._lost[what] += hooks.packets_lost(receiver)
        if isinstance(stream, Playout):
            self._played = self._played.added_to(stream.counts)
        else:
            stream.close()
            self._repaired[what] += stream.repaired
        self._frames[what] += renewed.intake.frames
        self._seconds += renewed.intake.seconds
        del self._streams[receiver]
        if what == "screen" and "screen" in self._mixed:
            self._mixed.pop("screen").leave()
        self.prepare(transceiver.receiver, what)

    def lost(self, what: What) -> int:
        """RTP packets that did not arrive."""
        lost = sum(hooks.packets_lost(one) for one, stream in self._streams.items() if stream.what == what)
        return lost + self._lost[what]

    @property
    def sound(self) -> Counts:
        """What became of the packets of sound."""
        total = self._played
        for playout in self._playouts:
            total = total.added_to(playout.counts)
        return total

    @property
    def sound_lag(self) -> float:
        """Seconds that sound waits until it is played, after the fastest packets."""
        return max((playout.lag for playout in self._playouts), default=0.0)

    def frames(self, what: What) -> int:
        """Pictures, or pieces of sound, that were decoded."""
        return self._frames[what] + sum(
            one.intake.frames for one in self._streams.values() if one.what == what
        )

    @property
    def audio_seconds(self) -> float:
        """Of sound that was decoded and played."""
        return self._seconds + sum(one.intake.seconds for one in self._streams.values())

    def _all_playouts(self) -> tuple[Playout, ...]:
        return tuple(one.part for one in self._streams.values() if isinstance(one.part, Playout))

    def _pictures(self) -> list[tuple[What, Pictures]]:
        return [(one.what, one.part) for one in self._streams.values() if isinstance(one.part, Pictures)]

    def repaired(self, what: What) -> int:
        """Packets of pictures that were lost and came when they were asked for."""
        return self._repaired[what] + sum(
            one.repaired for carries, one in self._pictures() if carries == what
        )

    def freezes(self, what: What) -> Freezes:
        """How often pictures stood still, and for how long."""
        watches = self._freezes.get(what, [])
        return Freezes(
            sum(one.freezes for one in watches),
            sum(one.frozen for one in watches),
            max((one.longest for one in watches), default=0.0),
        )

    def measured(self, rtt: float) -> None:
        """The path's round trip is ``rtt`` seconds."""
        self._rtt = rtt
        for _, pictures in self._pictures():
            pictures.measured(rtt)

    def open_gate(
        self,
        recorder: Recorder | None,
        record_screen: Callable[[], Recorder] | None,
        join_mix: Callable[[], Part] | None = None,
    ) -> None:
        """Decode, count and record from now on. ``record_screen``: called with the first screen.

        ``join_mix``: takes part in the recording of the room; called now, and with the first screen.
        """
        self.recorder = recorder
        self._record_screen = record_screen
        self._join_mix = join_mix
        if join_mix is not None:
            self._mixed["video"] = join_mix()
        self._open = True
        for stream in self._streams.values():
            self._open_stream(stream)

    def _open_stream(self, stream: _Stream) -> None:
        if stream.what == "screen":
            stream.intake.taken = self._record_screen is not None or self._join_mix is not None
        else:
            stream.intake.taken = self.recorder is not None or "video" in self._mixed
        if isinstance(stream.part, Playout):
            stream.part.heard = stream.intake.taken
            stream.part.open = True
            return
        stream.part.queue.seen = stream.intake.taken
        stream.part.queue.open = True
        if stream.part.queue.dropped:
            stream.part.begin_again()

    # --- in the threads of decoders ---

    def _decoded(self, what: What, intake: Intake, pictures: DecoderQueue, frame: av.VideoFrame) -> None:
        self.heights[what] = frame.height
        intake.count()
        if what == "video" and frame.pts is not None:
            came = time.monotonic() if pictures.seen else pictures.came
            self._synchronise(pictures.rtp_timestamp(frame.pts), came)
        intake.put(frame)

    def _synchronise(self, timestamp: int, came: float) -> None:
        """A picture came from its decoder, or would have, if it were taken: see how far sound is."""
        for playout in self._playouts:
            position = playout.position
            if position is not None and position != self._position:
                self._position = position
                self._sync.sound.rate = playout.rate
                self._sync.sound_played(*position)
            playout.least = self._sync.least
        self._sync.picture_came(timestamp, came)

    # --- on the loop ---

    @property
    def offset(self) -> float | None:
        """Seconds that sound comes out later than the picture of the same moment; None: not known."""
        return self._sync.offset

    def _began(self, what: What) -> None:
        if what != "screen" and what not in self._told:
            self._told.add(what)
            self._on_first(what)

    def _take(self, what: What, frame: Frame) -> None:
        if what == "screen":
            self._take_screen(frame)
        elif what == "video":
            self._holding.put(frame, self._hold(frame))
        else:
            self._record(what, frame)

    def _hold(self, frame: Frame) -> float:
        """Seconds that a picture waits for its sound."""
        if self._camera is None or frame.pts is None:
            return 0.0
        return self._sync.hold(self._camera.rtp_timestamp(frame.pts), time.monotonic())

    def _record(self, what: MediaKind, frame: Frame) -> None:
        if "video" in self._mixed:
            self._mixed["video"].put(frame)  # copies sound, which the recorder changes
        if self.recorder is not None:
            self.recorder.put(what, frame)

    def _take_screen(self, frame: Frame) -> None:
        if self.screen_recorder is None and self._record_screen is not None:
            self.screen_recorder = self._record_screen()
        if self.screen_recorder is not None:
            self.screen_recorder.put("video", frame)
        if self._join_mix is not None:
            if "screen" not in self._mixed:
                self._mixed["screen"] = self._join_mix()
            self._mixed["screen"].put(frame)

    async def stop_decoders(self) -> None:
        """End the decoder threads without holding up the loop."""
        for _, pictures in self._pictures():
            pictures.close()
        threads = [hooks.stop_decoder(receiver) for receiver in self._streams]
        await wait_threads([thread for thread in threads if thread is not None], 1.0)

    async def close(self) -> None:
        """Take nothing more, and finish the recording."""
        for stream in self._streams.values():
            stream.intake.taken = False
        self._holding.close()
        self._record_screen = self._join_mix = None
        for part in self._mixed.values():
            part.leave()
        for recorder in (self.recorder, self.screen_recorder):
            if recorder is not None:
                await recorder.close()
