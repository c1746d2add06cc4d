"""The studio: one encoder for all, each peer's queue, and the encoders themselves."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import threading
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
import pytest
from aiortc.mediastreams import MediaStreamError

from meshcall import limits
from meshcall.aio.media import encoders, readers, studio
from meshcall.aio.media.encoded import Encoded, Outlet
from meshcall.aio.media.encoders import FfmpegOpusEncoder, OpusEncoder
from meshcall.aio.media.loudness import loudness
from meshcall.aio.media.sources import Tone
from meshcall.errors import SourceUnusable
from meshcall.media import opus
from meshcall.media.layers import Size, bits_most
from meshcall.media.plan import MediaKind, MediaPlan
from tests.aio.mixes import stereo

TEST = MediaPlan(source="testsrc", room="0123")
NODE = object()


@asynccontextmanager
async def opened(plan: MediaPlan = TEST, node: object = NODE) -> AsyncIterator[studio.Studio]:
    one, leave = await studio.enter(plan, node)
    try:
        yield one
    finally:
        await leave()


async def take(outlet: Outlet, count: int) -> list[av.Packet[Any]]:
    return [await outlet.recv() for _ in range(count)]


def decode(name: str, packets: list[av.Packet[Any]]) -> list[Any]:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, av.VideoCodecContext)
    return [frame for packet in packets for frame in codec.decode(packet)]


# --- the studio -----------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_one_encoder_for_all(monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    """Six peers get the same pictures, which were encoded once; each begins with a keyframe."""
    encoded: Counter[int] = Counter()
    made = encoders.make_picture_encoder

    def counting(name: str, width: int, height: int, rate: int, fps: int) -> encoders.PictureEncoder:
        encoder = made(name, width, height, rate, fps)
        original = encoder.encode

        def encode(frame: av.VideoFrame, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
            encoded[pts] += 1
            return original(frame, pts, key=key, rate=rate)

        encoder.encode = encode  # type: ignore[method-assign]
        return encoder

    monkeypatch.setattr(studio, "make_picture_encoder", counting)
    async with opened() as one:
        outlets = [Outlet("video", lambda: None) for _ in range(6)]
        for outlet in outlets:
            one.connect(outlet, codec)
            outlet.open()
        one.open_gate()
        taken = await asyncio.gather(*(take(outlet, 8) for outlet in outlets))
        for outlet in outlets:
            one.disconnect(outlet)
    assert set(encoded.values()) == {1}
    octets = [[bytes(packet) for packet in packets] for packets in taken]
    assert octets == [octets[0]] * 6
    frames = decode("libvpx" if codec == "VP8" else "h264", taken[0])
    assert [(frame.width, frame.height) for frame in frames] == [(640, 480)] * 8


async def test_who_comes_later_begins_with_a_keyframe() -> None:
    """Those who are there already go on; the newcomer waits for nothing but the interval of keyframes."""
    async with opened() as one:
        first, second = Outlet("video", lambda: None), Outlet("video", lambda: None)
        one.connect(first, "VP8")
        first.open()
        one.open_gate()
        await take(first, 3)
        one.connect(second, "VP8")
        second.open()
        begin = asyncio.get_running_loop().time()
        packets = await take(second, 3)
        assert asyncio.get_running_loop().time() - begin < limits.KEYFRAME_INTERVAL + 0.3
        assert len(decode("libvpx", packets)) == 3
        assert (packets[0].pts or 0) > 0


async def test_a_room_shares_and_calls_do_not() -> None:
    """The same room of one node is one studio; another node, another room or none is another studio."""
    async with opened() as one, opened() as same, opened(node=object()) as foreign:
        assert one is same
        assert one is not foreign
        async with opened(MediaPlan(source="testsrc")) as alone, opened(MediaPlan(source="testsrc")) as other:
            assert alone is not other
    assert not studio._shared
    async with opened() as anew:
        assert anew is not one


async def test_a_source_that_does_not_open_is_told_to_all_of_the_room() -> None:
    """And nothing is left of it."""
    plan = MediaPlan(source="/nowhere.mkv", room="1")
    results = await asyncio.gather(*(studio.enter(plan, NODE) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [SourceUnusable] * 3
    assert not studio._shared


async def test_who_gives_up_while_it_opens_costs_the_others_nothing() -> None:
    """A call that is over before the camera is open."""
    gone = asyncio.create_task(studio.enter(TEST, NODE))
    await asyncio.sleep(0)
    gone.cancel()
    async with opened() as one:
        await asyncio.gather(gone, return_exceptions=True)
        assert one.kinds() == {"audio", "video"}
    assert not studio._shared


async def test_the_end_of_a_source_is_told_once_to_each() -> None:
    """To who listened, and to who came later."""
    ends = studio.Ends()
    told: list[tuple[str, MediaKind]] = []
    ends.listen(lambda kind: told.append(("first", kind)))
    ends.tell("audio")
    ends.listen(lambda kind: told.append(("second", kind)))
    ends.tell("video")
    assert told == [("first", "audio"), ("second", "audio"), ("first", "video"), ("second", "video")]


async def test_the_rate_is_that_of_the_slowest() -> None:
    """Of those on a line; who left does not count any more."""
    async with opened() as one:
        await one.warm("video", "VP8")
        fast, slow = Outlet("video", lambda: None), Outlet("video", lambda: None)
        for outlet, bits in ((fast, 9_000_000), (slow, 90_000)):
            one.connect(outlet, "VP8")
            one.set_rate(outlet, bits)
            one.set_layer(outlet, 180, 15)
        await asyncio.sleep(0.1)
        assert [line.rate for line in one._lines.values() if line.outlets] == [90_000]
        one.disconnect(slow)
        most = bits_most(Size(240, 180), 15)
        assert [line.rate for line in one._lines.values() if line.outlets] == [most]


async def test_an_encoder_knows_how_many_pictures_its_layer_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """By that it works more or less for each."""
    asked: list[int] = []
    made = encoders.make_picture_encoder

    def noting(name: str, width: int, height: int, rate: int, fps: int) -> encoders.PictureEncoder:
        asked.append(fps)
        return made(name, width, height, rate, fps)

    monkeypatch.setattr(studio, "make_picture_encoder", noting)
    async with opened() as one:
        outlet = Outlet("video", lambda: None)
        one.connect(outlet, "VP8")
        one.set_layer(outlet, 360, 15)
        outlet.open()
        one.open_gate()
        await outlet.recv()
    assert asked == [15]


class Viewer:
    """A peer that shows what it gets."""

    def __init__(self, outlet: Outlet) -> None:
        codec = av.CodecContext.create("libvpx", "r")
        assert isinstance(codec, av.VideoCodecContext)
        self._codec = codec
        self._outlet = outlet
        self._last = -1

    async def sizes(self, until: tuple[int, int]) -> list[tuple[int, int]]:
        """Of all pictures until one has the size ``until``."""
        seen: list[tuple[int, int]] = []
        while not seen or seen[-1] != until:
            packet = await self._outlet.recv()
            assert packet.pts is not None
            assert packet.pts > self._last
            self._last = packet.pts
            seen += [(frame.width, frame.height) for frame in self._codec.decode(packet)]
            assert len(seen) < 60
        return seen


async def test_each_peer_gets_its_layer_and_changes_it_at_a_keyframe() -> None:
    """No picture is lost for the decoder, none comes twice; what nobody gets is not encoded."""
    async with opened() as one:
        big, small = Outlet("video", lambda: None), Outlet("video", lambda: None)
        for outlet in (big, small):
            one.connect(outlet, "VP8")
            one.set_rate(outlet, 2_000_000)
            outlet.open()
        one.set_layer(small, 200, 0)
        one.open_gate()
        stage, tile = Viewer(big), Viewer(small)
        assert (await stage.sizes((640, 480)))[0] == (640, 480)
        assert set(await tile.sizes((240, 180))) == {(240, 180)}
        one.set_layer(small, 720, 30)
        seen = await tile.sizes((640, 480))
        assert seen[:-1] == [(240, 180)] * (len(seen) - 1)
        await asyncio.sleep(0.1)
        assert [str(key[1]) for key, line in one._lines.items() if line.outlets] == ["720p30"]
        one.set_layer(small, 0, 0)
        while small._queue:
            await small.recv()
        frames = small.frames
        await take(big, 5)
        assert small.frames == frames
        one.set_rate(big, 210_000)
        await asyncio.sleep(0.1)
        choice = one.choice(big)
        assert choice is not None
        assert (str(choice.layer), choice.why) == ("360p30", "rate")
        assert (await stage.sizes((480, 360)))[-1] == (480, 360)


async def test_a_slow_machine_encodes_less_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """First fewer pictures, then smaller ones; sound is not touched."""
    monkeypatch.setattr(limits, "CPU_HIGH_AFTER", 0.4)
    monkeypatch.setattr(limits, "LAYER_TICK", 0.1)
    made = encoders.make_picture_encoder

    def slow(name: str, width: int, height: int, rate: int, fps: int) -> encoders.PictureEncoder:
        encoder = made(name, width, height, rate, fps)
        original = encoder.encode

        def encode(frame: av.VideoFrame, pts: int, *, key: bool, rate: int) -> tuple[bytes, bool]:
            time.sleep(width * height * 0.2 / (640 * 480))
            return original(frame, pts, key=key, rate=rate)

        encoder.encode = encode  # type: ignore[method-assign]
        return encoder

    monkeypatch.setattr(studio, "make_picture_encoder", slow)
    async with opened() as one:
        outlet, ear = Outlet("video", lambda: None), Outlet("audio", lambda: None)
        one.connect(outlet, "VP8")
        one.set_rate(outlet, 2_000_000)
        one.connect(ear, "opus")
        outlet.open()
        ear.open()
        one.open_gate()
        told: list[str] = []
        async with asyncio.timeout(10):
            while not told or told[-1] != "180p15 cpu":
                await outlet.recv()
                choice = one.choice(outlet)
                assert choice is not None
                what = f"{choice.layer} {choice.why}".strip()
                if told[-1:] != [what]:
                    told.append(what)
        assert told == ["720p30", "720p30 cpu", "360p15 cpu", "180p15 cpu"]
        assert one.counters["encoder-behind"] > 0
        last = ear._queue[-1].pts // 960
        assert ear.frames == last + 1


async def test_a_loop_that_is_behind_gets_fewer_pictures() -> None:
    """Encoders leave the processor to it; afterwards they go on."""
    async with opened() as one:
        outlet = Outlet("video", lambda: None)
        one.connect(outlet, "VP8")
        outlet.open()
        one.open_gate()
        await take(outlet, 3)
        time.sleep(0.6)  # noqa: ASYNC251 - what is busy here is the loop
        before = outlet.frames
        await asyncio.sleep(0)
        assert outlet.frames - before <= 2 * limits.ENCODE_PICTURES_WAITING + 1
        await asyncio.wait_for(take(outlet, 12), 2)


async def test_an_encoder_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound goes on without pictures, and the threads with it."""

    def broken(name: str, width: int, height: int, rate: int, fps: int) -> encoders.PictureEncoder:
        raise av.error.ExternalError(1, "no memory")

    monkeypatch.setattr(studio, "make_picture_encoder", broken)
    async with opened() as one:
        outlet, ear = Outlet("video", lambda: None), Outlet("audio", lambda: None)
        one.connect(outlet, "VP8")
        one.connect(ear, "opus")
        outlet.open()
        ear.open()
        one.open_gate()
        await take(ear, 10)
        assert one.counted()["encoder-failed"] >= 2
        assert outlet.frames == 0


