"""Liars: each kind is really spoken, no engine raises, nobody gets a value that was not stored."""

from __future__ import annotations

import pytest

from meshcall.dht import messages as m
from meshcall.dht.contact import node_id_of
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from netsim.universe import Role, Settings
from netsim.universe.chance import Octets
from netsim.universe.frames import frame
from netsim.universe.hostile import KINDS, HostileNode
from netsim.universe.scenario import Scenario, record_of

ASKER = ("9.1.1.1", 5)


def liar(kind: str) -> HostileNode:
    """One that lies in that way and knows a few nodes."""
    octets = Octets(kind)
    known = [(octets(20), (f"7.7.{n}.1", 4600)) for n in range(30)]
    return HostileNode(SigningKey.generate(octets), kind, octets, known, known)


def say(node: HostileNode, request: bytes, now: float = 1.0) -> list[bytes]:
    """What it answers, late answers included."""
    node.receive(request, ASKER, now)
    due = node.deadline()
    if due is not None:
        node.handle_timer(due)
    return [data for data, address in node.transmits() if address == ASKER]


def test_there_are_at_least_fourteen_kinds() -> None:
    """As many as are known to break other implementations, and more."""
    assert len(KINDS) >= 14


@pytest.mark.parametrize("kind", KINDS)
def test_a_liar_proves_its_id_and_answers_with_one_datagram(kind: str) -> None:
    """It keeps its place in tables (unless it is silent), and never raises, whatever comes."""
    node = liar(kind)
    octets = Octets("requests")
    ping = frame(m.Ping, octets(8), octets(20), 0, challenge=octets(16), pad=bytes(20))
    proof = [m.decode_frame_untrusted(data) for data in say(node, ping)]
    if kind == "silent":
        assert proof == []
    else:
        (pong,) = proof
        assert isinstance(pong, m.Pong)
        assert node_id_of(pong.node_key) == pong.sender
    record = record_of(1, "any").encode()
    requests = (
        frame(m.FindNode, octets(8), octets(20), 0, target=octets(20), pad=bytes(300)),
        frame(m.FindValue, octets(8), octets(20), 0, target=record_of(1, "any").storage_key, pad=bytes(300)),
        frame(m.Store, octets(8), octets(20), 0, token=b"\1" * 8, record=record),
        frame(m.Deliver, octets(8), octets(20), 0, token=b"\1" * 8, record=record),
        frame(m.Watch, octets(8), octets(20), 0, token=b"\1" * 8, key=octets(20), lease=30, fresh=1),
        frame(m.Notify, octets(8), octets(20), 0, key=octets(20), record=record),
    )
    for request in (*requests, *requests):
        answers = say(node, request)
        assert len(answers) <= 1
        assert all(len(data) <= 1200 for data in answers)
    for junk in (b"", b"\x04", octets(50), b"\x04" + octets(200)):
        node.receive(junk, ASKER, 2.0)


def test_kinds_differ_on_the_wire() -> None:
    """Those that send broken frames do, those that refuse do, and a slow one answers late."""

    def frames(kind: str) -> list[str]:
        octets = Octets("one request")
        request = frame(m.FindValue, octets(8), octets(20), 0, target=octets(20), pad=bytes(300))
        words = []
        for data in say(liar(kind), request):
            try:
                words.append(type(m.decode_frame_untrusted(data)).__name__)
            except Rejected as rejected:
                words.append(rejected.reason)
        return words

    assert frames("silent") == []
    assert frames("garbage") == ["frame"]
    assert frames("deep nesting") == ["frame"]
    assert frames("ids one octet short") == ["frame"]
    assert frames("refuses everything") == ["Refused"]
    assert frames("reply of another kind") == ["Stored"]
    assert frames("colluding") == ["Values"]
    slow = liar("slow")
    slow.receive(m.encode_frame(m.FindNode(bytes(8), bytes(20), 0, bytes(20), b"")), ASKER, 1.0)
    assert slow.transmits() == []
    assert slow.deadline() == pytest.approx(2.2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_engine_raises_among_liars_of_one_kind(kind: str) -> None:
    """Three in ten lie in that way: the network goes on, and no value is handed out that nobody stored."""
    settings = Settings(nodes=40, clients=3, operations=3, hostile=0.3, hostile_kind=kind)
    scenario = Scenario(settings)
    outcome = scenario.run()
    assert sum(node.role is Role.HOSTILE and node.machine is not None for node in scenario.world.nodes) > 0
    assert outcome.wrong_values == 0
    assert outcome.put_failed == 0
    assert outcome.get_failed <= 1, f"seed {settings.seed}"
