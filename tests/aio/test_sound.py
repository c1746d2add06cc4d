"""Sound from packets to frames: libopus beside FFmpeg, copies, concealment."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections import Counter
from fractions import Fraction
from functools import partial
from typing import Any

import av
import pytest
from aiortc import RTCRtpCodecParameters
from aiortc.codecs import get_decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcall import limits
from meshcall.aio.media import libopus
from meshcall.aio.media.encoders import OpusEncoder
from meshcall.aio.media.sources import Tone
from meshcall.aio.rtc.playout import Playout
from meshcall.aio.rtc.sound import SoundDecoder, SoundFrame, SoundStep
from meshcall.media import opus, stretch
from meshcall.media.jitter import Kind, Step, Stretch
from meshcall.testing import FakeClock

OPUS = RTCRtpCodecParameters("audio/opus", 48_000, channels=2, payloadType=96)
PCMU = RTCRtpCodecParameters("audio/PCMU", 8000, channels=1, payloadType=0)
G722 = RTCRtpCodecParameters("audio/G722", 8000, channels=1, payloadType=9)


def voice(count: int, *, options: dict[str, str]) -> tuple[list[array[int]], list[bytes]]:
    """Something like a voice: frames of 20 ms, mono, and their packets."""
    context = av.CodecContext.create("libopus", "w")
    context.bit_rate, context.format, context.layout = 32_000, "s16", "mono"
    context.sample_rate, context.time_base = 48_000, Fraction(1, 48_000)
    context.options = {"application": "voip", **options}
    frames, packets = [], []
    phase = 0.0
    for number in range(count):
        samples = array("h")
        for index in range(960):
            time = number * 0.02 + index / 48_000
            phase += 2 * math.pi * (140 + 30 * math.sin(9 * time)) / 48_000
            loud = 0.6 + 0.4 * math.sin(25 * time)
            samples.append(round(loud * sum(3000 / k * math.sin(k * phase) for k in range(1, 12))))
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = 48_000, number * 960
        frames.append(samples)
        packets += [bytes(one) for one in context.encode(frame)]
    return frames, packets


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """With copies in most of them."""
    return voice(60, options={"fec": "1", "packet_loss": "10"})[1]


def difference(one: bytes, other: bytes) -> float:
    """Energy of the difference, as a share of the first one's."""
    a, b = array("h", one), array("h", other)
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / sum(x * x for x in a)


def step(
    kind: Kind,
    data: bytes = b"",
    seconds: float = 0.02,
    stretch: Stretch = "",
    at: float = 1.0,
    *,
    hurry: bool = False,
) -> Step:
    return Step(kind, data, seconds, stretch, hurry=hurry, at=at, timestamp=0)


def decode(decoder: SoundDecoder, one: Step, told: list[float] | None = None) -> av.AudioFrame:
    (frame,) = decoder.decode(SoundStep(one, 0.5, (told if told is not None else []).append))
    assert isinstance(frame, av.AudioFrame)
    return frame


# --- libopus --------------------------------------------------------------------------------------


def test_libopus_is_found_where_pyav_has_it() -> None:
    """When this fails, PyAV keeps its libopus elsewhere, and losses sound worse."""
    assert libopus.available()
    name = libopus._library()
    assert name is not None
    assert "av.libs" in name._name or ".dylibs" in name._name


