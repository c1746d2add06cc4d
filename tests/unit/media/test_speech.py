"""Who speaks, and what is silence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.speech import Silence, Speech

LEVELS = st.integers(-127, 0)


def run(speech: Speech, level: int, frames: int) -> int | None:
    """Hear frames; the first one with which it changed."""
    changed = [index for index in range(frames) if speech.heard(level)]
    return changed[0] if changed else None


def test_speech_begins_at_once_and_outlives_a_pause() -> None:
    """60 ms of speech are enough; a pause of 0.3 s ends nothing, silence does after a while."""
    speech = Speech()
    run(speech, -70, 100)
    assert run(speech, -25, 10) == 2
    assert run(speech, -70, 15) is None
    assert run(speech, -25, 10) is None
    ended = run(speech, -70, 100)
    assert ended is not None
    assert abs((ended + 1) * 0.02 - limits.SPEECH_HOLD) < 0.03
    assert not speech.speaking


def test_a_click_and_a_fan_are_no_speech() -> None:
    """One loud frame; noise that stays is none for long; who speaks over the fan is heard."""
    speech = Speech()
    run(speech, -70, 100)
    speech.heard(-10)
    assert run(speech, -70, 100) is None
    assert run(speech, -50, 500) == 2
    assert run(speech, -50, 500) is not None
    assert not speech.speaking
    assert run(speech, -50, 3000) is None
    assert run(speech, -30, 10) == 2


def test_silence_is_sent_seldom() -> None:
    """The first 200 ms, then one packet in 400 ms; sound is sent from its first frame on."""
    silence = Silence()
    sent = [not silence.skip(-127) for _ in range(limits.SILENCE_FRAMES + 10 * limits.SILENCE_PACKETS)]
    assert all(sent[: limits.SILENCE_FRAMES])
    assert sum(sent[limits.SILENCE_FRAMES :]) == 10
    assert not silence.skip(-60)
    assert not silence.skip(-127)


@given(st.lists(LEVELS, max_size=500))
def test_what_can_be_heard_is_sent(levels: list[int]) -> None:
    """Whatever comes before it; and the peer is never left without a packet for half a second."""
    silence, speech = Silence(), Speech()
    since = 0
    for level in levels:
        skipped = silence.skip(level)
        since = since + 1 if skipped else 0
        assert since < limits.SILENCE_PACKETS
        assert not (skipped and level > limits.SILENCE_LEVEL)
        before = speech.speaking
        assert speech.heard(level) == (speech.speaking != before)
