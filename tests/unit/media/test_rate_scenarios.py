"""Rate control over narrow links in virtual time: how fast it follows, how much it swings, who gets what."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.media.uplink import Uplink
from meshcall.testing.bottleneck import Bottleneck, CallFlow, RenoFlow, World

SEEDS = (1, 2)
SOUND = 60_000
"""Bits per second that sound takes of a link."""


@pytest.mark.parametrize("queue", [0.06, 0.2, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_link_cut_to_a_fifth_and_back(seed: int, queue: float) -> None:
    world = World(seed)
    link = Bottleneck(world, [(0, 3e6), (12, 0.6e6), (26, 3e6)], queue=queue, jitter=0.005)
    call = CallFlow(world, link)
    world.run(40)
    assert call.picture_rate(8, 12) > 1.8e6
    # It fits: the queue is empty again within 2 s.
    assert call.worst_delay(14, 16) < 0.3
    assert call.longest_gap(12, 26) < 0.2
    # It neither starves nor swings: most of the link is used, and no queue builds up.
    assert 0.75 * (0.6e6 - SOUND) < call.picture_rate(16, 26) < 0.6e6 - SOUND
    assert call.worst_delay(16, 40) < 0.18
    targets = [bits for when, bits in call.targets if 17 <= when < 26]
    assert max(targets) < 2.5 * min(targets)
    # It recovers within 5 s.
    assert max(call.picture_rate(26 + t / 10, 26.5 + t / 10) for t in range(46)) > 1.4e6
    assert len(call.sound) > 0.985 * call.sound_sent


@pytest.mark.parametrize("members", [2, 3, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_members_behind_one_uplink_get_equal_parts(seed: int, members: int) -> None:
    world = World(seed)
    link = Bottleneck(world, [(0, 3e6)], jitter=0.005)
    calls = [CallFlow(world, link, start=2.0 * number) for number in range(members)]
    world.run(110)
    rates = [call.picture_rate(50, 110) for call in calls]
    fair = sum(rates) / members
    # Who is at 360p has all that helps there; so parts are equal but for the steps of the layers.
    assert all(0.8 * fair < rate < 1.25 * fair for rate in rates)
    assert fair * members > 0.75 * (3e6 - members * SOUND)
    assert all(len(call.sound) > 0.985 * call.sound_sent for call in calls)


@pytest.mark.parametrize("peers", [2, 3, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_member_shares_its_uplink_among_its_peers(seed: int, peers: int) -> None:
    world, uplink = World(seed), Uplink()
    link = Bottleneck(world, [(0, 2e6)], jitter=0.005)
    calls = [CallFlow(world, link, start=number, uplink=uplink) for number in range(peers)]
    world.run(60)
    rates = [call.picture_rate(30, 60) for call in calls]
    fair = sum(rates) / peers
    assert all(0.95 * fair < rate < 1.05 * fair for rate in rates)
    assert uplink.shared
    assert all(len(call.sound) > 0.98 * call.sound_sent for call in calls)


def test_one_bad_link_holds_no_other_down() -> None:
    world, uplink = World(1), Uplink()
    good = [CallFlow(world, Bottleneck(world, [(0, 5e6)], jitter=0.005), uplink=uplink) for _ in range(3)]
    bad = CallFlow(world, Bottleneck(world, [(0, 0.4e6)], jitter=0.005), uplink=uplink)
    world.run(30)
    assert all(call.picture_rate(10, 30) > 1.9e6 for call in good)
    assert bad.picture_rate(10, 30) < 0.4e6


@pytest.mark.parametrize("queue", [0.2, 0.5])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_bulk_transfer_beside_a_call_starves_neither(seed: int, queue: float) -> None:
    world = World(seed)
    link = Bottleneck(world, [(0, 2e6)], queue=queue, jitter=0.003)
    call, bulk = CallFlow(world, link), RenoFlow(world, link, start=5)
    world.run(65)
    assert call.picture_rate(15, 65) > 0.2e6
    assert bulk.rate(15, 65) > 0.4e6
    assert len(call.sound) > 0.97 * call.sound_sent


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
def test_loss_that_is_the_links_own_costs_no_rate(loss: float) -> None:
    world = World(1)
    call = CallFlow(world, Bottleneck(world, [(0, 3e6)], loss=loss, jitter=0.005))
    world.run(60)
    assert call.picture_rate(20, 60) > 1.1e6


@pytest.mark.parametrize("rate", [100_000, 150_000])
def test_pictures_without_room_leave_the_link_to_sound(rate: int) -> None:
    world = World(1)
    call = CallFlow(world, Bottleneck(world, [(0, rate)], queue=0.3, jitter=0.005))
    world.run(60)
    paused = sum(not bits for when, bits in call.targets if when > 10)
    assert paused > 0.8 * sum(when > 10 for when, _ in call.targets)
    assert sum(when > 10 for when in call.sound) > 0.95 * 2500


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fill", [0.75, 1.0])
def test_the_smallest_pictures_are_large_enough_to_find_out_that_the_way_is_wide(
    fill: float, seed: int
) -> None:
    """No more is tried than one and a half of what arrives; that is enough for the layer above."""
    world = World(seed)
    link = Bottleneck(world, [(0, 3e6), (5, 210_000), (20, 3e6)], jitter=0.005)
    call = CallFlow(world, link, fill=fill)
    world.run(60)
    narrow = [layer.height for when, layer in call.switches if 5 < when < 20 and layer is not None]
    assert min(narrow) == 180
    assert str(call.layer) == "720p30"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rate", "seconds"), [(100_000, 4), (50_000, 8), (50_000, 30)])
def test_pictures_that_were_paused_stay_once_there_is_room(rate: int, seconds: int, seed: int) -> None:
    """The first try on a link that is wide again holds: what was known of it before the pause ends no try."""
    world = World(seed)
    wide = 10 + seconds
    call = CallFlow(world, Bottleneck(world, [(0, 50e6), (10, rate), (wide, 50e6)], jitter=0.003))
    world.run(wide + 40)
    assert any(not bits for when, bits in call.targets if 10 < when < wide)
    # A try that began just before may still fail of what it saw.
    later = [(when, bits > 0) for when, bits in call.targets if when > wide + 1]
    ends = [when for (when, sends), (_, sent) in zip(later[1:], later, strict=False) if sent and not sends]
    assert ends == []
    assert call.picture_rate(wide + limits.RATE_RESUME_MAX + 5, wide + 40) > 1.5e6


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[tuple[float, int]]:
        world = World(7)
        call = CallFlow(world, Bottleneck(world, [(0, 1e6)], jitter=0.01, loss=0.02))
        world.run(10)
        return call.pictures

    assert run() == run()
