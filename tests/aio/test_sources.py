"""Sources: what is sent, when, and what happens at their end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from operator import le
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.loudness import loudness
from meshcall.aio.media.sources import Source, Tone, check_source, open_source
from meshcall.aio.media.threads import Feed, call_in_thread
from meshcall.errors import SourceUnusable
from meshcall.media.plan import MediaKind, MediaPlan


def write_film(
    path: Path, *, seconds: float = 1.0, rate: int = 30, size: str = "320x240", sound: bool = True
) -> None:
    """A film with a 660 Hz tone."""
    with av.open(str(path), "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height = map(int, size.split("x"))
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=44_100) if sound else None
        picture = av.open(f"testsrc2=size={size}:rate={rate}:duration={seconds}", format="lavfi")
        for frame in picture.decode(video=0):
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            tone = av.open(f"sine=frequency=660:sample_rate=44100:duration={seconds}", format="lavfi")
            resampler = av.AudioResampler(format="fltp", layout="stereo", rate=44_100)
            for sample in tone.decode(audio=0):
                for piece in resampler.resample(sample):
                    out.mux(audio.encode(piece))
            out.mux(audio.encode(None))


def samples(sound: list[bytes], channels: int = 1) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Of the left channel."""
    return np.frombuffer(b"".join(sound), np.int16)[::channels]


def loudest(sound: list[bytes], channels: int = 1) -> float:
    """The loudest frequency in Hz."""
    heard = samples(sound, channels)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    return float(np.argmax(spectrum) * 48_000 / len(heard))


@contextlib.asynccontextmanager
async def opened(plan: MediaPlan) -> AsyncIterator[tuple[Source, list[MediaKind]]]:
    ended: list[MediaKind] = []
    source = await open_source(plan, ended.append)
    try:
        yield source, ended
    finally:
        await source.close()


async def pull_sound(source: Source, count: int, *, size: int = 1) -> list[bytes]:
    """So many frames, of which ``size`` are taken at a time."""
    track = source.sound
    assert track is not None
    sound: list[bytes] = []
    while len(sound) < count:
        frames = await asyncio.to_thread(track.take, size)
        assert frames is not None
        assert len(frames) == size
        sound += frames
    return sound


async def pull_pictures(source: Source, count: int) -> list[tuple[av.VideoFrame, float]]:
    """So many pictures, and their times in seconds."""
    track = source.pictures
    assert track is not None
    pictures: list[tuple[av.VideoFrame, float]] = []
    for _ in range(count):
        picture = await asyncio.to_thread(track.next)
        assert picture is not None
        pictures.append((picture[0], picture[1] / 90_000))
    return pictures


@pytest.mark.parametrize(("text", "tone"), [("testsrc", 440), ("testsrc:880", 880)])
async def test_test_source_has_its_tone_and_a_moving_picture(text: str, tone: int) -> None:
    """The sine is the one that was asked for, and two pictures differ."""
    async with opened(MediaPlan(source=text)) as (source, ended):
        source.open_gate()
        sound, pictures = await asyncio.gather(pull_sound(source, 25), pull_pictures(source, 5))
        assert loudest(sound) == pytest.approx(tone, abs=4)
        assert bytes(pictures[0][0].planes[0]) != bytes(pictures[4][0].planes[0])
        assert ended == []


async def test_nothing_leaves_before_the_gate_and_the_first_frames_leave_at_once() -> None:
    """The gate holds both tracks; decoding has begun by then, so no frame is waited for afterwards."""
    async with opened(MediaPlan(source="testsrc")) as (source, _):
        sound = asyncio.create_task(pull_sound(source, 1))
        pictures = asyncio.create_task(pull_pictures(source, 1))
        done, _pending = await asyncio.wait({sound, pictures}, timeout=0.2)
        assert not done
        begin = time.monotonic()
        source.open_gate()
        await asyncio.wait_for(asyncio.gather(sound, pictures), 1)
        assert time.monotonic() - begin < 0.2, "they were waiting"


