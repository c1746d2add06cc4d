"""What is in a recording: pictures, motion and tone, measured from the decoded media."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

MOVES = 0.2
"""Mean change per pixel (of 255) from which a picture differs from the one before it."""


@dataclass(frozen=True)
class Recording:
    """A recording's measures."""

    video_frames: int
    moving_share: float
    """Share of pictures that differ from the one before."""
    audio_seconds: float
    tone_hz: float
    """The strongest frequency."""
    purity: float
    """Share of the sound's energy within 3 % of that frequency."""


def read_recording(path: Path) -> Recording:
    """Decode all of it."""
    frames = moving = 0
    previous = None
    samples: list[np.ndarray] = []
    rate = 48000
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                picture = frame.to_ndarray(format="gray").astype(np.float32)
                frames += 1
                if previous is not None and picture.shape == previous.shape:
                    moving += bool(np.abs(picture - previous).mean() > MOVES)
                previous = picture
            elif isinstance(frame, av.AudioFrame):
                samples += [piece.to_ndarray().reshape(-1) for piece in resampler.resample(frame)]
        samples += [piece.to_ndarray().reshape(-1) for piece in resampler.resample(None)]
    sound = np.concatenate(samples) if samples else np.zeros(1, dtype=np.float32)
    tone, purity = strongest_tone(sound, rate)
    return Recording(frames, moving / max(1, frames - 1), len(sound) / rate, tone, purity)


def strongest_tone(sound: np.ndarray, rate: int) -> tuple[float, float]:
    """The frequency with the most energy, and its share of all energy."""
    energy = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    energy[frequencies < 20] = 0  # a constant offset is no tone
    total = float(energy.sum())
    if total == 0:
        return 0.0, 0.0
    tone = float(frequencies[int(energy.argmax())])
    near = np.abs(frequencies - tone) <= 0.03 * tone
    return tone, float(energy[near].sum()) / total
