"""What is made of a peer's reports."""

from __future__ import annotations

from meshcall import limits
from meshcall.media.feedback import Rates, Requests


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


def test_a_packet_that_is_asked_for_again_counts_once() -> None:
    """Who asks while the repair is on its way has lost no more; what is remembered is bounded."""
    requests = Requests()
    assert requests.fresh([7, 8, 9]) == 3
    assert requests.fresh([8, 9, 10]) == 1
    assert requests.fresh([7, 7, 11, 11]) == 1
    assert requests.fresh(range(1000, 1000 + limits.REQUESTS_MAX)) == limits.REQUESTS_MAX
    assert requests.fresh([7]) == 1
