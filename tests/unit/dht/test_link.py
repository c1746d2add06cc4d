"""The clock and the link that tests of pure machines run on."""

from __future__ import annotations

import pytest

from meshcall.address import Address
from meshcall.aio.clock import Clock
from meshcall.testing import FakeClock, Link, seeded_random

LEFT: Address = ("10.0.0.1", 1)
RIGHT: Address = ("10.0.0.2", 1)


class Echo:
    """Sends back what it gets, and ticks once a second."""

    def __init__(self, clock: FakeClock) -> None:
        self.got: list[tuple[float, bytes]] = []
        self.ticks: list[float] = []
        self.out: list[tuple[bytes, Address]] = []
        self._due: float | None = clock.now() + 1.0

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Note it, and answer a question."""
        self.got.append((now, data))
        if data.startswith(b"?"):
            self.out.append((data[1:], address))

    def handle_timer(self, now: float) -> None:
        """Tick."""
        self.ticks.append(now)
        self._due = now + 1.0

    def deadline(self) -> float | None:
        """The next tick."""
        return self._due

    def transmits(self) -> list[tuple[bytes, Address]]:
        """What goes out."""
        out, self.out = self.out, []
        return out


def pair(**options: float) -> tuple[FakeClock, Link, Echo, Echo]:
    """Two echoes on a link."""
    clock = FakeClock(now=0.0)
    link = Link(clock, **options)  # type: ignore[arg-type] # the options are all numbers
    left, right = Echo(clock), Echo(clock)
    link.attach(LEFT, left)
    link.attach(RIGHT, right)
    return clock, link, left, right


def ask(link: Link, machine: Echo, data: bytes) -> None:
    """Left asks right."""
    machine.out.append((data, RIGHT))
    link.flush(LEFT)


def test_delay_and_timers() -> None:
    """A round trip takes two delays; timers fire on time; time ends where it was told to."""
    clock, link, left, right = pair(delay=0.1)
    ask(link, left, b"?hello")
    link.run(2.5)
    assert [data for _, data in right.got + left.got] == [b"?hello", b"hello"]
    assert [when for when, _ in right.got + left.got] == pytest.approx([0.1, 0.2])
    assert left.ticks == [1.0, 2.0]
    assert clock.now() == 2.5
    assert link.delivered == 2


def test_loss_duplicates_and_reordering() -> None:
    """Each in about its share, and the same in every run of a seed."""

    def run(**options: float) -> list[bytes]:
        _, link, left, right = pair(**options)
        for index in range(1000):
            ask(link, left, b"%d" % index)
            link.run(0.001)
        link.run(1.0)
        return [data for _, data in right.got]

    assert 850 < len(run(loss=0.1)) < 950
    assert 1050 < len(run(duplicate=0.1)) < 1150
    reordered = run(reorder=0.1)
    assert sorted(reordered) == sorted(b"%d" % i for i in range(1000))
    assert reordered != [b"%d" % i for i in range(1000)]
    assert run(loss=0.3, jitter=0.05, seed=3) == run(loss=0.3, jitter=0.05, seed=3)
    assert run(loss=0.3, seed=3) != run(loss=0.3, seed=4)


def test_a_detached_machine_hears_nothing() -> None:
    """What is on its way to it is lost, and its timer does not fire."""
    _, link, left, right = pair()
    ask(link, left, b"?late")
    link.detach(RIGHT)
    link.run(3.0)
    assert (right.got, right.ticks, link.lost) == ([], [], 1)
    assert link.machine(RIGHT) is None
    assert link.machine(LEFT) is left


def test_run_until() -> None:
    """Stops at the condition, or says that it never came."""
    clock, link, left, right = pair(delay=0.25)
    ask(link, left, b"x")
    assert link.run_until(lambda: bool(right.got))
    assert clock.now() == 0.25
    assert not link.run_until(lambda: False, limit=2.0)
    assert clock.now() == 2.25


def test_the_clock_moves_only_when_told() -> None:
    """Forward; wall time may be set, monotonic time goes on."""
    clock = FakeClock(now=5.0, now_ms=1_000_000)
    assert isinstance(clock, Clock)
    assert clock.advance(1.5) == clock.now() == 6.5
    assert clock.now_ms() == 1_001_500
    clock.set_wall_clock(500)
    clock.advance(1.0)
    assert (clock.now(), clock.now_ms()) == (7.5, 1500)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1.0)


def test_seeded_random_repeats() -> None:
    """The same octets for the same seed, others for another."""
    assert seeded_random(1)(16) == seeded_random(1)(16)
    assert seeded_random(1)(16) != seeded_random("one")(16)