async def test_nothing_is_left_of_a_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread of an encoder, in use, idle or closed before."""
    monkeypatch.setattr(limits, "LAYER_IDLE_MAX", 0.0)
    before = {thread.name for thread in threading.enumerate()}
    async with opened() as one:
        outlet = Outlet("video", lambda: None)
        one.connect(outlet, "VP8")
        outlet.open()
        one.open_gate()
        for height in (180, 360, 720):
            one.set_layer(outlet, height, 30)
            await take(outlet, 6)
        async with asyncio.timeout(5):
            while len(one._lines) > 1:
                await take(outlet, 1)
    for _ in range(50):
        left = {thread.name for thread in threading.enumerate()} - before
        if not left:
            break
        await asyncio.sleep(0.02)
    assert not left


# --- queues ---------------------------------------------------------------------------------------


def picture(number: int, *, key: bool = False) -> Encoded:
    return Encoded(b"%d" % number, 3000 * number, Fraction(1, 90_000), key)


async def test_a_slow_peer_skips_to_the_next_keyframe() -> None:
    """What it missed is not sent late; a keyframe is asked for once; times rise."""
    asked: list[int] = []
    outlet = Outlet("video", lambda: asked.append(1))
    outlet.put(picture(0, key=True))
    outlet.open()
    outlet.put(picture(1))
    outlet.put(picture(2, key=True))
    for number in range(3, limits.OUTLET_QUEUE_MAX + 20):
        outlet.put(picture(number))
    assert (len(asked), outlet.skipped) == (1, limits.OUTLET_QUEUE_MAX)
    outlet.put(picture(99, key=True))
    outlet.put(picture(98))
    packets = await take(outlet, 2)
    assert [bytes(packet) for packet in packets] == [b"99", b"98"]
    assert [packet.pts for packet in packets] == [3000 * 99, 3000 * 99 + 1]


async def test_a_keyframe_overtakes_pictures_that_wait() -> None:
    """They would be late, and nobody needs them any more; sound waits for its turn."""
    outlet = Outlet("video", lambda: None)
    outlet.open()
    for number in range(4):
        outlet.put(picture(number, key=number in (0, 3)))
    assert (outlet.skipped, outlet.waiting_octets) == (3, 1)
    assert bytes((await take(outlet, 1))[0]) == b"3"
    sound = Outlet("audio", lambda: None)
    sound.open()
    for number in range(4):
        sound.put(Encoded(b"%d" % number, 960 * number, Fraction(1, 48_000)))
    assert [bytes(packet) for packet in await take(sound, 4)] == [b"0", b"1", b"2", b"3"]


async def test_a_slow_peer_loses_its_oldest_sound() -> None:
    """Sound goes on, bounded."""
    outlet = Outlet("audio", lambda: None)
    outlet.open()
    for number in range(limits.OUTLET_QUEUE_MAX + 5):
        outlet.put(Encoded(b"%d" % number, 960 * number, Fraction(1, 48_000)))
    assert outlet.skipped == 5
    assert bytes((await take(outlet, 1))[0]) == b"5"


async def test_a_stopped_outlet_ends_its_sender() -> None:
    """Whoever waits is told."""
    outlet = Outlet("audio", lambda: None)
    outlet.open()
    waiting = asyncio.create_task(outlet.recv())
    await asyncio.sleep(0)
    outlet.stop()
    with pytest.raises(MediaStreamError):
        await waiting


# --- encoders -------------------------------------------------------------------------------------


def moving(width: int, height: int, count: int, filters: str = "") -> list[av.VideoFrame]:
    container = av.open(f"testsrc2=size={width}x{height}:rate=30{filters}", format="lavfi")
    frames = []
    for frame in container.decode(video=0):
        frames.append(frame.reformat(format="yuv420p"))
        if len(frames) == count:
            break
    container.close()
    return frames


@pytest.mark.parametrize(("codec", "fps"), [("VP8", 30), ("VP8", 15), ("H264", 30)])
def test_the_rate_changes_while_the_encoder_runs(codec: str, fps: int) -> None:
    """No keyframe, no gap: half the rate, then one and a half, as asked for."""
    frames = moving(640, 360, 30)
    encoder = encoders.make_picture_encoder(codec, 640, 360, 600_000, fps)
    rates = {"first": 600_000, "less": 300_000, "more": 900_000}
    measured: dict[str, float] = {}
    keyframes = 0
    pts = 0
    for name, rate in rates.items():
        sizes = []
        for index in range(150):
            data, key = encoder.encode(frames[index % 30], pts, key=False, rate=rate)
            pts += 3000
            keyframes += key
            sizes.append(len(data))
        measured[name] = sum(sizes[75:]) * 8 / 2.5
    assert keyframes == 1
    assert measured["first"] == pytest.approx(600_000, rel=0.15), measured
    assert measured["less"] == pytest.approx(300_000, rel=0.15), measured
    # x264 goes up over many seconds
    assert measured["more"] == pytest.approx(900_000, rel=0.15 if codec == "VP8" else 0.5), measured


def test_pictures_for_a_room_of_many_cost_less() -> None:
    """Those of fifteen a second, compared one by one with the same of thirty; with the noise of a camera."""
    frames = moving(480, 360, 30, ",noise=alls=12:allf=t")
    many, few = encoders.Vp8Encoder(480, 360, 300_000, 15), encoders.Vp8Encoder(480, 360, 300_000, 30)
    shares = []
    for index in range(90):
        took = []
        for encoder in (many, few):
            began = time.thread_time()
            encoder.encode(frames[index % 30], 6000 * index, key=False, rate=300_000)
            took.append(time.thread_time() - began)
        shares.append(took[0] / took[1])
    assert statistics.median(shares) < 0.9, shares


def test_a_pause_is_not_saved_up() -> None:
    """After a minute without pictures (a machine that slept) the next ones are not a minute's worth."""
    frames = moving(320, 180, 30)
    encoder = encoders.Vp8Encoder(320, 180, 200_000)
    before = [
        len(encoder.encode(frame, 3000 * n, key=False, rate=200_000)[0]) for n, frame in enumerate(frames)
    ]
    later = 60 * 90_000
    after = [
        len(encoder.encode(frame, later + 3000 * n, key=False, rate=200_000)[0])
        for n, frame in enumerate(frames)
    ]
    assert sum(after) < 3 * sum(before)


