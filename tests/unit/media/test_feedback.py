"""What is made of a peer's reports."""

from __future__ import annotations

from meshcall.media.feedback import Rates


def test_loss_is_believed_at_once_and_forgotten_slowly() -> None:
    """A burst comes seldom alone."""
    losses: list[float] = []
    rates = Rates(set_rate=None, set_loss=losses.append, want_keyframe=lambda: None)
    for fraction in (0.0, 0.2, *[0.0] * 20):
        rates.rr(fraction, 0.0, None)
    assert losses[1] == 0.2
    assert losses[2:] == sorted(losses[2:], reverse=True)
    assert losses[11] > 0.05
    assert losses[-1] < 0.03


def test_pictures_follow_remb_and_keyframes_are_passed_on() -> None:
    """Each part does what it is for."""
    told: list[object] = []
    rates = Rates(set_rate=told.append, set_loss=None, want_keyframe=lambda: told.append("keyframe"))
    rates.rr(0.5, 0.1, 0.2)
    rates.remb(700_000)
    rates.nack(3)
    rates.keyframe()
    assert told == [700_000, "keyframe"]
