"""Sources: what an endpoint sends, as tracks that aiortc's senders pull from.

Law 1: nothing leaves a track before the gate opens; then the first frame leaves at once, since decoding began
when the source was opened.
Law 2: a track never ends under its sender, because aiortc's sender ends for good with it: after the source's
end come silence and the last picture, and ``on_ended`` is called once for each kind.
Law 3: sound and pictures keep one clock; a picture that is late is skipped, sound never is.
Law 4: a device that is unplugged ends nothing; silence and the last picture are sent until it is back.
"""

from __future__ import annotations

import asyncio
import math
import threading
from array import array
from collections.abc import Callable
from functools import partial

import av
from aiortc import MediaStreamTrack

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.readers import (
    AUDIO_BASE,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    SAMPLE_RATE,
    VIDEO_BASE,
    Picture,
)
from meshcall.aio.media.threads import Feed, call_in_thread, wait_threads
from meshcall.errors import SourceUnusable
from meshcall.media.plan import MediaKind, MediaPlan, SourceSpec, parse_source

OnEnded = Callable[[MediaKind], None]

_GRACE = 0.1
"""Seconds that a picture may be late: a short stall costs no picture."""
_REPEAT_SECONDS = 0.1
"""Interval of the last picture after a source's end: enough for a peer that lost a packet."""
_LAG_MAX = 1.0
"""Seconds behind (a machine that slept) after which the clock is moved rather than caught up with."""
_FRAME_OCTETS = 4 * FRAME_SAMPLES
"""Of 20 ms of s16 stereo."""
_TONE_LEVEL = 0.25
"""Of full scale."""


class Pace:
    """The clock that both tracks of a source share; it starts when the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self._start = 0.0

    def open(self) -> None:
        """Start; sending begins now."""
        if not self.gate.is_set():
            self._start = asyncio.get_running_loop().time()
            self.gate.set()

    def now(self) -> float:
        """Seconds since the start."""
        return asyncio.get_running_loop().time() - self._start

    async def wait_until(self, at: float) -> None:
        """Sleep until ``at`` seconds after the start."""
        wait = at - self.now()
        if wait > 0:
            await asyncio.sleep(wait)
        elif wait < -_LAG_MAX:
            self._start -= wait  # negative: the start moves to later


class _Track(MediaStreamTrack):
    """What both kinds share."""

    def __init__(self, pace: Pace, on_ended: OnEnded) -> None:
        super().__init__()
        self._pace = pace
        self._on_ended: OnEnded | None = on_ended
        self.frames_sent = 0

    def _ended(self) -> None:
        """Report the end of the source, once."""
        report, self._on_ended = self._on_ended, None
        if report is not None:
            report("audio" if self.kind == "audio" else "video")


class SoundTrack(_Track):
    """20 ms of sound at a time."""

    kind = "audio"

    def __init__(
        self,
        pace: Pace,
        on_ended: OnEnded,
        feed: Feed[av.AudioFrame] | None,
        tone: Tone | None,
        *,
        live: bool = False,
    ) -> None:
        """Sound comes from ``feed``, or from ``tone``. ``live``: what does not come in time is silence."""
        super().__init__(pace, on_ended)
        self._feed = feed
        self._tone = tone
        self._live = live
        self._gone = False

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when they are due."""
        await self._pace.gate.wait()
        await self._pace.wait_until(self.frames_sent * FRAME_SECONDS)
        frame = await self._next()
        frame.pts = self.frames_sent * FRAME_SAMPLES
        frame.time_base = AUDIO_BASE
        self.frames_sent += 1
        return frame

    async def _next(self) -> av.AudioFrame:
        if self._tone is not None:
            return self._tone.next()
        assert self._feed is not None, "a sound track has a feed or a tone"
        if self._live:
            return await self._heard(self._feed)
        await self._feed.wait()
        if self._feed.peek() is None:
            self._ended()
            return readers.silence()
        return self._feed.pop()

    async def _heard(self, feed: Feed[av.AudioFrame]) -> av.AudioFrame:
        """From a device, which may be gone, and come back."""
        while self.frames_sent == 0 and feed.peek(1) is not None:
            feed.pop()  # what was said before the gate opened would stay as a delay
        self._gone = not await feed.wait_for(0.0 if self._gone else limits.DEVICE_PATIENCE)
        return readers.silence() if self._gone else feed.pop()


