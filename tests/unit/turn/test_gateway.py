"""A host without UDP at a gateway: asking on the stream, frames of the DHT from the relayed address."""

from __future__ import annotations

import random

import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.identity.keys import SigningKey
from meshcall.limits import (
    DATAGRAM_MAX,
    TUNNEL_FRAMES_BURST,
    TUNNEL_FRAMES_PER_SECOND,
    TUNNEL_PATIENCE,
    TURN_RATE,
)
from meshcall.turn.commands import Client
from meshcall.turn.events import Allocated, Ended, Received, TurnEvent
from meshcall.turn.frames import Frames, bare_data, bare_frame, is_bare
from meshcall.turn.gateway import GatewayClient
from meshcall.turn.grant import Ask, Place
from meshcall.turn.lending import Lending
from meshcall.turn.policy import RelayPolicy
from tests.unit.turn.world import CLIENT, PEER, SECRET, SERVER, Caller, World

NODE_PORT = 4000
NODE: Address = ("5.0.1.1", NODE_PORT)
FRAME = b"\x04" + bytes(60)
PLACES = (Place("udp", 3478), Place("tls", 443))


class Gate(World):
    """A relay with its node: the stream's bare frames go to that."""

    def __init__(self, *, lends: bool = True, policy: RelayPolicy | None = None) -> None:
        super().__init__(policy)
        self.server.node_port = NODE_PORT
        self.server.own_hosts = frozenset({SERVER[0]})
        rng = self.random
        self.engine = DhtEngine(SigningKey.generate(rng.randbytes), random=rng.randbytes, now=self.now)
        if lends:
            lending = Lending(
                SECRET,
                self.engine.node_id,
                places=lambda: PLACES,
                taken=lambda: 0.0,
                contacts=list,
                now_ms=lambda: self.now_ms,
                random=rng.randbytes,
                now=self.now,
            )
            self.engine.lend_by(lending.answer)

    def take(self, frame: bytes, client: Client) -> list[bytes]:
        """A frame of a stream; what it is answered."""
        if not is_bare(frame):
            return self.give(frame, client)
        self.engine.receive(bare_data(frame), client[0], self.now)
        return [bare_frame(data) for data, to in self.engine.transmits() if to == client[0]]


class Tunnelled:
    """A client at a gate."""

    def __init__(self, gate: Gate, *, stream: int = 1, address: Address = CLIENT) -> None:
        self.gate = gate
        self.client: Client = (address, stream)
        self.frames = Frames()
        rng = random.Random(stream)
        self.turn = GatewayClient(
            SERVER, "tls", node_id=bytes(20), ask=Ask.new((), rng.randbytes), random=rng.randbytes
        )
        self.seen: list[TurnEvent] = []
        self.turn.start(gate.now)
        self.run()

    def run(self) -> Tunnelled:
        """Exchange until nothing more is to be said; answers are cut to pieces, as streams are."""
        while octets := b"".join(self.turn.transmits()):
            for frame in self.frames.feed_untrusted(octets):
                for reply in self.gate.take(frame, self.client):
                    for at in range(0, len(reply), 7):
                        self.turn.receive(reply[at : at + 7], self.gate.now)
            self.seen += self.turn.events()
        self.seen += self.turn.events()
        return self

    def send(self, peer: Address, data: bytes) -> list[tuple[Address, Address, bytes]]:
        """Send from the relayed address; what left the gate."""
        before = len(self.gate.sent)
        self.turn.send_to(peer, data, self.gate.now)
        self.run()
        return self.gate.sent[before:]

    def comes(self, data: bytes, peer: Address) -> list[Received]:
        """A datagram comes to the relayed address; what is told of it."""
        assert self.turn.relayed is not None
        before = len(self.seen)
        for octets, _ in self.gate.from_peer(data, self.turn.relayed, peer):
            self.turn.receive(octets, self.gate.now)
        self.run()
        return [event for event in self.seen[before:] if isinstance(event, Received)]


def test_a_stranger_is_lent_an_address_on_the_stream() -> None:
    """A ping, an ask, an allocation; it is told where the gateway's node is."""
    client = Tunnelled(Gate())
    (allocated,) = client.seen
    assert isinstance(allocated, Allocated)
    assert client.turn.relayed == allocated.relayed
    assert client.turn.node == NODE
    assert client.turn.gateway_id == client.gate.engine.node_id
    assert client.turn.counters == {}


def test_frames_pass_without_a_permission_and_nothing_else_does() -> None:
    """Both ways, also from hosts that were never asked; checks and media keep to the rules of TURN."""
    client = Tunnelled(Gate())
    relayed = client.turn.relayed
    assert client.comes(FRAME, PEER) == [], "it has sent none yet"
    assert client.send(PEER, FRAME) == [(relayed, PEER, FRAME)]
    assert client.comes(FRAME, ("5.0.4.4", 4000)) == [Received(("5.0.4.4", 4000), FRAME)]
    assert client.comes(b"\x00" + bytes(27), ("5.0.4.4", 4000)) == []
    assert client.comes(b"\x80" + bytes(27), PEER) == []
    assert client.comes(b"\x04" + bytes(DATAGRAM_MAX), PEER) == [], "longer than any frame"
    assert client.send(PEER, b"\x80media") == [(relayed, PEER, b"\x80media")], "it was permitted first"
    assert client.comes(b"\x80media", PEER) == [Received(PEER, b"\x80media")]


