"""The recording of a whole room: who is heard and seen in it, when, and what goes wrong."""

from __future__ import annotations

import asyncio
import stat
import statistics
import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from meshcall import limits
from meshcall.aio.media import readers
from meshcall.aio.media.encoded import Outlet
from meshcall.aio.media.matroska import Matroska
from meshcall.aio.media.mixer import Mixer, Part
from meshcall.aio.media.studio import enter
from meshcall.media.mixing import tiles
from meshcall.media.plan import MediaPlan
from tests.aio.mixes import Voice, files_in, loud, luma, pictures_in, sound_in

WHITE, GREY = 235, 126


def picture(value: int, width: int = 320, height: int = 180) -> av.VideoFrame:
    frame = readers.black(width, height)
    frame.planes[0].update(bytes([value]) * frame.planes[0].buffer_size)
    return frame


class Member:
    """Speaks and shows itself, in real time, as frames come from a link."""

    def __init__(self, part: Part, tone: int, value: int, *, origin: float = 0.0) -> None:
        self.part = part
        self._tone, self._value, self._origin = Voice(tone), value, origin

    async def live(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(round(seconds / 0.02)):
            await asyncio.sleep(max(0.0, begin + number * 0.02 - loop.time()))
            frame = self._tone.next()
            frame.pts, frame.time_base = round((self._origin + number * 0.02) * 48_000), Fraction(1, 48_000)
            self.part.put(frame)
            if number % 3 == 0:
                self.part.put(picture(self._value))


async def test_all_are_in_it_at_their_time(tmp_path: Path) -> None:
    """Each voice and each picture for as long as its member is there; the grid follows who is there."""
    path = tmp_path / "mixed.mkv"
    mixer = Mixer(path, pictures=True)
    ann = Member(mixer.part(), 440, WHITE)
    lives = asyncio.create_task(ann.live(3.0))
    await asyncio.sleep(1.0)
    other = Member(mixer.part(), 1000, GREY, origin=5000.0)
    await other.live(1.0)
    other.part.leave()
    await lives
    await mixer.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sound = sound_in(path)
    for begin, tones in ((0.3, {440}), (1.3, {440, 1000}), (2.4, {440})):
        assert {tone for tone in (440, 1000, 1234) if loud(sound, tone, begin, begin + 0.5)} == tones
    shown = pictures_in(path)
    whole, (left, right) = tiles(1, 1280, 720)[0], tiles(2, 1280, 720)
    at = {moment: [one for one in shown if one.time <= moment][-1] for moment in (0.8, 1.8, 2.8)}
    assert luma(at[0.8], whole) == pytest.approx(WHITE, abs=4)
    assert luma(at[1.8], left) == pytest.approx(WHITE, abs=4)
    assert luma(at[1.8], right) == pytest.approx(GREY, abs=4)
    assert luma(at[2.8], whole) == pytest.approx(WHITE, abs=4)
    assert 15 <= len(shown) <= 46


async def test_sound_and_pictures_are_in_time_with_each_other(tmp_path: Path) -> None:
    """A flash and a beep of one moment are within 40 ms in the file, for each of two members."""
    path = tmp_path / "mixed.mkv"
    mixer = Mixer(path, pictures=True)
    parts = {880: mixer.part(), 1500: mixer.part()}

    async def live(part: Part, tone: int, first: int) -> None:
        loop, tones, begin = asyncio.get_running_loop(), Voice(tone), asyncio.get_running_loop().time()
        for number in range(150):
            await asyncio.sleep(max(0.0, begin + number * 0.02 - loop.time()))
            now = number >= first and (number - first) % 25 < 10
            frame = tones.next() if now else readers.silence()
            frame.pts, frame.time_base = number * 960, Fraction(1, 48_000)
            part.put(frame)
            part.put(picture(WHITE if now else 16))

    await asyncio.gather(live(parts[880], 880, 25), live(parts[1500], 1500, 35))
    await mixer.close()
    sound, shown = sound_in(path), pictures_in(path)
    for index, tone in enumerate(parts):
        place = tiles(2, 1280, 720)[index]
        beeps = _starts(
            [(at, loud(sound, tone, at, at + 0.02)) for at in (step / 100 for step in range(290))]
        )
        flashes = _starts([(one.time, luma(one, place) > 120) for one in shown])
        assert len(beeps) == len(flashes) == 5
        # a picture is shown from the next of 15 moments a second on
        late = statistics.median(flash - beep for flash, beep in zip(flashes, beeps, strict=True))
        assert -0.04 <= late - 0.5 / limits.MIX_FPS <= 0.04


def _starts(states: list[tuple[float, bool]]) -> list[float]:
    """When each of the times began in which something was so."""
    return [at for (_, before), (at, now) in pairwise(states) if now and not before]


async def test_a_file_is_never_overwritten_and_each_is_told(tmp_path: Path) -> None:
    """Nor does it end anything: whoever goes on putting frames costs nothing."""
    path = tmp_path / "mixed.mkv"
    path.write_text("mine")
    told: list[str] = []
    mixer = Mixer(path, pictures=True)
    parts = [mixer.part(told.append) for _ in range(2)]
    async with asyncio.timeout(5):
        while len(told) < 2:  # noqa: ASYNC110 - it is told by the loop
            await asyncio.sleep(0.01)
    parts[0].put(picture(WHITE))
    parts[0].put(readers.silence())
    await mixer.close()
    assert "exists" in told[0]
    assert len(told) == 2
    assert path.read_text() == "mine"


async def test_a_recording_that_is_cut_off_plays(tmp_path: Path) -> None:
    """What was there a moment before the process was killed is on the disk."""
    path = tmp_path / "mixed.mkv"
    mixer = Mixer(path, pictures=True)
    await Member(mixer.part(), 440, WHITE).live(3.0)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes())
    await mixer.close()
    assert loud(sound_in(cut), 440, 0.5, 1.5)
    assert pictures_in(cut)[-1].time > 1.0


