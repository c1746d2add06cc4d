"""A TURN client (RFC 8656): one allocation at one server. Octets in, octets out; the sockets are its shell's.

    client = TurnClient(server, credentials, "udp", random=random)
    client.start(now)
    # send transmits() to the server, give receive() what comes from it, call handle_timer() at deadline()
    client.send_to(peer, data, now)

Law 1: once it has ended (:class:`Ended` is told, once) it sends nothing more than its farewell.
Law 2: a response to a request with credentials counts only with their integrity (RFC 8489 section 9.2.5).
Law 3: data is told only of hosts that we asked to be permitted (RFC 8656 section 11.4); frames of the DHT, of
all, once we sent one (:meth:`TurnClient.send_frame`).
Law 4: a peer is sent to as soon as it is permitted, and by a channel as soon as that is bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.limits import (
    TURN_CHANNEL_LIFE,
    TURN_KEEPALIVE,
    TURN_LIFETIME,
    TURN_PERMISSION_LIFE,
    TURN_REFRESH_AHEAD,
    TURN_USERNAME_MAX,
)
from meshcall.stun.attributes import (
    encode_xor_address,
    error_untrusted,
    number_untrusted,
    text_untrusted,
    xor_address_untrusted,
)
from meshcall.stun.message import (
    TRANSACTION_ID_SIZE,
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
)
from meshcall.turn.credentials import Credentials
from meshcall.turn.events import Allocated, Ended, Received, Refused, TurnEvent
from meshcall.turn.frames import Frames, channel_data, decode_channel_data_untrusted, is_dht_frame
from meshcall.turn.peers import Host, Peer, Peers
from meshcall.turn.transactions import OnAnswer, Transactions

Transport = Literal["udp", "tcp", "tls"]
Attributes = tuple[tuple[int, bytes], ...]

_UDP: Final = (AttributeType.REQUESTED_TRANSPORT, bytes((17, 0, 0, 0)))
_IPV6: Final = (AttributeType.REQUESTED_ADDRESS_FAMILY, bytes((2, 0, 0, 0)))
_CHALLENGES_MAX: Final = 3
"""Challenges that one request answers."""


class TurnClient:
    """One allocation. :meth:`start` it, :meth:`send_to` peers, :meth:`close` it."""

    def __init__(
        self,
        server: Address,
        credentials: Credentials,
        transport: Transport,
        *,
        random: Callable[[int], bytes],
        family: Literal[4, 6] = 4,
    ) -> None:
        """``family``: of the relayed address, whatever family the server is reached by."""
        self.server = server
        self.transport: Transport = transport
        self.relayed: Address | None = None
        """What peers send to; None: not yet, or not any more."""
        self.mapped: Address | None = None
        """Our address as the server sees it."""
        self.node: Address | None = None
        """Where the DHT node of the server's machine is; None: it has told of none, and takes no frames."""
        self._sends_frames = False
        self._family = family
        self._credentials = credentials
        self._random = random
        self._stream = transport != "udp"
        self._frames = Frames()
        self._transactions = Transactions(stream=self._stream)
        self._realm = ""
        self._nonce = b""
        self._key: bytes | None = None
        self._peers = Peers()
        self._refresh_due: float | None = None
        """None: being refreshed."""
        self._idle_since = 0.0
        self._ended = False
        self._transmits: list[bytes] = []
        self._events: list[TurnEvent] = []
        self._counters: Counter[str] = Counter()

    # --- output -----------------------------------------------------------------------------------

    def transmits(self) -> list[tuple[bytes, Address]]:
        """What is to be sent to the server, in order; each is told once. On a stream: whole frames."""
        found, self._transmits = self._transmits, []
        return [(octets, self.server) for octets in found]

    def events(self) -> list[TurnEvent]:
        """What happened, in order; each is told once."""
        found, self._events = self._events, []
        return found

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is wanted; None: never."""
        if self._ended:
            return None
        due = [] if (first := self._transactions.deadline()) is None else [first]
        if self.relayed is not None:
            due += self._peers.renewals()
            if self._refresh_due is not None:
                due.append(self._refresh_due)
            if not self._stream:
                due.append(self._idle_since + TURN_KEEPALIVE)
        return min(due, default=None)

    @property
    def counters(self) -> dict[str, int]:
        """What was refused and dropped, by reason."""
        return dict(self._counters)

    # --- input ------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Ask for the allocation: once; on a stream when it is connected."""
        family = (_IPV6,) if self._family == 6 else ()
        self._request(Method.ALLOCATE, (_UDP, *family), None, self._on_allocated, now)

    def permit(self, hosts: Iterable[str], now: float) -> None:
        """Let these hosts (IP addresses) send to us; kept up until the client is closed."""
        for name in hosts:
            host = self._peers.host(name)
            if self.relayed is not None and not host.asking and host.until <= now:
                self._create_permission(host, now)

    def send_to(self, peer: Address, data: bytes, now: float) -> None:
        """Send a datagram to ``peer`` from the relayed address; it waits until the peer is permitted."""
        known = self._peers.peer(peer)
        if known is not None and known.until > now:
            self._transmit(channel_data(known.channel, data, stream=self._stream), now)
            return
        if self._ended:
            return
        host = self._peers.host(peer[0])
        if host.until > now:
            self._send_indication(peer, data, now)
        else:
            host.waiting.append((peer, data))
        if self.relayed is not None:
            self._reach(peer, host, now)

    def send_frame(self, peer: Address, frame: bytes, now: float) -> None:
        """Send a frame of the DHT, if the server passes them on (:attr:`node`); it needs no permission."""
        if self.relayed is not None and self.node is not None:
            self._sends_frames = True
            self._send_indication(peer, frame, now)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the server, or octets of its stream."""
        try:
            frames = self._frames.feed_untrusted(data) if self._stream else [data]
        except Rejected as rejected:
            self._counters[f"rejected-{rejected.reason}"] += 1
            self.lost()
            return
        for frame in frames:
            self.receive_frame(frame, now)

    def receive_frame(self, frame: bytes, now: float) -> None:
        """:meth:`receive` for one frame that its owner has cut out of the stream."""
        if self._ended:
            return
        try:
            if frame[:1] >= b"\x40":
                self._take_channel_data(frame, now)
            else:
                self._take_message(decode_stun_untrusted(frame), now)
        except Rejected as rejected:
            self._counters[f"rejected-{rejected.reason}"] += 1

    def lost(self) -> None:
        """The stream was closed by the other end, or can't be opened."""
        self._end(Ended("lost"))

    def handle_timer(self, now: float) -> None:
        """Send again, renew what ends soon, keep the NAT's mapping open."""
        if self._ended:
            return
        for octets in self._transactions.handle_timer(now):
            self._transmit(octets, now)
        if self.relayed is None:
            return
        if self._refresh_due is not None and self._refresh_due <= now:
            self._refresh_due = None
            self._request(Method.REFRESH, (_lifetime(TURN_LIFETIME),), None, self._on_refreshed, now)
        for peer in self._peers.peers():
            if peer.renewal is not None and peer.renewal <= now:
                self._bind(peer, self._peers.host(peer.address[0]), now)
        for host in self._peers.hosts():
            if host.renewal is not None and host.renewal <= now:
                self._create_permission(host, now)
        if not self._stream and self._idle_since + TURN_KEEPALIVE <= now:
            tid = self._random(TRANSACTION_ID_SIZE)
            self._transmit(StunMessage(Method.BINDING, MessageClass.INDICATION, tid).encode(), now)

    def close(self, now: float) -> None:
        """Give the allocation back. Idempotent; :meth:`transmits` tells the farewell."""
        if not self._ended and self.relayed is not None:
            self._request(Method.REFRESH, (_lifetime(0),), None, lambda response, at: None, now)
        self._end(Ended("closed"))

    # --- requests ---------------------------------------------------------------------------------

    def _request(
        self,
        method: Method,
        attributes: Attributes,
        peer: Address | None,
        on_answer: OnAnswer,
        now: float,
        challenges: int = 0,
    ) -> None:
        """Send a request about ``peer``; one that is challenged is sent anew with credentials."""

        def answered(response: StunMessage | None, at: float) -> None:
            if response is not None and challenges < _CHALLENGES_MAX and self._take_challenge(response, key):
                self._request(method, attributes, peer, on_answer, at, challenges + 1)
            else:
                on_answer(response, at)

        tid, key = self._random(TRANSACTION_ID_SIZE), self._key
        about: Attributes = ()
        if peer is not None:
            about = ((AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, tid)),)
        proof: Attributes = ()
        if key is not None:
            proof = (
                (AttributeType.USERNAME, self._credentials.username.encode()),
                (AttributeType.REALM, self._realm.encode()),
                (AttributeType.NONCE, self._nonce),
            )
        request = StunMessage(method, MessageClass.REQUEST, tid, (*attributes, *about, *proof))
        self._transmit(self._transactions.start(request, key, answered, now), now)

    def _take_challenge(self, response: StunMessage, key: bytes | None) -> bool:
        """Use a new realm and nonce; False: it is no challenge, or our password was the wrong one."""
        code = _code_of(response)
        if code not in (401, 438) or (code == 401 and key is not None):
            return False
        try:
            realm = text_untrusted(response, AttributeType.REALM, TURN_USERNAME_MAX) or self._realm
        except Rejected:
            return False
        nonce = response.get(AttributeType.NONCE)
        if not realm or not nonce or len(nonce) > TURN_USERNAME_MAX:
            return False
        self._realm, self._nonce = realm, nonce
        self._key = self._credentials.key(realm)
        return True

    def _on_allocated(self, response: StunMessage | None, now: float) -> None:
        if response is None or response.kind is MessageClass.ERROR:
            self._end(_failure(response))
            return
        try:
            relayed = xor_address_untrusted(response, AttributeType.XOR_RELAYED_ADDRESS)
            mapped = xor_address_untrusted(response, AttributeType.XOR_MAPPED_ADDRESS)
        except Rejected:
            relayed = mapped = None
        self._schedule_refresh(response, now)
        if relayed is None or mapped is None or self._ended:
            self._end(Ended("response"))
            return
        self.relayed, self.mapped = relayed, mapped
        self.node = _node_of(response, relayed[0])
        self._events.append(Allocated(relayed, mapped))
        for host in self._peers.hosts():
            if not host.waiting:
                self._create_permission(host, now)
            for peer in dict.fromkeys(peer for peer, _ in host.waiting):
                self._reach(peer, host, now)

    def _on_refreshed(self, response: StunMessage | None, now: float) -> None:
        if response is None or response.kind is MessageClass.ERROR:
            self._end(_failure(response))
        else:
            self._schedule_refresh(response, now)

    def _schedule_refresh(self, response: StunMessage, now: float) -> None:
        try:
            lifetime = number_untrusted(response, AttributeType.LIFETIME, 4)
        except Rejected:
            lifetime = None
        if not lifetime:
            self._end(Ended("response"))
            return
        # A server may grant a short life, or one beyond any clock
        self._refresh_due = now + max(lifetime / 2, min(lifetime, TURN_LIFETIME) - TURN_REFRESH_AHEAD)

    def _reach(self, address: Address, host: Host, now: float) -> None:
        """See to it that what is sent to ``address`` arrives: by a channel, or by a permission at least."""
        peer = self._peers.peer(address)
        if peer is None:
            peer = self._peers.number(address)
            if peer is not None:
                self._bind(peer, host, now)
                return
        if not host.asking and host.until <= now:
            self._create_permission(host, now)

    def _create_permission(self, host: Host, now: float) -> None:
        def answered(response: StunMessage | None, at: float) -> None:
            host.asking = False
            if response is None or response.kind is MessageClass.ERROR:
                self._refused(host, response)
            else:
                self._permitted(host, at)

        host.asking = True
        self._request(Method.CREATE_PERMISSION, (), (host.name, 0), answered, now)

    def _bind(self, peer: Peer, host: Host, now: float) -> None:
        """Bind or renew a channel, which permits the peer's host, too (RFC 8656 section 12)."""

        def answered(response: StunMessage | None, at: float) -> None:
            peer.asking = host.asking = False
            if response is not None and response.kind is MessageClass.SUCCESS:
                # Renewed with its permission, which ends sooner
                peer.until = at + min(TURN_CHANNEL_LIFE, TURN_PERMISSION_LIFE)
                self._permitted(host, at)
                return
            peer.until = 0.0
            if response is None or _code_of(response) == 403:
                self._refused(host, response)
            elif host.until <= at + TURN_REFRESH_AHEAD:
                self._create_permission(host, at)

        peer.asking = host.asking = True
        number = (AttributeType.CHANNEL_NUMBER, peer.channel.to_bytes(2, "big") + bytes(2))
        self._request(Method.CHANNEL_BIND, (number,), peer.address, answered, now)

    def _permitted(self, host: Host, now: float) -> None:
        host.until = now + TURN_PERMISSION_LIFE
        while host.waiting:
            address, data = host.waiting.popleft()
            self.send_to(address, data, now)

    def _refused(self, host: Host, response: StunMessage | None) -> None:
        self._peers.forget(host)
        self._events.append(Refused(host.name, 0 if response is None else _code_of(response)))

    # --- what comes -------------------------------------------------------------------------------

    def _take_channel_data(self, frame: bytes, now: float) -> None:
        number, data = decode_channel_data_untrusted(frame)
        peer = self._peers.of_channel(number)
        if peer is None:
            raise Rejected("no-channel")
        self._events.append(Received(peer.address, data))

    def _take_message(self, message: StunMessage, now: float) -> None:
        if message.kind is MessageClass.INDICATION:
            self._take_indication(message)
            return
        transaction = self._transactions.find(message.transaction_id)
        if transaction is None or message.kind is MessageClass.REQUEST:
            raise Rejected("no-transaction")
        # Challenges, and errors of a server that could not tell our key, have no integrity
        proven = transaction.key is None or message.has_integrity(transaction.key)
        if not proven and _code_of(message) not in (400, 401, 438):
            raise Rejected("integrity")
        self._transactions.take(message)
        transaction.on_answer(message, now)

    def _take_indication(self, message: StunMessage) -> None:
        peer = xor_address_untrusted(message, AttributeType.XOR_PEER_ADDRESS)
        data = message.get(AttributeType.DATA)
        if message.method is not Method.DATA or peer is None or data is None:
            raise Rejected("indication")
        if not self._peers.asked_for(peer[0]) and not (self._sends_frames and is_dht_frame(data)):
            raise Rejected("no-permission")
        self._events.append(Received(peer, data))

    # --- inside -----------------------------------------------------------------------------------

    def _send_indication(self, peer: Address, data: bytes, now: float) -> None:
        tid = self._random(TRANSACTION_ID_SIZE)
        attributes = (
            (AttributeType.XOR_PEER_ADDRESS, encode_xor_address(peer, tid)),
            (AttributeType.DATA, data),
        )
        message = StunMessage(Method.SEND, MessageClass.INDICATION, tid, attributes)
        self._transmit(message.encode(fingerprint=False), now)

    def _transmit(self, octets: bytes, now: float) -> None:
        self._transmits.append(octets)
        self._idle_since = now

    def _end(self, ended: Ended) -> None:
        if self._ended:
            return
        self._ended = True
        self.relayed = None
        self._transactions.clear()
        self._peers = Peers()
        self._events.append(ended)


def _lifetime(seconds: int) -> tuple[int, bytes]:
    return AttributeType.LIFETIME, seconds.to_bytes(4, "big")


def _node_of(response: StunMessage, host: str) -> Address | None:
    """Where the server's node is: on the machine that lends the address."""
    try:
        ports = number_untrusted(response, AttributeType.MESHCALL_NODE, 4)
    except Rejected:
        return None
    return (host, ports >> 16) if ports is not None and ports >> 16 else None


def _code_of(response: StunMessage) -> int:
    """The error code; 0: it has none."""
    if response.kind is not MessageClass.ERROR:
        return 0
    try:
        return error_untrusted(response)
    except Rejected:
        return 0


def _failure(response: StunMessage | None) -> Ended:
    return Ended("timeout") if response is None else Ended("error", _code_of(response))
