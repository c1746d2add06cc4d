"""Sources: what an endpoint sends, when it is due. One thread takes each kind, and waits here until then.

Law 1: nothing leaves a track before the gate opens; then the first frame leaves at once, since decoding began
when the source was opened.
Law 2: a track never ends before it is closed: after the source's end come silence and the last picture, and
``on_ended`` is called once for each kind.
Law 3: sound and pictures keep one clock; a picture that is late is skipped, sound never is.
Law 4: a device that is unplugged ends nothing; silence and the last picture are sent until it is back.
Law 5: for what nobody wants nobody is woken: such a picture is passed over before it is due.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import av

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.readers import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE, VIDEO_BASE, Picture
from meshcall.aio.media.threads import Ahead, Feed, call_in_loop, call_in_thread, wait_threads
from meshcall.errors import SourceUnusable
from meshcall.media.plan import MediaKind, MediaPlan, SourceSpec, parse_source

T = TypeVar("T")

OnEnded = Callable[[MediaKind], None]

_GRACE = 0.1
"""Seconds that a picture may be late: a short stall costs no picture."""
_REPEAT_SECONDS = 0.1
"""Interval of the last picture after a source's end: enough for a peer that lost a packet."""
_LAG_MAX = 1.0
"""Seconds behind (a machine that slept) after which the clock is moved rather than caught up with."""
_LOOK_AHEAD = 0.1
"""Seconds before it is due that a picture may be passed over: three of them, of which one is waited for."""
_NAP = 0.07
"""Seconds that may be slept without looking whether everything is over: the longest packet of sound."""
_TONE_LEVEL = 0.25
"""Of full scale."""


class Pace:
    """The clock that both tracks of a source share; it starts when the gate opens."""

    def __init__(self) -> None:
        self._gate = threading.Event()
        self._over = threading.Event()
        self._start = 0.0
        self._lock = threading.Lock()
        """Of moving the clock."""

    def open(self) -> None:
        """Start; sending begins now."""
        if not self._gate.is_set():
            self._start = time.monotonic()
            self._gate.set()

    def close(self) -> None:
        """Whoever waits need not wait any more."""
        self._over.set()
        self._gate.set()

    def wait_open(self) -> bool:
        """Wait for the start; False: everything is over."""
        self._gate.wait()
        return not self._over.is_set()

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def age(self, seconds: float) -> float:
        """Seconds that have passed since ``seconds`` after the start."""
        return self.now() - seconds

    def wait_until(self, at: float) -> None:
        """Sleep until ``at`` seconds after the start, or until everything is over."""
        wait = at - self.now()
        if wait > _NAP:
            self._over.wait(wait)
        elif wait > 0:
            time.sleep(wait)
        elif wait < -_LAG_MAX:
            with self._lock:
                self._start += max(0.0, self.now() - at)  # the start moves to later


class _Track:
    """What both kinds share."""

    kind: MediaKind

    def __init__(self, pace: Pace, on_ended: OnEnded) -> None:
        self._pace = pace
        self._on_ended: OnEnded | None = on_ended
        self._loop = asyncio.get_running_loop()
        self.frames_sent = 0

    def _ended(self) -> None:
        """Report the end of the source, once; the close is none."""
        if not self._pace.wait_open():
            return
        report, self._on_ended = self._on_ended, None
        if report is not None:
            call_in_loop(self._loop, report, self.kind)


class SoundTrack(_Track):
    """20 ms of sound at a time."""

    kind: MediaKind = "audio"

    def __init__(
        self,
        pace: Pace,
        on_ended: OnEnded,
        feed: Feed[bytes] | None,
        tone: Tone | None,
        *,
        channels: int = 1,
        live: bool = False,
    ) -> None:
        """Sound comes from ``feed``, or from ``tone``. ``live``: what does not come in time is silence."""
        super().__init__(pace, on_ended)
        self._feed = feed
        self._tone = tone
        self._silence = readers.silence_of(channels)
        self._live = live
        self._gone = False

    def take(self, count: int) -> list[bytes] | None:
        """The next ``count`` times 20 ms, when the last of them are due; None: everything is over."""
        if not self._pace.wait_open():
            return None
        self._pace.wait_until((self.frames_sent + count - 1) * FRAME_SECONDS)
        frames = []
        for _ in range(count):
            frames.append(self._next())
            self.frames_sent += 1
        return frames if self._pace.wait_open() else None

    def _next(self) -> bytes:
        if self._tone is not None:
            return self._tone.next()
        assert self._feed is not None, "a sound track has a feed or a tone"
        if self._live:
            return self._heard(self._feed)
        self._feed.wait()
        octets = self._feed.pop()
        if octets is None:
            self._ended()
            return self._silence
        return octets

    def _heard(self, feed: Feed[bytes]) -> bytes:
        """From a device, which may be gone, and come back."""
        while self.frames_sent == 0 and feed.peek(1) is not None:
            feed.pop()  # what was said before the gate opened would stay as a delay
        self._gone = not feed.wait(0.0 if self._gone else limits.DEVICE_PATIENCE)
        return feed.pop() or self._silence


