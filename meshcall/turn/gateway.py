"""A client of a gateway: a stream to a reachable node, an ask for its relay on it, an allocation.

    we --ping--> gateway                     bare frames (:mod:`.frames`), for who has no UDP asks here
    we --relay_ask(token, key, proofs)--> gateway
    we --Allocate--> its relay
    frames of the DHT, checks, media  <-->  everybody, from the relayed address

Law 1: one stream, one ask, one allocation; when any of them ends, all have (:class:`Ended` is told, once).
Law 2: what a gateway says is believed of the relay that it lends only: who is behind it proves itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshcall.address import Address
from meshcall.dht.messages import (
    EPHEMERAL,
    RELAY_GRANTED,
    TID_SIZE,
    Message,
    Ping,
    Pong,
    Refused,
    RelayAsk,
    RelayGrant,
    Response,
    decode_frame_untrusted,
    encode_frame,
)
from meshcall.errors import Rejected
from meshcall.limits import TUNNEL_PATIENCE
from meshcall.turn.client import Transport, TurnClient
from meshcall.turn.events import Allocated, Ended, TurnEvent
from meshcall.turn.frames import Frames, bare_data, bare_frame, is_bare, is_dht_frame
from meshcall.turn.grant import Ask


class GatewayClient:
    """One tunnel. Streams only; the shell connects, then calls :meth:`start`."""

    def __init__(
        self,
        server: Address,
        transport: Transport,
        *,
        node_id: bytes,
        ask: Ask,
        random: Callable[[int], bytes],
    ) -> None:
        """``node_id``: of our own DHT node. ``ask``: shows that we are a contact, if we are one."""
        self.server = server
        self.gateway_id: bytes | None = None
        """What the gateway calls itself; not proven."""
        self._transport: Transport = transport
        self._node_id = node_id
        self._ask = ask
        self._random = random
        self._frames = Frames()
        self._turn: TurnClient | None = None
        self._asked: bytes | None = None
        """Transaction id of the bare frame that is not answered yet."""
        self._due: float | None = None
        self._ended = False
        self._transmits: list[bytes] = []
        self._events: list[TurnEvent] = []
        self._counters: Counter[str] = Counter()

    # --- output -----------------------------------------------------------------------------------

    def transmits(self) -> list[bytes]:
        """Whole frames for the stream, in order; each is told once."""
        found, self._transmits = self._transmits, []
        if self._turn is not None:
            found += [octets for octets, _ in self._turn.transmits()]
        return found

    def events(self) -> list[TurnEvent]:
        """What happened, in order; each is told once."""
        if self._turn is not None:
            for event in self._turn.events():
                if isinstance(event, Ended):
                    self._end(event)
                    continue
                if isinstance(event, Allocated):
                    self._due = None
                self._events.append(event)
        found, self._events = self._events, []
        return found

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is wanted; None: never."""
        due = [] if self._due is None else [self._due]
        if self._turn is not None and (first := self._turn.deadline()) is not None:
            due.append(first)
        return None if self._ended else min(due, default=None)

    @property
    def relayed(self) -> Address | None:
        """What peers send to; None: not yet, or not any more."""
        return None if self._turn is None else self._turn.relayed

    @property
    def mapped(self) -> Address | None:
        """Our address as the gateway sees it."""
        return None if self._turn is None else self._turn.mapped

    @property
    def node(self) -> Address | None:
        """Where the gateway's own node is; None: it passes no frames of the DHT on."""
        return None if self._turn is None else self._turn.node

    @property
    def counters(self) -> dict[str, int]:
        """What was refused and dropped, by reason."""
        return dict(self._counters + Counter({} if self._turn is None else self._turn.counters))

    # --- input ------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The stream is open: ask."""
        self._due = now + TUNNEL_PATIENCE
        self._say(lambda tid: Ping(tid, self._node_id, EPHEMERAL, b"", b""))

    def receive(self, octets: bytes, now: float) -> None:
        """Octets of the stream, cut anywhere."""
        try:
            frames = self._frames.feed_untrusted(octets)
        except Rejected as rejected:
            self._counters[f"rejected-{rejected.reason}"] += 1
            self.lost()
            return
        for frame in frames:
            if self._ended:
                return
            if is_bare(frame):
                self._take_bare(bare_data(frame), now)
            elif self._turn is not None:
                self._turn.receive_frame(frame, now)

    def send_to(self, peer: Address, data: bytes, now: float) -> None:
        """Send a datagram from the relayed address: a frame of the DHT at once, others once permitted."""
        if self._turn is None or self._ended:
            return
        if is_dht_frame(data):
            self._turn.send_frame(peer, data, now)
        else:
            self._turn.send_to(peer, data, now)

    def handle_timer(self, now: float) -> None:
        """The deadline has come."""
        if self._due is not None and self._due <= now:
            self._end(Ended("timeout"))
        if self._turn is not None:
            self._turn.handle_timer(now)

    def lost(self) -> None:
        """The stream was closed by the other end, or can't be opened."""
        self._end(Ended("lost"))

    def close(self, now: float) -> None:
        """Give the allocation back. Idempotent; :meth:`transmits` tells the farewell."""
        if self._turn is not None:
            self._turn.close(now)
        self._end(Ended("closed"))

    # --- inside -----------------------------------------------------------------------------------

    def _say(self, make: Callable[[bytes], Message]) -> None:
        self._asked = self._random(TID_SIZE)
        self._transmits.append(bare_frame(encode_frame(make(self._asked))))

    def _take_bare(self, frame: bytes, now: float) -> None:
        try:
            message = decode_frame_untrusted(frame)
            if not isinstance(message, Response) or message.tid != self._asked:
                raise Rejected("unsolicited")
            self._asked = None
            self._take_answer(message, now)
        except Rejected as rejected:
            self._counters[f"rejected-{rejected.reason}"] += 1

    def _take_answer(self, message: Response, now: float) -> None:
        if isinstance(message, Pong) and self.gateway_id is None:
            self.gateway_id = message.sender
            ask = self._ask
            proofs, token = ask.prove(message.sender), message.token
            self._say(lambda tid: RelayAsk(tid, self._node_id, EPHEMERAL, token, ask.key.public, proofs))
        elif isinstance(message, RelayGrant) and message.reason == RELAY_GRANTED:
            grant = self._ask.open_untrusted(message.sealed, message.sender)
            self._turn = TurnClient(self.server, grant.credentials, self._transport, random=self._random)
            self._turn.start(now)
        else:
            code = message.reason if isinstance(message, RelayGrant | Refused) else 0
            self._end(Ended("refused", code))

    def _end(self, ended: Ended) -> None:
        if not self._ended:
            self._ended = True
            self._due = None
            self._events.append(ended)
