"""Whether a machine keeps up with what it receives, and what it asks for then."""

from meshcall import limits
from meshcall.media.layers import LADDER, Layer
from meshcall.media.strain import STEPS, Strain
from meshcall.room.crowd import TILE, WHOLE

LATE, CALM = 2 * limits.STRAIN_LATE, limits.STRAIN_CALM / 2


def feed(strain: Strain, late: float, begin: float, seconds: float) -> float:
    """Look as the loop does, until something else is asked for; when, or the end."""
    now = begin
    while now < begin + seconds:
        now += limits.ARRIVALS_PROBE + late
        if strain.looked(late, now):
            break
    return now


def test_a_machine_that_is_late_asks_for_less_and_at_last_for_sound_alone() -> None:
    """Every step is a layer that senders have; each takes no longer than a link needs to fall silent."""
    strain, now, asked = Strain(WHOLE), 0.0, [WHOLE]
    while strain.shown != STEPS[-1]:
        before = now
        now = feed(strain, LATE, now, 10.0)
        assert now - before < 2.5
        asked.append(strain.shown)
    assert asked == [*((layer.height, layer.fps) for layer in LADDER), (0, 0)]
    assert strain.strained
    assert feed(strain, LATE, now, 30.0) > now + 29, "there is nothing less to ask for"


def test_a_moment_is_no_reason() -> None:
    """Neither a stall, however long, nor a machine that is late for a second."""
    strain = Strain(WHOLE)
    now = feed(strain, CALM, 0.0, 5.0)
    assert not strain.looked(60.0, now + 60.0), "a lid was closed"
    now = feed(strain, CALM, now + 60.0, 5.0)
    now = feed(strain, LATE, now, 1.0)
    now = feed(strain, CALM, now, 5.0)
    assert strain.shown == WHOLE
    assert not strain.strained


def test_what_was_too_much_is_tried_again_later_and_later() -> None:
    """So a room does not go up and down all the time."""
    strain, now, waits = Strain(TILE), 0.0, []
    for _ in range(6):
        now = feed(strain, LATE, now, 10.0)
        assert strain.shown == (180, 15)
        begin = now
        now = feed(strain, CALM, now, 1000.0)
        assert strain.shown == TILE
        waits.append(now - begin)
    assert waits == sorted(waits)
    assert waits[0] > limits.CPU_LOW_AFTER - 1
    assert 100 < waits[-1] < limits.CPU_LOW_AFTER_MAX + 5


def test_a_load_that_is_over_is_soon_forgotten() -> None:
    """However far down it went: steps that follow each other are no tries that failed."""
    strain, now = Strain(WHOLE), 0.0
    for _ in STEPS[1:]:
        now = feed(strain, LATE, now, 10.0)
    assert strain.shown == STEPS[-1]
    for step in reversed(STEPS[:-1]):
        begin = now
        now = feed(strain, CALM, now, 100.0)
        assert strain.shown == step
        assert now - begin < limits.CPU_LOW_AFTER + 2


def test_a_try_that_held_is_no_reason_to_wait_longer() -> None:
    """A load that comes later is another one."""
    strain = Strain(TILE)
    now = feed(strain, LATE, 0.0, 10.0)
    for _ in range(4):
        now = feed(strain, CALM, now, 100.0)
        assert strain.shown == TILE
        now = feed(strain, CALM, now, 4 * limits.CPU_LOW_AFTER)
        begin = now = feed(strain, LATE, now, 10.0)
        assert strain.shown == (180, 15)
        now = feed(strain, CALM, now, 100.0)
        assert now - begin < limits.CPU_LOW_AFTER + 2
        now = feed(strain, CALM, now, 4 * limits.CPU_LOW_AFTER)
        now = feed(strain, LATE, now, 10.0)


def test_between_calm_and_late_nothing_changes() -> None:
    """Larger pictures would make it late again."""
    strain = Strain(WHOLE)
    now = feed(strain, LATE, 0.0, 10.0)
    shown = strain.shown
    feed(strain, (limits.STRAIN_CALM + limits.STRAIN_LATE) / 2, now, 200.0)
    assert strain.shown == shown


def test_others_that_come_or_go_change_what_is_wanted() -> None:
    """Steps are counted from what a machine would ask for that keeps up; there are fewer below small ones."""
    strain, now = Strain(WHOLE), 0.0
    for _ in range(4):
        now = feed(strain, LATE, now, 10.0)
    assert strain.shown == (0, 0)
    strain.want(TILE)
    assert strain.shown == (0, 0)
    now = feed(strain, CALM, now, 1000.0)
    assert strain.shown == (180, 15), "no step leads nowhere"
    strain.want(WHOLE)
    assert Layer(*strain.shown) == LADDER[1]