class PictureTrack(_Track):
    """Pictures as they are due."""

    kind = "video"

    def __init__(self, pace: Pace, on_ended: OnEnded, feed: Feed[Picture], *, live: bool) -> None:
        """``live``: pictures are due when they come."""
        super().__init__(pace, on_ended)
        self._feed = feed
        self._live = live
        self._last: av.VideoFrame | None = None
        self._last_at = -1.0
        self.frames_skipped = 0

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        await self._pace.gate.wait()
        item = await self._item()
        frame, at = await (self._repeated() if item is None else self._due(item))
        at = max(at, self._last_at + 0.001)
        frame.pts = round(at / float(VIDEO_BASE))
        frame.time_base = VIDEO_BASE
        self._last, self._last_at = frame, at
        self.frames_sent += 1
        return frame

    async def size(self) -> tuple[int, int] | None:
        """Width and height, as soon as a picture was decoded; None if there is none."""
        await self._feed.wait()
        item = self._feed.peek()
        return None if item is None else (item[1].width, item[1].height)

    async def _due(self, item: Picture) -> tuple[av.VideoFrame, float]:
        if self._live:
            return self._feed.pop()[1], self._pace.now()
        await self._pace.wait_until(item[0])
        if self._feed.peek() is not None:
            self._feed.pop()
        # An encoder that can't keep up gets fewer pictures, not later ones.
        while (following := self._feed.peek()) is not None and following[0] < self._pace.now() - _GRACE:
            item = self._feed.pop()
            self.frames_skipped += 1
        return item[1], item[0]

    async def _item(self) -> Picture | None:
        """The next one; None: there is none any more, or none of a device for a second."""
        if self._live and self._last is not None:
            await self._feed.wait_for(limits.DEVICE_REPEAT)
        else:
            await self._feed.wait()
        return self._feed.peek()

    async def _repeated(self) -> tuple[av.VideoFrame, float]:
        if self._feed.ended:
            self._ended()
        if self._last is None:
            return readers.black(), self._pace.now()
        await self._pace.wait_until(self._last_at + _REPEAT_SECONDS)
        return self._last, self._pace.now()


