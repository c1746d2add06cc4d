"""Punching of one call: what is sent where, and how little a lying peer gets out of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.dht import DhtNode
from meshcall.aio.ice import openings as openings_module
from meshcall.aio.ice.openings import Openings
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.punching import Punching
from meshcall.aio.nat import NatWatch, PortSamples
from meshcall.aio.udp import UdpPort
from meshcall.ice.agent import IceAgent
from meshcall.ice.birthday import PunchBudget
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Check, Credentials, encode_check
from meshcall.ice.nat import Filtering, Mapping, NatView, Ports
from meshcall.ice.notes import AimNote, NatNote, Note, SeenNote
from meshcall.ice.pair import Pair, PairState

PEER: Address = ("45.1.2.3", 40000)
OURS: Address = ("46.1.2.3", 50000)
WITNESS: Address = ("47.1.2.3", 4600)
TOKEN = b"a-token!"

CONE = NatView(Mapping.EIM, Filtering.APDF, Ports.PRESERVING, 0, OURS, 4)
SEQUENTIAL = NatView(Mapping.APDM, Filtering.APDF, Ports.SEQUENTIAL, 1, OURS, 4)
RANDOM = NatView(Mapping.APDM, Filtering.APDF, Ports.RANDOM, 0, OURS, 4)
HOST = Candidate("host", "udp", *OURS, 2130706431)


def note_of(view: NatView) -> NatNote:
    """What a peer behind such a NAT tells."""
    return NatNote(view.mapping, view.filtering, view.ports, WITNESS)


@dataclass
class FakeNat:
    """The node's knowledge, and a DHT in which one witness is honest."""

    ours: NatView
    budget: PunchBudget = field(default_factory=PunchBudget)
    asked: list[SeenNote] = field(default_factory=list)
    pinged: list[Address] = field(default_factory=list)
    next_port: int = 50001

    def view(self, family: int = 4) -> NatView:
        return self.ours

    def nodes(self, count: int) -> list[Address]:
        return []

    def witness(self) -> Address | None:
        return WITNESS

    async def witnessed(self, witness: Address) -> tuple[Address, bytes] | None:
        self.pinged.append(witness)
        return OURS, TOKEN

    async def vouches(self, witness: Address, address: Address, token: bytes) -> bool:
        self.asked.append(SeenNote(address, token))
        return (witness, token) == (WITNESS, TOKEN)

    async def survey(self) -> PortSamples | None:
        first = self.next_port
        self.next_port += 4
        return PortSamples({n: first + n for n in range(4)}, 4, OURS[0])


class FakeCall:
    """A call whose packets are counted, not sent."""

    def __init__(self, ours: NatView, *, controlling: bool = False) -> None:
        self.agent = IceAgent(Credentials("ours", "o" * 22), controlling=controlling, random=os.urandom)
        self.agent.start(Credentials("peer", "p" * 22), asyncio.get_running_loop().time())
        self.nat = FakeNat(ours)
        self.told: list[Note] = []
        self.offered: list[Candidate] = []
        self.probes: list[Address] = []
        self.adopted: list[Address] = []
        self.ports: list[IcePort] = []
        self.counters: Counter[str] = Counter()
        self.punching = Punching(self, cast("NatWatch", self.nat), self.adopt, os.urandom, self.counters)

    def tell_note(self, note: Note) -> None:
        self.told.append(note)

    def offer_predicted(self, candidate: Candidate) -> None:
        self.offered.append(candidate)

    def send_probe(self, data: bytes, destination: Address) -> None:
        self.probes.append(destination)

    def adopt(self, port: IcePort, data: bytes, source: Address, base: Address) -> None:
        self.adopted.append(base)
        self.ports.append(port)
        self.direct()

    def direct(self) -> None:
        """A direct pair is selected."""
        pair = Pair(HOST, OURS, Candidate("srflx", "udp", *PEER, 1))
        pair.state = PairState.SUCCEEDED
        self.agent.selected = pair


class QuietPort(UdpPort):
    """A port on loopback that notes what it would send."""

    sent: list[tuple[int, Address]]

    def send(self, data: bytes, address: Address) -> None:
        self.sent.append((self.port, address))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Address]]:
    """Waits of milliseconds, few probes and sockets; nothing leaves: (port, destination) of what would."""
    for name, value in {
        "PUNCH_HEAD_START": 0.0,
        "PUNCH_PROOF": 0.05,
        "PUNCH_TRY": 0.2,
        "PUNCH_LIFE": 0.5,
        "PUNCH_LOOK": 0.01,
        "PUNCH_PROBES_MAX": 40,
        "PUNCH_SOCKETS": 12,
    }.items():
        monkeypatch.setattr(limits, name, value)
    sent: list[tuple[int, Address]] = []
    monkeypatch.setattr(QuietPort, "sent", sent, raising=False)

    async def open_quiet() -> UdpPort:
        return await QuietPort.open(0, hosts=("127.0.0.1",))

    monkeypatch.setattr(openings_module, "open_fresh_port", open_quiet)
    return sent