def test_a_keyframe_on_demand_leaves_the_frame_clean() -> None:
    """Another encoder of the same frame makes none."""
    frame = moving(320, 180, 1)[0]
    one, two = encoders.Vp8Encoder(320, 180, 200_000), encoders.H264Encoder(320, 180, 200_000)
    for pts in (0, 3000):
        one.encode(frame, pts, key=False, rate=200_000)
        two.encode(frame, pts, key=False, rate=200_000)
    assert one.encode(frame, 6000, key=True, rate=200_000)[1]
    assert not two.encode(frame, 6000, key=False, rate=200_000)[1]
    assert not one.encode(frame, 9000, key=False, rate=200_000)[1]


def sine(frames: list[Any]) -> float:
    """How much of what was decoded is not the 440 Hz that it should be, 0 to 1."""
    values = array("h", b"".join(bytes(frame.planes[0])[: 4 * frame.samples] for frame in frames))[::2]
    values = values[4800:]
    real = sum(value * math.cos(2 * math.pi * 440 * n / 48_000) for n, value in enumerate(values))
    imaginary = sum(value * math.sin(2 * math.pi * 440 * n / 48_000) for n, value in enumerate(values))
    tone = 2 * (real**2 + imaginary**2) / len(values)
    return 1 - tone / sum(value * value for value in values)


