"""The caller's end of a ping, in virtual time."""

from __future__ import annotations

import pytest

from meshcall import limits
from meshcall.call.ping import PingMachine, PingOutput, PingOver, PingPlan, Probe, Resend, path_of
from meshcall.ice.candidate import Candidate
from meshcall.ping_views import PingReply, PingSilent, PingStep

HOST = Candidate("host", "udp", "11.0.0.1", 4242, 1)
LAN = Candidate("host", "udp", "192.168.1.2", 4242, 1)
RELAY = Candidate("relay", "udp", "11.0.9.9", 50_000, 1)
REFLEXIVE = Candidate("srflx", "udp", "2600::7", 4242, 1)


class World:
    """A machine, its clock, and all that it said."""

    def __init__(self, count: int = 3, interval: float = 1.0, *, until_direct: bool = False) -> None:
        self.now = 100.0
        self.machine = PingMachine(PingPlan(count, interval, until_direct), self.now)
        self.out: list[PingOutput] = []
        self.look()

    def look(self) -> None:
        """Carry its output away."""
        self.out += self.machine.drain()

    def sleep(self, seconds: float) -> None:
        """Let time pass, with every deadline on the way."""
        end = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= end:
            assert due >= self.now, "a deadline in the past would spin"
            self.now = max(self.now, due)
            self.machine.timer(self.now)
            self.look()
        self.now = end

    def live(self, local: Candidate = HOST, remote: Candidate = HOST, rtt: float = 0.05) -> None:
        """Found, answered, and a first reply."""
        self.machine.offered("dht", self.now)
        self.machine.answered(self.now)
        self.machine.selected(local, remote, self.now)
        self.machine.measured(rtt, self.now)
        self.look()

    @property
    def replies(self) -> list[PingReply]:
        """Those that were told."""
        return [one for one in self.out if isinstance(one, PingReply)]

    @property
    def over(self) -> PingOver:
        """How it ended, once."""
        (over,) = [one for one in self.out if isinstance(one, PingOver)]
        assert self.out[-1] is over
        assert self.machine.deadline() is None
        return over


def test_paths_are_named_by_both_ends() -> None:
    """A relay at either end makes a relayed path; two local addresses a LAN."""
    assert path_of(RELAY, HOST) == path_of(HOST, RELAY) == "relay"
    assert path_of(LAN, LAN) == "lan"
    assert path_of(LAN, HOST) == path_of(REFLEXIVE, REFLEXIVE) == "direct"


def test_each_probe_is_told_once() -> None:
    """Three probes a second apart: two answered, one silent; the figures add up."""
    world = World(count=3)
    world.live(rtt=0.05)
    world.sleep(1.5)
    world.sleep(0.8)
    world.machine.measured(0.03, world.now)
    world.look()
    assert [reply.seq for reply in world.replies] == [1, 3]
    assert [one.seq for one in world.out if isinstance(one, PingSilent)] == [2]
    assert sum(isinstance(one, Probe) for one in world.out) == 2
    assert world.over.reason == "done"
    assert (world.over.sent, world.over.rtts) == (3, (50.0, 30.0))
    assert world.over.first_reply_ms == 0.0


def test_a_slow_path_is_not_a_silent_one() -> None:
    """A reply may take longer than the interval: the next probe waits for it."""
    world = World(count=2, interval=0.1)
    world.live()
    world.sleep(0.7)
    world.machine.measured(0.6, world.now)
    world.look()
    assert [reply.rtt_ms for reply in world.replies] == [50.0, 600.0]
    assert not any(isinstance(one, PingSilent) for one in world.out)


def test_a_change_of_path_is_told_with_its_reply() -> None:
    """From the relay to direct: the reply says what was before; one that nobody asked for is no reply."""
    world = World(count=5, until_direct=True)
    world.live(RELAY, HOST)
    world.machine.measured(0.01, world.now)
    world.sleep(0.3)
    world.machine.selected(HOST, REFLEXIVE, world.now)
    world.machine.measured(0.02, world.now)
    world.look()
    assert [(reply.path, reply.before) for reply in world.replies] == [("relay", ""), ("direct", "relay")]
    assert world.replies[1].remote == "srflx [2600::7]:4242"
    assert (world.over.reason, world.over.direct_ms) == ("direct", 300.0)
    assert world.over.last is not None
    assert (world.over.last.path, world.over.last.remote, world.over.last.ipv6) == ("direct", "srflx", True)


def test_until_direct_gives_up_after_its_count() -> None:
    """Replies by relay alone are not what was asked for."""
    world = World(count=2, until_direct=True)
    world.live(RELAY, HOST)
    world.sleep(1.0)
    world.machine.measured(0.02, world.now)
    world.look()
    assert (world.over.reason, world.over.direct_ms, len(world.over.rtts)) == ("not-direct", None, 2)


@pytest.mark.parametrize(
    ("reached", "answered", "reason", "latest"),
    [
        (False, False, "offline", limits.CALL_OFFLINE_AFTER),
        (True, False, "no-answer", limits.PING_ANSWER),
        (True, True, "no-path", limits.ICE_NO_PATH + limits.PING_ANSWER),
    ],
)
def test_how_far_it_got_says_why_it_failed(reached: bool, answered: bool, reason: str, latest: float) -> None:
    """Nobody's machine has it, nobody answers, or nothing goes through: told in time."""
    world = World()
    world.machine.offered("dht", world.now)
    if reached:
        world.machine.reached(world.now)
    if answered:
        world.machine.answered(world.now)
    world.sleep(latest + 0.01)
    assert (world.over.reason, world.over.sent) == (reason, 0)
    assert world.over.after_ms <= 1000 * latest + 1
    assert any(isinstance(one, Resend) for one in world.out) == (not answered)


def test_a_look_up_that_never_ends_is_ended() -> None:
    """The machine does not depend on its finder."""
    world = World()
    world.sleep(limits.CALL_LOOKUP)
    assert world.over.reason == "offline"


def test_a_peer_that_falls_silent_is_gone() -> None:
    """No probe answered: the last one gets its second, too."""
    world = World(count=2)
    world.machine.offered("dht", world.now)
    world.machine.answered(world.now)
    world.machine.selected(HOST, HOST, world.now)
    world.sleep(3)
    assert (world.over.reason, world.over.sent, world.over.rtts) == ("peer-gone", 2, ())


def test_nothing_follows_the_end() -> None:
    """Whatever still comes, it is over once."""
    world = World()
    world.live()
    world.machine.stop(world.now)
    world.machine.fail("no-path", world.now)
    world.machine.measured(0.1, world.now)
    world.machine.selected(HOST, HOST, world.now)
    world.machine.timer(world.now + 99)
    world.look()
    assert world.over.reason == "stopped"
    assert [one.step for one in world.out if isinstance(one, PingStep)] == [
        "looking-up",
        "calling",
        "answered",
    ]
