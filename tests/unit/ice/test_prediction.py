"""Which port a packet got, told from the questions around it."""

from __future__ import annotations

import random

import pytest

from meshcall import limits
from meshcall.ice.prediction import enclosed_ports, next_port


@pytest.mark.parametrize(
    ("samples", "ports"),
    [
        ({0: 40000, 1: 40001, 3: 40003, 4: 40004}, [40002]),
        ({0: 40008, 1: 40004, 3: 39996, 4: 39992}, [40000]),  # backwards by four
        ({0: 65534, 1: 65535, 3: 1, 4: 2}, [0]),  # around the end
        ({1: 40001, 3: 40003}, [40002]),  # two answers were lost
        ({0: 40000, 1: 40001}, [40002]),  # nothing above
        ({3: 40003, 4: 40004}, [40002]),  # nothing below
        ({0: 40000, 1: 40001, 3: 40004, 4: 40005}, [40002, 40003]),  # another host came between
        (
            {0: 40000, 1: 40001, 3: 12345, 4: 40004},
            [
                40002,
            ],
        ),  # a node lies; its neighbour holds
        ({0: 1111, 1: 40001, 3: 40003, 4: 40004}, [40002]),
        ({0: 40000, 1: 23456, 3: 777, 4: 61000}, []),  # random
        ({0: 40000}, []),
        ({}, []),
        ({0: 40000, 1: 40000, 3: 40000, 4: 40000}, []),  # it does not depend at all
    ],
)
def test_the_port_between_two_answers(samples: dict[int, int], ports: list[int]) -> None:
    """Exactly one if nobody else sends; a liar and lost answers cost nothing."""
    assert enclosed_ports(samples, 2) == ports


def test_much_company_gives_few_ports() -> None:
    """What others send meanwhile widens the bracket, to a limit."""
    samples = {0: 40000, 1: 40001, 3: 40012, 4: 40013}
    assert enclosed_ports(samples, 2) == [40002, 40003, 40004][: limits.PREDICTED_MAX]


def test_the_next_port_follows_the_last_answer() -> None:
    """Packets whose answers are lost count."""
    assert next_port({0: 40000, 1: 40001, 2: 40002, 3: 40003}, 4, 1) == 40004
    assert next_port({0: 40000, 1: 40001}, 4, 8) == 40011
    assert next_port({0: 40000, 1: 39996, 2: 39992}, 3, 1) == 39988
    assert next_port({0: 5, 1: 60000}, 2, 1) is None
    assert next_port({0: 65534, 1: 65535}, 2, 8) is None  # a low port: nobody sends there


def test_random_ports_are_not_foretold() -> None:
    """10,000 draws of four ports: no prediction."""
    rng = random.Random(5)
    for _ in range(10_000):
        samples = {place: rng.randrange(1024, 65536) for place in (0, 1, 3, 4)}
        assert enclosed_ports(samples, 2) == []
        assert next_port(samples, 5, 1) is None


def test_whatever_nodes_say_the_ports_are_ports() -> None:
    """Any samples give at most a few numbers that are ports."""
    rng = random.Random(6)
    for _ in range(5_000):
        near = rng.randrange(65536)
        samples = {
            place: (near + rng.choice([0, 1, 2, 3, 16, -1, -16, 30000])) % 65536
            for place in rng.sample(range(8), rng.randrange(8))
        }
        ports = enclosed_ports(samples, 3)
        assert len(ports) <= limits.PREDICTED_MAX
        assert all(0 <= port < 65536 for port in ports)
        following = next_port(samples, 8, limits.PUNCH_MEETING)
        assert following is None or limits.CANDIDATE_PORT_MIN <= following < 65536