def decode_sound(name: str, rate: int, data: list[bytes]) -> list[Any]:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo" if name == "libopus" else "mono", rate
    resampler = av.AudioResampler("s16", "stereo", 48_000)
    frames: list[Any] = []
    for octets in data:
        for frame in codec.decode(av.Packet(octets)):
            frame.pts = None
            frames += resampler.resample(frame)
    return frames


BOTH = pytest.mark.parametrize("made", [OpusEncoder, FfmpegOpusEncoder])


@BOTH
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_at_its_rate(made: type[OpusEncoder | FfmpegOpusEncoder], channels: int) -> None:
    """20 ms a packet, at 32 or 48 kb/s, and it sounds like what went in."""
    encoder, tone = made(channels), Tone(440)
    sound = [tone.next() if channels == 1 else stereo(tone.next()) for _ in range(100)]
    data = [packet for octets in sound for packet in encoder.encode(octets)]
    assert len(data) == 100
    wanted = limits.OPUS_RATE_MONO if channels == 1 else limits.OPUS_RATE_STEREO
    assert sum(map(len, data)) * 8 / 2 <= 1.15 * wanted
    assert sine(decode_sound("libopus", 48_000, data)) < 0.02


@pytest.mark.parametrize("channels", [1, 2])
def test_libopus_makes_what_ffmpeg_makes_with_it(channels: int) -> None:
    """Octet for octet, of a tone, of noise and of silence."""
    ours, theirs = OpusEncoder(channels), FfmpegOpusEncoder(channels)
    tone, noise = Tone(440), random.Random(1)
    for number in range(120):
        octets = tone.next() if channels == 1 else stereo(tone.next())
        if number % 40 >= 20:
            octets = noise.randbytes(len(octets))
        if number % 40 >= 30:
            octets = bytes(len(octets))
        assert ours.encode(octets) == theirs.encode(octets)


