"""Probes: no port twice, so many a second and in all; tries have a budget."""

from __future__ import annotations

import random
import statistics

from meshcall import limits
from meshcall.ice.birthday import Probes, PunchBudget


def run(seed: int, step: float = 0.01) -> list[tuple[float, int]]:
    """All probes of one try, each with its time."""
    probes, now, sent = Probes(random.Random(seed).randbytes, 5.0), 5.0, []
    while not probes.done:
        sent += [(now, port) for port in probes.due(now)]
        now += step
    return sent


def test_no_port_twice_none_below_1024_and_an_end() -> None:
    """1,750 different ports of 64,512, and no more."""
    ports = [port for _, port in run(1)]
    assert len(ports) == len(set(ports)) == limits.PUNCH_PROBES_MAX
    assert 1024 <= min(ports) < max(ports) < 65536


def test_they_are_paced_whatever_the_timer_does() -> None:
    """No second has more than 500, nor a burst after the loop stood still."""
    for step in (0.001, 0.01, 0.05, 1.0):
        times = [at for at, _ in run(2, step)]
        for begin in times:
            count = sum(begin <= at < begin + 1.0 for at in times)
            assert count <= limits.PUNCH_PROBES_PER_SECOND + limits.PUNCH_PROBES_AT_ONCE
        assert max(times.count(at) for at in set(times)) <= limits.PUNCH_PROBES_AT_ONCE


def test_each_port_is_as_likely() -> None:
    """The mean of many draws is the middle."""
    drawn = [port for seed in range(20) for _, port in run(seed)]
    assert abs(statistics.fmean(drawn) - (1024 + 65535) / 2) < 500


def test_256_openings_are_met_as_theory_says() -> None:
    """400 tries: half within 175 probes or so, 98 % within 3 s, hardly any never."""
    rng, met = random.Random(9), []
    for seed in range(400):
        opened = set(rng.sample(range(1024, 65536), limits.PUNCH_SOCKETS))
        met.append(next((n for n, (_, port) in enumerate(run(seed, 0.02)) if port in opened), 10**6))
    assert 120 < statistics.median(met) < 240
    assert sum(n < 2.5 * limits.PUNCH_PROBES_PER_SECOND for n in met) >= 0.98 * 400
    assert sum(n == 10**6 for n in met) <= 4


def test_the_budget_has_an_end_for_each_host_and_for_all() -> None:
    """A peer that calls again and again gets so many tries an hour; a botnet gets so many in all."""
    budget = PunchBudget()

    def take(ip: str, now: float) -> bool:
        if budget.take(ip, now):
            budget.give_back()
            return True
        return False

    assert sum(take("198.51.100.7", 1.0) for _ in range(1000)) == limits.PUNCHES_PER_HOST
    assert sum(take(f"203.0.113.{n}", 2.0) for n in range(250)) == (
        limits.PUNCHES_PER_HOUR - limits.PUNCHES_PER_HOST
    )
    assert not take("192.0.2.1", 3.0)
    assert take("192.0.2.1", 3.0 + limits.PUNCH_HOUR)


def test_few_tries_at_a_time() -> None:
    """The next may begin when one is over."""
    budget = PunchBudget()
    assert [budget.take(f"203.0.113.{n}", 1.0) for n in range(4)] == [True, True, False, False]
    budget.give_back()
    assert budget.take("203.0.113.9", 1.0)
