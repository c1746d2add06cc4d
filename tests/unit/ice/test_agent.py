"""The ICE agent in a virtual network: paths found, taken over, lost; and what a stranger can't do."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.agent import IceAgent
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Check, Credentials, encode_check
from meshcall.ice.events import Broken, Gathered, Lost, Measured, NoPath, Selected
from meshcall.ice.pair import candidate_priority
from meshcall.stun.attributes import encode_xor_address, success
from meshcall.stun.message import AttributeType, MessageClass, Method, StunMessage, decode_stun_untrusted
from tests.unit.ice.net import End, Nat, Net, call


def two(net: Net) -> tuple[End, End]:
    """Two ends on one LAN, the left one controlling."""
    left = net.end(controlling=True).host("192.0.2.1")
    right = net.end(controlling=False).host("192.0.2.2")
    return left, right


def connect(net: Net, left: End, right: End, *, travel: float = 0.0, within: float = 5.0) -> float:
    """Seconds until both have a path."""
    begin = net.now
    call(net, left, right, travel=travel)
    assert net.run(within, lambda: left.connected and right.connected), (left.events, right.events)
    return net.now - begin


def talk(net: Net, left: End, right: End, seconds: float) -> None:
    """Both send a packet each 10 ms."""
    for _ in range(round(100 * seconds)):
        for end in (left, right):
            end.send(b"\x80" + round(1000 * net.now).to_bytes(4, "big"))
        net.run(0.01)


def mirrored(left: End, right: End) -> bool:
    """Whether both send over the same pair, by the addresses that NATs show."""
    mine, theirs = left.agent.selected, right.agent.selected
    assert mine is not None
    assert theirs is not None
    return (mine.local.address, mine.destination[0]) == (theirs.destination[0], theirs.local.address)


# --- a path is found ------------------------------------------------------------------------------


def test_a_lan_path_takes_one_round_trip_and_eight_packets() -> None:
    """The controlling end's first check nominates; its answer is the path."""
    net = Net(delay=0.01)
    left, right = two(net)
    assert connect(net, left, right) == pytest.approx(0.02, abs=0.001)
    assert len(net.log) <= 8
    assert left.of(Selected)[0] == Selected(left.candidates[0], right.candidates[0], "first")
    assert left.agent.selected is not None
    assert left.agent.selected.rtt == pytest.approx(0.02)
    assert len(left.of(Measured)) == 1


@pytest.mark.parametrize("lost", range(5))
def test_a_lost_packet_costs_a_tenth_of_a_second(lost: int) -> None:
    """Whichever of the first packets is lost."""
    net = Net(delay=0.01)
    left, right = two(net)
    count = iter(range(1000))
    net.drop = lambda source, destination: next(count) == lost
    assert connect(net, left, right) <= 0.121 + limits.ICE_PACE


@pytest.mark.parametrize(
    ("left_nat", "right_nat"),
    [
        (("endpoint", "endpoint"), ("endpoint", "port")),
        (("endpoint", "address"), ("endpoint", "port")),
        (("endpoint", "port"), ("endpoint", "port")),
        (("port", "port"), ("endpoint", "address")),
        (("endpoint", "endpoint"), ("port", "port")),
    ],
)
def test_nats_that_ice_can_cross(left_nat: tuple[str, str], right_nat: tuple[str, str]) -> None:
    """Checks of both ends open both filters; a symmetric mapping is learned as peer-reflexive."""
    for swapped in (False, True):
        net = Net(delay=0.02)
        kinds = (right_nat, left_nat) if swapped else (left_nat, right_nat)
        ends = [
            net.end(controlling=not index).host(f"10.0.{index}.2", Nat(f"198.51.100.{index + 2}", *kind))
            for index, kind in enumerate(kinds)
        ]
        assert connect(net, *ends, travel=0.02) <= 0.25
        assert mirrored(*ends)


def test_symmetric_nats_on_both_sides_take_the_relay() -> None:
    """What ICE can't cross goes over the relay within a second, and stays there."""
    net = Net(delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2", "port")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3", "port"))
    assert connect(net, left, right, travel=0.02) <= 0.25
    net.run(10)
    assert left.path[0][0] == "203.0.113.1"
    assert mirrored(left, right)


def test_candidates_may_come_late_and_one_by_one() -> None:
    """Trickle both ways (RFC 8838): before the description, after it, never on one side."""
    net = Net()
    left, right = two(net)
    left.agent.add_remote(right.candidates, net.now)
    right.start(left)
    assert not net.run(1, lambda: left.connected)
    left.start(right)
    assert net.run(1, lambda: left.connected and right.connected)
    assert [candidate.kind for candidate in right.agent.remote_candidates] == ["prflx"]
    right.agent.add_remote(left.candidates, net.now)
    net.run(0.1)
    assert [candidate.kind for candidate in right.agent.remote_candidates] == ["host"]
    assert right.of(Selected)[-1] == Selected(right.candidates[0], left.candidates[0], "named")