@BOTH
def test_opus_goes_on_when_more_loss_is_expected(made: type[OpusEncoder | FfmpegOpusEncoder]) -> None:
    """Between two packets; nothing is missing, and nothing clicks."""
    encoder, tone = made(1), Tone(440)
    data: list[bytes] = []
    for index in range(100):
        encoder.expect_loss(0.2 if 40 <= index < 70 else 0.0)
        data += encoder.encode(tone.next())
    assert len(data) == 100
    assert sine(decode_sound("libopus", 48_000, data)) < 0.02


def test_opus_frames_in_one_packet_sound_the_same() -> None:
    """Three frames each: a third of the packets, the same sound."""
    encoder, tone = OpusEncoder(1), Tone(440)
    data = [packet for _ in range(90) for packet in encoder.encode(tone.next())]
    joined = [opus.join(data[at : at + 3]) for at in range(0, 90, 3) if opus.joins(data[at], data[at + 2])]
    assert len(joined) >= 29
    assert {opus.length(packet) for packet in joined} == {2880}
    assert sine(decode_sound("libopus", 48_000, joined)) < 0.02


async def test_many_peers_get_fewer_packets_of_sound() -> None:
    """Six peers get 60 ms in each; who is alone again, or loses some, gets 20 ms."""
    async with opened(MediaPlan(source="testsrc", video=False, room="0123")) as one:
        outlets = [Outlet("audio", lambda: None) for _ in range(6)]
        for outlet in outlets:
            outlet.open()
            one.connect(outlet, "opus")
        one.open_gate()

        async def lasts(length: int) -> None:
            """Packets of this length come, and go on to."""
            row = 0
            while row < 5:
                encoded, _ = await outlets[0].take()
                assert opus.length(encoded.data) == encoded.frames * 960
                row = row + 1 if opus.length(encoded.data) == length else 0

        await lasts(2880)
        one.set_loss(outlets[5], 0.02)
        await lasts(960)
        one.set_loss(outlets[5], 0.0)
        await lasts(2880)
        for outlet in outlets[1:]:
            one.disconnect(outlet)
        await lasts(960)


