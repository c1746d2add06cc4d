"""What is in the recording of a room."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from meshcall.aio.media import readers
from meshcall.aio.media.matroska import Matroska
from meshcall.aio.media.sources import Tone
from meshcall.media.mixing import Tile

Sound = np.ndarray[tuple[int], np.dtype[np.float64]]

_RATE = 48_000


class Voice:
    """A tone as a decoder gives it: frames of 20 ms, stereo."""

    def __init__(self, frequency: int) -> None:
        self._tone = Tone(frequency)

    def next(self) -> av.AudioFrame:
        """The next 20 ms."""
        return readers.frame_of(stereo(self._tone.next()), 2)


def stereo(octets: bytes) -> bytes:
    """Both channels the same."""
    return np.repeat(np.frombuffer(octets, np.int16), 2).tobytes()


def files_in(folder: Path) -> list[str]:
    """Their names."""
    return sorted(file.name for file in folder.iterdir())


def write_film(path: Path, tone: int, value: int, seconds: int) -> None:
    """A film of one tone and one brightness, 320x180, five pictures a second."""
    film, sound, picture = Matroska(path, (320, 180), sound=True), Voice(tone), readers.black(320, 180)
    picture.planes[0].update(bytes([value]) * picture.planes[0].buffer_size)
    for number in range(seconds * 50):
        if number % 10 == 0:
            film.put_picture(picture, number * 0.02)
        film.put_sound(sound.next(), number * 960)
    film.finish()


def pictures_in(path: Path) -> list[av.VideoFrame]:
    """All pictures of a file; they have their time."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def sound_in(path: Path) -> Sound:
    """The left channel, at 48 kHz, each sample at its time."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE)
        pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    end = max((piece.pts or 0) + piece.samples for piece in pieces)
    whole = np.zeros(end)
    for piece in pieces:
        begin = piece.pts or 0
        whole[max(0, begin) : begin + piece.samples] = piece.to_ndarray().reshape(-1)[max(0, -begin) :]
    return whole


def loud(sound: Sound, tone: int, begin: float, end: float) -> bool:
    """Whether ``tone`` is heard between two moments: a hundredth of full scale or more."""
    cut = sound[round(begin * _RATE) : round(end * _RATE)]
    if len(cut) < round((end - begin) * _RATE):
        return False
    wave = np.exp(-2j * np.pi * tone / _RATE * np.arange(len(cut)))
    return bool(2 * abs(np.dot(cut, wave)) / len(cut) > 327)


def luma(frame: av.VideoFrame, place: Tile) -> float:
    """How bright the middle of a tile is."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    x, y = place.x + place.width // 2, place.y + place.height // 2
    return float(rows[y - 8 : y + 8, x - 8 : x + 8].mean())
