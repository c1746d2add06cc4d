"""Numbers in pictures and sound come out as they went in, through codecs, too; what was heard is judged."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from netsim.bench.media import heard
from netsim.bench.media.marks import (
    PITCHES,
    SAMPLE_RATE,
    SOUND_SAMPLES,
    make_pictures,
    make_sound,
    read_number,
    read_pitch,
    write_number,
)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 360), (320, 180)])
def test_a_picture_keeps_its_number_at_any_size(width: int, height: int) -> None:
    """16 bits are kept; a picture without a number has none."""
    (frame,) = make_pictures(1280, 720, 1)
    assert read_number(frame) is None
    for number in (0, 1, 0b1010_1010_1010_1010, 65_535):
        write_number(frame, number)
        assert read_number(frame.reformat(width=width, height=height)) == number


def test_sound_keeps_its_number_through_opus() -> None:
    """At the rate of a call, after the encoder has settled."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.bit_rate, encoder.sample_rate = 32_000, SAMPLE_RATE
    encoder.format, encoder.layout = av.AudioFormat("s16"), av.AudioLayout("stereo")
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.format, decoder.layout = av.AudioFormat("s16"), av.AudioLayout("stereo")
    decoder.sample_rate = SAMPLE_RATE
    pitches = []
    for number in range(2 * PITCHES):
        frame = make_sound(number)
        frame.pts, frame.time_base = number * SOUND_SAMPLES, Fraction(1, SAMPLE_RATE)
        pitches += [read_pitch(one) for packet in encoder.encode(frame) for one in decoder.decode(packet)]
    assert pitches[1:] == [number % PITCHES for number in range(1, len(pitches))]


def test_silence_has_no_pitch() -> None:
    """Nor has a mixture of two."""
    frame = make_sound(3)
    frame.planes[0].update(bytes(frame.planes[0].buffer_size))
    assert read_pitch(frame) is None


SENT = [number * 0.02 for number in range(100)]


def test_sound_that_was_made_up_does_not_count() -> None:
    """Frame 50 is lost: the pitch before it is heard twice, and its own never."""
    out = [(at + 0.1, number % PITCHES if number != 50 else 49 % PITCHES) for number, at in enumerate(SENT)]
    played = heard.sounds(SENT, out, PITCHES)
    assert [one.number for one in played] == [number for number in range(100) if number != 50]
    assert all(one.lag == pytest.approx(0.1) for one in played)
    assert heard.share_played(SENT, played, 0.0, 2.0) == 99.0
    assert heard.longest_gap(played, 0.5, 1.5) == pytest.approx(40.0)


def test_freezes_are_long_gaps() -> None:
    """Longest, and the share of the time."""
    sent = {number: number / 10 for number in range(20)}
    seen = [(at + 0.05, number, 360) for number, at in sent.items() if not 5 <= number < 9]
    played = heard.pictures(sent, [*seen, (3.0, None, 360), (3.1, 7777, 360)])
    assert len(played) == 16
    found = heard.freezes(played, 0.0, 2.0)
    assert found.longest == pytest.approx(0.5)
    assert found.share == pytest.approx(0.25)


def test_skew_is_positive_when_sound_is_late() -> None:
    """One value each half second."""
    sound = [heard.Played(at + 0.12, number, 0.12) for number, at in enumerate(SENT)]
    picture = [heard.Played(number / 30 + 0.05, number, 0.05) for number in range(60)]
    assert heard.skew(sound, picture, 0.5, 1.5) == [pytest.approx(70.0)] * 2


def test_the_rate_of_a_wire() -> None:
    """Mbit/s between two looks."""
    assert heard.rate([(0.0, 0), (1.0, 125_000), (2.0, 375_000)], 0.0, 2.0) == pytest.approx(1.5)
    assert heard.rate([(0.0, 0)], 0.0, 2.0) == 0.0