class PictureTrack(_Track):
    """Pictures as they are due."""

    kind: MediaKind = "video"

    def __init__(
        self, pace: Pace, on_ended: OnEnded, items: Feed[Picture] | Ahead[Picture], *, live: bool
    ) -> None:
        """``live``: pictures are due when they come."""
        super().__init__(pace, on_ended)
        self._items = items
        self._live = live
        self._last: av.VideoFrame | None = None
        self._last_at = -1.0
        self.frames_skipped = 0

    def next(self, wants: Callable[[int], bool] = lambda _: True) -> tuple[av.VideoFrame, int] | None:
        """The next picture that somebody wants, when it is due, and its time; None: everything is over.

        ``wants``: whether somebody does, by its time. The frame is shared, and may be the same again.
        """
        while self._pace.wait_open():
            item = self._item()
            frame, at = self._repeated() if item is None else self._due(item, wants)
            at = max(at, self._last_at + 0.001)
            pts = round(at / float(VIDEO_BASE))
            self._last, self._last_at = frame, at
            if wants(pts) and self._pace.wait_open():
                self.frames_sent += 1
                return frame, pts
        return None

    async def size(self) -> tuple[int, int] | None:
        """Width and height, when a picture was decoded; None if there is none. Only before the gate opens."""
        if self._items.peek() is None:
            with suppress(TimeoutError):
                await call_in_thread(self._items.wait, name="source-size", timeout=limits.SOURCE_OPEN_TIMEOUT)
        item = self._items.peek()
        return None if item is None else (item[1].width, item[1].height)

    def _due(self, item: Picture, wants: Callable[[int], bool]) -> tuple[av.VideoFrame, float]:
        if self._live:
            return (self._items.pop() or item)[1], self._pace.now()
        self._pace.wait_until(item[0] - _LOOK_AHEAD)
        if not wants(round(item[0] / float(VIDEO_BASE))):
            self._items.pop()
            return item[1], item[0]
        self._pace.wait_until(item[0])
        self._items.pop()
        # Who can't keep up gets fewer pictures, not later ones.
        late = self._pace.now() - _GRACE
        for _ in range(limits.SOURCE_VIDEO_QUEUE if item[0] < late else 0):
            following = self._items.peek()
            if following is None or following[0] >= late:
                break
            item = self._items.pop() or following
            self.frames_skipped += 1
        return item[1], item[0]

    def _item(self) -> Picture | None:
        """The next one; None: there is none any more, or none of a device for a second."""
        self._items.wait(limits.DEVICE_REPEAT if self._live and self._last is not None else None)
        return self._items.peek()

    def _repeated(self) -> tuple[av.VideoFrame, float]:
        if self._items.ended:
            self._ended()
        if self._last is None:
            return readers.black(), self._pace.now()
        self._pace.wait_until(self._last_at + _REPEAT_SECONDS)
        return self._last, self._pace.now()


