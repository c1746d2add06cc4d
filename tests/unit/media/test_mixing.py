"""The recording of a whole room: voices in one, pictures in one, at their time."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.media.mixing import BLOCK, BLOCK_VALUES, SoundMix, Stage, Ticks, Tile, Timeline, mixed, tiles


def block(value: int) -> array[int]:
    return array("h", [value] * BLOCK_VALUES)


def taken(mix: SoundMix, now: float) -> list[int]:
    """What each block has that may be taken by then."""
    values = []
    while (one := mix.take(now)) is not None:
        assert one[1] == block(one[1][0])
        values.append(one[1][0])
    return values


def test_voices_are_added_and_what_is_too_loud_is_cut_off() -> None:
    """Nobody is softer because another one speaks; no sum goes round."""
    assert mixed([block(300), block(-50), block(7)]) == block(257)
    assert mixed([block(30_000), block(30_000)]) == block(32_767)
    assert mixed([block(-30_000), block(-30_000)]) == block(-32_768)
    assert mixed([]) == block(0)


def test_each_voice_is_at_the_time_at_which_it_was_heard() -> None:
    """Whenever its member came, and whatever its own clock began with."""
    mix = SoundMix()
    for number in range(100):
        mix.put("ann", [block(1)], 1000 + number * BLOCK, number * BLOCK)
        if 40 <= number < 80:
            mix.put("ben", [block(10)], 7 + number * BLOCK, number * BLOCK + 0.004)
    assert taken(mix, 2.0 + limits.MIX_WAIT) == [1] * 40 + [11] * 40 + [1] * 20


def test_a_pause_is_silence_and_what_comes_after_it_is_in_time() -> None:
    """Nothing is sent while nobody speaks."""
    mix = SoundMix()
    for number in [*range(10), *range(50, 60)]:
        assert mix.put("ann", [block(5)], number * BLOCK, number * BLOCK) == 0
    assert taken(mix, 60 * BLOCK + limits.MIX_WAIT) == [5] * 10 + [0] * 40 + [5] * 10


def test_long_packets_are_as_long_as_they_are() -> None:
    """120 ms at once."""
    mix = SoundMix()
    for number in range(10):
        mix.put("ann", [block(index) for index in range(6)], number * 6 * BLOCK, number * 6 * BLOCK)
    assert taken(mix, 60 * BLOCK + limits.MIX_WAIT) == list(range(6)) * 10


def test_what_stood_still_for_a_moment_is_not_lost_and_what_comes_too_late_is() -> None:
    """Sound that waited a while is where it belongs; for what waits longer nobody waits."""
    mix = SoundMix()
    mix.put("ann", [block(1)], 0.0, 0.0)
    assert taken(mix, 0.19) == []
    for number in range(1, 9):  # the loop stood still
        mix.put("ann", [block(1)], number * BLOCK, 0.19)
    assert taken(mix, 9 * BLOCK + limits.MIX_WAIT) == [1] * 9
    assert taken(mix, 1.0) == [0] * 31
    late = [mix.put("ann", [block(1)], at * BLOCK, max(1.0, at * BLOCK)) for at in range(9, 60)]
    assert late == [1] * 31 + [0] * 20
    assert taken(mix, 60 * BLOCK + limits.MIX_WAIT) == [1] * 20


@given(st.lists(st.floats(-0.012, 0.012), min_size=60, max_size=60))
def test_jitter_leaves_nothing_out(jitter: list[float]) -> None:
    """Of sound that comes a little sooner or later each time, no block is lost and none is silent."""
    mix = SoundMix()
    for number, late in enumerate(jitter):
        assert mix.put("ann", [block(1)], number * BLOCK, number * BLOCK + 0.02 + late) == 0
    blocks = taken(mix, 62 * BLOCK + limits.MIX_WAIT)
    assert sum(blocks) == 60
    assert 0 not in blocks[3:-3]


@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9), st.floats(0, 0.5), st.integers(1, 6), st.floats(0, 1)), max_size=60
    )
)
def test_whatever_is_put_in_there_is_one_block_for_each_moment(
    moves: list[tuple[float, float, int, float]],
) -> None:
    """Times that jump to and fro cost nobody else anything, and nothing is kept of them for long."""
    mix, now, blocks = SoundMix(), 0.0, 0
    for time, pause, pieces, stray in moves:
        now += pause
        mix.put("eve", [block(1)] * pieces, time, max(0.0, now - stray))
        while (one := mix.take(now)) is not None:
            assert one[0] == pytest.approx(blocks * BLOCK)
            blocks += 1
    assert blocks == max(0, int((now - limits.MIX_WAIT) / BLOCK))
    assert len(mix._blocks) < (limits.MIX_WAIT + 1) / BLOCK


def test_a_machine_that_slept_does_not_write_silence_for_an_hour() -> None:
    """The sound goes on at its time; the file has a gap."""
    mix = SoundMix()
    mix.put("ann", [block(1)], 0.0, 0.0)
    mix.put("ann", [block(2)], 3600.0, 3600.0)
    times = []
    while (one := mix.take(3600.02 + limits.MIX_WAIT + 0.001)) is not None:
        times.append((one[0], one[1][0]))
    assert [value for _, value in times] == [2]
    assert times[0][0] == pytest.approx(3600.0)


def test_who_leaves_is_forgotten_and_who_comes_back_begins_anew() -> None:
    """With another clock, too."""
    mix = SoundMix()
    mix.put("ann", [block(1)], 50.0, 0.0)
    mix.leave("ann")
    mix.leave("ann")
    assert not mix._voices
    mix.put("ann", [block(1)], 3.0, 0.1)
    assert taken(mix, 0.12 + limits.MIX_WAIT) == [1, 0, 0, 0, 0, 1]


def test_a_stream_that_strays_is_moved() -> None:
    """Times that a peer made up do not put its sound into next week."""
    line = Timeline()
    assert line.place(10.0, 1.0) == 1.0
    assert line.place(10.5, 1.6) == 1.5
    assert line.place(99.0, 2.0) == 2.0
    assert line.place(-99.0, 3.0) == 3.0


def test_pictures_are_made_so_often_and_missed_ones_are_left_out() -> None:
    """Fifteen a second; after a stall the newest is made, and only that."""
    ticks = Ticks()
    made = [at for step in range(1000) if (at := ticks.due(step / 1000)) is not None]
    assert len(made) == limits.MIX_FPS
    assert ticks.due(5.0) == 5.0
    assert ticks.due(5.0) is None
    assert 0 < ticks.wait(5.0) <= 1 / limits.MIX_FPS + 1e-9


def test_making_pictures_takes_half_of_a_processor_at_most() -> None:
    """A machine that needs 0.2 s for one gets two or three a second."""
    ticks, now, busy, count = Ticks(), 0.0, 0.0, 0
    while now < 10.0:
        if ticks.due(now) is None:
            now += max(0.0, ticks.wait(now)) + 1e-6
            continue
        ticks.made(now, now + 0.2)
        now, busy, count = now + 0.2, busy + 0.2, count + 1
    assert busy <= 0.5 * now + 0.2
    assert count >= 20


def test_each_shows_its_newest_picture_of_the_moment_and_none_when_it_is_old() -> None:
    """A picture of later is not shown yet; who sends none any more is black."""
    stage: Stage[str] = Stage()
    stage.enter("ann")
    stage.enter("ben")
    stage.put("ann", "a1", 0.1)
    stage.put("ann", "a2", 0.3)
    stage.put("nobody", "x", 0.1)
    assert stage.look(0.05) == [None, None]
    assert stage.look(0.2) == ["a1", None]
    stage.put("ben", "b1", 0.35)
    assert stage.look(0.4) == ["a2", "b1"]
    assert stage.look(0.4 + limits.MIX_PICTURE_LIFE) == [None, None]
    stage.put("ann", "a3", 3.0)
    stage.leave("ben")
    stage.leave("ben")
    assert stage.look(3.1) == ["a3"]


def test_what_a_stage_keeps_is_bounded() -> None:
    """Pictures that come faster than they are looked at; more members than there are places."""
    stage: Stage[int] = Stage()
    for who in range(limits.MIX_TILES_MAX + 5):
        stage.enter(who)
        for number in range(100):
            stage.put(who, number, number / 100)
    assert all(len(seat.coming) == limits.MIX_PICTURES_WAITING for seat in stage._seats.values())
    assert stage.look(1.0) == [99] * limits.MIX_TILES_MAX


@pytest.mark.parametrize("count", range(1, limits.MIX_TILES_MAX + 1))
def test_tiles_are_of_one_size_and_apart(count: int) -> None:
    """Inside of the picture, on even pixels, and as large as so many can be in such rows."""
    made = tiles(count, 1280, 720)
    assert len(made) == count
    assert len({(tile.width, tile.height) for tile in made}) == 1
    for tile in made:
        assert not any(side % 2 for side in (tile.x, tile.y, tile.width, tile.height))
        assert tile.x >= 0 <= tile.y
        assert tile.x + tile.width <= 1280
        assert tile.y + tile.height <= 720
    for one in made:
        for other in made:
            assert one is other or (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )


def test_some_grids() -> None:
    """As people expect them."""
    assert tiles(0, 1280, 720) == []
    assert tiles(1, 1280, 720) == [Tile(0, 0, 1280, 720)]
    assert tiles(2, 1280, 720) == [Tile(0, 0, 640, 720), Tile(640, 0, 640, 720)]
    assert tiles(3, 1280, 720)[2] == Tile(320, 360, 640, 360)
    assert tiles(16, 1280, 720)[15] == Tile(960, 540, 320, 180)


@given(st.integers(1, 16_384), st.integers(1, 16_384))
def test_a_picture_keeps_its_shape_in_its_tile(width: int, height: int) -> None:
    """It is inside, in the middle, and touches two sides; a thread that is a pixel wide is still seen."""
    tile = Tile(320, 180, 426, 240)
    fitted = tile.fit(width, height)
    assert not any(side % 2 for side in (fitted.x, fitted.y, fitted.width, fitted.height))
    assert tile.x <= fitted.x
    assert fitted.x + fitted.width <= tile.x + tile.width
    assert tile.y <= fitted.y
    assert fitted.y + fitted.height <= tile.y + tile.height
    assert fitted.width >= tile.width - 2 or fitted.height >= tile.height - 2
    if min(fitted.width, fitted.height) >= 20:
        assert fitted.width / fitted.height == pytest.approx(width / height, rel=0.1)