async def test_file_is_sent_in_real_time_and_its_end_is_no_end(tmp_path: Path) -> None:
    """A film of half a second: its frames in its time, then silence and its last picture, reported once."""
    film = tmp_path / "film.mkv"
    write_film(film, seconds=0.5)
    async with opened(MediaPlan(source=str(film))) as (source, ended):
        source.open_gate()
        begin = time.monotonic()
        sound, pictures = await asyncio.gather(pull_sound(source, 40), pull_pictures(source, 19))
        elapsed = time.monotonic() - begin
        assert 0.7 < elapsed < 4, "40 sounds take 0.8 s, of which the last 0.3 s are silence"
        assert sorted(ended) == ["audio", "video"]
        assert source.channels == 2
        assert loudest(sound[2:22], 2) == pytest.approx(660, abs=4)
        assert not any(sound[39])
        assert bytes(pictures[18][0].planes[0]) == bytes(pictures[14][0].planes[0])
        times = [at for _, at in pictures[:14]]
        assert times == pytest.approx([index / 30 for index in range(14)], abs=0.002)


async def test_file_without_sound_sends_none(tmp_path: Path) -> None:
    """Only what is in a file gets a track."""
    film = tmp_path / "silent.mkv"
    write_film(film, seconds=0.2, sound=False)
    async with opened(MediaPlan(source=str(film))) as (source, _):
        assert source.sound is None
        assert source.pictures is not None


async def test_large_and_fast_film_is_made_to_fit(tmp_path: Path) -> None:
    """Pictures fit 1280x720 with even sides, and 60 a second become 30."""
    film = tmp_path / "large.mkv"
    write_film(film, seconds=0.5, rate=60, size="1920x1082", sound=False)
    async with opened(MediaPlan(source=str(film))) as (source, _):
        feed: Feed[readers.Picture] = Feed(100)
        container = await asyncio.to_thread(readers.open_file, film)
        await call_in_thread(partial(readers.read_pictures, container, feed), name="reader", timeout=10)
        items = []
        while (item := feed.pop()) is not None:
            items.append(item)
        assert len(items) == 15
        assert {(frame.width, frame.height) for _, frame in items} == {(1276, 720)}
        assert source.pictures is not None
        assert await source.pictures.size() == (1276, 720)


async def test_none_sends_nothing() -> None:
    """The source ``none`` has no track."""
    async with opened(MediaPlan(source="none")) as (source, _):
        assert source.sound is None
        assert source.pictures is None