class Tone:
    """A sine that goes on for ever, 20 ms at a time, mono."""

    def __init__(self, frequency: int) -> None:
        """``frequency``: whole Hz, so that a second at most repeats without a seam."""
        period = math.lcm(FRAME_SAMPLES, SAMPLE_RATE // math.gcd(SAMPLE_RATE, frequency))
        turn = 2 * math.pi * frequency / SAMPLE_RATE
        wave = (round(32767 * _TONE_LEVEL * math.sin(turn * index)) for index in range(period))
        octets, size = array("h", wave).tobytes(), 2 * FRAME_SAMPLES
        self._frames = [octets[at : at + size] for at in range(0, len(octets), size)]
        self._number = 0

    def next(self) -> bytes:
        """The next 20 ms."""
        octets = self._frames[self._number]
        self._number = (self._number + 1) % len(self._frames)
        return octets


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
        self.wanted: Callable[[], int] = lambda: limits.SOURCE_RATE_MAX
        """Tells how many pictures a second are any use; from any thread."""
        self._on_ended = on_ended
        self._feeds: list[Feed[bytes] | Feed[Picture] | Ahead[Picture]] = []
        self._threads: list[threading.Thread] = []

    def add_tone(self, frequency: int) -> None:
        """Send a sine."""
        self.sound = SoundTrack(self.pace, self._on_ended, None, Tone(frequency))

    def add_sound(self, container: av.container.InputContainer) -> None:
        """Send the sound of ``container``."""
        feed: Feed[bytes] = Feed(limits.SOURCE_AUDIO_QUEUE)
        self.channels = min(2, container.streams.audio[0].codec_context.channels)
        self.sound = SoundTrack(self.pace, self._on_ended, feed, None, channels=self.channels)
        self._read("sound", feed, partial(readers.read_sound, container, feed, self.channels))

    def add_pictures(self, container: av.container.InputContainer) -> None:
        """Send the pictures of ``container``."""
        feed: Feed[Picture] = Feed(limits.SOURCE_VIDEO_QUEUE)
        self.pictures = PictureTrack(self.pace, self._on_ended, feed, live=False)
        self._read("pictures", feed, partial(readers.read_pictures, container, feed))

    def add_drawn(self, pictures: Ahead[Picture]) -> None:
        """Send pictures that nothing is read for."""
        self.pictures = PictureTrack(self.pace, self._on_ended, pictures, live=False)
        self._feeds.append(pictures)

    def add_camera(self, device: readers.Device) -> None:
        """Send the pictures of a camera or a screen, as they come."""
        self.devices["camera"] = device
        feed: Feed[Picture] = Feed(1, newest=True)
        self.pictures = PictureTrack(self.pace, self._on_ended, feed, live=True)
        self._read("pictures", feed, partial(device.read_pictures, feed, time.monotonic))

    def add_microphone(self, device: readers.Device, channels: int) -> None:
        """Send the sound of a microphone, as it comes."""
        self.devices["microphone"] = device
        feed: Feed[bytes] = Feed(limits.SOURCE_MICROPHONE_QUEUE, newest=True)
        self.channels = min(2, channels)
        self.sound = SoundTrack(self.pace, self._on_ended, feed, None, channels=self.channels, live=True)
        self._read("sound", feed, partial(device.read_sound, feed, self.channels))

    def _read(self, what: str, feed: Feed[bytes] | Feed[Picture], run: Callable[[], None]) -> None:
        self._feeds.append(feed)
        self.start(f"source-{what}", run)

    def start(self, name: str, run: Callable[[], None]) -> None:
        """Run what reads the source or takes from it, in a thread of its own, which ends after the close."""
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def open_gate(self) -> None:
        """Let frames leave from now on."""
        self.pace.open()

    async def close(self) -> None:
        """Stop reading and end the threads; may be called again."""
        self.pace.close()
        for feed in self._feeds:
            feed.close()
        if await wait_threads(self._threads, 1.0):
            for feed in self._feeds:
                if isinstance(feed, Ahead):
                    feed.release()


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
            source.add_drawn(await _open(lambda: Ahead(readers.draw_test_pictures(lambda: source.wanted()))))
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

    Raises :class:`SourceUnusable`, also where ``plan`` is of pictures alone and there are none.
    """
    spec = parse_source(plan.source)
    if spec.kind == "file" and spec.path is not None:
        container = await _open(partial(readers.open_file, spec.path))
        seen = readers.has_kind(container, "video")
        container.close()
        if not seen and not plan.audio:
            raise SourceUnusable(f"{spec.path} has no pictures")
    openers = _devices(spec)
    for opener in openers if plan.audio else openers[:1]:
        if opener is not None:
            (await _open(opener)).close()


async def _open(opener: Callable[[], T]) -> T:
    try:
        return await call_in_thread(opener, name="source-open", timeout=limits.SOURCE_OPEN_TIMEOUT)
    except TimeoutError as error:
        raise SourceUnusable("the media source takes too long to open") from error
