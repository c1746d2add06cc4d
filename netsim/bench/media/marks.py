"""Numbers in pictures and in sound, so that whoever sees or hears a frame knows which one it is.

A picture's number is a row of light and dark squares at its upper edge, so it survives scaling and a codec.
A frame of sound is 20 ms of one tone, whose pitch tells its number modulo ``PITCHES``. Sound that was made up
in place of a lost frame goes on with the pitch before it, so it does not count as the frame that is missing.

Law: a number is read as it was written, or as None.
"""

from __future__ import annotations

import math
from functools import lru_cache

import av
import numpy as np
import numpy.typing as npt

COLUMNS = 40
"""Squares in the width of a picture: each is width / 40 wide and high."""
BITS = 16
CHECK_BITS = 4
LIGHT, DARK = 220, 30
PITCHES = 32
PITCH_LOW, PITCH_STEP = 400, 100
"""Hz. Multiples of 50 Hz: each frame holds whole periods, so frames join without a click."""
SAMPLE_RATE = 48_000
SOUND_SECONDS = 0.02
SOUND_SAMPLES = 960
LEVEL = 0.25
"""Of full scale."""
TAIL_SAMPLES = 576
"""Of each frame that are looked at: Opus delays sound by 6.5 ms, so a frame begins with the one before."""
CLEAR = 0.4
"""Share of the energy that the strongest pitch has to have."""

Luma = npt.NDArray[np.uint8]


def write_number(frame: av.VideoFrame, number: int) -> None:
    """Put ``number`` modulo 65,536 into a yuv420p picture, in place."""
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    side = frame.width // COLUMNS
    for column, bit in enumerate(_cells(number)):
        luma[:side, column * side : (column + 1) * side] = LIGHT if bit else DARK


def read_number(frame: av.VideoFrame) -> int | None:
    """The number in a yuv420p picture, whatever its size."""
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    side = frame.width / COLUMNS
    row = luma[int(side / 2)]
    bits = [int(row[int((column + 0.5) * side)]) > (LIGHT + DARK) // 2 for column in range(BITS + CHECK_BITS)]
    number = sum(1 << place for place in range(BITS) if bits[place])
    return number if _cells(number) == bits else None


def _cells(number: int) -> list[bool]:
    number &= (1 << BITS) - 1
    check = (number ^ number >> 4 ^ number >> 8 ^ number >> 12 ^ 0b1010) & 15
    value = number | check << BITS
    return [bool(value >> place & 1) for place in range(BITS + CHECK_BITS)]


def make_pictures(width: int, height: int, count: int) -> list[av.VideoFrame]:
    """Moving pictures with detail, to be shown to and fro."""
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size={width}x{height}:rate=30")
    form = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    source.link_to(form)
    form.link_to(sink)
    graph.configure()
    frames = []
    for _ in range(count):
        frame = graph.pull()
        assert isinstance(frame, av.VideoFrame), "the graph makes pictures"
        frame.make_writable()
        frames.append(frame)
    return frames


@lru_cache(maxsize=PITCHES)
def _tone(pitch: int) -> bytes:
    hz = PITCH_LOW + PITCH_STEP * pitch
    times = np.arange(SOUND_SAMPLES) / SAMPLE_RATE
    wave = np.round(32767 * LEVEL * np.sin(2 * math.pi * hz * times)).astype(np.int16)
    return np.repeat(wave, 2).tobytes()


def make_sound(number: int) -> av.AudioFrame:
    """20 ms of s16 stereo that tell ``number`` modulo PITCHES."""
    frame = av.AudioFrame(format="s16", layout="stereo", samples=SOUND_SAMPLES)
    octets = _tone(number % PITCHES)
    plane = frame.planes[0]
    plane.update(octets + bytes(plane.buffer_size - len(octets)))
    frame.sample_rate = SAMPLE_RATE
    return frame


@lru_cache(maxsize=1)
def _probes() -> npt.NDArray[np.complex128]:
    hz = PITCH_LOW + PITCH_STEP * np.arange(PITCHES)
    times = np.arange(TAIL_SAMPLES) / SAMPLE_RATE
    probes: npt.NDArray[np.complex128] = np.exp(-2j * math.pi * np.outer(hz, times))
    return probes


def read_pitch(frame: av.AudioFrame) -> int | None:
    """The number modulo PITCHES that 20 ms of sound tell; None: silence, noise or a mixture."""
    samples = frame.to_ndarray()
    channels = len(frame.layout.channels)
    mono = samples.reshape(-1, channels)[:, 0] if samples.shape[0] == 1 else samples[0]
    tail = mono[-TAIL_SAMPLES:].astype(np.float64)
    if len(tail) < TAIL_SAMPLES:
        return None
    energy = float(tail @ tail)
    if energy < TAIL_SAMPLES * 100.0:
        return None
    strength = np.abs(_probes() @ tail) ** 2
    best = int(np.argmax(strength))
    # All energy in one sine: |sum|^2 = energy * N / 2
    share = float(strength[best]) / (energy * TAIL_SAMPLES / 2)
    return best if share >= CLEAR else None
