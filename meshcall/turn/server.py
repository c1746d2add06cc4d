"""A TURN server (RFC 8656) for UDP relays: octets in, octets out. The sockets are its shell's.

Law 1: before it has seen good credentials it keeps nothing of a client (:mod:`.authentication`).
Law 2: data passes between a client and hosts that it permitted, and :mod:`.policy` allows; nothing goes to an
address of the relay's own machine except to another relayed address, which needs no network, and to the port
of the machine's node. Frames of the DHT need no permission, but have a rate of their own.
Law 3: ChannelData costs two look-ups and no parsing beyond its four octets.
Law 4: what is refused is counted by its reason, and nothing else is kept of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.limits import STUN_REPLY_RATIO, STUN_SIZE_MAX, TURN_SWEEP
from meshcall.stun.attributes import encode_xor_address, xor_address_untrusted
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from meshcall.stun.responder import answer_binding
from meshcall.turn.allocation import Allocation
from meshcall.turn.authentication import Authentication, Unproven
from meshcall.turn.bandwidth import Bandwidth
from meshcall.turn.commands import Client, CloseRelay, Command, OpenRelay
from meshcall.turn.frames import is_dht_frame
from meshcall.turn.policy import RelayPolicy
from meshcall.turn.requests import Refusal, Requests

NONCE_SECRET_SIZE: Final = 32
_BINDINGS: Final = (b"\x00\x01", b"\x00\x11", b"\x01\x01", b"\x01\x11")
"""How Binding requests, indications, responses and errors begin."""


@dataclass(frozen=True, slots=True)
class TurnStatistics:
    """A snapshot of a relay."""

    allocations: int
    users: int
    to_peers: int
    """Octets of data that went from clients to peers."""
    to_clients: int
    """Octets of data that went from peers to clients."""
    counters: dict[str, int]
    """What was answered, refused and dropped, by reason."""


class TurnServer:
    """One relay. Give it what comes in, then carry out :meth:`commands` and send what is to be sent."""

    def __init__(
        self, secret: bytes, *, policy: RelayPolicy, random: Callable[[int], bytes], now: float
    ) -> None:
        """``secret``: what passwords are made with (:func:`meshcall.turn.credentials.issue`)."""
        self.policy = policy
        self.own_hosts: frozenset[str] = frozenset()
        """IP addresses of the relay's machine; the shell keeps them current."""
        self.node_port = 0
        """UDP port of the node on this machine, which everybody may reach; 0: there is none."""
        self._random = random
        self._auth = Authentication(secret, random(NONCE_SECRET_SIZE), now)
        self._total = Bandwidth(policy.total_rate, now)
        self._requests = Requests(policy)
        self._by_client: dict[Client, Allocation] = {}
        self._by_relay: dict[int, Allocation] = {}
        self._by_address: dict[Address, Allocation] = {}
        self._opening: dict[int, tuple[StunMessage, bytes]] = {}
        """Requests whose socket is being opened, with their keys."""
        self._next_relay = 1
        self._sweep_due = now
        self._counters: Counter[str] = Counter()
        self._octets_to_peers = 0
        self._octets_to_clients = 0
        self._to_clients: list[tuple[bytes, Client]] = []
        self._to_peers: list[tuple[int, bytes, Address]] = []
        self._commands: list[Command] = []

    def __len__(self) -> int:
        """Allocations."""
        return len(self._by_client)

    # --- output -----------------------------------------------------------------------------------

    def to_clients(self) -> list[tuple[bytes, Client]]:
        """What is to be sent to clients, in order; each is told once."""
        found, self._to_clients = self._to_clients, []
        return found

    def to_peers(self) -> list[tuple[int, bytes, Address]]:
        """(relay, data, peer) of what is to be sent from relay sockets; each is told once."""
        found, self._to_peers = self._to_peers, []
        return found

    def commands(self) -> list[Command]:
        """What else is to be done, in order; each is told once."""
        found, self._commands = self._commands, []
        return found

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is wanted; None: never."""
        return self._sweep_due if self._by_client else None

    def is_known(self, client: Client) -> bool:
        """Whether it has an allocation: under a flood it goes first."""
        return client in self._by_client

    def statistics(self) -> TurnStatistics:
        """A frozen snapshot."""
        return TurnStatistics(
            len(self._by_client),
            len({allocation.user for allocation in self._by_client.values()}),
            self._octets_to_peers,
            self._octets_to_clients,
            dict(sorted(self._counters.items())),
        )

    # --- data -------------------------------------------------------------------------------------

    def receive(self, data: bytes, client: Client, now: float, now_ms: int) -> None:
        """A datagram of ``client``, or a frame of its stream (:class:`.frames.Frames`)."""
        if not data or data[0] < 0x40:
            self._receive_stun(data, client, now, now_ms)
            return
        allocation = self._by_client.get(client)
        if allocation is None:
            self._counters["no-allocation"] += 1
            return
        if len(data) < 4 or len(data) < (size := data[2] << 8 | data[3]) + 4 or size > STUN_SIZE_MAX:
            self._counters["bad-channel-data"] += 1
            return
        channel = allocation.channels.get(data[0] << 8 | data[1])
        if channel is None or channel.expires <= now:
            self._counters["no-channel"] += 1
            return
        self._send(allocation, channel.peer, data[4 : 4 + size], now)

    def receive_relayed(self, relay: int, data: bytes, peer: Address, now: float) -> None:
        """A datagram that ``peer`` sent to the socket of ``relay``."""
        allocation = self._by_relay.get(relay)
        if allocation is None:
            return  # it was closed meanwhile
        if allocation.permissions.get(peer[0], 0.0) <= now and not (
            is_dht_frame(data) and allocation.may_take_frame(now)
        ):
            self._counters["no-permission"] += 1
            return
        size = len(data)
        if size > STUN_SIZE_MAX or not self._spend(allocation, size, now):
            return
        self._octets_to_clients += size
        client = allocation.client
        channel = allocation.by_peer.get(peer)
        if channel is None or channel.expires <= now:
            self._to_clients.append((self._data_indication(data, peer), client))
        else:
            frame = channel.head + size.to_bytes(2, "big") + data
            self._to_clients.append(
                (frame + bytes(-size % 4) if client[1] else frame, client)
            )  # a stream: padded

    def _send(self, allocation: Allocation, peer: Address, data: bytes, now: float) -> None:
        """Data of a client for ``peer``."""
        if is_dht_frame(data):
            if (reason := self._refuses_frame(allocation, peer, now)) is not None:
                self._counters[reason] += 1
                return
        elif allocation.permissions.get(peer[0], 0.0) <= now:
            self._counters["no-permission"] += 1
            return
        if not self._spend(allocation, len(data), now):
            return
        other = self._by_address.get(peer)
        if other is not None and allocation.relayed is not None:
            self._octets_to_peers += len(data)
            self.receive_relayed(other.relay, data, allocation.relayed, now)
        elif peer[0] in self.own_hosts and not (self._is_for_node(peer, data) or self.policy.loopback):
            self._counters["own-address"] += 1
        else:
            self._octets_to_peers += len(data)
            self._to_peers.append((allocation.relay, data, peer))

    def _is_for_node(self, peer: Address, data: bytes) -> bool:
        """Whether data may go to the node of this machine: its DHT, its calls, but not its relay again."""
        if peer[1] != self.node_port or not data:
            return False
        return data[:2] in _BINDINGS if data[0] < 4 else not 0x40 <= data[0] < 0x80

    def _refuses_frame(self, allocation: Allocation, peer: Address, now: float) -> str | None:
        """Why a frame of the DHT does not leave for ``peer``; None: it does. It needs no permission."""
        if self.policy.refuses(peer[0]) or (6 if ":" in peer[0] else 4) != allocation.family:
            return "frame-refused"
        return None if allocation.may_send_frame(now) else "frames-over-rate"

    def _spend(self, allocation: Allocation, octets: int, now: float) -> bool:
        if not allocation.bandwidth.spend(octets, now):
            self._counters["over-rate"] += 1
            return False
        if not self._total.spend(octets, now):
            self._counters["over-total-rate"] += 1
            return False
        return True

    def _data_indication(self, data: bytes, peer: Address) -> bytes:
        transaction_id = self._random(TRANSACTION_ID_SIZE)
        attributes = (
            (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, transaction_id)),
            (AttributeType.DATA, data),
        )
        return StunMessage(Method.DATA, MessageClass.INDICATION, transaction_id, attributes).encode(
            fingerprint=False
        )

    # --- messages ---------------------------------------------------------------------------------

    def _receive_stun(self, data: bytes, client: Client, now: float, now_ms: int) -> None:
        try:
            message = decode_stun_untrusted(data)
            if message.kind is MessageClass.INDICATION:
                self._take_indication(message, client, now)
            elif message.kind is MessageClass.REQUEST:
                self._answer(message, len(data), client, now, now_ms)
            else:
                raise Rejected("response")
        except Rejected as rejected:
            self._counters[f"rejected-{rejected.reason}"] += 1

    def _take_indication(self, message: StunMessage, client: Client, now: float) -> None:
        if message.method is Method.BINDING:
            return  # it keeps the client's mapping open
        allocation = self._by_client.get(client)
        if allocation is None:
            self._counters["no-allocation"] += 1
            return
        data = message.get(AttributeType.DATA)
        peer = xor_address_untrusted(message, AttributeType.XOR_PEER_ADDRESS)
        if message.method is not Method.SEND or data is None or peer is None or message.unknown_required():
            raise Rejected("indication")
        if message.get(AttributeType.DONT_FRAGMENT) is not None:
            raise Rejected("dont-fragment")
        if self._requests.refuses_port(peer):
            self._counters["low-port"] += 1
            return
        self._send(allocation, peer, data, now)

    def _answer(self, request: StunMessage, size: int, client: Client, now: float, now_ms: int) -> None:
        if request.method is Method.BINDING:
            reply = answer_binding(request, client[0], size=size)
            self._counters["binding"] += 1
            if reply is not None:
                self._to_clients.append((reply, client))
            return
        try:
            session = self._auth.prove(request, client, now)
        except Unproven as refusal:
            self._refuse(request, size, refusal, client, now)
            return
        allocation = self._by_client.get(client)
        try:
            if request.unknown_required():
                raise Refusal(420)
            if request.method is Method.ALLOCATE:
                if session.expires * 1000 <= now_ms:
                    self._refuse(request, size, Unproven(401, "expired"), client, now)
                    return
                self._allocate(request, client, session.user, session.key, now)
                return
            reply_message = self._requests.answer(request, allocation, session.user, self._is_ours, now)
        except Refusal as refusal:
            self._counters[f"refused-{refusal.code}"] += 1
            self._reply(client, refusal.answer(request), session.key, size)
            return
        self._counters[request.method.name.lower().replace("_", "-")] += 1
        self._reply(client, reply_message, session.key, size)
        if allocation is not None and allocation.expires <= now:
            self._end(allocation)  # refreshed with a lifetime of zero

    def _refuse(self, request: StunMessage, size: int, refusal: Unproven, client: Client, now: float) -> None:
        self._counters[refusal.counter] += 1
        reply = self._auth.answer(request, size, refusal, client, now)
        if reply is None:
            self._counters["unanswered"] += 1
        else:
            self._to_clients.append((reply, client))

    def _reply(self, client: Client, message: StunMessage, key: bytes, size: int) -> None:
        octets = message.encode(key)
        if len(octets) > STUN_REPLY_RATIO * size:
            self._counters["unanswered"] += 1
            return
        self._to_clients.append((octets, client))

    # --- allocations ------------------------------------------------------------------------------

    def _allocate(self, request: StunMessage, client: Client, user: str, key: bytes, now: float) -> None:
        existing = self._by_client.get(client)
        if existing is not None:
            if existing.transaction_id != request.transaction_id:
                raise Refusal(437)
            if existing.relayed is not None:
                self._allocated(existing, request, key, now)
            return
        allocation = self._requests.make_allocation(
            request, client, user, self._next_relay, list(self._by_client.values()), now
        )
        self._next_relay += 1
        self._by_client[client] = self._by_relay[allocation.relay] = allocation
        self._opening[allocation.relay] = request, key
        even = request.get(AttributeType.EVEN_PORT) is not None
        self._commands.append(OpenRelay(allocation.relay, allocation.family, client, even))

    def opened(self, relay: int, relayed: Address, now: float) -> None:
        """The socket of ``relay`` is open; peers reach it at ``relayed``."""
        allocation, opening = self._by_relay.get(relay), self._opening.pop(relay, None)
        if allocation is None or opening is None:
            self._commands.append(CloseRelay(relay))
            return
        allocation.relayed = relayed
        self._by_address[relayed] = allocation
        self._counters["allocate"] += 1
        self._allocated(allocation, *opening, now)

    def not_opened(self, relay: int, *, family_missing: bool = False) -> None:
        """There is no socket for ``relay``; ``family_missing``: this machine has no address of its family."""
        allocation, opening = self._by_relay.pop(relay, None), self._opening.pop(relay, None)
        if allocation is None or opening is None:
            return
        del self._by_client[allocation.client]
        refusal = Refusal(440 if family_missing else 508)
        self._counters[f"refused-{refusal.code}"] += 1
        request, key = opening
        self._to_clients.append((refusal.answer(request).encode(key), allocation.client))

    def _allocated(self, allocation: Allocation, request: StunMessage, key: bytes, now: float) -> None:
        message = self._requests.allocated(allocation, request, now, self.node_port)
        self._to_clients.append((message.encode(key), allocation.client))

    def _is_ours(self, host: str) -> bool:
        """Whether ``host`` is of this machine and none of its ports is relayed."""
        if host not in self.own_hosts or self.policy.loopback:
            return False
        return all(relayed != host for relayed, _ in self._by_address)

    def closed(self, client: Client) -> None:
        """The stream of ``client`` is closed."""
        allocation = self._by_client.get(client)
        if allocation is not None:
            self._counters["ended-with-stream"] += 1
            self._end(allocation)

    def _end(self, allocation: Allocation) -> None:
        del self._by_client[allocation.client], self._by_relay[allocation.relay]
        self._opening.pop(allocation.relay, None)
        if allocation.relayed is not None:
            self._by_address.pop(allocation.relayed, None)
        self._commands.append(CloseRelay(allocation.relay))

    def handle_timer(self, now: float) -> None:
        """Forget what has expired."""
        if now < self._sweep_due:
            return
        self._sweep_due = now + TURN_SWEEP
        for allocation in list(self._by_client.values()):
            if allocation.expires <= now:
                self._counters["expired-allocation"] += 1
                self._end(allocation)
            else:
                allocation.sweep(now)
