"""Whatever happens, all who are in a room agree on who is in it, soon after the network is whole. And who
was in it all the time has heard all that was said.

Each example is a seed for the network's chances and a schedule; both are printed when it fails.
"""

from __future__ import annotations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from meshcall import limits
from meshcall.room import events as e
from tests.property.room_network import Network, Pair

AGREED = 3.0
"""Seconds within which all agree: what the documentation promises."""

CHATTED = 30.0
"""Seconds within which links are there again, and have carried what was missed."""
WHEN = limits.ROOM_CHAT_FRESH + 0.3
"""Seconds by which it may be off when a line was said: what is passed on as fresh, and the way."""

members = st.integers(0, 7)
steps = st.one_of(
    st.tuples(st.just("enter"), members, members),
    st.tuples(st.just("leave"), members),
    st.tuples(st.just("crash"), members, st.booleans()),
    st.tuples(st.just("split"), st.sets(members, min_size=1)),
    st.tuples(st.just("heal")),
    st.tuples(st.just("remove"), members),
    st.tuples(st.just("state"), members, st.booleans()),
    st.tuples(st.just("lock"), members, st.booleans()),
    st.tuples(st.just("say"), members),
    st.tuples(st.just("clock"), members, st.sampled_from([-(10**11), -60_000, 60_000, 10**12])),
)  # fmt: skip
schedules = st.lists(
    st.tuples(st.sampled_from([0.0, 0.02, 0.3, 1.0, 2.6, 5.0, 20.0]), steps), min_size=1, max_size=14
)  # fmt: skip
pairs = st.frozensets(st.sets(members, min_size=2, max_size=2).map(frozenset), max_size=2)


def play(network: Network, schedule: list[tuple[float, tuple[object, ...]]]) -> None:
    """One step after the other, each after its pause."""
    for pause, step in schedule:
        network.run(pause)
        match step:
            case ("enter", int(number), int(voucher)):
                inside = sorted(network.present() - {number})
                host = voucher if voucher in inside else inside[0] if inside else None
                # As in a welcome: who lets us in, and whom it knows
                network.enter(number, () if host is None else (host, *network.known_to(host)))
            case ("leave", int(number)):
                network.leave(number)
            case ("crash", int(number), bool(forget)):
                network.crash(number, forget=forget)
            case ("remove", int(number)):
                network.remove(number)
            case ("split", set(numbers)):
                network.split(numbers)
            case ("heal",):
                network.heal()
            case ("state", int(number), bool(on)):
                network.tell(number, e.SetState(hand=on, video=on)) if number in network.machines else None
            case ("lock", int(number), bool(on)):
                network.tell(number, e.Lock(on)) if number in network.machines else None
            case ("say", int(number)):
                network.say(number)
            case ("clock", int(number), int(wrong)):
                # A clock that was wrong when it came in, and is set right later
                network.crash(number)
                network.enter(number, tuple(sorted(network.present() - {number})[:2]), clock=wrong)
            case _:
                raise AssertionError(step)


def met(seed: int, start: int, *, loss: float, mdns: bool, apart: set[frozenset[int]]) -> Network:
    """A room of so many, who have found each other."""
    note(f"seed {seed}")
    network = Network(seed, loss=loss, mdns=mdns, apart=apart)
    for number in range(start):
        network.enter(number, tuple(range(number)))
    network.run(2)
    return network


def play_and_heal(network: Network, schedule: list[tuple[float, tuple[object, ...]]], seconds: float) -> None:
    """All of a schedule, and so long after it with the network whole."""
    play(network, schedule)
    network.heal()
    network.loss = 0.0
    if network.mdns:
        resight(network)
    network.run(seconds)
    for line in network.log:
        note(line)


@pytest.mark.timeout(300)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(2, 8),
    loss=st.sampled_from([0.0, 0.1]),
    mdns=st.booleans(),
    apart=pairs,
    schedule=schedules,
)
def test_all_agree_within_three_seconds_of_the_network_being_whole(
    seed: int,
    start: int,
    loss: float,
    mdns: bool,
    apart: frozenset[Pair],
    schedule: list[tuple[float, tuple[object, ...]]],
) -> None:
    """And go on agreeing. Some pairs never have a direct path; then only links are slow to wake."""
    network = met(seed, start, loss=loss, mdns=mdns, apart=set(apart))
    play_and_heal(network, schedule, AGREED)
    assert network.disagreement() == "", f"seed {seed}"
    for _ in range(20):
        network.run(0.1)
        assert network.disagreement() == "", f"seed {seed}"


@pytest.mark.timeout(300)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(2, 8),
    loss=st.sampled_from([0.0, 0.1]),
    mdns=st.booleans(),
    schedule=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.02, 0.3, 1.0, 2.6, 5.0, 20.0]),
            st.one_of(steps, st.tuples(st.just("say"), members)),
        ),
        min_size=4,
        max_size=20,
    ),
)
def test_who_was_there_all_the_time_has_heard_all(
    seed: int, start: int, loss: float, mdns: bool, schedule: list[tuple[float, tuple[object, ...]]]
) -> None:
    """Each line once, and when it was said; who comes later is not shown what was said before."""
    network = met(seed, start, loss=loss, mdns=mdns, apart=set())
    lives = dict(network.lives)
    play_and_heal(network, schedule, CHATTED)
    stayed = {number for number in network.present() if network.lives[number] == lives.get(number)}
    assert network.chat_disagreement(stayed) == "", f"seed {seed}"
    for (number, life), shown in network.chats.items():
        for text, at in shown.items():
            said = network.said[text][1]
            late = at - said if network.timed else 0.0
            assert -WHEN < late < WHEN, f"seed {seed}: {number} is shown that {text} was said at {at}"
            if life == network.lives[number] and network.timed:
                assert said > network.came[number] - WHEN, f"seed {seed}: {number} is shown {text}"


def resight(network: Network) -> None:
    """After a change of network mDNS is asked anew."""
    for who in network.present():
        for whom in network.present() - {who}:
            network.at(network.delay(), network._sighting(who, whom))