async def test_plan_can_leave_a_kind_out() -> None:
    """What the plan does not want is not opened."""
    async with opened(MediaPlan(source="testsrc", video=False)) as (source, _):
        assert source.sound is not None
        assert source.pictures is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mkv", None, "no media file"),
        ("text.txt", b"hello, this is not a film\n" * 50, "not a media file"),
        ("noise.mkv", bytes(range(256)) * 64, "not a media file"),
        ("empty.mkv", b"", "not a media file"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", "not a media file"),
    ],
)
async def test_unusable_files_are_said_before_the_call(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """A file that is missing or no media is one clear error, at the check and at opening."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    plan = MediaPlan(source=str(path))
    with pytest.raises(SourceUnusable, match=message):
        await check_source(plan)
    with pytest.raises(SourceUnusable, match=message):
        await open_source(plan, lambda _: None)


async def test_folder_is_no_source(tmp_path: Path) -> None:
    """A folder is refused."""
    with pytest.raises(SourceUnusable, match="not a file"):
        await check_source(MediaPlan(source=str(tmp_path)))


async def test_missing_camera_says_what_to_do() -> None:
    """A camera that is not there is an error with a hint."""
    with pytest.raises(SourceUnusable, match="no camera 250") as caught:
        await check_source(MediaPlan(source="camera:250"))
    assert "/dev/video" in (caught.value.hint or "")


async def test_name_that_looks_like_a_url_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's protocols can't be reached through a file's name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceUnusable, match="no media file"):
        await check_source(MediaPlan(source="http://127.0.0.1:9/film.mkv"))


async def test_live_source_sends_the_newest_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera's pictures from before the gate are not sent late; its loss repeats the last one."""

    def open_camera(_: int) -> av.container.InputContainer:
        return av.open("testsrc2=size=160x120:rate=30:duration=3,realtime", format="lavfi")

    monkeypatch.setattr(readers, "open_camera", open_camera)
    async with opened(MediaPlan(source="camera")) as (source, ended):
        await asyncio.sleep(0.5)
        source.open_gate()
        begin = time.monotonic()
        _, first = (await pull_pictures(source, 3))[0]
        assert time.monotonic() - begin < 0.3
        assert first < 0.2
        source._feeds[0].close()
        await asyncio.wait_for(pull_pictures(source, 2), 1)
        assert ended == ["video"]


async def test_an_unplugged_device_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence and the last picture are sent until it is back; then what it gives."""
    monkeypatch.setattr(limits, "DEVICE_RETRY", 0.2)
    monkeypatch.setattr(limits, "DEVICE_REPEAT", 0.1)
    times: Counter[str] = Counter()

    def device(name: str, text: str) -> av.container.InputContainer:
        times[name] += 1
        if 2 <= times[name] <= 6:
            raise SourceUnusable("it is not there")
        return av.open(text, format="lavfi")

    monkeypatch.setattr(
        readers,
        "open_camera",
        lambda _: device("camera", "testsrc2=size=160x120:rate=30:duration=0.4,realtime"),
    )
    monkeypatch.setattr(
        readers,
        "open_microphone",
        lambda _: device("microphone", "sine=frequency=440:sample_rate=48000:duration=0.4,arealtime"),
    )
    async with opened(MediaPlan(source="camera+mic")) as (source, ended):
        assert source.channels == 1
        source.open_gate()
        sound, pictures = await asyncio.gather(pull_sound(source, 120), pull_pictures(source, 20))
        times_shown = [at for _, at in pictures]
        heard = "".join("x" if loudness(octets, 1) > -60 else "." for octets in sound)
        assert re.fullmatch(r"\.*x+\.{10,}x+\.*", heard), heard
        assert max(later - earlier for earlier, later in itertools.pairwise(times_shown)) < 0.8
        assert ended == []
        assert source.devices["camera"].lost >= 1
        assert source.devices["microphone"].lost >= 1


@pytest.mark.skipif("alsa" not in av.formats_available, reason="FFmpeg was built without ALSA")
async def test_a_microphone_of_alsa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALSA's own file device is one; what is not there is said, with a hint."""
    recorded = tmp_path / "recorded"
    tone = Tone(440)
    recorded.write_bytes(b"".join(tone.next() for _ in range(100)))
    configuration = tmp_path / "alsa.conf"
    configuration.write_text(
        "pcm.nothing { type null }\n"
        f'pcm.recorded {{ type file slave.pcm nothing file /dev/null infile "{recorded}" format raw }}\n'
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configuration))
    async with opened(MediaPlan(source="mic:recorded")) as (source, _):
        source.open_gate()
        frames = await pull_sound(source, 10)
        assert loudness(frames[-1], source.channels) > -30
        assert source.pictures is None
    with pytest.raises(SourceUnusable, match="no microphone") as caught:
        await check_source(MediaPlan(source="mic:nowhere"))
    assert "arecord" in (caught.value.hint or "")