class Tone:
    """A sine that goes on for ever, 20 ms at a time."""

    def __init__(self, frequency: int) -> None:
        """``frequency``: whole Hz, so that a second at most repeats without a seam."""
        period = SAMPLE_RATE // math.gcd(SAMPLE_RATE, frequency)
        wave = array("h")
        for index in range(period):
            value = round(32767 * _TONE_LEVEL * math.sin(2 * math.pi * frequency * index / SAMPLE_RATE))
            wave.extend((value, value))
        octets = wave.tobytes()
        self._period = len(octets)
        self._octets = octets * (_FRAME_OCTETS // len(octets) + 2)
        self._position = 0

    def next(self) -> av.AudioFrame:
        """The next 20 ms."""
        frame = av.AudioFrame(format="s16", layout="stereo", samples=FRAME_SAMPLES)
        octets = self._octets[self._position : self._position + _FRAME_OCTETS]
        frame.planes[0].update(octets + bytes(frame.planes[0].buffer_size - _FRAME_OCTETS))
        frame.sample_rate = SAMPLE_RATE
        self._position = (self._position + _FRAME_OCTETS) % self._period
        return frame


class Source:
    """An opened source with its tracks; decoding ahead has begun."""

    def __init__(self, on_ended: OnEnded) -> None:
        self.pace = Pace()
        self.sound: SoundTrack | None = None
        self.pictures: PictureTrack | None = None
        self.channels = 1
        """Of the sound: 1 or 2, where 1 has two equal ones."""
        self.devices: dict[str, readers.Device] = {}
        """``camera`` (or a screen), ``microphone``: those that there are."""
        self._on_ended = on_ended
        self._feeds: list[Feed[av.AudioFrame] | Feed[Picture]] = []
        self._threads: list[threading.Thread] = []

    def add_tone(self, frequency: int) -> None:
        """Send a sine."""
        self.sound = SoundTrack(self.pace, self._on_ended, None, Tone(frequency))

    def add_sound(self, container: av.container.InputContainer) -> None:
        """Send the sound of ``container``."""
        feed: Feed[av.AudioFrame] = Feed(limits.SOURCE_AUDIO_QUEUE)
        self.channels = min(2, container.streams.audio[0].codec_context.channels)
        self.sound = SoundTrack(self.pace, self._on_ended, feed, None)
        self._start("sound", feed, partial(readers.read_sound, container, feed))

    def add_pictures(self, container: av.container.InputContainer) -> None:
        """Send the pictures of ``container``."""
        feed: Feed[Picture] = Feed(limits.SOURCE_VIDEO_QUEUE)
        self.pictures = PictureTrack(self.pace, self._on_ended, feed, live=False)
        self._start("pictures", feed, partial(readers.read_pictures, container, feed))

    def add_camera(self, device: readers.Device) -> None:
        """Send the pictures of a camera or a screen, as they come."""
        self.devices["camera"] = device
        feed: Feed[Picture] = Feed(1, newest=True)
        clock = asyncio.get_running_loop().time
        self.pictures = PictureTrack(self.pace, self._on_ended, feed, live=True)
        self._start("pictures", feed, partial(device.read_pictures, feed, clock))

    def add_microphone(self, device: readers.Device, channels: int) -> None:
        """Send the sound of a microphone, as it comes."""
        self.devices["microphone"] = device
        feed: Feed[av.AudioFrame] = Feed(limits.SOURCE_MICROPHONE_QUEUE, newest=True)
        self.channels = min(2, channels)
        self.sound = SoundTrack(self.pace, self._on_ended, feed, None, live=True)
        self._start("sound", feed, partial(device.read_sound, feed))

    def _start(self, what: str, feed: Feed[av.AudioFrame] | Feed[Picture], run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=f"source-{what}", daemon=True)
        self._feeds.append(feed)
        self._threads.append(thread)
        thread.start()

    def open_gate(self) -> None:
        """Let frames leave from now on."""
        self.pace.open()

    async def close(self) -> None:
        """Stop reading and end the threads; may be called again."""
        for track in (self.sound, self.pictures):
            if track is not None:
                track.stop()
        for feed in self._feeds:
            feed.close()
        await wait_threads(self._threads, 1.0)


async def open_source(plan: MediaPlan, on_ended: OnEnded) -> Source:
    """Open what ``plan`` sends; raises :class:`SourceUnusable`."""
    spec = parse_source(plan.source)
    source = Source(on_ended)
    try:
        await _add(source, spec, plan)
    except SourceUnusable:
        await source.close()
        raise
    return source


async def _add(source: Source, spec: SourceSpec, plan: MediaPlan) -> None:
    if spec.kind == "testsrc":
        if plan.audio:
            source.add_tone(spec.tone)
        if plan.video:
            source.add_pictures(await _open(readers.open_test_picture))
    elif spec.kind == "file":
        await _add_file(source, spec, plan)
    else:
        seen, heard = _devices(spec)
        if seen is not None and plan.video:
            source.add_camera(readers.Device(await _open(seen), seen))
        if heard is not None and plan.audio:
            container = await _open(heard)
            channels = container.streams.audio[0].codec_context.channels
            source.add_microphone(readers.Device(container, heard), channels)


_Opener = Callable[[], av.container.InputContainer]


def _devices(spec: SourceSpec) -> tuple[_Opener | None, _Opener | None]:
    """What opens the camera or screen, and the microphone, of a source."""
    seen: _Opener | None = None
    if spec.kind == "camera":
        seen = partial(readers.open_camera, spec.camera)
    elif spec.kind == "screen":
        seen = partial(readers.open_screen, spec.display)
    return seen, partial(readers.open_microphone, spec.microphone) if spec.microphone else None


async def _add_file(source: Source, spec: SourceSpec, plan: MediaPlan) -> None:
    assert spec.path is not None, "a file source has a path"
    # Each kind reads the file for itself, so that bad interleaving can't hold one up for the other.
    container = await _open(partial(readers.open_file, spec.path))
    sound = plan.audio and readers.has_kind(container, "audio")
    pictures = plan.video and readers.has_kind(container, "video")
    if sound and pictures:
        try:
            source.add_pictures(await _open(partial(readers.open_file, spec.path)))
        except SourceUnusable:
            container.close()
            raise
    elif pictures:
        source.add_pictures(container)
    if sound:
        source.add_sound(container)
    elif not pictures:
        container.close()


async def check_source(plan: MediaPlan) -> None:
    """Find out, before anybody's phone rings, whether the source can be sent.

    Raises :class:`SourceUnusable`.
    """
    spec = parse_source(plan.source)
    if spec.kind == "file" and spec.path is not None:
        (await _open(partial(readers.open_file, spec.path))).close()
    for opener in _devices(spec):
        if opener is not None:
            (await _open(opener)).close()


async def _open(opener: _Opener) -> av.container.InputContainer:
    try:
        return await call_in_thread(opener, name="source-open", timeout=limits.SOURCE_OPEN_TIMEOUT)
    except TimeoutError as error:
        raise SourceUnusable("the media source takes too long to open") from error