class Lines:
    """Lines that take from the test, and so many open outlets."""

    def __init__(self, count: int) -> None:
        self.lines = studio.SoundLines(1)
        self.outlets = [Outlet("audio", lambda: None) for _ in range(count)]
        self._tone = Tone(440)
        self._number = 0
        for outlet in self.outlets:
            outlet.open()

    def connect(self, *outlets: Outlet) -> None:
        for outlet in outlets:
            self.lines.connect(outlet, "opus")

    def encode(self, *loud: bool) -> None:
        """Frames that are taken together; they leave with the loop's next turn."""
        frames = [self._tone.next() if one else readers.silence_of(1) for one in loud]
        self.lines.encode(frames, self._number * 960, self.lines._order)
        self._number += len(frames)


def waiting(outlet: Outlet) -> list[tuple[int, int]]:
    """The numbers of the first frames of the packets that wait, and how many each has."""
    assert all(opus.length(encoded.data) == encoded.frames * 960 for encoded in outlet._queue)
    return [(encoded.pts // 960, encoded.frames) for encoded in outlet._queue]


async def test_every_frame_is_in_one_packet() -> None:
    """In order, as loud as the loudest; what nobody can hear is no part of a packet."""
    test = Lines(6)
    test.connect(*test.outlets)
    for _ in range(3):
        test.encode(True, True, True)
    for _ in range(4):
        test.encode(False, False, False)
    test.encode(True, False, True)
    await asyncio.sleep(0)
    numbers = [number + index for number, count in waiting(test.outlets[0]) for index in range(count)]
    pause = range(9 + limits.SILENCE_FRAMES, 21)
    assert numbers == [number for number in range(24) if number not in pause]
    assert waiting(test.outlets[0])[:3] == [(0, 3), (3, 3), (6, 3)]
    assert [encoded.level for encoded in test.outlets[0]._queue][:3] == [-15] * 3
    assert test.outlets[0]._queue[-1].level == -15
    assert [outlet.frames for outlet in test.outlets] == [len(numbers)] * 6


async def test_who_comes_gets_nothing_from_before() -> None:
    """Whatever was taken when it came, or is on its way from the encoder, is for those who were there."""
    test = Lines(5)
    test.connect(*test.outlets[:4])
    before = test.lines._order
    test.encode(True, True)
    test.connect(test.outlets[4])
    test.lines.encode([Tone(440).next()] * 2, 2 * 960, before)
    await asyncio.sleep(0)
    assert [sum(count for _, count in waiting(outlet)) for outlet in test.outlets] == [4] * 4 + [0]
    test.encode(True, True)
    await asyncio.sleep(0)
    assert [sum(count for _, count in waiting(outlet)) for outlet in test.outlets] == [6] * 4 + [2]


async def test_the_sound_of_a_pause_is_sent_to_nobody() -> None:
    """What was taken while it was muted does not wait for its return."""
    test = Lines(1)
    test.connect(*test.outlets)
    test.encode(True)
    test.lines.disconnect(test.outlets[0])
    test.encode(True)
    test.connect(*test.outlets)
    await asyncio.sleep(0)
    assert waiting(test.outlets[0]) == []
    test.encode(True)
    await asyncio.sleep(0)
    assert waiting(test.outlets[0]) == [(2, 1)]


@BOTH
def test_opus_packets_hold_a_copy_of_the_one_before(made: type[OpusEncoder | FfmpegOpusEncoder]) -> None:
    """In-band FEC: the LBRR flag of the SILK frame is set (RFC 6716 section 4.2.4)."""
    encoder, tone = made(1), Tone(440)
    encoder.expect_loss(0.1)
    data = [packet for _ in range(60) for packet in encoder.encode(tone.next())]
    configurations = {packet[0] >> 3 for packet in data[10:]}
    assert max(configurations) < 16, "SILK or hybrid, which FEC needs"
    assert any(packet[1] & 0x40 for packet in data[10:])


@pytest.mark.parametrize(
    ("codec", "name", "rate"),
    [("PCMU", "pcm_mulaw", 8_000), ("PCMA", "pcm_alaw", 8_000), ("G722", "g722", 16_000)],
)
def test_plain_codecs(codec: str, name: str, rate: int) -> None:
    """For peers that have nothing better: 160 octets in 20 ms."""
    encoder, tone = encoders.make_sound_encoder(codec, 1), Tone(440)
    encoder.expect_loss(0.5)
    data = [packet for _ in range(100) for packet in encoder.encode(tone.next())]
    assert 97 <= len(data) <= 100
    assert {len(packet) for packet in data} == {160}
    assert sine(decode_sound(name, rate, data)) < 0.05


def test_loudness() -> None:
    """A sine of a quarter of full scale is at -15 dBov, silence at -127."""
    octets = Tone(440).next()
    assert loudness(octets, 1) == loudness(stereo(octets), 2) == pytest.approx(-15, abs=1)
    assert loudness(readers.silence_of(1), 1) == -127
    assert loudness(b"\x00\x80" * 960, 1) == loudness(b"\xff\x7f" * 960, 1) == 0
