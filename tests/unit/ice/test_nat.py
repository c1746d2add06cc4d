"""What is learned of a NAT from what nodes see, truthful ones and liars."""

from __future__ import annotations

import random

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.nat import Filtering, Mapping, NatBook, Ports, ports_of

OURS = "198.51.100.7"
PORT = 50000


def node(number: int, port: int = 4600) -> Address:
    """A DHT node in a network of its own."""
    return f"45.{number}.0.1", port


def book(*seen: tuple[Address, Address]) -> NatBook:
    made = NatBook()
    for who, where in seen:
        made.observe(who, where, 0.0)
    return made


def test_one_address_for_all_is_endpoint_independent() -> None:
    """Four networks see the same: EIM, and the port is our own."""
    made = book(*((node(n), (OURS, PORT)) for n in range(4)))
    view = made.view(4, 1.0, port=PORT)
    assert (view.mapping, view.ports, view.mapped) == (Mapping.EIM, Ports.PRESERVING, (OURS, PORT))
    assert view.witnesses == 4
    assert made.view(4, 1.0, port=PORT + 1).ports is Ports.UNKNOWN
    assert made.view(4, 1.0, port=PORT, hosts=[OURS]).mapping is Mapping.NONE
    assert made.view(6, 1.0, port=PORT).mapping is Mapping.UNKNOWN


def test_a_port_for_each_is_dependent() -> None:
    """Sequential and random ports are told apart even without a survey."""
    sequential = book(*((node(n), (OURS, 40000 + 2 * n)) for n in (3, 1, 2, 0)))
    view = sequential.view(4, 1.0, port=PORT)
    assert (view.mapping, view.ports, view.delta) == (Mapping.APDM, Ports.SEQUENTIAL, 2)
    rng = random.Random(1)
    lots = book(*((node(n), (OURS, rng.randrange(1024, 65536))) for n in range(6)))
    assert lots.view(4, 1.0, port=PORT).ports is Ports.RANDOM


def test_two_ports_of_one_machine_tell_address_from_port_dependence() -> None:
    """The same for both ports of each machine: ADM."""
    made = book(*((node(n, port), (OURS, 40000 + n)) for n in range(3) for port in (1, 2)))
    assert made.view(4, 1.0, port=PORT).mapping is Mapping.ADM
    other = book(*((node(n, port), (OURS, 40000 + 2 * n + port)) for n in range(3) for port in (1, 2)))
    assert other.view(4, 1.0, port=PORT).mapping is Mapping.APDM


def test_one_node_alone_proves_nothing() -> None:
    """Nor do many answers of it: unknown."""
    made = book()
    for _ in range(10):
        made.observe(node(1), (OURS, PORT), 0.0)
    assert made.view(4, 1.0, port=PORT).mapping is Mapping.UNKNOWN


def test_in_one_network_each_node_has_a_voice() -> None:
    """A private DHT on one machine is better than nothing."""
    made = book(*((node(1, port), (OURS, PORT)) for port in range(4)))
    view = made.view(4, 1.0, port=PORT)
    assert (view.mapping, view.witnesses) == (Mapping.EIM, 1)


@pytest.mark.parametrize("liars", [1, 50])
def test_one_lying_network_does_not_fool(liars: int) -> None:
    """However many nodes it has there: honest networks outvote it, in both directions."""
    honest = [(node(n), (OURS, PORT)) for n in range(3)]
    lies = [((f"45.99.0.{n % 250}", 1000 + n), (OURS, 1024 + 7 * n)) for n in range(liars)]
    assert book(*honest, *lies).view(4, 1.0, port=PORT).mapping is Mapping.EIM
    dependent = [(node(n), (OURS, 40000 + n)) for n in range(3)]
    same = [((f"45.99.0.{n % 250}", 1000 + n), (OURS, PORT)) for n in range(liars)]
    assert book(*dependent, *same).view(4, 1.0, port=PORT).mapping is Mapping.APDM


