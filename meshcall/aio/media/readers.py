"""Opening media and reading frames from it, all of it blocking: to be run in threads.

Law 1: what comes out has one form: sound as octets, 20 ms of 48 kHz s16 with as many channels as the source
has, 1 or 2; pictures as yuv420p of even size that fit SOURCE_WIDTH_MAX x SOURCE_HEIGHT_MAX, at most
SOURCE_RATE_MAX a second.
Law 2: a name is never taken for a URL, and a playlist can't reach the network.
Law 3: whatever is wrong with a source is a :class:`SourceUnusable` at opening, and an early end later.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from meshcall import limits
from meshcall.aio.media.threads import Feed
from meshcall.errors import SourceUnusable
from meshcall.media.plan import MICROPHONE_DEFAULT

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
AUDIO_BASE = Fraction(1, SAMPLE_RATE)
VIDEO_BASE = Fraction(1, 90_000)

_NOT_MEDIA = frozenset({"tty"})
"""Formats that FFmpeg guesses for plain text."""
_BAD_PACKETS_MAX = 200
"""Packets in a row that do not decode before a file counts as ended."""
_SPACING_MIN = 0.75 / limits.SOURCE_RATE_MAX
"""Seconds between two pictures: 60 a second become 30, 30 with jitter stay."""
_EMPTY_READS_MAX = 2000
"""Reads of 5 ms without a picture before a camera counts as gone."""
_SCREEN_RATE = 15
"""Pictures of a screen in a second: enough to read by, and to see a pointer move."""
_ALSA_CONFIGURATION = "/usr/share/alsa/alsa.conf"
_FIRST_CARD = "plughw:0"
"""Where ALSA's default leads to a sound server that it can't load."""
_LAYOUTS = {1: "mono", 2: "stereo"}
_TEST_PICTURE = "testsrc2=size=640x480"
_SLOW = limits.SOURCE_RATE_MAX // 2
"""Test pictures a second when that is enough for all: drawing one takes as long as sending it to two."""

Picture = tuple[float, av.VideoFrame]
"""Seconds since the source's start, and the picture."""