def test_no_program_is_run_to_find_libopus(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for in the thread of a decoder, in the first moments of a call."""

    def run_programs(name: str) -> str | None:
        raise AssertionError(name)

    monkeypatch.setattr("ctypes.util.find_library", run_programs)
    assert libopus._library.__wrapped__() is not None
    monkeypatch.setattr(libopus, "_PLACES", ())
    assert next(libopus._candidates()) == "libopus.so.0"


def test_libopus_decodes_what_ffmpeg_decodes(packets: list[bytes]) -> None:
    """The same library, so the same samples."""
    ours, theirs = libopus.OpusDecoder(), get_decoder(OPUS)
    for number, packet in enumerate(packets):
        samples = ours.decode(packet)
        (frame,) = theirs.decode(SoundFrame(packet, number * 960, 1, number))
        assert isinstance(frame, av.AudioFrame)
        assert samples == bytes(frame.planes[0])[: len(samples)]
        assert opus.length(packet) == 960 == len(samples) // 4


def test_a_copy_is_the_lost_packet_and_concealment_is_not(packets: list[bytes]) -> None:
    """What is read from the packets agrees with libopus, and copies sound like what was lost."""
    assert sum(map(opus.carries_previous, packets)) >= 40
    repaired, concealed = [], []
    for lost in range(10, 50):
        if not opus.carries_previous(packets[lost + 1]):
            continue
        decoders = [libopus.OpusDecoder() for _ in range(3)]
        for packet in packets[:lost]:
            for decoder in decoders:
                decoder.decode(packet)
        real = decoders[0].decode(packets[lost])
        repaired.append(difference(real, decoders[1].decode_previous(packets[lost + 1], 960)))
        concealed.append(difference(real, decoders[2].conceal(960)))
    assert sorted(repaired)[len(repaired) // 2] < 0.5 * sorted(concealed)[len(concealed) // 2]


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_octets_end_in_samples_or_an_error(data: bytes) -> None:
    """Of a peer that sends anything."""
    decoder = libopus.OpusDecoder()
    for work in (decoder.decode, lambda octets: decoder.decode_previous(octets, 960)):
        try:
            assert len(work(data)) % 4 == 0
        except libopus.OpusError:
            continue
    assert len(decoder.conceal(480)) == 480 * 4


# --- decoding steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("with_libopus", [True, False])
def test_each_step_gives_one_frame(
    monkeypatch: pytest.MonkeyPatch, packets: list[bytes], with_libopus: bool
) -> None:
    """Of the right length and time, whatever it is, with libopus and without."""
    monkeypatch.setattr(libopus, "available", lambda: with_libopus)
    decoder = SoundDecoder(OPUS, get_decoder)
    told: list[float] = []
    for number in range(10):
        frame = decode(decoder, step("packet", packets[number], at=1.0 + number * 0.02), told)
        assert frame.pts == pytest.approx((0.5 + number * 0.02) * 48_000, abs=1)
        assert (frame.samples, frame.sample_rate, frame.layout.name) == (960, 48_000, "stereo")
    assert decode(decoder, step("repaired", packets[11])).samples == 960
    assert decode(decoder, step("concealed", seconds=0.01)).samples == 480
    assert decode(decoder, step("packet", b"\xff\xff\xff")).samples == 960
    shorter = decode(decoder, step("packet", packets[12], stretch="shorter"), told)
    assert shorter.samples < 960
    assert told[-1] == pytest.approx(shorter.samples / 48_000)
    assert decode(decoder, step("packet", packets[13], stretch="longer")).samples > 960


@pytest.mark.parametrize("pieces", [1, 10, 30])
def test_a_packet_that_is_only_late_sounds_as_if_it_had_come_in_time(
    packets: list[bytes], pieces: int
) -> None:
    """Whatever was made up meanwhile; but for the moment in which it goes over."""
    in_time, late = SoundDecoder(OPUS, get_decoder), SoundDecoder(OPUS, get_decoder)

    def hear(decoder: SoundDecoder, number: int) -> array[int]:
        following = step("packet", packets[number])
        following.timestamp = (2**32 - 20 * 960 + number * 960) & 0xFFFFFFFF
        return array("h", bytes(decode(decoder, following).planes[0])[: 960 * 4])

    for number in range(30):
        assert hear(in_time, number) == hear(late, number)
    for _ in range(pieces):
        decode(late, step("concealed", seconds=0.005))
    wanted, got = hear(in_time, 30), hear(late, 30)
    assert got[2 * 240 :] == wanted[2 * 240 :]
    assert got != wanted
    assert hear(in_time, 31) == hear(late, 31)


def test_after_a_packet_that_is_lost_the_decoder_goes_on_from_what_it_made_up(packets: list[bytes]) -> None:
    """What follows a loss does not follow the packet before it."""
    library = libopus.OpusDecoder()
    decoder = SoundDecoder(OPUS, get_decoder)
    for number in range(20):
        library.decode(packets[number])
        following = step("packet", packets[number])
        following.timestamp = number * 960
        decode(decoder, following)
    made_up = [library.conceal(480) for _ in range(2)]
    assert [
        bytes(decode(decoder, step("concealed", seconds=0.01)).planes[0])[:1920] for _ in made_up
    ] == made_up
    after = step("packet", packets[21])
    after.timestamp = 21 * 960
    assert bytes(decode(decoder, after).planes[0])[: 960 * 4] == library.decode(packets[21])


def test_what_is_late_is_played_off_as_fast_with_long_packets() -> None:
    """In a hurry each 20 ms lose a period, not each packet: in one packet or in three, as much is left."""
    encoder, tone = OpusEncoder(1), Tone(440)
    packets = [data for _ in range(30) for data in encoder.encode(tone.next())]
    one, three = SoundDecoder(OPUS, get_decoder), SoundDecoder(OPUS, get_decoder)
    for at in range(0, 30, 3):
        frames = packets[at : at + 3]
        hurried = [
            decode(one, step("packet", data, stretch="shorter", hurry=True)).samples for data in frames
        ]
        if at and all(opus.joins(frames[0], data) for data in frames):
            joined = step("packet", opus.join(frames), 0.06, stretch="shorter", hurry=True)
            assert decode(three, joined).samples == pytest.approx(sum(hurried), abs=60)
            assert sum(hurried) <= 2880 - 3 * 100
        else:
            for data in frames:
                decode(three, step("packet", data))
    calm = step("packet", opus.join(packets[-3:]), 0.06, stretch="shorter")
    assert 2880 - 500 <= decode(three, calm).samples < 2880


@pytest.mark.parametrize(("codec", "rate"), [(PCMU, 8000), (G722, 16_000)])
def test_other_codecs_are_carried_on(codec: RTCRtpCodecParameters, rate: int) -> None:
    """What is missing is the last sound, which falls silent."""
    decoder = SoundDecoder(codec, get_decoder)
    first = decode(decoder, step("concealed", seconds=0.01))
    assert not any(array("h", bytes(first.planes[0])[: first.samples * 2]))
    frame = decode(decoder, step("packet", struct.pack("160B", *range(160))))
    assert (frame.samples, frame.sample_rate) == (rate // 50, rate)
    loud = [decode(decoder, step("concealed", seconds=0.02)) for _ in range(7)]
    assert any(bytes(loud[0].planes[0])[: loud[0].samples * 2])
    assert not any(bytes(loud[-1].planes[0])[: loud[-1].samples * 2])


# --- the playout ----------------------------------------------------------------------------------


def sound_frame(number: int, data: bytes, ssrc: int = 1) -> SoundFrame:
    return SoundFrame(data, number * 960, ssrc, number)


def playout() -> tuple[Playout, FakeClock, Counter[str]]:
    clock: FakeClock = FakeClock()
    counters: Counter[str] = Counter()
    return Playout(counters, clock.now), clock, counters


def test_nothing_is_kept_before_the_gate(packets: list[bytes]) -> None:
    """A stranger's sound meets no decoder."""
    out, _, counters = playout()
    out.put((OPUS, sound_frame(0, packets[0])))
    assert (out.dropped, counters) == (1, {"audio-before-gate": 1})
    out.put(None)
    assert out.get() is None


def test_steps_come_in_their_time(packets: list[bytes]) -> None:
    """The thread is told of each when it is due; a lost one is had from its copy; then it is over."""
    out, clock, counters = playout()
    out.open = True
    kinds = []
    for number, packet in enumerate(packets):
        if number != 30:
            out.put((OPUS, sound_frame(number, packet)))
        clock.advance_to(clock.now() + 0.02)
        while (item := due(out)) is not None:
            kinds.append(item.step.kind)
            item.played(item.step.seconds)
    assert kinds.count("packet") + kinds.count("repaired") >= 57
    assert out.counts.packets == kinds.count("packet")
    assert out.position is not None
    assert out.position[0] == pytest.approx(57 * 960, abs=2000)
    assert 0.015 <= out.lag <= 0.06
    assert not counters
    out.put(None)
    assert out.get() is None


@pytest.mark.parametrize("seed", range(3))
def test_what_nobody_hears_is_played_all_the_same(
    packets: list[bytes], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several steps at a time, yet the same ones, with the same times and counts; and no frames.

    If only what is stretched were as long as what is heard.
    """
    arrivals = bad_way(seed)

    def stretched(sound: array[int], channels: int, rate: int, *, hurry: bool, more: bool) -> array[int]:
        del hurry
        return stretch.unheard(sound, channels, rate, more=more)

    monkeypatch.setattr(stretch, "shorter", partial(stretched, more=False))
    monkeypatch.setattr(stretch, "longer", partial(stretched, more=True))
    heard, steps, frames = play_out(packets, arrivals, heard=True)
    unheard, same, none = play_out(packets, arrivals, heard=False)
    assert same == steps
    assert unheard.counts == heard.counts
    assert min(heard.counts.repaired, heard.counts.late, heard.counts.concealed) > 0, "it was a bad way"
    assert (frames, none) == (len(steps), 0)


@pytest.mark.parametrize("seed", range(3))
def test_what_nobody_hears_needs_no_pitch(
    packets: list[bytes], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made shorter and longer without looking for one, and as much of it is played."""
    heard, steps, _ = play_out(packets, bad_way(seed), heard=True)
    assert {step.stretch for step in steps} == {"", "shorter", "longer"}, "it was a bad way"
    monkeypatch.delattr(stretch, "_period")
    unheard, _, _ = play_out(packets, bad_way(seed), heard=False)
    assert unheard.counts.packets == pytest.approx(heard.counts.packets, abs=8)
    assert unheard.counts.concealed == pytest.approx(heard.counts.concealed, abs=0.1)


def bad_way(seed: int) -> list[tuple[float, int]]:
    """When packets arrive, and which: some late, some lost, fifty of them in a row."""
    chance = random.Random(seed)
    return sorted(
        (1000.0 + number * 0.02 + chance.choice((0.0, 0.01, 0.03, 0.09)) * chance.random(), number)
        for number in range(400)
        if chance.random() > 0.05 and not 200 < number < 250
    )


def play_out(
    packets: list[bytes], arrivals: list[tuple[float, int]], *, heard: bool
) -> tuple[Playout, list[Step], int]:
    """What the thread would do: the steps, and how many frames came of them."""
    out, clock, _ = playout()
    out.open, out.heard = True, heard
    decoder, steps, frames, told = SoundDecoder(OPUS, get_decoder), list[Step](), 0, list[float]()
    out.played = told.append

    def play() -> None:
        nonlocal frames
        while (item := due(out)) is not None:
            steps.append(item.step)
            frames += len(decoder.decode(item))

    for arrival, number in arrivals:
        while (wake := wakes_at(out)) is not None and wake < arrival:
            clock.advance_to(wake)
            play()
        clock.advance_to(arrival)
        out.put((OPUS, sound_frame(number, packets[number % len(packets)])))
        if wake is None:
            play()
    while (wake := wakes_at(out)) is not None:
        clock.advance_to(wake)
        play()
    assert len(told) == len(steps)
    return out, steps, frames


def wakes_at(out: Playout) -> float | None:
    """When ``get`` would look again; None: not before a packet comes."""
    when = None if out._buffer is None else out._buffer.deadline()
    return None if when is None else when + out._patience()


def test_the_first_sound_is_played_at_once(packets: list[bytes]) -> None:
    """A call tells its first sound, whether anybody hears it or not; what follows may wait."""
    out, clock, _ = playout()
    out.open = True
    out.put((OPUS, sound_frame(0, packets[0])))
    assert due(out) is None
    wake = wakes_at(out)
    assert wake is not None
    assert wake < clock.now() + 0.05
    clock.advance_to(wake)
    first = due(out)
    assert first is not None
    first.played(0.02)
    assert wakes_at(out) == pytest.approx(wake + 0.02 + limits.UNTAKEN_WAIT)
    out.heard = True
    assert wakes_at(out) == pytest.approx(wake + 0.02)


def test_what_is_due_at_the_end_is_played(packets: list[bytes]) -> None:
    """It was in time, and counts."""
    out, clock, _ = playout()
    out.open = True
    seconds = list[float]()
    out.played = seconds.append
    for number in range(10):
        out.put((OPUS, sound_frame(number, packets[number])))
        clock.advance(0.02)
        while number < 5 and (item := due(out)) is not None:
            item.played(0.02)
    before = len(seconds)
    out.put(None)
    while (last := out.get()) is not None:
        last[1].played(0.02)
    assert len(seconds) - before == 5


def due(out: Playout) -> SoundStep | None:
    """What ``get`` would give now, or None where it would wait."""
    return out._next(out._clock())


def test_get_gives_what_is_due_at_once(packets: list[bytes]) -> None:
    """And waits for nothing then."""
    out, clock, _ = playout()
    out.open = True
    out.put((OPUS, sound_frame(0, packets[0])))
    assert due(out) is None
    clock.advance_to(clock.now() + 0.05)
    item = out.get()
    assert item is not None
    assert (item[0], item[1].step.kind) == (OPUS, "packet")


def test_floods_and_octets_that_are_no_packets_are_counted(packets: list[bytes]) -> None:
    """What the thread does not take in time is dropped; another codec begins another stream."""
    out, _, counters = playout()
    out.open = True
    for number in range(limits.DECODE_QUEUE_MAX + 3):
        out.put((OPUS, sound_frame(number, packets[0])))
    assert counters["audio-decoder-behind"] == 3
    assert due(out) is None
    out.put((OPUS, sound_frame(1, b"\xfb\x3f")))
    out.put((PCMU, sound_frame(2, bytes(160))))
    due(out)
    assert counters["audio-malformed"] == 1
    codec: Any = out._codec
    assert codec is PCMU
    assert out.rate == 8000