def test_the_gateways_own_node_can_be_asked_and_called() -> None:
    """At its port; all else of that machine is refused, as are private addresses, frames or not."""
    client = Tunnelled(Gate())
    relayed = client.turn.relayed
    assert client.send(NODE, FRAME) == [(relayed, NODE, FRAME)]
    assert client.comes(FRAME, NODE) == [Received(NODE, FRAME)]
    assert client.send(NODE, b"\x16dtls") == [(relayed, NODE, b"\x16dtls")]
    for refused in ((NODE[0], 8080), ("192.168.0.1", 4000), ("127.0.0.1", NODE_PORT), ("2a05:d000::1", 4000)):
        assert client.send(refused, FRAME) == []
        assert client.send(refused, b"\x16dtls") == []
    assert client.send(("5.0.4.4", 53), FRAME) == []


def test_two_clients_of_one_gateway_reach_each_other() -> None:
    """Frames at once; media when both have asked for it."""
    gate = Gate()
    ada, bob = Tunnelled(gate), Tunnelled(gate, stream=2, address=("5.0.2.3", 40000))
    assert ada.turn.relayed is not None
    assert bob.turn.relayed is not None
    bob.send(PEER, FRAME)
    ada.turn.send_to(bob.turn.relayed, FRAME, gate.now)
    for frame in ada.frames.feed_untrusted(b"".join(ada.turn.transmits())):
        gate.server.receive(frame, ada.client, gate.now, gate.now_ms)
    for octets, to in gate.flush():
        assert to == bob.client
        bob.turn.receive(octets, gate.now)
    assert bob.turn.events() == [Received(ada.turn.relayed, FRAME)]


def test_one_client_does_not_use_up_what_all_may_ask() -> None:
    """Its frames have a rate each way; its media are not counted with them, and the burst comes back."""
    client = Tunnelled(Gate())
    sent = sum(len(client.send(PEER, FRAME)) for _ in range(2 * TUNNEL_FRAMES_BURST))
    assert sent == TUNNEL_FRAMES_BURST
    came = sum(len(client.comes(FRAME, PEER)) for _ in range(2 * TUNNEL_FRAMES_BURST))
    assert came == TUNNEL_FRAMES_BURST
    assert len(client.send(PEER, b"\x80media")) == 1
    client.gate.wait(1.0)
    assert sum(len(client.send(PEER, FRAME)) for _ in range(200)) == TUNNEL_FRAMES_PER_SECOND
    assert TUNNEL_FRAMES_BURST * 61 < TURN_RATE, "it was the frames' own rate that ended it"


def test_other_clients_of_the_relay_get_no_frames() -> None:
    """A browser that was lent an address and never sent a frame is not sent any, permitted hosts aside."""
    gate = Gate()
    caller = Caller(gate).start()
    caller.turn.send_to(PEER, b"\x80media", gate.now)
    caller.run()
    caller.peer_sends(FRAME, ("5.0.4.4", 4000))
    assert not any(isinstance(event, Received) for event in caller.seen)


def test_a_node_that_lends_nothing_is_no_gateway() -> None:
    """It says so; one that says nothing is given up."""
    client = Tunnelled(Gate(lends=False))
    assert client.seen == [Ended("refused", m.RELAY_OFF)]
    mute = GatewayClient(
        SERVER, "tcp", node_id=bytes(20), ask=Ask.new((), random.randbytes), random=random.randbytes
    )
    mute.start(0.0)
    assert mute.deadline() == TUNNEL_PATIENCE
    mute.handle_timer(TUNNEL_PATIENCE)
    assert mute.events() == [Ended("timeout")]
    assert mute.deadline() is None


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_gateway_sends_is_borne(seed: int) -> None:
    """Mutated answers, frames nobody asked for, octets of nothing: counted, and the stream ends at worst."""
    rng = random.Random(seed)
    for _ in range(300):
        gate = Gate()
        client = Tunnelled.__new__(Tunnelled)
        client.gate, client.client, client.frames, client.seen = gate, (CLIENT, 1), Frames(), []
        client.turn = GatewayClient(
            SERVER, "tls", node_id=bytes(20), ask=Ask.new((), rng.randbytes), random=rng.randbytes
        )
        client.turn.start(gate.now)
        for _ in range(8):
            for frame in client.frames.feed_untrusted(b"".join(client.turn.transmits())):
                for reply in gate.take(frame, client.client):
                    octets = bytearray(reply)
                    if rng.random() < 0.5:
                        octets[rng.randrange(len(octets))] = rng.randrange(256)
                    client.turn.receive(bytes(octets) + rng.randbytes(rng.choice((0, 0, 3))), gate.now)
            client.turn.events()
            client.turn.handle_timer(gate.now)
        client.turn.close(gate.now)