def open_file(path: Path) -> av.container.InputContainer:
    """Open a media file; raises :class:`SourceUnusable`."""
    if not path.exists():
        raise SourceUnusable(f"there is no media file {str(path)!r}")
    if not path.is_file():
        raise SourceUnusable(f"{str(path)!r} is not a file.")
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except PermissionError as error:
        raise SourceUnusable(
            f"the media file {str(path)!r} can't be read", hint="check its permissions"
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceUnusable(f"{str(path)!r} is not a media file.") from error
    if container.format.name in _NOT_MEDIA or not (
        has_kind(container, "audio") or has_kind(container, "video")
    ):
        container.close()
        raise SourceUnusable(f"{str(path)!r} is not a media file.")
    return container


def open_camera(number: int) -> av.container.InputContainer:
    """Open a camera through Video4Linux; raises :class:`SourceUnusable`."""
    device = Path(f"/dev/video{number}")
    if not device.exists():
        raise SourceUnusable(
            f"there is no camera {number} ({device})", hint="`ls /dev/video*` lists the cameras"
        )
    wishes: tuple[dict[str, str], ...] = ({"video_size": "640x480", "framerate": "30"}, {})
    for options in wishes:
        try:
            return av.open(str(device), format="v4l2", options=options)
        except PermissionError as error:
            raise SourceUnusable(
                f"the camera {device} can't be opened", hint="the user must be in the group `video`"
            ) from error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            failure = error
    busy = getattr(failure, "errno", None) == errno.EBUSY
    raise SourceUnusable(
        f"the camera {device} is used by another program" if busy else f"the camera {device} gives no picture"
    ) from failure


def open_screen(display: str) -> av.container.InputContainer:
    """Open an X display, the machine's own if none is named; raises :class:`SourceUnusable`."""
    display = display or os.environ.get("DISPLAY", "")
    if not display:
        raise SourceUnusable(
            "there is no screen to send", hint="the daemon needs DISPLAY, or name one: screen::0"
        )
    try:
        return av.open(display, format="x11grab", options={"framerate": str(_SCREEN_RATE)})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceUnusable(f"the screen {display} can't be read") from error


def open_microphone(name: str) -> av.container.InputContainer:
    """Open a microphone through ALSA; raises :class:`SourceUnusable`."""
    # PyAV brings a libasound that looks for its configuration where it was built.
    if Path(_ALSA_CONFIGURATION).exists():
        os.environ.setdefault("ALSA_CONFIG_PATH", _ALSA_CONFIGURATION)
    names = (name, _FIRST_CARD) if name == MICROPHONE_DEFAULT else (name,)
    failure: Exception | None = None
    for one in names:
        for channels in ("1", "2"):
            options = {"sample_rate": str(SAMPLE_RATE), "channels": channels}
            try:
                return av.open(one, format="alsa", options=options)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                failure = failure or error
    busy = getattr(failure, "errno", None) == errno.EBUSY
    raise SourceUnusable(
        f"the microphone {name} is used by another program" if busy else f"there is no microphone {name}",
        hint="`arecord -l` lists them; card 1, device 0 is mic:plughw:1,0",
    ) from failure


def open_test_picture(rate: int = limits.SOURCE_RATE_MAX) -> av.container.InputContainer:
    """FFmpeg's moving test picture, 640x480 at ``rate`` a second."""
    return av.open(f"{_TEST_PICTURE}:rate={rate}", format="lavfi")


def has_kind(container: av.container.InputContainer, kind: str) -> bool:
    """Whether there is sound, or a moving picture (the cover of an album is none)."""
    if kind == "audio":
        return bool(container.streams.audio)
    return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def draw_test_pictures(wanted: Callable[[], int]) -> Generator[Picture, None, None]:
    """Those of :func:`open_test_picture`, as many a second as are ``wanted``, or half of the most."""
    begin = 0.0
    while True:
        slow = wanted() <= _SLOW
        rate = _SLOW if slow else limits.SOURCE_RATE_MAX
        with open_test_picture(rate) as container:
            for at, frame in _timed(container, None):
                yield begin + at, frame
                if (wanted() <= _SLOW) != slow:
                    begin += at + 1 / rate
                    break


def read_pictures(container: av.container.InputContainer, feed: Feed[Picture]) -> None:
    """Feed the pictures of ``container`` until its end, or until nobody wants more; closes it."""
    try:
        _feed_pictures(container, feed, None)
    finally:
        feed.end()
        container.close()


def _feed_pictures(
    container: av.container.InputContainer, feed: Feed[Picture], clock: Callable[[], float] | None
) -> None:
    for picture in _timed(container, clock):
        if not feed.put(picture):
            return


def _timed(
    container: av.container.InputContainer, clock: Callable[[], float] | None
) -> Generator[Picture, None, None]:
    """``clock``: take the times from it, in seconds, and not from the pictures (live sources)."""
    origin = (container.start_time or 0) / av.time_base
    begin = clock() if clock is not None else 0.0
    last = -1.0
    scaler = VideoReformatter()
    for index, frame in enumerate(_pictures(container)):
        if clock is not None:
            at = clock() - begin
        elif frame.pts is None or frame.time_base is None:
            at = index / limits.SOURCE_RATE_MAX
        else:
            at = max(0.0, float(frame.pts * frame.time_base) - origin)
        if at < last + _SPACING_MIN:
            continue
        last = at
        yield at, fit(frame, scaler)


def read_sound(container: av.container.InputContainer, feed: Feed[bytes], channels: int) -> None:
    """Feed the sound of ``container``, with silence first if it starts late; closes it."""
    try:
        _feed_sound(container, feed, channels)
    finally:
        feed.end()
        container.close()


def _feed_sound(container: av.container.InputContainer, feed: Feed[bytes], channels: int) -> None:
    resampler = sound_resampler(channels)
    origin = (container.start_time or 0) / av.time_base
    first = True
    for frame in _sound(container):
        if first and frame.pts is not None and frame.time_base is not None:
            late = float(frame.pts * frame.time_base) - origin
            for _ in range(min(int(late / FRAME_SECONDS), 3600 * 50) if late > 0 else 0):
                if not feed.put(silence_of(channels)):
                    return
        first = False
        frame.pts = None
        for piece in resampler.resample(frame):
            if not feed.put(octets_of(piece)):
                return
    for piece in resampler.resample(None) if not first else ():
        if not feed.put(octets_of(piece)):
            return


class Device:
    """A camera, a screen or a microphone: what is unplugged is looked for until it is back."""

    def __init__(
        self, container: av.container.InputContainer, again: Callable[[], av.container.InputContainer]
    ) -> None:
        """``container``: opened; ``again`` opens it once more, or raises :class:`SourceUnusable`."""
        self._container = container
        self._again = again
        self.lost = 0
        """How often it went away."""

    def read_pictures(self, feed: Feed[Picture], clock: Callable[[], float]) -> None:
        """Feed its pictures, by the time of ``clock``, until nobody wants more."""
        self._read(feed, lambda: _feed_pictures(self._container, feed, clock))

    def read_sound(self, feed: Feed[bytes], channels: int) -> None:
        """Feed its sound until nobody wants more."""
        self._read(feed, lambda: _feed_sound(self._container, feed, channels))

    def _read(self, feed: Feed[Picture] | Feed[bytes], read: Callable[[], None]) -> None:
        there = True
        while True:
            if there:
                try:
                    read()
                finally:
                    self._container.close()
                if feed.closed:
                    return
                self.lost += 1
            if feed.wait_closed(limits.DEVICE_RETRY):
                return
            there = self._open()

    def _open(self) -> bool:
        try:
            self._container = self._again()
        except SourceUnusable:
            return False
        return True


def _pictures(container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    stream = next(s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    for frame in _decode(container, stream.index):
        if isinstance(frame, av.VideoFrame):
            yield frame


def _sound(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    for frame in _decode(container, container.streams.audio[0].index):
        if isinstance(frame, av.AudioFrame):
            yield frame


def _decode(container: av.container.InputContainer, index: int) -> Iterator[object]:
    """Decoded frames of one stream; packets that do not decode are skipped, a dead device ends it."""
    bad = empty = 0
    while empty < _EMPTY_READS_MAX:
        try:
            for packet in container.demux(container.streams[index]):
                try:
                    yield from packet.decode()
                    bad = empty = 0
                except av.error.FFmpegError:
                    bad += 1
                    if bad >= _BAD_PACKETS_MAX:
                        return
            return
        except av.error.BlockingIOError:
            time.sleep(0.005)
            empty += 1
        except (av.error.FFmpegError, OSError):
            return


def size_within(frame: av.VideoFrame, width_max: int, height_max: int) -> tuple[int, int]:
    """Width and height of ``frame``, both even, scaled down to fit."""
    scale = min(1.0, width_max / frame.width, height_max / frame.height)
    return max(2, int(frame.width * scale) & ~1), max(2, int(frame.height * scale) & ~1)


def fit(frame: av.VideoFrame, scaler: VideoReformatter) -> av.VideoFrame:
    """``frame`` as yuv420p of even size, not larger than a source may be, by the source's own ``scaler``.

    That of a frame lives as long as the frame does, with a thread for each core.
    """
    width, height = size_within(frame, limits.SOURCE_WIDTH_MAX, limits.SOURCE_HEIGHT_MAX)
    if (width, height) == (frame.width, frame.height) and frame.format.name == "yuv420p":
        return frame
    return scaler.reformat(frame, width=width, height=height, format="yuv420p", threads=1)


def sound_resampler(channels: int = 2) -> av.AudioResampler:
    """To 20 ms of s16 at a time."""
    return av.AudioResampler("s16", _LAYOUTS[channels], SAMPLE_RATE, frame_size=FRAME_SAMPLES)


def silence_of(channels: int) -> bytes:
    """20 ms of nothing."""
    return bytes(2 * channels * FRAME_SAMPLES)


def octets_of(frame: av.AudioFrame) -> bytes:
    """The samples of 20 ms of s16; what is shorter ends in silence."""
    width = 2 * len(frame.layout.channels)
    return bytes(frame.planes[0])[: width * frame.samples].ljust(width * FRAME_SAMPLES, b"\0")


def frame_of(octets: bytes, channels: int) -> av.AudioFrame:
    """20 ms of s16 as PyAV wants them."""
    frame = av.AudioFrame(format="s16", layout=_LAYOUTS[channels], samples=FRAME_SAMPLES)
    frame.planes[0].update(octets.ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate = SAMPLE_RATE
    return frame


def silence() -> av.AudioFrame:
    """20 ms of nothing, stereo."""
    return frame_of(silence_of(2), 2)


def black(width: int = 640, height: int = 480) -> av.VideoFrame:
    """A black picture, for a source that has none."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame
