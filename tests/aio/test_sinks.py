"""Recordings: what is in them, and what happens when they can't be written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import stat
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.recorder import Recorder
from meshcall.aio.media.recordfile import RecordFile
from meshcall.aio.media.writer import Writer
from meshcall.errors import RecordTargetExists
from meshcall.media.plan import MediaKind
from tests.aio.mixes import Voice

BOTH: frozenset[MediaKind] = frozenset({"audio", "video"})


def sound(tone: Voice, index: int) -> av.AudioFrame:
    frame = tone.next()
    frame.pts = index * 960
    frame.time_base = Fraction(1, 48_000)
    return frame


def picture(value: int, at: float, width: int = 64, height: int = 48) -> av.VideoFrame:
    frame = readers.black(width, height)
    frame.planes[0].update(bytes([value]) * frame.planes[0].buffer_size)
    frame.pts = round(at * 90_000)
    frame.time_base = Fraction(1, 90_000)
    return frame


def pictures_in(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def samples_in(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The left channel, at 48 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces]).astype(np.float64)


def test_recording_holds_what_was_written(tmp_path: Path) -> None:
    """Every frame is there at its time; the tone is the tone; only the owner may read it."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, BOTH)
    tone = Voice(880)
    for index in range(100):
        writer.write(sound(tone, index), index * 0.02)
        if index % 4 == 0:
            writer.write(picture(index, index * 0.02), index * 0.02)
    writer.finish()
    frames = pictures_in(path)
    assert writer.frames == {"audio": 100, "video": 25}
    assert [frame.time for frame in frames] == pytest.approx([index * 0.08 for index in range(25)], abs=0.002)
    samples = samples_in(path)
    assert len(samples) == pytest.approx(96_000, abs=2000)
    peak = np.argmax(np.abs(np.fft.rfft(samples[4800:52_800])))
    assert peak == pytest.approx(880, abs=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_sound_becomes_silence(tmp_path: Path) -> None:
    """Sound after a hole stays at its time."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, frozenset({"audio"}))
    tone = Voice(440)
    for index in [*range(50), *range(100, 150)]:
        writer.write(sound(tone, index), index * 0.02)
    writer.finish()
    samples = samples_in(path)
    assert len(samples) / 48_000 == pytest.approx(3.0, abs=0.05)
    assert np.abs(samples[55_000:90_000]).max() < 200
    assert np.abs(samples[100_000:140_000]).max() > 4000


def test_forged_timestamps_do_not_move_a_recording(tmp_path: Path) -> None:
    """Frames whose RTP time jumps by hours are put where they arrived."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, BOTH)
    tone = Voice(440)
    for index in range(100):
        at = index * 0.02
        writer.write(picture(index, at + (40_000 if index >= 50 else 0)), at)
        writer.write(sound(tone, index + (10_000_000 if index >= 50 else 0)), at)
    writer.finish()
    assert (pictures_in(path)[-1].time or 0) == pytest.approx(1.98, abs=0.1)
    assert len(samples_in(path)) / 48_000 == pytest.approx(2.0, abs=0.2)


def test_pictures_may_change_their_size(tmp_path: Path) -> None:
    """A peer that changes its resolution does not break the recording; a huge one is scaled down."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, frozenset({"video"}))
    for index, (width, height) in enumerate([(4000, 3000), (320, 240), (641, 481)]):
        writer.write(picture(100, index * 0.1, width, height), index * 0.1)
    writer.finish()
    assert {(frame.width, frame.height) for frame in pictures_in(path)} == {(1440, 1080)}


def test_header_does_not_wait_for_pictures_for_ever(tmp_path: Path) -> None:
    """Sound is kept until a picture tells the size, but not longer than RECORD_VIDEO_WAIT."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, BOTH)
    tone = Voice(440)
    count = round(limits.RECORD_VIDEO_WAIT / 0.02)
    for index in range(count):
        writer.write(sound(tone, index), index * 0.02)
    assert not path.exists()
    writer.write(sound(tone, count), count * 0.02)
    assert path.exists()
    writer.write(picture(50, 3.0), 3.0)
    writer.finish()
    assert len(pictures_in(path)) == 1
    assert writer.frames == {"audio": count + 1, "video": 1}


def test_short_call_is_recorded_too(tmp_path: Path) -> None:
    """A call that ends before the first picture leaves its sound."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, BOTH)
    writer.write(sound(Voice(440), 0), 0.0)
    writer.finish()
    assert len(samples_in(path)) == pytest.approx(960, abs=400)


def test_nothing_received_leaves_no_file(tmp_path: Path) -> None:
    """An empty recording is no file."""
    writer = Writer(tmp_path / "a.mkv", BOTH)
    writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_recording_that_is_cut_off_plays(tmp_path: Path) -> None:
    """What was written up to a second ago is on disk while the call runs."""
    path = tmp_path / "a.mkv"
    writer = Writer(path, BOTH)
    tone = Voice(440)
    for index in range(250):
        writer.write(sound(tone, index), index * 0.02)
        writer.write(picture(index, index * 0.02), index * 0.02)
    copy = tmp_path / "cut.mkv"
    copy.write_bytes(path.read_bytes())
    writer.finish()
    assert len(pictures_in(copy)) >= 190


@pytest.mark.parametrize("make", ["file", "link", "dangling"])
def test_existing_target_is_never_touched(tmp_path: Path, make: str) -> None:
    """A file, a link to one and a dangling link are all refused."""
    path = tmp_path / "a.mkv"
    other = tmp_path / "other"
    if make == "file":
        path.write_bytes(b"precious")
    else:
        path.symlink_to(other)
        if make == "link":
            other.write_bytes(b"precious")
    with pytest.raises(RecordTargetExists):
        RecordFile(path)
    assert make == "dangling" or path.read_bytes() == b"precious"
    assert make != "dangling" or not other.exists()


@contextlib.contextmanager
def full_disk(octets: int) -> Iterator[None]:
    """Writing beyond ``octets`` fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_full_disk_is_said_once_and_keeps_what_was_written(tmp_path: Path) -> None:
    """The recorder reports, goes on taking frames, and the file plays up to where it ended."""
    path = tmp_path / "a.mkv"
    messages: list[str] = []
    recorder = Recorder(path, BOTH, messages.append)
    noise = np.random.default_rng(7)
    with full_disk(200_000):
        for index in range(60):
            frame = picture(0, index / 30, 320, 240)
            frame.planes[0].update(noise.bytes(frame.planes[0].buffer_size))
            recorder.put("video", frame)
            await asyncio.sleep(0.002)
        await recorder.close()
        recorder.put("video", picture(0, 3.0, 320, 240))
        await recorder.close()
    assert len(messages) == 1
    assert str(path) in messages[0]
    assert "too large" in messages[0] or "space" in messages[0]
    assert 0 < path.stat().st_size <= 200_000
    assert len(pictures_in(path)) > 0
    assert recorder.path == str(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    """Recording into a folder that can't be written is reported."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    messages: list[str] = []
    recorder = Recorder(folder / "a.mkv", BOTH, messages.append)
    recorder.put("video", picture(0, 0.0))
    await recorder.close()
    assert len(messages) == 1


async def test_missing_folder_is_reported_and_ends_the_thread(tmp_path: Path) -> None:
    """A folder that vanished after the check is reported; no thread stays."""
    before = threading.active_count()
    messages: list[str] = []
    recorder = Recorder(tmp_path / "gone" / "a.mkv", BOTH, messages.append)
    recorder.put("video", picture(0, 0.0))
    await recorder.close()
    assert len(messages) == 1
    assert "No such file" in messages[0]
    assert recorder.path is None
    assert threading.active_count() == before


async def test_slow_disk_costs_frames_not_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the disk is bounded; the rest is counted."""
    monkeypatch.setattr(limits, "RECORD_QUEUE_MAX", 5 * 64 * 48 * 3 // 2)
    hold = threading.Event()
    original = Writer.write

    def write(self: Writer, frame: av.AudioFrame | av.VideoFrame, arrival: float) -> None:
        hold.wait(5)
        original(self, frame, arrival)

    monkeypatch.setattr(Writer, "write", write)
    recorder = Recorder(tmp_path / "a.mkv", BOTH, lambda _: None)
    for index in range(20):
        recorder.put("video", picture(index, index / 30))
    hold.set()
    await recorder.close()
    assert recorder.dropped["video"] >= 14
    assert recorder.frames["video"] + recorder.dropped["video"] == 20


async def test_close_twice_and_frames_after_it(tmp_path: Path) -> None:
    """Late frames are ignored, closing again is harmless."""
    recorder = Recorder(tmp_path / "a.mkv", frozenset({"video"}), lambda _: None)
    recorder.put("video", picture(0, 0.0))
    await recorder.close()
    recorder.put("video", picture(0, 1.0))
    await recorder.close()
    assert recorder.frames["video"] == 1
