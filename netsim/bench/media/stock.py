"""Stock aiortc as one end of a measured call: as its examples use it, nothing of meshcall in its way."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction

import av
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from netsim.bench.media.log import PlayedLog, SentLog
from netsim.bench.media.marks import SAMPLE_RATE, SOUND_SAMPLES
from netsim.bench.media.sources import Numbers, PictureForm

_CLOCK = 90_000


async def _until(due: float) -> None:
    wait = due - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)


class _Pictures(MediaStreamTrack):
    kind = "video"

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    async def recv(self) -> av.VideoFrame:
        await _until(self._numbers.next_picture_due())
        frame = self._numbers.picture()
        frame.pts = round(self._numbers.seconds * _CLOCK)
        frame.time_base = Fraction(1, _CLOCK)
        return frame


class _Sound(MediaStreamTrack):
    kind = "audio"

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self._numbers = numbers
        self._count = 0

    async def recv(self) -> av.AudioFrame:
        await _until(self._numbers.next_sound_due())
        frame = self._numbers.sound()
        frame.pts = self._count * SOUND_SAMPLES
        frame.time_base = Fraction(1, SAMPLE_RATE)
        self._count += 1
        return frame


class StockEngine:
    """Any number of calls that send the same."""

    def __init__(self, sent: SentLog, form: PictureForm | None, *, sound: bool, sends: bool) -> None:
        self._relay = MediaRelay()
        self._tracks: list[MediaStreamTrack] = []
        if sends:
            numbers = Numbers(sent, form)
            self._tracks += [_Sound(numbers)] if sound else []
            self._tracks += [_Pictures(numbers)] if form else []
        self._kinds = [*(["audio"] if sound else []), *(["video"] if form else [])]
        self._calls: dict[str, RTCPeerConnection] = {}
        self._readers: set[asyncio.Task[None]] = set()

    def _make(self, name: str, played: PlayedLog) -> RTCPeerConnection:
        # No server: aiortc's default one is on the internet.
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._calls[name] = pc

        @pc.on("track")
        def arrived(track: MediaStreamTrack) -> None:
            reader = asyncio.create_task(_read(track, played))
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)

        return pc

    async def offer(self, name: str, played: PlayedLog) -> str:
        """Our offer."""
        pc = self._make(name, played)
        for track in self._tracks:
            pc.addTrack(self._relay.subscribe(track))
        if not self._tracks:
            for kind in self._kinds:
                pc.addTransceiver(kind, "recvonly")
        await pc.setLocalDescription(await pc.createOffer())
        return str(pc.localDescription.sdp)

    async def answer(self, name: str, offer: str, played: PlayedLog) -> str:
        """Our answer."""
        pc = self._make(name, played)
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for track in self._tracks:
            pc.addTrack(self._relay.subscribe(track))
        await pc.setLocalDescription(await pc.createAnswer())
        return str(pc.localDescription.sdp)

    async def accept(self, name: str, answer: str) -> None:
        """Take the answer."""
        await self._calls[name].setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        """End all calls."""
        await asyncio.gather(*(pc.close() for pc in self._calls.values()))


async def _read(track: MediaStreamTrack, played: PlayedLog) -> None:
    try:
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame | av.VideoFrame), "receivers decode"
            played.take(frame)
    except MediaStreamError:
        pass  # it ended
