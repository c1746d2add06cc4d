"""The project's figures of loss, in virtual time with real codecs; stock aiortc's buffers beside them."""

from __future__ import annotations

import pytest

from netsim.bench.media.virtual import LAG_MS, LOSSES, SOUND_S, picture_run, sound_run


@pytest.mark.parametrize("loss", LOSSES)
def test_sound_is_played_at_loss(loss: float) -> None:
    """Its own sound, not what was made up; with little lag; some of it would be without copies, too."""
    run = sound_run("ours", loss, seed=3, seconds=15)
    assert run.played >= LOSSES[loss]
    assert run.lag <= LAG_MS
    without = sound_run("ours", loss, seed=3, seconds=15, copies=False)
    assert without.played >= 100 * (1 - 1.3 * loss) - 0.5
    assert without.octets <= run.octets


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("peers", [4, 6])
def test_sound_in_long_packets_is_played_at_loss(peers: int, loss: float) -> None:
    """Of 40 and 60 ms, in large rooms: its own sound, and what waits for the rest of a packet lags, too."""
    run = sound_run("ours", loss, seed=3, seconds=15, peers=peers)
    assert run.played >= LOSSES[loss]
    assert run.lag <= LAG_MS
    assert run.concealed <= 100 - LOSSES[loss]
    if not loss:
        assert run.packets <= 15 / SOUND_S / (2 if peers == 4 else 3) + 10


def test_stock_aiortc_is_measured_alike() -> None:
    """What its buffer loses by itself, and its lag, are those that were measured on a wire."""
    run = sound_run("stock", 0.05, seed=3, seconds=15)
    assert 65 <= run.played <= 85
    assert run.lag > 200


def test_the_same_seed_gives_the_same_run() -> None:
    """Nothing depends on the machine."""
    assert sound_run("ours", 0.1, seed=5, seconds=5) == sound_run("ours", 0.1, seed=5, seconds=5)


def test_pictures_do_not_freeze_for_long_at_loss() -> None:
    """Over 50 ms of round trip."""
    run = picture_run("ours", 0.05, seed=3, seconds=10)
    assert run.longest_freeze <= 400
    assert run.frozen <= 2
    assert run.shown >= 97
    assert run.keyframes <= 3