def descriptors() -> int:
    """Open ones of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_random_nat_is_probed_when_a_witness_has_seen_the_peer_there(
    quick: list[tuple[int, Address]],
) -> None:
    """All probes to that host, no port twice, and an end; our own witness' word is told first."""
    call = FakeCall(CONE)
    call.punching.hear(note_of(RANDOM))
    call.punching.hear(SeenNote(PEER, TOKEN))
    await call.punching.punch()
    assert call.told == [SeenNote(OURS, TOKEN)]
    assert {ip for ip, _ in call.probes} == {PEER[0]}
    assert len(call.probes) == len(set(call.probes)) == limits.PUNCH_PROBES_MAX
    assert call.counters["punch-probes"] == limits.PUNCH_PROBES_MAX


@pytest.mark.parametrize(
    "claim",
    [
        None,
        SeenNote(PEER, b"invented"),
        SeenNote(("127.0.0.1", 40000), TOKEN),
        SeenNote(("192.168.1.1", 40000), TOKEN),
        SeenNote(("224.0.0.1", 40000), TOKEN),
        SeenNote(("169.254.169.254", 40000), TOKEN),
        SeenNote(("45.1.2.3", 53), TOKEN),
        SeenNote(("2606:4700::1", 40000), TOKEN),
    ],
)
@pytest.mark.parametrize("ours", [CONE, RANDOM, SEQUENTIAL])
async def test_nobody_is_flooded_without_a_proof(
    ours: NatView, claim: SeenNote | None, quick: list[tuple[int, Address]]
) -> None:
    """No claim, one that our witness denies, and addresses that no policy allows: not one packet."""
    call = FakeCall(ours)
    call.punching.hear(note_of(SEQUENTIAL if ours is SEQUENTIAL else RANDOM if ours is CONE else CONE))
    if claim is not None:
        call.punching.hear(claim)
    call.punching.hear(AimNote(PEER))
    await call.punching.punch()
    assert call.probes == []
    assert quick == []


async def test_what_a_peer_says_without_end_is_not_heard(quick: list[tuple[int, Address]]) -> None:
    """A thousand claims cost a few questions to our witness, and no packet to anybody."""
    call = FakeCall(CONE)
    call.punching.hear(note_of(RANDOM))
    for number in range(1000):
        call.punching.hear(SeenNote((f"45.1.2.{number % 250}", 40000), b"invented"))
    await call.punching.punch()
    assert len(call.nat.asked) <= limits.NOTES_PER_CALL_MAX
    assert call.counters["punch-notes"] == 1001 - limits.NOTES_PER_CALL_MAX
    assert call.probes == []


async def test_few_witnesses_are_asked_in_a_call(quick: list[tuple[int, Address]]) -> None:
    """A peer that names one after the other aims four pings, not thirty."""
    call = FakeCall(CONE)
    for number in range(limits.NOTES_PER_CALL_MAX):
        call.punching.hear(replace(note_of(RANDOM), witness=(f"45.9.9.{number}", 4600)))
        call.punching._again.clear()
        await call.punching.punch()
    assert len(call.nat.pinged) == limits.PUNCH_WITNESSES_MAX


async def test_a_host_is_probed_so_often_in_an_hour(quick: list[tuple[int, Address]]) -> None:
    """The 65th call within an hour goes by relay."""
    call = FakeCall(CONE)
    for _ in range(limits.PUNCHES_PER_HOST):
        assert call.nat.budget.take(PEER[0], asyncio.get_running_loop().time())
        call.nat.budget.give_back()
    call.punching.hear(note_of(RANDOM))
    call.punching.hear(SeenNote(PEER, TOKEN))
    await call.punching.punch()
    assert call.probes == []
    assert call.counters["punch-budget"] == 1