async def test_when_it_is_too_slow_pictures_are_left_out_and_sound_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures take half of a processor at most, and the loop never waits for them."""
    original = Matroska.put_picture

    def slow(self: Matroska, frame: av.VideoFrame, at: float) -> None:
        time.sleep(0.25)
        original(self, frame, at)

    monkeypatch.setattr(Matroska, "put_picture", slow)
    path = tmp_path / "mixed.mkv"
    mixer = Mixer(path, pictures=True)
    await Member(mixer.part(), 440, WHITE).live(3.0)
    await mixer.close()
    assert 2 <= len(pictures_in(path)) <= 7
    sound = sound_in(path)
    assert all(loud(sound, 440, step / 10, step / 10 + 0.1) for step in range(2, 28))
    assert not mixer.counters


async def test_what_waits_for_a_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer: sound is left out and counted; pictures are replaced by newer ones."""
    stuck = threading.Event()
    monkeypatch.setattr(Matroska, "put_sound", lambda *_: stuck.wait(20))
    mixer = Mixer(tmp_path / "mixed.mkv", pictures=True)
    part = mixer.part()
    await asyncio.sleep(0.5)  # it is stuck now
    octets = len(bytes(readers.silence().planes[0]))
    for _ in range(limits.MIX_QUEUE_MAX // octets + 100):
        part.put(readers.silence())
    assert mixer._octets_put - mixer._octets_done <= limits.MIX_QUEUE_MAX
    assert mixer.counters["sound-not-mixed"] >= 99
    stuck.set()
    await mixer.close()


@pytest.mark.parametrize("muted", [False, True])
async def test_of_ourselves_is_recorded_what_is_sent_to_somebody(tmp_path: Path, *, muted: bool) -> None:
    """Who mutes is not recorded: no outlet is fed then."""
    path = tmp_path / "mixed.mkv"
    plan = MediaPlan(source="testsrc:700", room="01", mixed=path)
    one, leave = await enter(plan, object())
    outlet = Outlet("audio", lambda: None)
    if not muted:
        one.connect(outlet, "opus")
    assert one.record(path, pictures=True) is one.record(tmp_path / "other.mkv", pictures=True)
    one.open_gate()
    await asyncio.sleep(1.2)
    one.disconnect(outlet)
    await leave()
    assert files_in(tmp_path) == ["mixed.mkv"]
    assert loud(sound_in(path), 700, 0.5, 0.9) is not muted
