"""A TURN server with its sockets and clients, all in memory: what is sent arrives at once."""

from __future__ import annotations

import random
from dataclasses import replace

from meshcall.address import Address
from meshcall.stun.attributes import encode_xor_address, error_untrusted
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from meshcall.turn.client import Transport, TurnClient
from meshcall.turn.commands import Client, OpenRelay
from meshcall.turn.credentials import Credentials, issue
from meshcall.turn.events import TurnEvent
from meshcall.turn.policy import RelayPolicy
from meshcall.turn.server import TurnServer

SECRET = b"the relay's secret"
SERVER: Address = ("5.0.1.1", 3478)
CLIENT: Address = ("5.0.2.2", 40000)
PEER: Address = ("5.0.3.3", 50000)
UNIX = 1_800_000_000
UDP = (AttributeType.REQUESTED_TRANSPORT, bytes((17, 0, 0, 0)))


class World:
    """One relay."""

    def __init__(self, policy: RelayPolicy | None = None, *, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.server = TurnServer(
            SECRET, policy=policy or RelayPolicy(), random=self.random.randbytes, now=self.now
        )
        self.relays: dict[int, Address] = {}
        self.sent: list[tuple[Address, Address, bytes]] = []
        """(relayed address, peer, data) of what left relay sockets."""
        self.fail_opening = ""
        self.port = 49152

    @property
    def now_ms(self) -> int:
        """The wall clock goes with the other one."""
        return (UNIX * 1000) + int((self.now - 1000.0) * 1000)

    def give(self, data: bytes, client: Client) -> list[bytes]:
        """A datagram or frame of a client; what it is answered."""
        self.server.receive(data, client, self.now, self.now_ms)
        return [octets for octets, to in self.flush() if to == client]

    def flush(self) -> list[tuple[bytes, Client]]:
        """Carry out the server's commands; what is for clients."""
        for command in self.server.commands():
            if not isinstance(command, OpenRelay):
                del self.relays[command.relay]
            elif self.fail_opening:
                self.server.not_opened(command.relay, family_missing=self.fail_opening == "family")
            else:
                self.port += 1
                address = ("5.0.1.1" if command.family == 4 else "2a05:d000:1::1", self.port)
                self.relays[command.relay] = address
                self.server.opened(command.relay, address, self.now)
        for relay, data, peer in self.server.to_peers():
            self.sent.append((self.relays[relay], peer, data))
        return self.server.to_clients()

    def from_peer(self, data: bytes, relayed: Address, peer: Address = PEER) -> list[tuple[bytes, Client]]:
        """A datagram of a peer; what goes to clients."""
        relay = next(number for number, address in self.relays.items() if address == relayed)
        self.server.receive_relayed(relay, data, peer, self.now)
        return self.flush()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.server.handle_timer(self.now)
        self.flush()


def credentials(user: str = "ada", *, lives: int = 3600) -> Credentials:
    """Good for an hour unless told otherwise."""
    return issue(SECRET, user, UNIX + lives)


class Asker:
    """A client that says what it is told to say, right or wrong."""

    def __init__(self, world: World, client: Client = (CLIENT, 0), who: Credentials | None = None) -> None:
        self.world, self.client, self.who = world, client, who or credentials()
        self.nonce = b""
        self.realm = "meshcall"
        self.last = b""

    def message(
        self, method: Method, *attributes: tuple[int, bytes], tid: bytes | None = None
    ) -> StunMessage:
        """A request without credentials."""
        return StunMessage(method, MessageClass.REQUEST, tid or self.world.random.randbytes(12), attributes)

    def challenge(self) -> StunMessage:
        """Fetch a nonce."""
        reply = self.bare(Method.ALLOCATE, UDP)
        self.nonce = reply.get(AttributeType.NONCE) or b""
        return reply

    def bare(self, method: Method, *attributes: tuple[int, bytes]) -> StunMessage:
        """Ask without credentials."""
        self.last = self.message(method, *attributes).encode(fingerprint=False)
        return self._one(self.last)

    def ask(self, method: Method, *attributes: tuple[int, bytes], tid: bytes | None = None) -> StunMessage:
        """Ask with credentials."""
        if not self.nonce:
            self.challenge()
        request = self.message(method, *attributes, tid=tid)
        proof = (
            (AttributeType.USERNAME, self.who.username.encode()),
            (AttributeType.REALM, self.realm.encode()),
            (AttributeType.NONCE, self.nonce),
        )
        self.last = replace(request, attributes=(*request.attributes, *proof)).encode(
            self.who.key(self.realm)
        )
        return self._one(self.last)

    def about(self, method: Method, peer: Address, *attributes: tuple[int, bytes]) -> StunMessage:
        """Ask about a peer."""
        tid = self.world.random.randbytes(12)
        xor = (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, tid))
        return self.ask(method, xor, *attributes, tid=tid)

    def bind(self, number: int, peer: Address) -> StunMessage:
        """Ask for a channel."""
        value = number.to_bytes(2, "big") + bytes(2)
        return self.about(Method.CHANNEL_BIND, peer, (AttributeType.CHANNEL_NUMBER, value))

    def indicate(self, peer: Address, data: bytes) -> None:
        """A Send indication."""
        tid = self.world.random.randbytes(12)
        xor = (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, tid))
        message = StunMessage(Method.SEND, MessageClass.INDICATION, tid, (xor, (AttributeType.DATA, data)))
        self.world.give(message.encode(), self.client)

    def _one(self, octets: bytes) -> StunMessage:
        (reply,) = self.world.give(octets, self.client)
        return decode_stun_untrusted(reply)


def code(reply: StunMessage) -> int:
    """The error code; 0: it is a success."""
    return 0 if reply.kind is MessageClass.SUCCESS else error_untrusted(reply)


class Caller:
    """A TurnClient at the relay."""

    def __init__(
        self,
        world: World,
        transport: Transport = "udp",
        *,
        address: Address = CLIENT,
        who: Credentials | None = None,
        stream: int = 0,
    ) -> None:
        self.world = world
        self.client: Client = (address, stream)
        self.turn = TurnClient(SERVER, who or credentials(), transport, random=world.random.randbytes)
        self.seen: list[TurnEvent] = []
        self.lose = 0
        """So many of its next datagrams are lost."""

    def start(self) -> Caller:
        """Ask for an allocation, and wait for it."""
        self.turn.start(self.world.now)
        return self.run()

    def run(self) -> Caller:
        """Exchange until nothing more is to be said."""
        while waiting := self.turn.transmits():
            for octets, _ in waiting:
                if self.lose:
                    self.lose -= 1
                    continue
                for reply in self.world.give(octets, self.client):
                    self.turn.receive(reply, self.world.now)
        self.seen += self.turn.events()
        return self

    def wait(self, seconds: float) -> Caller:
        """Let time pass, with all timers on time."""
        end = self.world.now + seconds
        while (due := self.turn.deadline()) is not None and due <= end:
            self.world.now = max(self.world.now, due)
            self.world.server.handle_timer(self.world.now)
            self.world.flush()
            self.turn.handle_timer(self.world.now)
            self.run()
        self.world.wait(end - self.world.now)
        return self

    def peer_sends(self, data: bytes, peer: Address = PEER) -> None:
        """A datagram comes to our relayed address."""
        assert self.turn.relayed is not None
        for octets, to in self.world.from_peer(data, self.turn.relayed, peer):
            assert to == self.client
            self.turn.receive(octets, self.world.now)
        self.seen += self.turn.events()