async def test_probing_ends_with_the_first_direct_path(
    quick: list[tuple[int, Address]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives its place in the budget back."""
    monkeypatch.setattr(limits, "PUNCH_PROBES_MAX", 100_000)
    call = FakeCall(CONE)
    call.punching.hear(note_of(RANDOM))
    call.punching.hear(SeenNote(PEER, TOKEN))
    work = asyncio.create_task(call.punching.punch())
    while len(call.probes) < 5:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)
    call.direct()
    await asyncio.wait_for(work, 5.0)
    again = [call.nat.budget.take(f"45.9.9.{n}", 1.0) for n in range(limits.PUNCHES_AT_ONCE)]
    assert all(again)


async def test_nothing_is_done_where_plain_checks_do(quick: list[tuple[int, Address]]) -> None:
    """A direct path before the head start is over, or NATs that need no help: no packet, no note."""
    call = FakeCall(RANDOM)
    call.punching.hear(note_of(CONE))
    call.punching.hear(SeenNote(PEER, TOKEN))
    call.direct()
    await call.punching.punch()
    other = FakeCall(CONE)
    other.punching.hear(note_of(CONE))
    await other.punching.punch()
    assert (call.told, call.probes, other.told, other.probes, quick) == ([], [], [], [], [])


async def test_a_random_nat_opens_sockets_towards_the_proven_address_and_closes_all(
    quick: list[tuple[int, Address]],
) -> None:
    """As many ports as there are sockets, one destination, and no descriptor left."""
    before = descriptors()
    call = FakeCall(RANDOM)
    call.punching.hear(note_of(CONE))
    call.punching.hear(SeenNote(PEER, TOKEN))
    await call.punching.punch()
    assert {to for _, to in quick} == {PEER}
    assert len({port for port, _ in quick}) == limits.PUNCH_SOCKETS
    assert descriptors() == before


async def test_two_sequential_nats_aim_at_each_other(quick: list[tuple[int, Address]]) -> None:
    """Who controls tells its next port, hears the peer's, and sends there from a few sockets."""
    call = FakeCall(SEQUENTIAL, controlling=True)
    call.punching.hear(note_of(SEQUENTIAL))
    call.punching.hear(SeenNote(PEER, TOKEN))
    work = asyncio.create_task(call.punching.punch())
    while not any(isinstance(note, AimNote) for note in call.told):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)
    aim = next(note for note in call.told if isinstance(note, AimNote))
    assert aim == AimNote((OURS[0], 50004 + limits.PUNCH_MEETING))
    call.punching.hear(AimNote(("45.1.2.99", 40010)))  # a third party
    call.punching.hear(AimNote((PEER[0], 53)))  # a service
    call.punching.hear(AimNote((PEER[0], 40010)))
    await asyncio.wait_for(work, 10.0)
    assert {to for _, to in quick} == {(PEER[0], 40010)}
    assert len({port for port, _ in quick}) == limits.PUNCH_MEETING


async def test_an_opening_takes_a_good_check_and_nothing_else(quick: list[tuple[int, Address]]) -> None:
    """Junk and a wrong password are counted; the first good check brings its port into the call."""
    call = FakeCall(RANDOM)
    opened = Openings(call.agent, call.adopt, call.counters)
    await opened.add_many(3)
    base = next(iter(opened._ports))
    assert call.agent.remote is not None
    check = Check(1, controlling=True, tie_breaker=5)
    forged = encode_check(check, os.urandom(12), call.agent.remote, Credentials("ours", "wrong" * 5))
    good = encode_check(check, os.urandom(12), call.agent.remote, call.agent.local)
    for data in (b"", b"\0" * 20, forged, good[:-1]):
        opened.receive_stun(data, PEER, base)
    assert (call.adopted, opened.hit.is_set()) == ([], False)
    opened.receive_stun(good, PEER, base)
    opened.receive_stun(good, PEER, base)
    assert (call.adopted, opened.hit.is_set()) == ([base], True)
    assert await opened.add() is None
    assert len(opened._ports) == 2
    await opened.close()
    for port in call.ports:
        await port.close()


async def test_a_witness_that_a_peer_names_must_be_on_the_internet() -> None:
    """We do not ask hosts of our LAN, nor ourselves, because a peer says so."""
    engine = SimpleNamespace(tell_observed=lambda listener: None)

    async def witnessed(address: Address) -> tuple[Address, bytes]:
        return OURS, TOKEN

    dht: Any = SimpleNamespace(engine=engine, witnessed=witnessed)
    nat = NatWatch(cast("DhtNode", dht), cast("UdpPort", None), clock=cast("Any", None), random=os.urandom)
    for address in (("192.168.1.1", 4600), ("127.0.0.1", 4600), ("224.0.0.1", 1), ("fe80::1", 4600)):
        assert await nat.witnessed(address) is None
    assert await nat.witnessed(WITNESS) == (OURS, TOKEN)


async def test_another_nat_is_told_and_begins_another_round(quick: list[tuple[int, Address]]) -> None:
    """After a change of network: our new NAT as soon as it is known, and the proof anew."""
    call = FakeCall(CONE)
    call.punching.hear(note_of(RANDOM))
    work = asyncio.create_task(call.punching.run())
    while len(call.told) < 1:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)
    call.nat.ours = NatView()
    call.punching.network_changed()
    await asyncio.sleep(0.05)
    call.nat.ours = replace(CONE, filtering=Filtering.UNKNOWN)
    call.punching.hear(SeenNote(PEER, TOKEN))
    while len(call.probes) < limits.PUNCH_PROBES_MAX:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    work.cancel()
    again = NatNote(Mapping.EIM, Filtering.UNKNOWN, Ports.PRESERVING, WITNESS)
    assert call.told == [SeenNote(OURS, TOKEN), again, SeenNote(OURS, TOKEN)]


async def test_a_peer_that_knows_its_nat_late_is_answered(quick: list[tuple[int, Address]]) -> None:
    """Its note begins another round, in which it gets its proof."""
    call = FakeCall(RANDOM)
    work = asyncio.create_task(call.punching.run())
    await asyncio.sleep(0.02)
    call.punching.hear(note_of(CONE))
    call.punching.hear(SeenNote(PEER, TOKEN))
    while not quick:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert SeenNote(OURS, TOKEN) in call.told
