"""The mixer: records a room, with all voices in one and all members in one picture; a thread does the work.

Law 1: a recording that fails ends no call; it is told to each member's link, and what was written is kept.
Law 2: when the disk or the processor is behind, pictures are left out first, then sound, both counted; what
waits is bounded.
Law 3: frames are read and never changed: others encode and record the same ones.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.video.reformatter import VideoReformatter

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.matroska import Matroska
from meshcall.aio.media.readers import FRAME_SAMPLES, SAMPLE_RATE
from meshcall.aio.media.recorder import sentence
from meshcall.aio.media.threads import wait_threads
from meshcall.aio.media.writer import Frame, seconds_of
from meshcall.errors import FileError
from meshcall.media.mixing import BLOCK_VALUES, SoundMix, Stage, Ticks, Tile, tiles

OnFailed = Callable[[str], None]


class Part:
    """Who is recorded: a member, ourselves, or a shared screen."""

    def __init__(self, mixer: Mixer, on_failed: OnFailed | None) -> None:
        self._mixer = mixer
        self.on_failed = on_failed

    def put(self, frame: Frame) -> None:
        """Record ``frame``, which is heard or seen now."""
        self._mixer.put(self, frame)

    def leave(self) -> None:
        """Nothing more of it is recorded; its place goes to others. Idempotent."""
        self._mixer.leave(self)


@dataclass(frozen=True, slots=True)
class _Sound:
    """A copy of a frame of s16: whose it is may change in another thread."""

    who: Part
    data: bytes
    samples: int
    rate: int
    stereo: bool
    time: float
    arrival: float


class Mixer:
    """Records one room to one file."""

    def __init__(self, path: Path, *, pictures: bool) -> None:
        """The file is made at once. ``pictures``: not sound alone."""
        self._path = path
        self._pictures = pictures
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._parts: list[Part] = []
        self._sounds: queue.SimpleQueue[_Sound] = queue.SimpleQueue()
        self._octets_put = 0  # written by the loop only
        self._octets_done = 0  # written by the thread only
        self._left: queue.SimpleQueue[Part] = queue.SimpleQueue()
        self._stage: Stage[av.VideoFrame] = Stage()
        self._lock = threading.Lock()
        """Of the stage."""
        self._failed = False
        self._closing = threading.Event()
        self.counters: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="mixer", daemon=True)
        self._thread.start()

    # --- the loop's side ---

    def part(self, on_failed: OnFailed | None = None, *, seen: bool = True) -> Part:
        """Somebody is recorded from now on. ``seen``: with a place in the picture.

        ``on_failed`` is called at most once, with a sentence.
        """
        part = Part(self, on_failed)
        self._parts.append(part)
        if seen:
            with self._lock:
                self._stage.enter(part)
        return part

    def leave(self, part: Part) -> None:
        """See :meth:`Part.leave`."""
        if part in self._parts:
            self._parts.remove(part)
            self._left.put(part)
            with self._lock:
                self._stage.leave(part)

    def put(self, part: Part, frame: Frame) -> None:
        """See :meth:`Part.put`."""
        if self._failed or self._closing.is_set() or part not in self._parts:
            return
        now = self._loop.time() - self._start
        if isinstance(frame, av.VideoFrame):
            with self._lock:
                self._stage.put(part, frame, now)
            return
        stereo = len(frame.layout.channels) == 2
        octets = frame.samples * (4 if stereo else 2)
        if self._octets_put - self._octets_done + octets > limits.MIX_QUEUE_MAX:
            self.counters["sound-not-mixed"] += 1
            return
        self._octets_put += octets
        data = bytes(frame.planes[0])[:octets]
        self._sounds.put(_Sound(part, data, frame.samples, frame.sample_rate, stereo, seconds_of(frame), now))

    async def close(self) -> None:
        """Write what is there, and the index; may be called again."""
        self._closing.set()
        if not await wait_threads([self._thread], limits.RECORD_CLOSE_TIMEOUT):
            self._report("the recording of the room could not be finished in time")
        await asyncio.sleep(0)  # for a report of the thread that is on its way

    def _report(self, message: str) -> None:
        for part in self._parts:
            report, part.on_failed = part.on_failed, None
            if report is not None:
                report(message)

    # --- the thread's side ---

    def _run(self) -> None:
        file: Matroska | None = None
        try:
            size = (limits.MIX_WIDTH, limits.MIX_HEIGHT) if self._pictures else None
            file = Matroska(self._path, size, sound=True)
            self._record(file)
            file.finish()
        except (FileError, OSError, av.error.FFmpegError, ValueError) as error:
            self._failed = True
            if file is not None:
                with suppress(OSError, av.error.FFmpegError, ValueError):
                    file.abandon()
            message = sentence(error, self._path)
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._report, message)

    def _record(self, file: Matroska) -> None:
        sound, ticks, canvas = _SoundIn(), Ticks(), _Canvas()
        closing = False
        while not closing:
            closing = self._closing.wait(max(0.0, ticks.wait(self._now())))
            self._mix(file, sound, self._now() + (limits.MIX_WAIT if closing else 0.0))
            began = self._now()
            at = ticks.due(began)
            if at is not None and self._pictures:
                with self._lock:
                    shown = self._stage.look(at)
                if canvas.paint(shown):
                    file.put_picture(canvas.frame, at)
                ticks.made(began, self._now())

    def _now(self) -> float:
        return self._loop.time() - self._start

    def _mix(self, file: Matroska, sound: _SoundIn, until: float) -> None:
        """All sound that is there, and that may go into the file."""
        with suppress(queue.Empty):
            while True:
                one = self._sounds.get_nowait()
                self._octets_done += len(one.data)
                left_out = sound.put(one)
                if left_out:
                    self.counters["sound-not-mixed"] += left_out
        with suppress(queue.Empty):
            while True:
                sound.leave(self._left.get_nowait())
        while (block := sound.mix.take(until)) is not None:
            at, values = block
            piece = readers.silence()
            piece.planes[0].update(values.tobytes().ljust(piece.planes[0].buffer_size, b"\0"))
            file.put_sound(piece, round(at * SAMPLE_RATE))


class _SoundIn:
    """Sound of all, on its way into the mix: as blocks of one form."""

    def __init__(self) -> None:
        self.mix = SoundMix()
        self._resamplers: dict[Part, tuple[tuple[int, bool], av.AudioResampler]] = {}

    def put(self, sound: _Sound) -> int:
        """How many blocks of it were left out."""
        form = sound.rate, sound.stereo
        known, resampler = self._resamplers.get(sound.who, (None, None))
        if resampler is None or known != form:
            resampler = readers.sound_resampler()
            self._resamplers[sound.who] = form, resampler
        frame = av.AudioFrame(
            format="s16", layout="stereo" if sound.stereo else "mono", samples=sound.samples
        )
        frame.sample_rate = sound.rate
        frame.planes[0].update(sound.data.ljust(frame.planes[0].buffer_size, b"\0"))
        blocks = []
        for piece in resampler.resample(frame):
            values = array("h")
            values.frombytes(bytes(piece.planes[0])[: 4 * FRAME_SAMPLES])
            assert len(values) == BLOCK_VALUES, "the resampler makes whole blocks"
            blocks.append(values)
        return self.mix.put(sound.who, blocks, sound.time, sound.arrival)

    def leave(self, who: Part) -> None:
        self._resamplers.pop(who, None)
        self.mix.leave(who)


class _Canvas:
    """The picture of all."""

    def __init__(self) -> None:
        self.frame = readers.black(limits.MIX_WIDTH, limits.MIX_HEIGHT)
        self._painted: list[av.VideoFrame | None] | None = None
        self._scaler = VideoReformatter()
        """Our own: that of a frame is shared by all threads that scale it, and crashes."""

    def paint(self, shown: list[av.VideoFrame | None]) -> bool:
        """Show these; whether it is another picture now."""
        if self._painted is not None and len(shown) == len(self._painted):
            before: list[av.VideoFrame | None] = self._painted
        else:
            _fill(self.frame, Tile(0, 0, limits.MIX_WIDTH, limits.MIX_HEIGHT))
            before = [None] * len(shown)
        changed = before is not self._painted
        places = tiles(len(shown), limits.MIX_WIDTH, limits.MIX_HEIGHT)
        for place, old, new in zip(places, before, shown, strict=True):
            if new is old:
                continue
            changed = True
            if new is None or old is None or (new.width, new.height) != (old.width, old.height):
                _fill(self.frame, place)
            if new is not None:
                self._put(place.fit(new.width, new.height), new)
        self._painted = list(shown)
        return changed

    def _put(self, place: Tile, frame: av.VideoFrame) -> None:
        scaled = self._scaler.reformat(
            frame,
            width=place.width,
            height=place.height,
            format="yuv420p",
            interpolation="FAST_BILINEAR",
            threads=1,
        )
        for index, plane in enumerate(scaled.planes):
            part = 1 if index == 0 else 2
            x, y, width, height = (side // part for side in (place.x, place.y, place.width, place.height))
            source, target = memoryview(plane), memoryview(self.frame.planes[index])
            step, stride = plane.line_size, self.frame.planes[index].line_size
            for row in range(height):
                begin = (y + row) * stride + x
                target[begin : begin + width] = source[row * step : row * step + width]


def _fill(frame: av.VideoFrame, place: Tile) -> None:
    """Black."""
    for index, value in enumerate((16, 128, 128)):
        part = 1 if index == 0 else 2
        x, y, width, height = (side // part for side in (place.x, place.y, place.width, place.height))
        target, stride = memoryview(frame.planes[index]), frame.planes[index].line_size
        line = bytes([value]) * width
        for row in range(height):
            begin = (y + row) * stride + x
            target[begin : begin + width] = line