def test_checks_before_the_description_are_answered_and_remembered() -> None:
    """The peer's first check may overtake its description."""
    net = Net(delay=0.01)
    left, right = two(net)
    left.agent.add_remote(right.candidates, net.now)
    left.start(right)
    assert net.run(1, lambda: left.connected)
    right.start(left)  # no candidate of the left end is known here
    assert net.run(0.1, lambda: right.connected)
    assert ("192.0.2.1", 5000) in right.agent.proven


def test_ipv6_goes_before_ipv4() -> None:
    """RFC 8421: of two paths that work, the one without NAT."""
    net = Net()
    left = net.end(controlling=True).host("192.0.2.1").host("2001:db8::1")
    right = net.end(controlling=False).host("192.0.2.2").host("2001:db8::2")
    connect(net, left, right)
    net.run(2)
    assert left.path == (("2001:db8::1", 5000), ("2001:db8::2", 5000))
    assert mirrored(left, right)


@pytest.mark.parametrize("controlling", [True, False])
def test_role_conflict_is_settled(controlling: bool) -> None:
    """Both claim one role: the larger tie-breaker controls (RFC 8445 section 7.3.1.1)."""
    for seed in range(6):
        net = Net(seed)
        left = net.end(controlling=controlling).host("192.0.2.1")
        right = net.end(controlling=controlling).host("192.0.2.2")
        connect(net, left, right)
        net.run(3)
        assert left.agent.controlling != right.agent.controlling
        assert mirrored(left, right)


# --- the best path --------------------------------------------------------------------------------


def test_the_relay_carries_the_first_packet_and_the_direct_path_takes_over_without_loss() -> None:
    """Every datagram of a stream arrives, before, during and after the change; nothing goes back."""
    net = Net(delay=0.05)
    net.relay_delay = 0.02
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3")).relay("203.0.113.2")
    connect(net, left, right)
    assert any(address.startswith("203.0.113.") for address, _ in left.path)
    sent = 0
    for _ in range(300):
        left.send(b"\x80" + sent.to_bytes(2, "big"))
        right.send(b"\x80" + sent.to_bytes(2, "big"))
        sent += 1
        net.run(0.01)
    net.run(0.2)
    for end in (left, right):
        assert sorted(end.data) == [b"\x80" + number.to_bytes(2, "big") for number in range(sent)]
        assert end.path[0][0].startswith("10.")
        assert end.path[1][0].startswith("198.51.100.")
        assert [event.why for event in end.of(Selected)][-1] == "better"  # type: ignore[union-attr]
    changes = len(left.of(Selected))
    net.run(20)
    assert len(left.of(Selected)) == changes


def test_copies_bridge_a_change_of_path() -> None:
    """What the new pair loses in its first 0.2 s came over the old one; after that, nothing goes twice."""
    net = Net(delay=0.05)
    net.relay_delay = 0.02
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3")).relay("203.0.113.2")
    connect(net, left, right)
    changes: list[float] = []
    direct = {"10.0.0.2", "10.0.1.2"}
    net.lose_data = lambda source, destination: (
        bool(changes) and net.now < changes[0] + 0.2 and {source[0], destination[0]} == direct
    )
    sent = 0
    for _ in range(200):
        if any(event.why == "better" for event in right.of(Selected)):  # type: ignore[union-attr]
            changes.append(net.now)
        for end in (left, right):
            end.send(b"\x80" + sent.to_bytes(2, "big"))
        sent += 1
        net.run(0.01)
    net.run(0.2)
    assert changes
    for end in (left, right):
        assert sorted(end.data) == [b"\x80" + number.to_bytes(2, "big") for number in range(sent)]
        assert end.longest_gap <= 0.06
        assert 0 < end.copies <= 2 * limits.ICE_OVERLAP / 0.01
    copies = left.copies
    for _ in range(200):
        left.send(b"\x81" + sent.to_bytes(2, "big"))
        net.run(0.01)
    assert left.copies == copies