async def test_a_screen_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon without a display says so."""
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SourceUnusable, match="no screen") as caught:
        await check_source(MediaPlan(source="screen"))
    assert "DISPLAY" in (caught.value.hint or "")
    with pytest.raises(SourceUnusable, match="can't be read"):
        await check_source(MediaPlan(source="screen::77"))


async def test_slow_encoder_gets_fewer_pictures_not_later_ones() -> None:
    """Pictures that are late are skipped, so that sound and picture stay together."""
    async with opened(MediaPlan(source="testsrc")) as (source, _):
        source.open_gate()
        assert source.pictures is not None
        at = 0.0
        for _ in range(6):
            at = (await pull_pictures(source, 1))[0][1]
            await asyncio.sleep(0.1)
        assert at == pytest.approx(0.45, abs=0.1)
        assert source.pictures.frames_skipped >= 6


async def test_a_picture_that_nobody_wants_is_passed_over() -> None:
    """The others leave when they are due, and nobody was woken for it meanwhile."""
    async with opened(MediaPlan(source="testsrc")) as (source, _):
        track, wanted = source.pictures, []
        assert track is not None
        source.open_gate()
        begin = time.monotonic()
        for number in range(5):
            picture = await asyncio.to_thread(track.next, partial(le, 12_000 * number))
            assert picture is not None
            wanted.append(picture[1])
            assert time.monotonic() - begin >= picture[1] / 90_000 - 0.001
        assert wanted == [0, 12_000, 24_000, 36_000, 48_000]
        assert track.frames_sent == 5


def test_no_more_test_pictures_are_drawn_than_somebody_wants() -> None:
    """Half of them while that is enough; the times go on, and so does what moves."""
    wanted = 15
    pictures = readers.draw_test_pictures(lambda: wanted)
    times = [next(pictures)[0] for _ in range(4)]
    wanted = 30
    shown = [next(pictures) for _ in range(6)]
    wanted = 7
    times += [at for at, _ in shown] + [next(pictures)[0] for _ in range(3)]
    pictures.close()
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert steps == pytest.approx([1 / 15] * 4 + [1 / 30] * 6 + [1 / 15] * 2)
    assert bytes(shown[1][1].planes[0]) != bytes(shown[2][1].planes[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the system's threads")
def test_scaling_takes_no_threads_of_its_own() -> None:
    """FFmpeg would keep one for each core with every source, and start them anew with every frame."""
    scaler = VideoReformatter()
    with av.open("testsrc=size=1920x1080", format="lavfi") as container:
        frames = list(itertools.islice(container.decode(video=0), 3))
        before = threads()
        pictures = [readers.fit(frame, scaler) for frame in frames]
        assert threads() <= before
    assert {(picture.width, picture.height, picture.format.name) for picture in pictures} == {
        (1280, 720, "yuv420p")
    }


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


async def test_frames_of_one_packet_are_taken_when_the_last_is_due(tmp_path: Path) -> None:
    """They are those that would have come one by one."""
    film = tmp_path / "film.mkv"
    write_film(film, seconds=1.0)
    for text in ("testsrc", str(film)):
        async with (
            opened(MediaPlan(source=text, video=False)) as (one, _),
            opened(MediaPlan(source=text, video=False)) as (other, _),
        ):
            one.open_gate()
            other.open_gate()
            begin = time.monotonic()
            joined, single = await asyncio.gather(pull_sound(one, 9, size=3), pull_sound(other, 9))
            assert time.monotonic() - begin >= 0.159
            assert joined == single


async def test_a_device_ahead_of_us_loses_its_oldest_pictures() -> None:
    """A live feed holds what is new; who waits for it is told of its end."""
    feed: Feed[int] = Feed(2, newest=True)
    for number in range(5):
        assert feed.put(number)
    assert (feed.dropped, feed.pop(), feed.pop(), feed.pop()) == (3, 3, 4, None)
    waiting = asyncio.create_task(asyncio.to_thread(feed.wait))
    await asyncio.sleep(0.05)
    feed.end()
    assert not await asyncio.wait_for(waiting, 1)
    assert feed.ended


async def test_close_ends_the_threads(tmp_path: Path) -> None:
    """After close no reader is left, whatever state it was in."""
    film = tmp_path / "film.mkv"
    write_film(film, seconds=1)
    before = threading.active_count()
    for text in ("testsrc", str(film)):
        source = await open_source(MediaPlan(source=text), lambda _: None)
        await source.close()
        await source.close()
    assert threading.active_count() == before


async def test_device_that_hangs_is_given_up() -> None:
    """Opening has a deadline, and nothing waits for the thread."""
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await call_in_thread(lambda: release.wait(5), name="hangs", timeout=0.05)
    release.set()


def test_padding_keeps_what_is_there() -> None:
    """A last short piece of sound is filled with silence."""
    short = av.AudioFrame(format="s16", layout="stereo", samples=10)
    short.planes[0].update(b"\x01\x02" * (short.planes[0].buffer_size // 2))
    octets = readers.octets_of(short)
    assert len(octets) == 3840
    assert octets[:40] == b"\x01\x02" * 20
    assert not any(octets[40:])
