"""Receiving: each remote track is read for as long as it lives, whether anybody wants it or not.

Law 1: a track that is not read grows without bound in aiortc, so each has a pump from its first moment.
Law 2: before the gate is open nothing reaches a decoder.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import av
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from meshcall.aio.media.recorder import Recorder
from meshcall.aio.media.threads import wait_threads
from meshcall.aio.rtc import hooks
from meshcall.media.plan import MediaKind


class Reception:
    """Everything that arrives at one endpoint."""

    def __init__(self, counters: Counter[str], on_first: Callable[[MediaKind], None]) -> None:
        """``on_first`` is called with the first decoded frame of each kind."""
        self._counters = counters
        self._on_first = on_first
        self._queues: list[tuple[RTCRtpReceiver, hooks.DecoderQueue]] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._open = False
        self.recorder: Recorder | None = None
        self.frames: Counter[MediaKind] = Counter()
        self.audio_seconds = 0.0

    def prepare(self, receiver: RTCRtpReceiver, kind: MediaKind) -> None:
        """Take over a receiver before it starts."""
        self._queues.append((receiver, hooks.prepare_receiver(receiver, kind, self._counters)))

    def read(self, track: MediaStreamTrack) -> None:
        """Read ``track`` from now on."""
        kind: MediaKind = "audio" if track.kind == "audio" else "video"
        self._pumps.append(asyncio.create_task(self._pump(track, kind), name=f"pump-{kind}"))

    def open_gate(self, recorder: Recorder | None) -> None:
        """Decode, count and record from now on."""
        self.recorder = recorder
        self._open = True
        for receiver, decoder_queue in self._queues:
            decoder_queue.open = True
            if decoder_queue.dropped:
                hooks.request_keyframe(receiver)

    async def _pump(self, track: MediaStreamTrack, kind: MediaKind) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if self._open and isinstance(frame, av.AudioFrame | av.VideoFrame):
                self._take(kind, frame)

    def _take(self, kind: MediaKind, frame: av.AudioFrame | av.VideoFrame) -> None:
        self.frames[kind] += 1
        if self.frames[kind] == 1:
            self._on_first(kind)
        if isinstance(frame, av.AudioFrame):
            self.audio_seconds += frame.samples / frame.sample_rate
        if self.recorder is not None:
            self.recorder.put(kind, frame)

    async def stop_decoders(self) -> None:
        """End the decoder threads without holding up the loop."""
        threads = [hooks.stop_decoder(receiver) for receiver, _ in self._queues]
        await wait_threads([thread for thread in threads if thread is not None], 1.0)

    async def close(self) -> None:
        """Stop reading, and finish the recording."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self.recorder is not None:
            await self.recorder.close()