@pytest.mark.parametrize("seed", range(5))
def test_a_spare_path_carries_copies_before_the_selected_one_is_given_up(seed: int) -> None:
    """The gap is the time to the next consent check and 0.4 s, not the 3 s that a verdict needs."""
    net = Net(seed, delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3")).relay("203.0.113.2")
    connect(net, left, right)
    net.run(10.05 + seed / 10)
    talk(net, left, right, 1)
    net.drop = lambda source, destination: {source[0], destination[0]} == {"10.0.0.2", "10.0.1.2"}
    talk(net, left, right, 5)
    assert max(left.longest_gap, right.longest_gap) <= 1.7
    assert left.path[0][0].startswith("203.") or right.path[0][0].startswith("203.")


@pytest.mark.parametrize("seed", range(8))
def test_what_dies_with_the_selected_pair_does_not_take_its_place(seed: int) -> None:
    """Several pairs have one relay between: copies, and then the call, go over a pair that answers."""
    net = Net(seed, delay=0.02)
    symmetric = ("port", "port", "random")
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2", *symmetric, net.random))
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3", *symmetric, net.random))
    left.relay("203.0.113.1").relay("203.0.113.2")
    right.relay("203.0.113.11").relay("203.0.113.12")
    connect(net, left, right)
    net.run(10.05 + seed / 10)
    talk(net, left, right, 1)
    carries = {end.path[0][0] for end in (left, right)} | {end.path[1][0] for end in (left, right)}
    dead = next(n for n in "12" if carries & {f"203.0.113.{n}", f"203.0.113.1{n}"})
    gone = {f"203.0.113.{dead}", f"203.0.113.1{dead}"}
    net.drop = lambda source, destination: bool({source[0], destination[0]} & gone)
    talk(net, left, right, 5)
    assert max(left.longest_gap, right.longest_gap) <= 1.7
    assert not gone & {left.path[0][0], left.path[1][0], right.path[0][0], right.path[1][0]}
    assert [one.of(Broken) for one in (left, right)] == [[], []]


@pytest.mark.parametrize("after", [5.0, 40.0, 300.0])
def test_a_direct_path_that_works_late_takes_over_from_the_relay(after: float) -> None:
    """What failed at the beginning, or died, is looked at again while a relay carries the call, seldom."""
    net = Net(4, delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3"))
    blocked = True
    net.drop = lambda source, destination: blocked and "203.0.113.1" not in (source[0], destination[0])
    connect(net, left, right)
    net.run(after)
    assert left.path[0][0] == "203.0.113.1"
    blocked = False
    before = len(net.log)
    patience = max(limits.ICE_CHECKS_RENEW, 1.2 * after)
    assert net.run(patience, lambda: left.path[0][0] == "10.0.0.2")
    net.run(30)
    assert mirrored(left, right)
    assert [event.why for event in left.of(Selected)] == ["first", "better"]  # type: ignore[union-attr]
    assert len(net.log) - before < 15 * (30 + patience)


def test_a_direct_path_that_died_is_taken_again_when_it_heals() -> None:
    """A relay carried the call meanwhile; it is left within about the time that it was needed."""
    net = Net(4, delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3"))
    connect(net, left, right)
    net.run(5)
    assert left.path[0][0] == "10.0.0.2"
    net.drop = lambda source, destination: "203.0.113.1" not in (source[0], destination[0])
    net.run(12)
    assert left.path[0][0] == "203.0.113.1"
    net.drop = lambda source, destination: False
    assert net.run(12, lambda: left.path[0][0] == "10.0.0.2")
    assert net.run(1, lambda: mirrored(left, right))


@pytest.mark.parametrize("healed", [0.5, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5, 5.5, 5.9])
def test_a_direct_path_that_opens_in_the_first_seconds_is_taken_soon(healed: float) -> None:
    """The last copies of the first checks and the rounds after them leave no gap longer than 3.2 s."""
    net = Net(4, delay=0.002)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3"))
    net.drop = lambda source, destination: "203.0.113.1" not in (source[0], destination[0])
    connect(net, left, right)
    net.run(healed)
    assert left.path[0][0] == "203.0.113.1"
    net.drop = lambda source, destination: False
    assert net.run(3.2, lambda: left.path[0][0] == "10.0.0.2")


def test_what_is_never_reached_is_looked_at_seldom() -> None:
    """An hour over a relay: some dozens of checks to addresses that prove nothing."""
    net = Net(4, delay=0.02)
    left = net.end(controlling=True).host("192.0.2.1").relay("203.0.113.1")
    right = net.end(controlling=False).host("192.0.2.2")
    net.drop = lambda source, destination: "203.0.113.1" not in (source[0], destination[0])
    connect(net, left, right)
    net.run(3600)
    to_right = [entry for entry in net.log if entry[1][0] == "192.0.2.1" and entry[2][0] == "192.0.2.2"]
    assert len(to_right) <= limits.ICE_CHECKS_PER_CANDIDATE + limits.ICE_REPROBES * limits.ICE_REPROBE_COPIES


def test_a_peer_behind_its_relay_is_not_taken_for_direct() -> None:
    """A check that comes over the peer's unknown relay is ranked as relayed."""
    net = Net()
    left = net.end(controlling=True).host("192.0.2.1").relay("203.0.113.1")
    right = net.end(controlling=False).host("192.0.2.2")
    net.drop = lambda source, destination: "203.0.113.1" not in (source[0], destination[0])
    left.agent.add_remote(right.candidates, net.now)
    left.start(right)
    right.start(left)
    assert net.run(2, lambda: left.connected and right.connected)
    relayed = right.agent.selected
    net.drop = lambda source, destination: False
    right.agent.add_remote(left.candidates[:1], net.now)
    assert net.run(5, lambda: right.agent.selected is not relayed)
    assert right.path[1] == ("192.0.2.1", 5000)


@pytest.mark.parametrize("controlling", [True, False])
def test_a_relay_that_is_named_with_a_high_priority_stays_a_relay(controlling: bool) -> None:
    """Whatever rank the peer claims for it, the direct path carries the call."""
    net = Net(delay=0.02)
    net.relay_delay = 0.005
    left = net.end(controlling=controlling).host("192.0.2.1")
    right = net.end(controlling=not controlling).host("192.0.2.2").relay("203.0.113.2")
    boasting = [replace(one, priority=2**31 - 1) if one.kind == "relay" else one for one in right.candidates]
    left.agent.add_remote(boasting, net.now)
    left.start(right)
    right.agent.add_remote(left.candidates, net.now)
    right.start(left)
    assert net.run(2, lambda: left.connected and right.connected)
    net.run(3)
    assert left.path[1][0] == "192.0.2.2"
    assert right.path[0][0] == "192.0.2.2"


def test_the_last_nomination_counts_once_a_path_is_settled() -> None:
    """A controlling end that changes its mind is followed at once, also to a pair that ranks lower."""
    net = Net(delay=0.005)
    left = net.end(controlling=True).host("192.0.2.1").host("192.0.2.101")
    right = net.end(controlling=False).host("192.0.2.2")
    connect(net, left, right)
    net.run(5)
    old = left.path[0]
    left.agent.remove_local(old, net.now)
    net.detach(old)
    assert net.run(0.05, lambda: right.path[1] != old)
    assert mirrored(left, right)


# --- a path dies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_media_that_stop_have_the_path_checked_at_once(seed: int) -> None:
    """The router in front of one end gets another address: the first check from there repairs all.

    With media that is soon; without, with the next consent check.
    """
    gaps = []
    for talking in (True, False):
        net = Net(seed, delay=0.02)
        nat = Nat("198.51.100.2")
        left = net.end(controlling=True).host("10.0.0.2", nat)
        right = net.end(controlling=False).host("192.0.2.2")
        connect(net, left, right)
        for number in range(1200):
            if number == 500:
                nat.address = "198.51.100.99"
                nat.forget()
                begin = net.now
            if talking or number >= 500:
                for end in (left, right):
                    end.send(b"\x80" + number.to_bytes(2, "big"))
            net.run(0.02)
        times = [[at for at in end.came_at if at > begin + 0.05] for end in (left, right)]
        gaps.append(max(after[0] for after in times) - begin)
        assert not left.of(Broken)
        assert not right.of(Broken)
    assert gaps[0] <= 0.6
    assert gaps[1] <= limits.CONSENT_INTERVAL * 1.2 + 0.2


def test_a_peer_that_mutes_costs_one_check() -> None:
    """And nothing is thought of the path."""
    net = Net(1, delay=0.02)
    left, right = two(net)
    connect(net, left, right)
    for number in range(200):
        left.send(b"\x80" + number.to_bytes(2, "big"))
        net.run(0.02)
    count = len(net.log)
    net.run(10.0)
    assert len(net.log) - count <= 2 * 2 * 13
    assert len(right.of(Selected)) == 1


def test_a_dead_path_is_known_within_three_seconds_and_another_one_is_there() -> None:
    """The relay stands in for a direct path that dies, and is left again when that works."""
    net = Net(3, delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2")).relay("203.0.113.1")
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3"))
    connect(net, left, right)
    net.run(10)
    assert left.path[0][0] == "10.0.0.2"
    net.drop = lambda source, destination: "203.0.113.1" not in (source[0], destination[0])
    begin = net.now
    assert net.run(5, lambda: all(end.path[0][0] != "10.0.0.2" for end in (left,)))
    assert net.now - begin <= 3.0
    assert net.run(1.3, lambda: mirrored(left, right))
    assert left.of(Selected)[-1].why == "failover"  # type: ignore[union-attr]
    net.run(30)
    assert not left.over
    assert not right.over


@pytest.mark.parametrize("seed", range(5))
def test_a_peer_that_is_gone_is_known_in_three_seconds_and_given_up_later(seed: int) -> None:
    """Both ends tell it once, try again for a while, and then do nothing more."""
    net = Net(seed)
    left, right = two(net)
    connect(net, left, right)
    net.run(5)
    net.drop = lambda source, destination: True
    begin = net.now
    assert net.run(5, lambda: bool(left.of(Broken) and right.of(Broken)))
    assert 0.8 <= net.now - begin <= 3.1
    begin, count = net.now, len(net.log)
    assert net.run(30, lambda: left.over and right.over)
    assert net.now - begin <= limits.CONSENT_LOST + 1
    assert len(net.log) - count <= 70
    net.run(10)
    assert len(left.of(Broken)) == len(right.of(Broken)) == 1
    assert len(left.of(Lost)) == len(right.of(Lost)) == 1
    assert left.agent.deadline() is None


@pytest.mark.parametrize("seconds", [2, 5, 10])
def test_a_cut_is_survived(seconds: float) -> None:
    """Without a network the path is found dead and tried again; within 0.6 s of its return it is there."""
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    net.run(5)
    net.drop = lambda source, destination: True
    net.run(seconds)
    net.drop = lambda source, destination: False
    net.run(0.6)
    for end in (left, right):
        assert end.agent.selected is not None
        assert end.agent.selected.valid
        if end.of(Broken):
            assert end.of(Selected)[-1].why == "revived"  # type: ignore[union-attr]
    left.send(b"\x80")
    net.run(0.1)
    assert right.data == [b"\x80"]


@pytest.mark.parametrize("roamer", [0, 1])
def test_a_call_follows_an_end_to_its_new_address(roamer: int) -> None:
    """Another uplink behind another NAT: both send over the new path within two seconds, in the same call."""
    net = Net(delay=0.02)
    ends = [net.end(controlling=not index) for index in range(2)]
    moving, other = ends[roamer], ends[1 - roamer]
    moving.host("10.0.0.2", Nat("198.51.100.2"))
    other.host("192.0.2.9")
    connect(net, *ends)
    net.run(5)
    begin = net.now
    net.attach(("10.0.0.2", 5000), moving, Nat("198.51.100.77"))  # the route is another one now
    moving.agent.network_changed(net.now)
    assert net.run(5, lambda: other.path[1][0] == "198.51.100.77")
    assert net.now - begin <= 2.0
    other.send(b"\x80back")
    moving.send(b"\x80forth")
    net.run(0.1)
    assert (moving.data, other.data) == ([b"\x80back"], [b"\x80forth"])
    net.run(10)
    assert not moving.over
    assert not other.over


@pytest.mark.parametrize("controlling", [True, False])
def test_a_peer_that_begins_its_ice_anew_is_followed(controlling: bool) -> None:
    """As a browser does it: another agent with other credentials and addresses; ours stays, and the call."""
    net = Net(delay=0.02)
    ours, theirs = net.end(controlling=controlling), net.end(controlling=not controlling)
    ours.host("192.0.2.9")
    theirs.host("10.0.0.2", Nat("198.51.100.2"))
    connect(net, *((ours, theirs) if controlling else (theirs, ours)))
    net.run(5)
    theirs.leave()
    assert net.run(5, lambda: bool(ours.of(Broken)))
    again = net.end(controlling=not controlling).host("10.0.0.3", Nat("198.51.100.3"))
    again.agent.add_remote(ours.candidates, net.now)
    again.start(ours)
    begin = net.now
    ours.agent.restart(again.local, net.now)
    ours.agent.add_remote(again.candidates, net.now)
    assert net.run(5, lambda: again.connected and ours.path[1][0] == "198.51.100.3")
    assert net.now - begin <= 1.0
    ours.send(b"\x80to")
    again.send(b"\x80fro")
    net.run(30)
    assert (again.data, ours.data) == ([b"\x80to"], [b"\x80fro"])
    assert not ours.over
    assert not again.over


def test_both_ends_roam_at_once_and_meet_again_by_what_signaling_carries() -> None:
    """Neither knows the other's new address by itself; the candidates that travel elsewhere do it.

    Same credentials, no restart; also the tenth time, for addresses that are gone make way.
    """
    net = Net(5, delay=0.02)
    left = net.end(controlling=True).host("10.0.0.2", Nat("198.51.100.2"))
    right = net.end(controlling=False).host("10.0.1.2", Nat("198.51.100.3"))
    connect(net, left, right)
    for number in range(10):
        net.run(40)
        left.leave().host(f"10.1.{number}.2", Nat(f"198.51.101.{number + 1}"))
        right.leave().host(f"10.2.{number}.2", Nat(f"198.51.102.{number + 1}"))
        for end in (left, right):
            end.agent.network_changed(net.now)
        assert net.run(1, lambda: bool(left.of(Broken) and right.of(Broken)))
        changes = len(left.of(Selected)), len(right.of(Selected))
        net.run(1.0)  # what the sealed messages take
        begin = net.now
        left.agent.add_remote(right.candidates, net.now)
        right.agent.add_remote(left.candidates, net.now)
        assert net.run(
            3,
            lambda was=changes: len(left.of(Selected)) > was[0] and len(right.of(Selected)) > was[1],  # type: ignore[misc]
        ), number
        assert net.now - begin <= 0.5
        assert left.path[0][0] == f"10.1.{number}.2"
        assert mirrored(left, right)
        assert len(left.agent.remote_candidates) <= limits.ICE_REMOTE_CANDIDATES_MAX
        for end in (left, right):
            end.events.clear()
            end.events.append((net.now, Selected(left.candidates[0], right.candidates[0], "first")))


def test_a_new_interface_takes_over_from_one_that_is_gone() -> None:
    """The old base is gone, a new one is there: same session."""
    net = Net(delay=0.02)
    left, right = two(net)
    connect(net, left, right)
    net.run(3)
    net.detach(("192.0.2.1", 5000))
    left.agent.remove_local(("192.0.2.1", 5000), net.now)
    left.host("192.0.2.50")
    begin = net.now
    assert net.run(3, lambda: left.path[0][0] == "192.0.2.50")
    assert net.now - begin <= 0.1
    assert net.run(2, lambda: right.path[1][0] == "192.0.2.50")


# --- no path --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ("all", "nothing arrives"),
        ("answers", "never answers"),
        ("family", "family"),
        ("nothing named", "named no address"),
    ],
)
def test_no_path_is_a_verdict_within_ten_seconds_with_the_reason(cut: str, reason: str) -> None:
    """What is known of the other side is in the sentence."""
    net = Net()
    left = net.end(controlling=True).host("192.0.2.1")
    right = net.end(controlling=False).host("2001:db8::2" if cut == "family" else "192.0.2.2")
    if cut == "all":
        net.drop = lambda source, destination: True
    elif cut == "answers":
        net.drop = lambda source, destination: source[0] == "192.0.2.1"
    begin = net.now
    if cut == "nothing named":
        left.start(right)
    else:
        call(net, left, right)
    assert net.run(20, lambda: left.over)
    assert net.now - begin <= limits.ICE_NO_PATH_MAX
    if cut in ("all", "family"):
        assert net.run(20, lambda: right.over)
        assert net.now - begin <= limits.ICE_NO_PATH_MAX
    (verdict,) = left.of(NoPath)
    assert isinstance(verdict, NoPath)
    assert reason in verdict.reason
    count = len(net.log)
    net.run(60)
    assert len([entry for entry in net.log[count:] if entry[1][0] == "192.0.2.1"]) == 0


# --- strangers ------------------------------------------------------------------------------------


def test_400_candidates_are_bounded() -> None:
    """T10: to addresses that a peer names go 12 x 7 checks at most, seven to each."""
    net = Net()
    left = net.end(controlling=True).host("192.0.2.1").host("192.0.2.101").relay("203.0.113.1")
    named = [
        Candidate("host", "udp", f"198.51.{n // 200}.{n % 200 + 1}", 40_000 + n, 2**30 + n)
        for n in range(400)
    ]
    peer = Credentials("peer", "p" * 24)
    left.agent.start(peer, net.now)
    for candidate in named:
        left.agent.add_remote([candidate], net.now)
    net.run(60)
    destinations = [entry[2] for entry in net.log]
    assert 12 < len(destinations) <= limits.ICE_CHECKS_MAX == 84
    direct = [entry[2] for entry in net.log if entry[1][0] != "203.0.113.1"]
    assert max(direct.count(one) for one in direct) <= limits.ICE_CHECKS_PER_CANDIDATE
    assert len(left.agent.remote_candidates) <= limits.ICE_REMOTE_CANDIDATES_MAX
    assert len(left.agent.pairs) <= limits.ICE_PAIRS_MAX
    assert left.over


def test_a_connected_peer_that_names_victims_for_minutes_aims_few_packets_at_them() -> None:
    """Ends that move may be looked for again and again, but less than three packets a second."""
    net = Net(delay=0.02)
    left, right = two(net)
    connect(net, left, right)
    minutes = 5
    for second in range(60 * minutes):
        victims = [
            Candidate("host", "udp", f"203.0.{second % 200}.{n}", 5000 + second, 2**31 - 1) for n in range(12)
        ]
        right.agent.add_remote(victims, net.now)
        right.agent.add_remote(victims, net.now)
        net.run(1)
    aimed = [entry for entry in net.log if entry[2][0].startswith("203.0.")]
    assert 0 < len(aimed) <= limits.ICE_CHECKS_MAX * (60 * minutes / limits.ICE_CHECKS_RENEW + 1)
    assert len(right.agent.remote_candidates) <= limits.ICE_REMOTE_CANDIDATES_MAX
    assert len(right.agent.pairs) <= limits.ICE_PAIRS_MAX
    assert right.path[1] == ("192.0.2.1", 5000)
    assert not right.of(Broken)


def test_a_flood_of_sources_is_bounded() -> None:
    """A peer that checks from thousands of addresses gets answers, and 32 of them checks."""
    net = Net()
    left = net.end(controlling=False).host("192.0.2.1")
    peer = Credentials("peer", "p" * 24)
    left.agent.start(peer, net.now)
    check = Check(2**30, True, 7)
    for number in range(3000):
        octets = encode_check(check, number.to_bytes(12, "big"), peer, left.local)
        left.receive(octets, (f"198.51.100.{number % 250}", 1024 + number), ("192.0.2.1", 5000))
    assert len(left.agent.remote_candidates) == limits.ICE_REMOTE_CANDIDATES_MAX
    assert left.agent.counters["ice-candidates"] == 3000 - limits.ICE_REMOTE_CANDIDATES_MAX
    net.run(60)
    checked = [entry for entry in net.log if decode_stun_untrusted(entry[3]).kind is MessageClass.REQUEST]
    assert len(checked) <= limits.ICE_REMOTE_CANDIDATES_MAX * 8


def first_check(left: End, net: Net) -> tuple[StunMessage, Address]:
    left.drain()
    _, _, destination, data = net.log[-1]
    return decode_stun_untrusted(data), destination


@pytest.mark.parametrize(
    "forgery", ["transaction", "key", "none", "port", "host", "base", "address", "error", "method"]
)
def test_forged_answers_never_make_a_path(forgery: str) -> None:
    """Wrong transaction, password, source or content: counted, and the real answer still counts."""
    net = Net()
    left, right = two(net)
    left.agent.add_remote(right.candidates, net.now)
    left.start(right)
    request, source = first_check(left, net)
    base = ("192.0.2.1", 5000)
    mapped = (AttributeType.XOR_MAPPED_ADDRESS, encode_xor_address(base, request.transaction_id))
    key: bytes | None = right.local.key
    good = success(request, mapped)
    forged, at, to = good, source, base
    if forgery == "transaction":
        forged = StunMessage(Method.BINDING, MessageClass.SUCCESS, bytes(12), (mapped,))
    elif forgery == "key":
        key = left.local.key
    elif forgery == "none":
        key = None
    elif forgery == "port":
        at = (source[0], source[1] + 1)
    elif forgery == "host":
        at = ("192.0.2.3", source[1])
    elif forgery == "base":
        to = ("192.0.2.1", 5001)
    elif forgery == "address":
        forged = success(request)
    elif forgery == "error":
        forged = StunMessage(Method.BINDING, MessageClass.ERROR, request.transaction_id)
        key = b"wrong"
    else:
        forged = StunMessage(Method.ALLOCATE, MessageClass.SUCCESS, request.transaction_id, (mapped,))
    left.agent.receive(forged.encode(key), at, to, net.now)
    assert left.agent.selected is None
    assert at not in left.agent.proven
    assert sum(left.agent.counters.values()) == 1
    left.agent.receive(good.encode(right.local.key), source, base, net.now)
    assert left.agent.selected is not None


@pytest.mark.parametrize("forgery", ["username", "peer", "key", "none", "priority", "role"])
def test_forged_checks_get_no_answer(forgery: str) -> None:
    """Who does not know the password learns nothing, opens nothing, and is not answered."""
    net = Net()
    left, right = two(net)
    left.start(right)
    sender, target, check = right.local, left.local, Check(2**30, False, 7)
    if forgery == "username":
        target = Credentials("other", target.pwd)
    elif forgery == "peer":
        sender = Credentials("other", sender.pwd)
    elif forgery == "key":
        target = Credentials(target.ufrag, "x" * 24)
    elif forgery == "priority":
        check = Check(0, False, 7)
    octets = encode_check(check, bytes(12), sender, target)
    if forgery in ("none", "role"):
        dropped = AttributeType.MESSAGE_INTEGRITY if forgery == "none" else AttributeType.ICE_CONTROLLED
        message = decode_stun_untrusted(octets)
        kept = tuple(pair for pair in message.attributes if pair[0] != dropped)
        plain = StunMessage(message.method, message.kind, message.transaction_id, kept)
        octets = plain.encode(None if forgery == "none" else target.key)
    left.agent.receive(octets, ("192.0.2.2", 5000), ("192.0.2.1", 5000), net.now)
    assert left.agent.transmits() == []
    assert ("192.0.2.2", 5000) not in left.agent.proven
    assert left.agent.remote_candidates == []
    assert sum(left.agent.counters.values()) == 1


def test_a_check_that_is_sent_again_from_elsewhere_opens_nothing() -> None:
    """Who saw checks on their way has no answer, check or data sent to others by them; the call goes on."""
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    for _ in range(5):
        net.run(2)
        seen = [data for _, base, _, data in net.log[-20:] if data[:2] == b"\0\1" and base[0] == "192.0.2.2"]
        assert seen
        before = len(net.log)
        for number in range(50):
            left.receive(seen[-1], (f"198.51.100.{number}", 4000 + number), ("192.0.2.1", 5000))
        assert len(net.log) == before
    assert left.agent.counters["ice-replayed"] == 250
    assert {candidate.address for candidate in left.agent.remote_candidates} == {"192.0.2.2"}
    assert mirrored(left, right)
    assert not left.over


def test_what_is_remembered_of_checks_is_bounded() -> None:
    """A peer's checks without end cost no memory without end."""
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    for number in range(10_000):
        octets = encode_check(Check(2**30, False, 7), number.to_bytes(12, "big"), right.local, left.local)
        left.agent.receive(octets, ("192.0.2.2", 5000), ("192.0.2.1", 5000), net.now)
        left.agent.transmits()
    assert len(left.agent._heard) <= limits.ICE_HEARD_MAX


def test_consent_can_not_be_forged() -> None:
    """Without the peer, answers of somebody else keep no path alive."""
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    net.run(2)
    net.drop = lambda source, destination: True
    wrong = Credentials(right.local.ufrag, "w" * 24)

    def forge() -> None:
        for _, _, destination, data in net.log[-20:]:
            request = decode_stun_untrusted(data)
            mapped = encode_xor_address(("192.0.2.1", 5000), request.transaction_id)
            answer = success(request, (AttributeType.XOR_MAPPED_ADDRESS, mapped)).encode(wrong.key)
            left.agent.receive(answer, destination, ("192.0.2.1", 5000), net.now)

    for step in range(250):
        net.at(step * 0.1, forge)
    assert net.run(25, lambda: left.over)
    assert left.agent.counters["ice-integrity"] > 0


# --- whatever happens -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.35), st.floats(0, 0.2), st.integers(0, 7))
def test_any_network_ends_connected_or_not_and_both_ends_agree(
    seed: int, loss: float, jitter: float, shape: int
) -> None:
    """Random loss, reordering, NATs and order of candidates: a path for both, or a verdict, within bounds."""
    net = Net(seed, delay=0.02, loss=loss, jitter=jitter)
    ends = []
    for index in range(2):
        end = net.end(controlling=bool(shape & 1) or not index)
        mapping = "port" if shape & 2 and not index else "endpoint"
        end.host(f"10.0.{index}.2", Nat(f"198.51.100.{index + 2}", mapping))
        if shape & 4:
            end.relay(f"203.0.113.{index + 1}")
        ends.append(end)
    left, right = ends
    for one, other in ((left, right), (right, left)):
        candidates = list(other.candidates)
        net.random.shuffle(candidates)
        for candidate in candidates:
            add = one.agent.add_remote
            net.at(net.random.random() * 2, lambda add=add, c=candidate: add([c], net.now))  # type: ignore[misc]
        net.at(net.random.random(), lambda one=one, other=other: one.start(other))  # type: ignore[misc]
    net.run(13)
    assert all(end.connected or end.over for end in ends), (left.events, right.events)
    net.loss = net.jitter = 0.0
    net.run(20)
    assert left.connected == right.connected
    if left.connected:
        assert mirrored(left, right)
        left.send(b"\x80there")
        right.send(b"\x80back")
        net.run(1)
        assert left.data[-1:] == [b"\x80back"]
        assert right.data[-1:] == [b"\x80there"]


def test_mutated_messages_raise_nothing() -> None:
    """20,000 changed checks and answers: never an exception, never an answer larger than three times."""
    rng = random.Random(20_26)
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    net.run(3)
    seeds = [entry[3] for entry in net.log]
    assert left.agent.selected is not None
    for _ in range(20_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        left.agent.receive(bytes(data), ("192.0.2.2", 5000), ("192.0.2.1", 5000), net.now)
        assert all(len(octets) <= 3 * len(data) for octets, _, _ in left.agent.transmits())
    assert left.connected
    assert len(left.agent.remote_candidates) == 1


def test_well_signed_nonsense_raises_nothing() -> None:
    """5,000 messages of a peer that has the password: any attributes, as checks and as answers."""
    rng = random.Random(8445)
    net = Net()
    left, right = two(net)
    connect(net, left, right)
    net.run(3)
    names = (b"user0:user1", b"user0", b"")
    for number in range(5_000):
        left.agent.handle_timer(net.now)
        waiting = [decode_stun_untrusted(octets).transaction_id for octets, _, _ in left.agent.transmits()]
        attributes = [
            (rng.choice(list(AttributeType)), rng.randbytes(rng.choice((0, 1, 4, 8, 20, 30))))
            for _ in range(rng.randrange(6))
        ]
        attributes.append((AttributeType.USERNAME, rng.choice(names)))
        rng.shuffle(attributes)
        kind = rng.choice(list(MessageClass))
        transaction = rng.choice(waiting) if waiting else number.to_bytes(12, "big")
        key = left.local.key if kind is MessageClass.REQUEST else right.local.key
        message = StunMessage(rng.choice(list(Method)), kind, transaction, tuple(attributes))
        source = ("192.0.2.2", 5000 + rng.randrange(3))
        left.agent.receive(message.encode(key), source, ("192.0.2.1", 5000), net.now)
        net.now += 0.05 * rng.random()
    assert len(left.agent.remote_candidates) <= 3
    assert len(left.agent.pairs) <= 3


# --- servers --------------------------------------------------------------------------------------


def test_servers_tell_reflexive_candidates_and_a_dead_one_disturbs_nobody() -> None:
    """Asked again with growing pauses, four times at most; a forged source is not believed."""
    net = Net()
    left = net.end(controlling=True).host("10.0.0.2")
    live, dead = ("198.51.100.1", 3478), ("198.51.100.99", 3478)
    left.agent.ask_server(live, net.now)
    left.agent.ask_server(dead, net.now)
    left.agent.ask_server(("2001:db8::1", 3478), net.now)  # no base of that family: not asked
    left.drain()
    asked = {entry[2]: decode_stun_untrusted(entry[3]) for entry in net.log}
    assert set(asked) == {live, dead}
    mapped = encode_xor_address(("198.51.100.7", 4444), asked[live].transaction_id)
    answer = success(asked[live], (AttributeType.XOR_MAPPED_ADDRESS, mapped)).encode()
    left.receive(answer, dead, ("10.0.0.2", 5000))
    assert left.events == []
    left.receive(answer, live, ("10.0.0.2", 5000))
    candidate = Candidate("srflx", "udp", "198.51.100.7", 4444, candidate_priority("srflx", "198.51.100.7"))
    assert [event for _, event in left.events] == [Gathered(candidate)]
    assert left.agent.gathering
    net.run(5)
    assert not left.agent.gathering
    assert len([entry for entry in net.log if entry[2] == dead]) == limits.ICE_STUN_ATTEMPTS


def test_the_agent_is_quiet_before_it_is_told_anything() -> None:
    """No timer, no packet: an offer that nobody answers costs nothing."""
    agent = IceAgent(Credentials("u" * 8, "p" * 32), controlling=True, random=random.Random(1).randbytes)
    agent.add_local(Candidate("host", "udp", "192.0.2.1", 1, 1), 0.0)
    agent.add_remote([Candidate("host", "udp", "192.0.2.2", 2, 1)], 0.0)
    assert agent.deadline() is None
    assert agent.transmits() == []