def test_neighbours_in_the_lan_say_nothing_of_the_nat() -> None:
    """As long as there is anybody else; on a LAN alone they are all there is."""
    lan = [((f"192.168.1.{n}", 4600), ("192.168.1.9", PORT)) for n in range(2, 9)]
    view = book(*lan, *((node(n), (OURS, 40000 + n)) for n in range(2))).view(4, 1.0, port=PORT)
    assert (view.mapping, view.ports) == (Mapping.APDM, Ports.SEQUENTIAL)
    assert book(*lan).view(4, 1.0, port=PORT, hosts=["192.168.1.9"]).mapping is Mapping.NONE


def test_what_was_seen_ages_and_is_bounded() -> None:
    """Old samples do not count, a change of network forgets all, memory has an end."""
    made = book(*((node(n), (OURS, PORT)) for n in range(4)))
    assert made.view(4, limits.NAT_SAMPLE_LIFE + 1, port=PORT).mapping is Mapping.UNKNOWN
    for number in range(10 * limits.NAT_SAMPLES_MAX):
        made.observe((f"46.{number // 250}.{number % 250}.1", 1), (OURS, PORT), 1.0)
    assert made.view(4, 2.0, port=PORT).witnesses <= limits.NAT_SAMPLES_MAX
    made.forget()
    assert made.view(4, 2.0, port=PORT).mapping is Mapping.UNKNOWN


def test_filtering_is_told_by_who_got_through() -> None:
    """Strangers that reached us: EIF; several that tried in vain: dependent; none: unknown."""
    made = book(*((node(n), (OURS, PORT)) for n in range(4)))
    assert made.view(4, 1.0, port=PORT).filtering is Filtering.UNKNOWN
    assert made.view(4, 1.0, port=PORT, reached=True, unreached=True).filtering is Filtering.EIF
    assert made.view(4, 1.0, port=PORT, unreached=True).filtering is Filtering.APDF


def test_a_survey_outweighs_what_was_seen_in_passing() -> None:
    """Its order is known, so the step is exact, until it is too old."""
    made = book(*((node(n), (OURS, 40000 + 900 * n)) for n in range(4)))
    assert made.view(4, 1.0, port=PORT).ports is Ports.RANDOM
    made.surveyed([(OURS, 41000), (OURS, 41002), (OURS, 41004)], 1.0)
    view = made.view(4, 2.0, port=PORT)
    assert (view.ports, view.delta) == (Ports.SEQUENTIAL, 2)
    for number in range(4):
        made.observe(node(number), (OURS, 40000 + 900 * number), limits.NAT_SURVEY_LIFE)
    assert made.view(4, limits.NAT_SURVEY_LIFE + 2, port=PORT).ports is Ports.RANDOM


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ([40000, 40001, 40002, 40003], (Ports.SEQUENTIAL, 1)),
        ([40003, 40002, 40001], (Ports.SEQUENTIAL, -1)),
        ([65534, 65535, 0, 1], (Ports.SEQUENTIAL, 1)),
        ([40000, 40001, 40004, 40005], (Ports.SEQUENTIAL, 1)),  # somebody else came between
        ([40000, 40001, 9, 40003, 40004, 40005], (Ports.SEQUENTIAL, 1)),  # one lies
        ([40000, 40000, 40000], (Ports.UNKNOWN, 0)),
        ([40000, 17, 60123, 2222], (Ports.RANDOM, 0)),
        ([40000], (Ports.UNKNOWN, 0)),
        ([], (Ports.UNKNOWN, 0)),
    ],
)
def test_how_ports_are_chosen(ports: list[int], found: tuple[Ports, int]) -> None:
    """Steps forward, backward, around the end, with company and with a liar."""
    assert ports_of(ports) == found


def test_random_ports_are_hardly_ever_taken_for_sequential() -> None:
    """10,000 surveys of four random ports: none."""
    rng = random.Random(3)
    drawn = [[rng.randrange(1024, 65536) for _ in range(4)] for _ in range(10_000)]
    assert sum(ports_of(ports)[0] is not Ports.RANDOM for ports in drawn) == 0
